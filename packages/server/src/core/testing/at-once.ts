// Runs what comes in slices to its end, with nobody to wait for it.
import { createCheckWork } from '../check-work.ts';
import { atOnce } from '../slices.ts';

export { atOnce };

/** As one request would check it. */
export function checkAtOnce<A extends readonly unknown[], T>(
  check: (...args: [...A, ReturnType<typeof createCheckWork>]) => Generator<undefined, T>,
  ...args: A
): T {
  return atOnce(check(...args, createCheckWork()));
}
