// How long an instance is passed over for a job that it sends back.
import { expect, test } from 'vitest';
import { DEFAULT_RETRY } from '../core/definition.ts';
import { passOverMs } from './fit.ts';

test('an instance is passed over from the third return on, longer each time, up to ten minutes', () => {
  const returns = Array.from({ length: 12 }, (_, n) => n + 1);
  const seconds = returns.map((count) => passOverMs(count) / 1_000);
  expect(seconds).toEqual([0, 0, 30, 60, 120, 240, 480, 600, 600, 600, 600, 600]);
});

test('it is passed over for longer than the job pauses before it is queued again, so that others get it first', () => {
  const { initialBackoffMs, backoffFactor, maxBackoffMs, jitter } = DEFAULT_RETRY;
  for (let count = 3; count <= 100; count++) {
    const pauseMs = Math.min(initialBackoffMs * backoffFactor ** (count - 1), maxBackoffMs) * (1 + jitter);
    expect(passOverMs(count)).toBeGreaterThan(pauseMs);
  }
});
