// Following something that grows: history and live are one iteration. Whoever changed it rings a topic; what no ring tells, because
// another replica changed it, is found by reading again within a second.
import { setTimeout as delay } from 'node:timers/promises';
import type { Subscription } from './wake-ups.ts';

/** Readers are promised a sign of life every 20 s. */
const SIGN_OF_LIFE_MS = 15_000;
const POLL_MS = 1_000;

/** What one read of something that grows came to. */
export interface Reading<T> {
  /** Undefined: nothing for the reader. */
  readonly found: T | undefined;
  /** Whether to read again at once. */
  readonly more: boolean;
}

export interface FollowOptions<T> {
  /** Reads what is new since the last read. */
  readonly read: () => Promise<Reading<T>>;
  /** Made before the first read, so that no ring is missed. */
  readonly subscription: Subscription;
  readonly signal: AbortSignal;
  /** Shortest time from one read to the next that a ring causes, so that what changes fast is read together. Default: 0. */
  readonly restMs?: number;
  /** Longest time without a yield. Default: 15,000. */
  readonly signOfLifeMs?: number;
}

/** Yields what is found, and undefined as a sign of life. Ends only by throwing the signal's reason. */
export async function* follow<T>({
  read,
  subscription,
  signal,
  restMs = 0,
  signOfLifeMs = SIGN_OF_LIFE_MS,
}: FollowOptions<T>): AsyncGenerator<T | undefined, never> {
  let yieldedMs = performance.now();
  for (;;) {
    signal.throwIfAborted();
    const readMs = performance.now();
    const { found, more } = await read();
    if (found !== undefined || performance.now() - yieldedMs >= signOfLifeMs) {
      yield found;
      yieldedMs = performance.now();
    }
    if (more) continue;
    await subscription.wait(Math.min(POLL_MS, signOfLifeMs) * (0.5 + Math.random() / 2), signal);
    const restLeftMs = readMs + restMs - performance.now();
    if (restLeftMs > 0) await delay(restLeftMs, undefined, { signal }).catch(() => undefined);
  }
}
