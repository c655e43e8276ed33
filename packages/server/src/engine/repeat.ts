// A loop that does its work again and again until it is stopped. A failure is logged once until the work succeeds again, because
// an outage fails every round alike.
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from './log.ts';

/**
 * Waits `everyMs`, with a fifth of jitter so that replicas do not march in step, then works; returns at the abort.
 * Work may return how long to wait instead.
 */
export async function repeat(
  signal: AbortSignal,
  everyMs: number,
  work: () => Promise<number | void>,
  log?: Log,
): Promise<void> {
  let failing = false;
  let nextMs = everyMs;
  while (!signal.aborted) {
    await delay(nextMs * (0.8 + 0.4 * Math.random()), undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    try {
      nextMs = (await work()) ?? everyMs;
      failing = false;
    } catch (error) {
      if (!failing) log?.warn({ err: error }, 'a loop failed and goes on');
      failing = true;
      nextMs = everyMs;
    }
  }
}
