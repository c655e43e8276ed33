// Long work on the one thread of a replica: it lets others go on every few milliseconds, and is refused when it takes too long in all.
import { setImmediate as turn } from 'node:timers/promises';
import type { RefusedError } from '../core/refusal.ts';

export { createTurns, inPieces, inTurns, sendInTurns, type Turns } from '../store/turns.ts';

export interface PaceOptions {
  /** How long others may have to wait. */
  readonly turnMs: number;
  /** Of the work itself, without what others did in between. */
  readonly maxMs: number;
  readonly refuse: () => RefusedError;
}

/** To be called between steps of the work. @throws the reason of the signal @throws RefusedError when it has taken too long */
export function createPace(
  { turnMs, maxMs, refuse }: PaceOptions,
  signal: AbortSignal,
): () => Promise<void> | undefined {
  let spentMs = 0;
  let sinceMs = performance.now();

  async function letOthers(): Promise<void> {
    await turn();
    signal.throwIfAborted();
    sinceMs = performance.now();
  }

  return () => {
    const tookMs = performance.now() - sinceMs;
    if (tookMs < turnMs) return undefined;
    spentMs += tookMs;
    if (spentMs > maxMs) throw refuse();
    return letOthers();
  };
}
