// What the HTTP door answers: Connect and gRPC-Web calls, `GET /healthz` (this process lives) and `GET /readyz` (calls can be served).
import { createConnectRouter } from '@connectrpc/connect';
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Logger } from 'pino';
import { LIMITS } from '../../core/limits.ts';
import { requestTooLarge } from '../access.ts';
import { refusalError } from '../call-error.ts';
import type { CallPolicy } from '../call-policy.ts';
import { READ_OPTIONS } from '../message-levels.ts';
import { type RegisterServices, routeServices } from '../services.ts';
import { explainBareError } from './bare-error.ts';
import { answerCors } from './cors.ts';

export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type HttpResponse = ServerResponse | Http2ServerResponse;
export type RequestListener = (request: HttpRequest, response: HttpResponse) => void;

export interface ListenerOptions {
  readonly registerServices: RegisterServices;
  readonly policy: CallPolicy;
  /** Origins of web pages that may call, such as `https://ci.example.com`. */
  readonly corsOrigins: readonly string[];
  readonly isReady: () => boolean;
  readonly log: Logger;
}

/** Compressing small messages costs more than it saves, most of all on streams. */
const COMPRESS_MIN_BYTES = 65_536;
/** What goes around a message on streams. */
const ENVELOPE_BYTES = 5;

export function createRequestListener(options: ListenerOptions): RequestListener {
  const { registerServices, policy, corsOrigins, isReady, log } = options;
  const allowedOrigins = new Set(corsOrigins);
  const router = createConnectRouter({
    // Native gRPC has a door of its own.
    grpc: false,
    requestGate: policy.admit,
    interceptors: [policy.guard],
    // Bodies above our own limit are refused with a reason (readBody); this bounds what a compressed one unfolds to.
    readMaxBytes: 4 * LIMITS.requestBytes,
    writeMaxBytes: LIMITS.responseBytes,
    compressMinBytes: COMPRESS_MIN_BYTES,
    // A misspelt field must not be taken for one that was left out.
    jsonOptions: { ignoreUnknownFields: false, ...READ_OPTIONS },
    binaryOptions: READ_OPTIONS,
    acceptCompression: [compressionGzip, compressionBrotli],
  });
  routeServices(registerServices)(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));

  async function answerCall(path: string, request: HttpRequest, response: HttpResponse): Promise<void> {
    const handler = handlers.get(path);
    if (handler === undefined) {
      answerJson(response, 404, { code: 'unimplemented', message: `there is nothing at ${path}` });
      return;
    }
    // What a refused call did not read is in the way of the next call on this connection.
    response.once('finish', () => request.resume());
    const call = universalRequestFromNodeRequest(request, response, undefined, undefined);
    const answer = await explainBareError(await handler({ ...call, body: readBody(request) }));
    await universalResponseToNodeResponse(answer, response);
  }

  return (request, response) => {
    if (answerCors(allowedOrigins, request, response)) return;
    const path = request.url?.split('?', 1)[0] ?? '';
    if (path === '/healthz') return answerJson(response, 200, { status: 'alive' });
    if (path === '/readyz') {
      return isReady()
        ? answerJson(response, 200, { status: 'ready' })
        : answerJson(response, 503, { status: 'not ready' });
    }
    answerCall(path, request, response).catch((error: unknown) => {
      // What a call ends with is its own answer. Here a connection broke, or the request's head makes no sense.
      log.debug({ err: error }, 'request broke off');
      if (!response.headersSent) answerJson(response, 400, { code: 'invalid_argument', message: 'malformed request' });
      else response.destroy();
    });
  };
}

/** A request's body, as long as it is not too large. The request outlives its reader: it has to be answered. */
async function* readBody(request: HttpRequest): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    bytes += chunk.length;
    if (bytes > LIMITS.requestBytes + ENVELOPE_BYTES) throw refusalError(requestTooLarge(bytes));
    yield chunk;
  }
}

function answerJson(response: HttpResponse, status: number, body: object): void {
  response.setHeader('Content-Type', 'application/json');
  response.statusCode = status;
  response.end(`${JSON.stringify(body)}\n`);
}
