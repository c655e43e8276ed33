// How long things are kept. What is not limited is kept for ever.

export interface Retention {
  /** Finished runs are deleted so long after their end, in milliseconds: an hour or more. */
  readonly maxAgeMs?: number;
  /** Of each project so many of the newest runs are kept; older ones are deleted once they have finished. */
  readonly maxRuns?: number;
  /** Log bytes are dropped with their UTC day once it is past for so long, in milliseconds: an hour or more. */
  readonly maxLogAgeMs?: number;
}

const HOUR_MS = 3_600_000;
/** Keeps times and counts in range; about three hundred years. */
const LONGEST_MS = 1e13;
const MOST_RUNS = 10_000_000;

/** Throws a RangeError that names the setting, unless all of them can be kept to. */
export function assertRetention({ maxAgeMs, maxRuns, maxLogAgeMs }: Retention): void {
  for (const [name, value] of Object.entries({ maxAgeMs, maxLogAgeMs })) {
    if (value === undefined || (value >= HOUR_MS && value <= LONGEST_MS)) continue;
    throw new RangeError(`retention.${name} is ${value}: give milliseconds, at least ${HOUR_MS} (an hour)`);
  }
  if (maxRuns === undefined || (Number.isInteger(maxRuns) && maxRuns >= 1 && maxRuns <= MOST_RUNS)) return;
  throw new RangeError(`retention.maxRuns is ${maxRuns}: give a whole number from 1 to ${MOST_RUNS}`);
}
