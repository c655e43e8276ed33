// A run in change: what every event needs to change its jobs and itself, within the graphs of states.ts.
import type { MutableByIndex } from './by-index.ts';
import { plannedJob, type Plan } from './plan.ts';
import { assertLoaded, concludesWell, type JobRecord, jobOf, type RunHeader } from './run-state.ts';
import { assertMove, type FinishedJobState, isJobFinished, JOB_GRAPH, RUN_GRAPH, type RunState } from './states.ts';
import type { JobCounts } from './views.ts';

/** A slice that evolves in place while a decision is made or a ledger is replayed. Its owner starts from a copy. */
export interface Evolving {
  plan: Plan;
  run: RunHeader;
  readonly jobs: MutableByIndex<JobRecord>;
}

export function setJob(slice: Evolving, index: number, change: (job: JobRecord) => JobRecord): void {
  const before = jobOf(slice, index);
  const after = change(before);
  if (after.state !== before.state || isJobFinished(before.state)) {
    assertMove(`job ${index}`, JOB_GRAPH, before.state, after.state);
  }
  slice.jobs.set(index, after);
}

export function moveRun(slice: Evolving, state: RunState, change: Partial<RunHeader> = {}): void {
  if (state !== slice.run.state) assertMove('run', RUN_GRAPH, slice.run.state, state);
  slice.run = { ...slice.run, ...change, state };
}

/** Tells the jobs that need it that a job has finished. */
export function noteFinishedNeed(slice: Evolving, index: number): void {
  const bad = concludesWell(jobOf(slice, index)) ? 0 : 1;
  const { dependants, cell } = plannedJob(slice.plan, index);
  assertLoaded(slice, dependants);
  for (const dependant of dependants) {
    const job = jobOf(slice, dependant);
    if (isJobFinished(job.state)) continue;
    // A matrix whose cells are there waits for these alone: what it needed had finished before, though a rerun takes it over again.
    const { cells } = plannedJob(slice.plan, dependant);
    if (cells !== undefined && cell?.of !== dependant) continue;
    slice.jobs.set(dependant, { ...job, unmet: job.unmet - 1, badNeeds: job.badNeeds + bad });
  }
}

export function countFinished(counts: JobCounts, state: FinishedJobState, failureAllowed: boolean): JobCounts {
  const open = counts.open - 1;
  switch (state) {
    case 'SUCCEEDED':
      return { ...counts, open, succeeded: counts.succeeded + 1 };
    case 'SKIPPED':
      return { ...counts, open, skipped: counts.skipped + 1 };
    case 'CANCELLED':
      return { ...counts, open, cancelled: counts.cancelled + 1 };
    case 'FAILED':
      return failureAllowed
        ? { ...counts, open, failureAllowed: counts.failureAllowed + 1 }
        : { ...counts, open, failed: counts.failed + 1 };
  }
}
