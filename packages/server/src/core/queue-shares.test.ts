// Weights of turns: which names and numbers are taken, and what who is not named has.
import { expect, test } from 'vitest';
import { assertQueueShares, weightsOf } from './queue-shares.ts';

test.each([[{}], [{ default: 3 }], [{ 'default/deploy': 1_000, 'default/': 2, 'team-a': 1 }]])(
  '%j are shares',
  (shares) => {
    expect(() => assertQueueShares(shares)).not.toThrow();
  },
);

test.each([
  [{ default: 0 }, 'queueShares of default is 0: give a whole number from 1 to 1000'],
  [{ default: 1.5 }, 'queueShares of default is 1.5: give a whole number from 1 to 1000'],
  [{ default: 1_001 }, 'queueShares of default is 1001: give a whole number from 1 to 1000'],
  [{ 'a/b/c': 1 }, 'queueShares has the name "a/b/c": give `project` or `project/pipeline`'],
])('%j are refused', (shares, message) => {
  expect(() => assertQueueShares(shares)).toThrow(new RangeError(message));
});

test('who is not named has the weight 1', () => {
  const weightOf = weightsOf({ default: 3, 'default/deploy': 2, 'default/': 5 });
  expect([weightOf('default'), weightOf('other'), weightOf('constructor')]).toEqual([3, 1, 1]);
  expect(['deploy', '', 'ci'].map((pipeline) => weightOf('default', pipeline))).toEqual([2, 5, 1]);
});
