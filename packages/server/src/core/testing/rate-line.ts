// The whole line of a rate limit, as one looks at it for those on whom to decide.
import type { RateCandidate, RateWaiter } from '../rate.ts';

export function lineOf(front: readonly RateWaiter[]): RateCandidate[] {
  let aheadMs = 0;
  return front.map((waiter) => {
    const candidate = { ...waiter, aheadMs };
    aheadMs += waiter.costMs;
    return candidate;
  });
}
