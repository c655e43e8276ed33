// Where the queue of each driver begins, so that a claim does not walk over rows that are gone. Numbers are given out before their
// transactions commit, so a head stays behind what was seen, and every second a claim begins at the very start.

/** More numbers than all transactions in flight can have taken and not yet committed. */
const MARGIN = 20_000;
const SWEEP_MS = 1_000;

export interface QueueHeads {
  /** The lowest number to claim from. */
  from(driver: string): number;
  /** The first row that a claim found; undefined: none. */
  saw(driver: string, first: number | undefined): void;
}

export function createQueueHeads(): QueueHeads {
  const heads = new Map<string, { from: number; sweptMs: number }>();

  return {
    from(driver) {
      const head = heads.get(driver);
      const nowMs = performance.now();
      if (head !== undefined && nowMs - head.sweptMs < SWEEP_MS) return head.from;
      heads.set(driver, { from: 0, sweptMs: nowMs });
      return 0;
    },
    saw(driver, first) {
      const head = heads.get(driver);
      if (head !== undefined && first !== undefined) head.from = Math.max(0, first - MARGIN);
    },
  };
}
