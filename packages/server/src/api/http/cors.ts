// Which web pages may call: those of the origins on the allow-list. Tokens are sent by headers, never by cookies, so credentials
// are not allowed.
import { cors } from '@connectrpc/connect';
import type { HttpRequest, HttpResponse } from './request-listener.ts';

const MAX_AGE_S = 7_200;
const ALLOWED_HEADERS = [...cors.allowedHeaders, 'Authorization', 'Traceparent'].join(', ');

/** Sets the headers for a request from an allowed origin. @returns True when it was a preflight and is answered. */
export function answerCors(allowedOrigins: ReadonlySet<string>, request: HttpRequest, response: HttpResponse): boolean {
  const { origin } = request.headers;
  if (origin === undefined) return false;
  response.setHeader('Vary', 'Origin');
  if (allowedOrigins.has(origin)) {
    response.setHeader('Access-Control-Allow-Origin', origin);
    response.setHeader('Access-Control-Expose-Headers', cors.exposedHeaders.join(', '));
  }
  if (request.method !== 'OPTIONS') return false;
  if (allowedOrigins.has(origin)) {
    response.setHeader('Access-Control-Allow-Methods', cors.allowedMethods.join(', '));
    response.setHeader('Access-Control-Allow-Headers', ALLOWED_HEADERS);
    response.setHeader('Access-Control-Max-Age', MAX_AGE_S);
  }
  response.statusCode = 204;
  response.end();
  return true;
}
