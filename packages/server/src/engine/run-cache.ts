// Runs as this replica last committed or read them. Whoever has a run locked knows its `seq`; every change of a run or its jobs moves
// that number, so what is cached under the same one is what the database holds.
import type { RunId } from '../core/ids.ts';
import type { JobRecord, RunHeader } from '../core/run-state.ts';
import { isRunFinished } from '../core/states.ts';
import type { RunContext } from './run-context.ts';

/** Jobs remembered over all runs; the runs used least recently are forgotten. */
const MAX_JOBS = 100_000;

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
}

export function createRunCache(): RunCache {
  const entries = new Map<RunId, Entry>();
  let size = 0;

  function drop(runId: RunId): void {
    size -= entries.get(runId)?.jobs.size ?? 0;
    entries.delete(runId);
  }

  /** Called when it is too large only: a map's first key is found by walking over those that were deleted. */
  function forgetOldest(): void {
    for (const oldest of entries.keys()) {
      if (size <= MAX_JOBS || entries.size === 1) return;
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
      drop(runId);
      if (isRunFinished(header.state)) return;
      for (const [job, record] of jobs) records.set(job, record);
      entries.set(runId, { context, header, jobs: records });
      size += records.size;
      if (size > MAX_JOBS) forgetOldest();
    },
  };
}
