import { expect, test } from 'vitest';
import { assertRetention, type Retention } from './retention.ts';

test.each<[Retention]>([
  [{}],
  [{ maxAgeMs: 3_600_000, maxRuns: 1, maxLogAgeMs: 3_600_000 }],
  [{ maxRuns: 10_000_000 }],
])('%j can be kept to', (retention) => expect(() => assertRetention(retention)).not.toThrow());

test.each<[Retention, string]>([
  [{ maxAgeMs: 3_599_999 }, 'retention.maxAgeMs is 3599999: give milliseconds, at least 3600000 (an hour)'],
  [{ maxAgeMs: Number.NaN }, 'retention.maxAgeMs is NaN'],
  [{ maxLogAgeMs: 0 }, 'retention.maxLogAgeMs is 0'],
  [{ maxLogAgeMs: Number.POSITIVE_INFINITY }, 'retention.maxLogAgeMs is Infinity'],
  [{ maxRuns: 0 }, 'retention.maxRuns is 0: give a whole number from 1 to 10000000'],
  [{ maxRuns: 1.5 }, 'retention.maxRuns is 1.5'],
])('%j names what is wrong', (retention, message) => {
  expect(() => assertRetention(retention)).toThrow(message);
});
