import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEFAULT_RETRY, type RetryPolicy } from './definition.ts';
import { retryDelayMs } from './retry.ts';
import type { FailureClass } from './states.ts';
import { jobNamed } from './testing/definitions.ts';

type Retried = Exclude<FailureClass, 'INVALID'>;
const classes: readonly Retried[] = ['WORKLOAD', 'DRIVER', 'INFRASTRUCTURE', 'TIMEOUT', 'REJECTED'];

/** The delay after the nth failure of a class. */
function delayAfter(nth: number, failure: FailureClass, retry: RetryPolicy, random = 0, retryAfterMs?: number) {
  const job = { attempt: nth, unmet: 0, badNeeds: 0, spent: { [failure]: nth } };
  return retryDelayMs(jobNamed('any', { retry }), job, { class: failure, message: '' }, random, retryAfterMs);
}

test('delays double from one second up to five minutes, by default', () => {
  const delays = [1, 2, 3, 8, 9, 10, 100].map((nth) => delayAfter(nth, 'REJECTED', DEFAULT_RETRY));
  expect(delays).toEqual([1_000, 2_000, 4_000, 128_000, 256_000, 300_000, 300_000]);
});

test('jitter shortens a delay by at most its share', () => {
  expect(delayAfter(1, 'DRIVER', { ...DEFAULT_RETRY, jitter: 0.2 }, 0.5)).toBe(900);
  expect(delayAfter(1, 'DRIVER', { ...DEFAULT_RETRY, jitter: 1 }, 0.999)).toBe(1);
});

test('a driver may ask for a longer delay, but not for a shorter one', () => {
  expect(delayAfter(1, 'DRIVER', DEFAULT_RETRY, 0, 60_000)).toBe(60_000);
  expect(delayAfter(1, 'DRIVER', DEFAULT_RETRY, 0, 1)).toBe(1_000);
});

test.each(classes)('%s has a budget of its own', (failure) => {
  const budgets = { WORKLOAD: 0, DRIVER: 0, INFRASTRUCTURE: 0, TIMEOUT: 0, REJECTED: 0, [failure]: 2 };
  const retry = { ...DEFAULT_RETRY, budgets };
  expect([1, 2, 3].map((nth) => delayAfter(nth, failure, retry) !== undefined)).toEqual([true, true, false]);
  for (const other of classes.filter((one) => one !== failure)) expect(delayAfter(1, other, retry)).toBeUndefined();
});

test('no delay stays no delay, however often it is multiplied', () => {
  const budgets = { ...DEFAULT_RETRY.budgets, REJECTED: 1_000 };
  expect(delayAfter(1_000, 'REJECTED', { ...DEFAULT_RETRY, budgets, initialBackoffMs: 0, backoffFactor: 10 })).toBe(0);
});

test('what is invalid is never retried', () => {
  expect(delayAfter(1, 'INVALID', DEFAULT_RETRY)).toBeUndefined();
});

test('any accepted policy gives whole milliseconds between its bounds, however often it is tried', () => {
  const policies = fc.record({
    budgets: fc.constant({ WORKLOAD: 100, DRIVER: 100, INFRASTRUCTURE: 100, TIMEOUT: 100, REJECTED: 1_000 }),
    initialBackoffMs: fc.integer({ min: 0, max: 86_400_000 }),
    maxBackoffMs: fc.integer({ min: 0, max: 86_400_000 }),
    backoffFactor: fc.double({ min: 1, max: 10, noNaN: true }),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(policies, fc.integer({ min: 1, max: 1_000 }), random, (policy, nth, drawn) => {
      const delayMs = delayAfter(nth, 'REJECTED', policy, drawn) ?? Number.NaN;
      expect(Number.isInteger(delayMs)).toBe(true);
      expect(delayMs).toBeLessThanOrEqual(policy.maxBackoffMs);
      const shortest = Math.min(policy.initialBackoffMs, policy.maxBackoffMs) * (1 - policy.jitter);
      expect(delayMs).toBeGreaterThanOrEqual(Math.floor(shortest));
    }),
    { numRuns: 1_000 },
  );
});
