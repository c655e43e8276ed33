// Which failures are tried again, and after which delay.
import type { JobDefinition } from './definition.ts';
import type { JobBase } from './run-state.ts';
import type { Failure } from './states.ts';

/**
 * The delay before the next attempt, or undefined when the budget of the failure's class is spent.
 * d = min(maxBackoff, initialBackoff * backoffFactor^(n - 1)) before retry n; drawn evenly from [(1 - jitter) * d, d], and never
 * below what the driver asked for.
 * @param job As it is after the failure was counted.
 * @param random Evenly drawn from [0, 1).
 */
export function retryDelayMs(
  definition: JobDefinition,
  job: JobBase,
  failure: Failure,
  random: number,
  retryAfterMs = 0,
): number | undefined {
  if (failure.class === 'INVALID') return undefined;
  const { budgets, initialBackoffMs, maxBackoffMs, backoffFactor, jitter } = definition.retry;
  const retry = job.spent[failure.class] ?? 0;
  if (retry > budgets[failure.class]) return undefined;
  // The power of a long series overflows to infinity, of which zero times is not a number.
  const grown = initialBackoffMs === 0 ? 0 : initialBackoffMs * backoffFactor ** (retry - 1);
  const full = Math.min(maxBackoffMs, grown);
  return Math.max(retryAfterMs, Math.round(full * (1 - jitter * random)));
}
