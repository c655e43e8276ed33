// Owns what every call gets, whoever makes it: the bearer token, the project, a request id, a deadline, a few safe retries
// and typed errors. A call is repeated only when repeating it cannot have a second effect.
import {
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
  clone,
  create,
} from '@bufbuild/protobuf';
import { type ReflectMessage, isReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import type { Transport } from '@connectrpc/connect';
import { backoffDelayMs, waitFor } from './backoff.ts';
import { toConveyorError } from './error.ts';

/** What every call gets. */
export interface CallPolicy {
  /** The bearer token. */
  readonly token: string | undefined;
  /** The project of requests that name none; empty leaves it to the server. */
  readonly project: string;
  /** How often a call that broke is repeated, when that is safe. */
  readonly retries: number;
  /** The deadline of a call with one answer, over all its tries, unless the call has its own; 0 is none. Streams have none. */
  readonly timeoutMs: number;
}

const retryBackoff = { initialDelayMs: 100, maxDelayMs: 2_000 };
/** Timers of Node and browsers fire at once beyond it. */
const longestTimerMs = 2 ** 31 - 1;

/** A transport whose calls follow the policy and throw ConveyorError, or the reason of the caller's signal. */
export function withCallPolicy(transport: Transport, policy: CallPolicy): Transport {
  return {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const request = completeRequest(method.input, create(method.input, input), policy);
      const headers = withToken(header, policy);
      const retries = isRepeatable(method) ? policy.retries : 0;
      const deadline = deadlineAfter(timeoutMs ?? policy.timeoutMs);
      for (let failures = 1; ; failures += 1) {
        try {
          return await transport.unary(method, signal, leftUntil(deadline), headers, request, contextValues);
        } catch (thrown) {
          signal?.throwIfAborted();
          const error = toConveyorError(thrown);
          const delayMs = backoffDelayMs(failures, retryBackoff);
          if (failures > retries || !error.retryable || performance.now() + delayMs >= deadline) throw error;
          await waitFor(delayMs, signal);
        }
      }
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      try {
        const requests = completeRequests(method.input, input, policy);
        const headers = withToken(header, policy);
        const response = await transport.stream(method, signal, timeoutMs, headers, requests, contextValues);
        return { ...response, message: withTypedErrors(response.message, signal) };
      } catch (thrown) {
        signal?.throwIfAborted();
        throw toConveyorError(thrown);
      }
    },
  };
}

/** A random id. `crypto.randomUUID` is missing on web pages that were loaded without TLS. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Fills in what the caller left out: the project, and a request id so that a repeat has no second effect. */
function completeRequest<Desc extends DescMessage>(
  desc: Desc,
  request: MessageShape<Desc>,
  policy: CallPolicy,
): MessageShape<Desc> {
  const completed = clone(desc, request);
  const message = reflect(desc, completed);
  fillEmptyString(message, 'project', () => policy.project);
  fillEmptyString(message, 'requestId', randomId);
  const items = desc.field['items'];
  if (items?.fieldKind === 'list' && items.listKind === 'message') {
    for (const item of message.get(items)) {
      if (isReflectMessage(item)) fillEmptyString(item, 'requestId', randomId);
    }
  }
  return completed;
}

function fillEmptyString(message: ReflectMessage, localName: string, value: () => string): void {
  const field = message.desc.field[localName];
  if (field?.fieldKind === 'scalar' && message.get(field) === '') message.set(field, value());
}

async function* completeRequests<Desc extends DescMessage>(
  desc: Desc,
  input: AsyncIterable<MessageInitShape<Desc>>,
  policy: CallPolicy,
): AsyncGenerator<MessageInitShape<Desc>> {
  for await (const request of input)
    yield completeRequest(desc, create(desc, request), policy) as MessageInitShape<Desc>;
}

/** A read, an idempotent change, or a change that the server knows again by its request id. */
function isRepeatable(method: DescMethodUnary): boolean {
  return (
    method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN ||
    method.input.field['requestId'] !== undefined ||
    method.input.field['items'] !== undefined
  );
}

function withToken(header: ConstructorParameters<typeof Headers>[0], policy: CallPolicy): Headers {
  const headers = new Headers(header);
  if (policy.token !== undefined) headers.set('authorization', `Bearer ${policy.token}`);
  return headers;
}

function deadlineAfter(timeoutMs: number): number {
  return timeoutMs > 0 ? performance.now() + timeoutMs : Number.POSITIVE_INFINITY;
}

/** What is left for one try; undefined is no limit. */
function leftUntil(deadline: number): number | undefined {
  const leftMs = deadline - performance.now();
  return leftMs > longestTimerMs ? undefined : Math.max(1, Math.ceil(leftMs));
}

async function* withTypedErrors<T>(messages: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (thrown) {
    signal?.throwIfAborted();
    throw toConveyorError(thrown);
  }
}
