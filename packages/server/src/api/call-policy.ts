// What stands before and around every call, whatever door it came by: it is admitted, it ends when its caller is gone, its deadline has
// passed or the server stops, whatever its handler does; what was thrown becomes what the caller may see; how it ended is logged,
// never what it carried.
import {
  Code,
  type ConnectError,
  type HandlerContext,
  type Interceptor,
  type StreamResponse,
} from '@connectrpc/connect';
import type { Logger } from 'pino';
import { LIMITS } from '../core/limits.ts';
import { RefusedError } from '../core/refusal.ts';
import type { Access } from './access.ts';
import { toCallError } from './call-error.ts';

export interface CallPolicy {
  /** Admits a call before its body is read. @throws ConnectError */
  readonly admit: (context: HandlerContext) => Promise<void>;
  /** Goes around the call itself. */
  readonly guard: Interceptor;
  /** What the caller sees of anything that was thrown; defects go to the log under the id that the caller gets. */
  readonly explain: (reason: unknown) => ConnectError;
}

/** Why streams end, and sessions do not begin, when the server stops. */
export const SERVER_STOPPING = new RefusedError({
  refused: 'SERVER_STOPPING',
  message: 'this server is stopping; connect to another one, or try again in a moment',
});

/** @param stopping Ends streams when the server begins to stop; other calls may finish. */
export function createCallPolicy(access: Access, log: Logger, stopping: AbortSignal): CallPolicy {
  function explain(reason: unknown): ConnectError {
    return toCallError(reason, (error, id) => log.error({ err: error, defect: id }, 'defect'));
  }

  function openCall(method: string): OpenCall {
    const beganMs = performance.now();
    const elapsed = (): number => Math.round((performance.now() - beganMs) * 10) / 10;
    return {
      succeeded: () => log.debug({ method, ms: elapsed() }, 'call succeeded'),
      failed(reason) {
        const error = explain(reason);
        log.debug({ method, ms: elapsed(), code: Code[error.code] }, 'call failed');
        return error;
      },
    };
  }

  let streams = 0;

  /** Takes a place among the open streams, which is free again when the call is over. */
  function takeStream(over: AbortSignal): void {
    // One that is over already would never give its place back.
    over.throwIfAborted();
    if (streams >= LIMITS.streams) throw tooManyStreams();
    streams++;
    over.addEventListener('abort', () => streams--, { once: true });
  }

  return {
    explain,
    async admit(context) {
      try {
        // Who calls is looked up in the database, which may be away for longer than the caller waits.
        await unlessAborted(access.admit(context), context.signal);
      } catch (error) {
        throw openCall(context.method.name).failed(error);
      }
    },
    guard: (next) => async (request) => {
      const call = openCall(request.method.name);
      try {
        if (!request.stream) {
          const response = await unlessAborted(next(request), request.signal);
          call.succeeded();
          return response;
        }
        takeStream(request.signal);
        const signal = AbortSignal.any([request.signal, stopping]);
        const response = await next({ ...request, signal });
        return response.stream ? { ...response, message: guardStream(response, signal, call) } : response;
      } catch (error) {
        throw call.failed(error);
      }
    },
  };
}

function tooManyStreams(): RefusedError {
  return new RefusedError({
    refused: 'LIMIT_REACHED',
    message: `this replica has ${LIMITS.streams} open watches and tails, as many as it takes; connect to another one, or close some`,
    metadata: { limit: 'max_streams', max: String(LIMITS.streams) },
  });
}

interface OpenCall {
  succeeded(): void;
  failed(reason: unknown): ConnectError;
}

/**
 * Passes a stream on until its signal aborts, and then throws the reason: the end of a stream must never look like the end of what
 * it tells of.
 */
async function* guardStream({ message }: StreamResponse, signal: AbortSignal, call: OpenCall) {
  const messages = message[Symbol.asyncIterator]();
  try {
    for (;;) {
      const step = await unlessAborted(messages.next(), signal);
      signal.throwIfAborted();
      if (step.done === true) break;
      yield step.value;
    }
    call.succeeded();
  } catch (error) {
    throw call.failed(error);
  } finally {
    // Not awaited: after an abort the source may need a moment to notice, and the caller does not care.
    messages.return?.().catch((error: unknown) => call.failed(error));
  }
}

/** The promise, or a rejection with the signal's reason if that comes first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
