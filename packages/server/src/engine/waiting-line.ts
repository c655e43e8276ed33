// Lets only so many at a time do something that takes much memory; others wait in line, and who finds the line full is refused.
import type { RefusedError } from '../core/refusal.ts';

export interface WaitingLineOptions {
  readonly atATime: number;
  /** How many may wait. */
  readonly inLine: number;
  /** What those are told that find the line full. */
  readonly refuse: () => RefusedError;
}

/** Does the work when its turn comes. Leaves the line when the signal aborts, by throwing its reason. */
export type TakeTurn = <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T>;

export function createWaitingLine({ atATime, inLine, refuse }: WaitingLineOptions): TakeTurn {
  let busy = 0;
  const line = new Set<() => void>();

  async function wait(signal: AbortSignal): Promise<void> {
    if (line.size >= inLine) throw refuse();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const leave = (): void => {
      line.delete(resolve);
      reject(signal.reason as Error);
    };
    line.add(resolve);
    signal.addEventListener('abort', leave, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  return async (work, signal) => {
    signal.throwIfAborted();
    if (busy < atATime) busy++;
    else await wait(signal);
    try {
      return await work();
    } finally {
      // A turn is handed on, so that nobody who comes just now takes it from who waits.
      const [next] = line;
      if (next === undefined) {
        busy--;
      } else {
        line.delete(next);
        next();
      }
    }
  };
}
