// Connect reads a request before anything of ours sees it, and what it refuses carries no reason. This adds the reason to the JSON of
// such an error, so that every error has one, and what was meant by a name that there is none of.
import { create, toBinary } from '@bufbuild/protobuf';
import { ErrorInfoSchema } from '@conveyor/protocol/google/rpc/error_details_pb.js';
import { ERROR_DOMAIN } from '../call-error.ts';
import { isTooDeep, TOO_DEEP } from '../message-levels.ts';
import { jsonHint } from './json-hint.ts';

/** What a Connect handler answers, as far as it matters here. */
interface Answer {
  readonly status: number;
  readonly header?: Headers;
  readonly body?: AsyncIterable<Uint8Array> | null;
}

const REASONS: Readonly<Record<string, string>> = {
  invalid_argument: 'INVALID_FIELD',
  resource_exhausted: 'LIMIT_REACHED',
  unimplemented: 'UNIMPLEMENTED',
};

/** Answers other than bare errors of unary Connect calls stay as they are. */
export async function explainBareError<T extends Answer>(answer: T): Promise<T> {
  const { status, header, body } = answer;
  if (status < 400 || !body || header?.get('content-type') !== 'application/json') return answer;
  const bytes = Buffer.concat(await Array.fromAsync(body));
  const error: unknown = JSON.parse(bytes.toString());
  const explained = Buffer.from(JSON.stringify(withReason(error)));
  header.set('content-length', String(explained.length));
  return { ...answer, body: once(explained) };
}

function withReason(error: unknown): unknown {
  if (typeof error !== 'object' || error === null || 'details' in error || !('code' in error)) return error;
  const reason = REASONS[String(error.code)];
  if (reason === undefined) return error;
  const info = create(ErrorInfoSchema, { reason, domain: ERROR_DOMAIN });
  const value = Buffer.from(toBinary(ErrorInfoSchema, info)).toString('base64').replace(/=+$/, '');
  const told = 'message' in error ? String(error.message) : '';
  const message = isTooDeep(error) ? `request ${TOO_DEEP}` : `${told}${jsonHint(told) ?? ''}`;
  return {
    ...error,
    message,
    details: [{ type: ErrorInfoSchema.typeName, value, debug: { reason, domain: ERROR_DOMAIN } }],
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
