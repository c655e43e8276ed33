// What an evaluation costs, counted in steps and not in time, so that the same expression over the same inputs always ends in
// the same way. Whoever works pays first.

export interface Meter {
  readonly spent: number;
  /** Throws CostExceeded when there is less left than that. */
  charge(steps: number): void;
}

/** Thrown, not returned: no operator of an expression may go on after it. It never leaves this room. */
export class CostExceeded extends Error {}

export function createMeter(limit: number): Meter {
  let spent = 0;
  return {
    get spent() {
      return spent;
    },
    charge(steps) {
      spent += steps;
      if (spent <= limit) return;
      spent = limit;
      throw new CostExceeded(`costs more than ${limit} steps`);
    },
  };
}
