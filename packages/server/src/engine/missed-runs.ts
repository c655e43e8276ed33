// Runs whose jobs could not be offered because somebody else holds their locks. The first time whoever does is about to commit; a run that
// is missed again and again is looked past for as long as that has gone on, so that the jobs behind it get the slots.
import type { RunId } from '../core/ids.ts';

/** A run is looked past for so long at most, and then tried again. */
const LONGEST_PASS_MS = 100;
/** One that was not tried for so long begins anew. */
const FORGET_MS = 1_000;
/** Runs remembered; the oldest are forgotten. */
const MAX_REMEMBERED = 1_000;

export interface MissedRuns {
  missed(runIds: Iterable<RunId>): void;
  reached(runIds: Iterable<RunId>): void;
  /** Those to look past now. */
  passed(): readonly RunId[];
  /** When, on the process's monotonic clock, the first of them is to be tried again. */
  nextMs(): number | undefined;
}

export function createMissedRuns(): MissedRuns {
  const known = new Map<RunId, { readonly sinceMs: number; readonly untilMs: number }>();

  function open() {
    const nowMs = performance.now();
    for (const [runId, { untilMs }] of known) if (nowMs - untilMs > FORGET_MS) known.delete(runId);
    return [...known].filter(([, { untilMs }]) => untilMs > nowMs);
  }

  return {
    missed(runIds) {
      const nowMs = performance.now();
      for (const runId of runIds) {
        const sinceMs = known.get(runId)?.sinceMs ?? nowMs;
        known.delete(runId);
        known.set(runId, { sinceMs, untilMs: nowMs + Math.min(nowMs - sinceMs, LONGEST_PASS_MS) });
        const [oldest] = known.keys();
        if (known.size > MAX_REMEMBERED && oldest !== undefined) known.delete(oldest);
      }
    },
    reached(runIds) {
      for (const runId of runIds) known.delete(runId);
    },
    passed: () => open().map(([runId]) => runId),
    nextMs() {
      const times = open().map(([, { untilMs }]) => untilMs);
      return times.length === 0 ? undefined : Math.min(...times);
    },
  };
}
