// Lets only so many at a time do something that takes long or much memory; others wait, a line for each owner, and have their turns. Who finds
// too many waiting is refused, but for the first of an owner.
import type { RefusedError } from '../core/refusal.ts';
import { createOwnerLines } from './owner-lines.ts';

export interface WaitingLineOptions {
  readonly atATime: number;
  /** How many may wait, beside one of each owner. */
  readonly inLine: number;
  /** What those are told that find the line full. */
  readonly refuse: () => RefusedError;
}

/** Does the work when its turn comes. Leaves the line when the signal aborts, by throwing its reason. */
export type TakeTurn = <T>(owner: string, work: () => Promise<T>, signal: AbortSignal) => Promise<T>;

interface Waiting {
  readonly owner: string;
  readonly begin: () => void;
}

export function createWaitingLine({ atATime, inLine, refuse }: WaitingLineOptions): TakeTurn {
  let busy = 0;
  const lines = createOwnerLines<Waiting>(({ owner }) => owner);

  async function wait(owner: string, signal: AbortSignal): Promise<void> {
    if (lines.size() >= inLine && lines.size(owner) > 0) throw refuse();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = { owner, begin: resolve };
    const leave = (): void => {
      lines.remove(waiting);
      reject(signal.reason as Error);
    };
    lines.add(waiting);
    signal.addEventListener('abort', leave, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  return async (owner, work, signal) => {
    signal.throwIfAborted();
    if (busy < atATime) busy++;
    else await wait(owner, signal);
    try {
      return await work();
    } finally {
      // A turn is handed on, so that nobody who comes just now takes it from who waits.
      const [next] = lines.take(1);
      if (next === undefined) busy--;
      else next.begin();
    }
  };
}
