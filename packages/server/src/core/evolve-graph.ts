// How jobs come into a run: with its creation, as the cells of a matrix, and when one of its jobs appends others.
import type { RunEvent } from './events.ts';
import { baseOf } from './evolve-job.ts';
import { countFinished, type Evolving, moveRun, noteFinishedNeed, setJob } from './evolving.ts';
import { growPlan, isDriven, type PlannedJob, planWith } from './plan.ts';
import { assertLoaded, concludesWell, jobOf } from './run-state.ts';
import { isJobFinished } from './states.ts';
import type { JobCounts } from './views.ts';

export const NO_JOBS: JobCounts = {
  total: 0,
  open: 0,
  succeeded: 0,
  failed: 0,
  failureAllowed: 0,
  skipped: 0,
  cancelled: 0,
};

export function createJobs(slice: Evolving, event: Extract<RunEvent, { type: 'RunCreated' }>, nowMs: number): void {
  // What was added later is in the plan of a run that is replayed.
  slice.plan = planWith(slice.plan, event.jobs);
  const inherited = new Map((event.inherited ?? []).map((job) => [job.job, job]));
  let counts: JobCounts = { ...NO_JOBS, total: slice.plan.jobs.length, open: slice.plan.jobs.length };
  for (const planned of slice.plan.jobs) {
    const { index, needs, definition } = planned;
    const fresh = { attempt: 0, unmet: needs.length, badNeeds: 0, spent: {} };
    const from = inherited.get(index);
    if (from !== undefined) {
      const failureAllowed = from.state === 'FAILED' && definition.allowFailure;
      counts = countFinished(counts, from.state, failureAllowed);
      slice.jobs.set(index, {
        ...fresh,
        unmet: 0,
        state: from.state,
        finishedMs: nowMs,
        inheritedFrom: from.from,
        ...(from.outputs !== undefined && { outputs: from.outputs }),
        ...(from.failure !== undefined && { failure: from.failure }),
        ...(failureAllowed && { failureAllowed }),
      });
    } else if (planned.cell !== undefined) {
      slice.jobs.set(index, { ...fresh, unmet: 0, state: 'BLOCKED' });
    } else if (planned.cells !== undefined) {
      const unmet = planned.cells.length;
      const wait = { reason: 'MATRIX', sinceMs: nowMs } as const;
      slice.jobs.set(index, { ...fresh, unmet, readyMs: nowMs, state: 'WAITING', wait });
    } else if (!startsPlainly(planned)) {
      slice.jobs.set(index, { ...fresh, state: 'BLOCKED' });
    } else if (event.startMs !== undefined) {
      const wait = { reason: 'DELAY', untilMs: event.startMs } as const;
      // Its total timeout counts from then.
      slice.jobs.set(index, { ...fresh, readyMs: event.startMs, state: 'WAITING', wait });
    } else {
      slice.jobs.set(index, { ...fresh, readyMs: nowMs, queuedMs: nowMs, state: 'QUEUED' });
    }
  }
  slice.run = { ...slice.run, counts };
  for (const index of inherited.keys()) noteFinishedNeed(slice, index);
  if (counts.open === 0) moveRun(slice, 'RUNNING');
}

/** Whether the creation of its run is all that a job waits for, and all that there is to say of it. */
function startsPlainly(job: PlannedJob): boolean {
  return job.needs.length === 0 && job.isPlain && isDriven(job);
}

export function addCells(slice: Evolving, event: Extract<RunEvent, { type: 'JobsAdded' }>, nowMs: number): void {
  const { type: _type, ...added } = event;
  const { job: index, cells } = added;
  const first = slice.plan.jobs.length;
  slice.plan = growPlan(slice.plan, added);
  for (let cell = first; cell < slice.plan.jobs.length; cell++) {
    slice.jobs.set(cell, { attempt: 0, unmet: 0, badNeeds: 0, spent: {}, state: 'BLOCKED' });
  }
  countAdded(slice, cells.length);
  setJob(slice, index, (job) => {
    const { queuedMs: _none, ...base } = baseOf(job);
    const wait = { reason: 'MATRIX', sinceMs: nowMs } as const;
    return { ...base, unmet: cells.length, badNeeds: 0, readyMs: job.readyMs ?? nowMs, state: 'WAITING', wait };
  });
}

export function appendJobs(slice: Evolving, { job: by, jobs }: Extract<RunEvent, { type: 'JobsAppended' }>): void {
  const last = slice.plan.jobs.filter(({ definition }) => definition.when === 'FINALLY').map(({ index }) => index);
  const first = slice.plan.jobs.length;
  slice.plan = growPlan(slice.plan, { by, jobs });
  const added = slice.plan.jobs.slice(first);
  assertLoaded(slice, [...last, ...added.flatMap(({ needs }) => needs.filter((need) => need < first))]);
  for (const { index, needs } of added) {
    const known = needs.flatMap((need) => (need < first ? [jobOf(slice, need)] : []));
    const finished = known.filter(({ state }) => isJobFinished(state));
    const badNeeds = finished.filter((need) => !concludesWell(need)).length;
    const unmet = needs.length - finished.length;
    slice.jobs.set(index, { attempt: 0, unmet, badNeeds, spent: {}, state: 'BLOCKED' });
  }
  for (const index of last) {
    const job = jobOf(slice, index);
    slice.jobs.set(index, { ...job, unmet: job.unmet + added.length });
  }
  countAdded(slice, added.length);
}

function countAdded(slice: Evolving, added: number): void {
  const { counts } = slice.run;
  slice.run = { ...slice.run, counts: { ...counts, total: counts.total + added, open: counts.open + added } };
}
