import fc from 'fast-check';
import { expect, test } from 'vitest';
import { rateCandidates, type RateState, rateViewOf, type RateWaiter } from './rate.ts';
import { lineOf } from './testing/rate-line.ts';

const front = (costs: readonly number[], told: (n: number) => boolean = () => true): RateWaiter[] =>
  costs.map((costMs, n) => ({ runId: 'r', job: n, readyMs: n, costMs, periodMs: 1_000, told: told(n) }));

const rateOf = (waiters: RateWaiter[], fullMs: number): RateState => ({
  fullMs,
  isWhole: true,
  front: waiters,
  taken: false,
});

test('those of a line on whom somebody has to decide are those who are told so each by itself', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ costMs: fc.integer({ min: 1, max: 400 }), told: fc.boolean() }), { maxLength: 20 }),
      fc.integer({ min: -1_000, max: 2_000 }),
      (line, fullMs) => {
        const rate = rateOf(
          front(
            line.map(({ costMs }) => costMs),
            (n) => line[n]?.told === true,
          ),
          fullMs,
        );
        const views = rate.front.map((waiter) => ({ waiter, view: rateViewOf(rate, waiter, 0) }));
        expect(rateCandidates(rate, lineOf(rate.front), 0)).toMatchObject({
          now: views.filter(({ waiter, view }) => view.allowed || !waiter.told).map(({ waiter }) => waiter),
          nextMs: views.find(({ view }) => !view.allowed)?.view.expectedMs,
        });
      },
    ),
  );
});
