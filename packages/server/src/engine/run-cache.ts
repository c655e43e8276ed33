// Runs as this replica last committed or read them. Whoever has a run locked knows its `seq`; every change of a run or its jobs moves
// that number, so what is cached under the same one is what the database holds.
import type { RunId } from '../core/ids.ts';
import type { JobRecord, RunHeader } from '../core/run-state.ts';
import { isRunFinished } from '../core/states.ts';
import type { RunContext } from './run-context.ts';

/** Jobs remembered over all runs, where one with details or outputs counts for as many as take the same memory, roughly. */
const MAX_WEIGHT = 100_000;
const JOB_BYTES = 512;

export interface CachedRun {
  readonly context: RunContext;
  readonly header: RunHeader;
  /** Those that were loaded or written. */
  readonly jobs: ReadonlyMap<number, JobRecord>;
}

export interface RunCache {
  /** The run as of `seq`; undefined when it is not known so. */
  find(runId: RunId, seq: number): CachedRun | undefined;
  /** Remembers a run after a commit. Jobs that are not named stay as they were before it. */
  keep(
    context: RunContext,
    before: RunHeader | undefined,
    header: RunHeader,
    jobs: Iterable<readonly [number, JobRecord]>,
  ): void;
}

interface Entry {
  readonly context: RunContext;
  header: RunHeader;
  readonly jobs: Map<number, JobRecord>;
  readonly weight: number;
}

export function createRunCache(): RunCache {
  const entries = new Map<RunId, Entry>();
  /** Of details and outputs, which do not change: each is measured once. */
  const weights = new WeakMap<object, number>();
  let total = 0;

  function weighPart(part: object | undefined): number {
    if (part === undefined) return 0;
    const known = weights.get(part) ?? JSON.stringify(part).length / JOB_BYTES;
    weights.set(part, known);
    return known;
  }

  function weigh(record: JobRecord): number {
    return 1 + weighPart(record.details) + weighPart('outputs' in record ? record.outputs : undefined);
  }

  function drop(runId: RunId): void {
    total -= entries.get(runId)?.weight ?? 0;
    entries.delete(runId);
  }

  /** Called when it is too large only: a map's first key is found by walking over those that were deleted. */
  function forgetOldest(): void {
    for (const oldest of entries.keys()) {
      if (total <= MAX_WEIGHT) return;
      drop(oldest);
    }
  }

  return {
    find(runId, seq) {
      const entry = entries.get(runId);
      return entry?.header.seq === seq ? entry : undefined;
    },
    keep(context, before, header, jobs) {
      const { runId } = context;
      const known = entries.get(runId);
      // A commit of another lane may have been heard of first.
      if (known !== undefined && known.header.seq > header.seq) return;
      const goesOn = known !== undefined && before !== undefined && known.header.seq === before.seq;
      const records = goesOn ? known.jobs : new Map<number, JobRecord>();
      let weight = goesOn ? known.weight : 0;
      drop(runId);
      if (isRunFinished(header.state)) return;
      for (const [job, record] of jobs) {
        const before = records.get(job);
        if (before === record) continue;
        weight += weigh(record) - (before === undefined ? 0 : weigh(before));
        records.set(job, record);
      }
      entries.set(runId, { context, header, jobs: records, weight });
      total += weight;
      if (total > MAX_WEIGHT) forgetOldest();
    },
  };
}
