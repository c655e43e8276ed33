// Long work on the one thread of a replica: it lets others go on every few milliseconds, and is refused when it takes too long in all.
import { setImmediate as turn } from 'node:timers/promises';
import type { RefusedError } from '../core/refusal.ts';

export interface PaceOptions {
  /** How long others may have to wait. */
  readonly turnMs: number;
  /** Of the work itself, without what others did in between. */
  readonly maxMs: number;
  readonly refuse: () => RefusedError;
}

/** How long others may have to wait for work that is done whole, such as what the runs of one flush work out. */
const WHOLE_TURN_MS = 20;

/** To be called between steps of work that is done whole. */
export type Turns = () => Promise<void> | undefined;

export function createTurns(): Turns {
  let sinceMs = performance.now();

  async function letOthers(): Promise<void> {
    await turn();
    sinceMs = performance.now();
  }

  return () => (performance.now() - sinceMs < WHOLE_TURN_MS ? undefined : letOthers());
}

/** Does work that comes in slices, and lets others go on in between. */
export async function inTurns<T>(slices: Generator<undefined, T>): Promise<T> {
  const turns = createTurns();
  for (;;) {
    const { done, value } = slices.next();
    if (done === true) return value;
    // Most slices are short: nothing is waited for after these.
    const turned = turns();
    if (turned !== undefined) await turned;
  }
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
