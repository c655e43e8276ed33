// How an event changes a run: pure, total over the events that decide() makes, and all that is needed to rebuild a run from its
// ledger. An event that does not fit the state, or leaves the graphs of states.ts, is a broken invariant and throws.
import type { RunEvent } from './events.ts';
import { growPlan, isDriven, type Plan, type PlannedJob, plannedJob, planWith } from './plan.ts';
import {
  assertLoaded,
  concludesWell,
  type JobRecord,
  jobOf,
  liveOf,
  type RunHeader,
  type RunSlice,
  type StopRequest,
} from './run-state.ts';
import {
  assertMove,
  type FinishedJobState,
  isJobFinished,
  isRunFinished,
  JOB_GRAPH,
  RUN_GRAPH,
  type RunState,
} from './states.ts';
import {
  baseOf,
  endAttempt,
  liveAttempt,
  startAttempt,
  whyTimedOut,
  withLive,
  withoutHold,
  withStop,
} from './evolve-job.ts';
import type { JobCounts } from './views.ts';
import { queuedSince, waitOf } from './waits.ts';

const NO_JOBS: JobCounts = { total: 0, open: 0, succeeded: 0, failed: 0, failureAllowed: 0, skipped: 0, cancelled: 0 };

/** The state before a run's first event. */
export function beforeFirstEvent(plan: Plan): RunSlice {
  return { plan, run: { state: 'PENDING', seq: 0, lastMs: 0, counts: NO_JOBS }, jobs: new Map() };
}

/** A slice that evolves in place while a decision is made or a ledger is replayed. Its owner starts from a copy. */
export interface Evolving {
  plan: Plan;
  run: RunHeader;
  readonly jobs: Map<number, JobRecord>;
}

/** Applies one event that was made at `nowMs`. */
export function evolve(slice: Evolving, event: RunEvent, nowMs: number): void {
  const { run } = slice;
  if ((run.seq === 0) !== (event.type === 'RunCreated')) throw new Error(`${event.type} as event ${run.seq + 1}`);
  if (isRunFinished(run.state)) throw new Error(`${event.type} after the run finished`);
  slice.run = { ...run, seq: run.seq + 1, lastMs: nowMs };
  switch (event.type) {
    case 'RunCreated':
      createJobs(slice, event, nowMs);
      return;
    case 'RunPaused':
      slice.run = { ...slice.run, pause: { reason: event.reason, actor: event.actor, sinceMs: nowMs } };
      return;
    case 'RunResumed':
      slice.run = withoutPause(slice.run);
      return;
    case 'RunCancelRequested':
      slice.run = withoutPause(slice.run);
      moveRun(slice, 'CANCELLING', { cancel: { reason: event.reason, force: event.force } });
      return;
    case 'RunFinished':
      slice.run = withoutPause(slice.run);
      moveRun(slice, event.state, { finishedMs: nowMs });
      return;
    case 'JobFinished':
      finishJob(slice, event, nowMs);
      return;
    case 'JobQueued':
      setJob(slice, event.job, (job) => ({
        ...baseOf(job),
        // A delayed run that is let go early is ready then.
        readyMs: Math.min(job.readyMs ?? nowMs, nowMs),
        queuedMs: queuedSince(job, nowMs) ?? nowMs,
        state: 'QUEUED',
      }));
      return;
    case 'JobWaiting':
      setJob(slice, event.job, (job) => {
        const { queuedMs: _before, ...base } = baseOf(job);
        return { ...base, readyMs: job.readyMs ?? nowMs, state: 'WAITING', ...waitOf(job, event, nowMs) };
      });
      return;
    case 'JobEvaluated': {
      const { condition, spec, group, rates } = event;
      const found = {
        ...(condition !== undefined && { condition }),
        ...(spec !== undefined && { spec }),
        ...(group !== undefined && { group }),
        ...(rates !== undefined && { rates }),
      };
      setJob(slice, event.job, (job) => ({ ...job, details: { ...job.details, ...found } }));
      return;
    }
    case 'JobsAdded':
      addCells(slice, event, nowMs);
      return;
    case 'GateAnswered':
      setJob(slice, event.job, (job) => {
        const { actor, verdict, answers, comment } = event;
        const others = (job.details?.answers ?? []).filter((given) => given.actor !== actor);
        const given = { actor, verdict, answers, comment, timeMs: nowMs };
        return { ...job, details: { ...job.details, answers: [...others, given] } };
      });
      return;
    case 'ChildRunStarted':
      setJob(slice, event.job, (job) => ({ ...job, details: { ...job.details, childRun: event.childRun } }));
      return;
    case 'JobHeld':
      setJob(slice, event.job, (job) => ({
        ...job,
        hold: { reason: event.reason, actor: event.actor, sinceMs: nowMs },
      }));
      return;
    case 'JobReleased':
      setJob(slice, event.job, withoutHold);
      return;
    case 'AttemptOffered':
      setJob(slice, event.job, (job) => {
        if (job.state !== 'QUEUED' || event.attempt !== job.attempt + 1) {
          throw new Error(`offer of attempt ${event.attempt} while the job is ${job.state} with ${job.attempt}`);
        }
        return { ...baseOf(job), attempt: event.attempt, state: 'OFFERED', live: { instance: event.instanceNo } };
      });
      return;
    case 'AttemptStarted':
      setJob(slice, event.job, (job) => startAttempt(job, event, nowMs));
      if (slice.run.state === 'PENDING') moveRun(slice, 'RUNNING');
      slice.run = { ...slice.run, startedMs: slice.run.startedMs ?? nowMs };
      return;
    case 'AttemptAdopted':
    case 'AttemptAnnotated':
      liveAttempt(jobOf(slice, event.job), event);
      return;
    case 'AttemptTimedOut':
      setJob(slice, event.job, (job) =>
        withStop(job, { cause: 'TIMEOUT', phase: 'SOFT', sinceMs: nowMs, reason: whyTimedOut(event) }),
      );
      return;
    case 'AttemptHeard':
      liveAttempt(jobOf(slice, event.job), event);
      setJob(slice, event.job, (job) => withLive(job, { heardMs: event.heardMs }));
      return;
    case 'JobCancelRequested':
      setJob(slice, event.job, (job) => {
        if (job.state === 'WAITING' && 'sinceMs' in job.wait) {
          return { ...withoutHold(job), state: 'WAITING', wait: { ...job.wait, stopping: event.reason } };
        }
        const stop: StopRequest = { cause: 'CANCEL', phase: 'SOFT', sinceMs: nowMs, reason: event.reason };
        // An attempt that is being stopped already gets no more time by a cancel.
        return { ...withStop(withoutHold(job), liveOf(job)?.stop ?? stop), state: 'CANCELLING' };
      });
      return;
    case 'JobKillRequested':
      setJob(slice, event.job, (job) => {
        const stop = liveOf(job)?.stop;
        if (stop === undefined) throw new Error('a kill without a request to stop');
        return withStop(job, { ...stop, phase: 'KILL', sinceMs: nowMs });
      });
      return;
    case 'AttemptEnded':
      setJob(slice, event.job, (job) => endAttempt(job, event));
      return;
  }
}

function createJobs(slice: Evolving, event: Extract<RunEvent, { type: 'RunCreated' }>, nowMs: number): void {
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

function addCells(slice: Evolving, event: Extract<RunEvent, { type: 'JobsAdded' }>, nowMs: number): void {
  const { job: index, cells } = event;
  const first = slice.plan.jobs.length;
  slice.plan = growPlan(slice.plan, { job: index, cells });
  for (let cell = first; cell < slice.plan.jobs.length; cell++) {
    slice.jobs.set(cell, { attempt: 0, unmet: 0, badNeeds: 0, spent: {}, state: 'BLOCKED' });
  }
  const { counts } = slice.run;
  slice.run = {
    ...slice.run,
    counts: { ...counts, total: counts.total + cells.length, open: counts.open + cells.length },
  };
  setJob(slice, index, (job) => {
    const { queuedMs: _none, ...base } = baseOf(job);
    const wait = { reason: 'MATRIX', sinceMs: nowMs } as const;
    return { ...base, unmet: cells.length, badNeeds: 0, readyMs: job.readyMs ?? nowMs, state: 'WAITING', wait };
  });
}

function finishJob(slice: Evolving, event: Extract<RunEvent, { type: 'JobFinished' }>, nowMs: number): void {
  setJob(slice, event.job, (job) => {
    const { queuedMs: _waited, hold: _held, ...base } = baseOf(job);
    return {
      ...base,
      state: event.state,
      finishedMs: nowMs,
      ...(event.failure !== undefined && { failure: event.failure }),
      ...(event.failureAllowed === true && { failureAllowed: true }),
      ...(event.outputs !== undefined && { outputs: event.outputs }),
    };
  });
  slice.run = { ...slice.run, counts: countFinished(slice.run.counts, event.state, event.failureAllowed === true) };
  // A run that has a result is no longer pending, even if nothing ever started.
  if (slice.run.state === 'PENDING') moveRun(slice, 'RUNNING');
  noteFinishedNeed(slice, event.job);
}

function noteFinishedNeed(slice: Evolving, index: number): void {
  const bad = concludesWell(jobOf(slice, index)) ? 0 : 1;
  const { dependants } = plannedJob(slice.plan, index);
  assertLoaded(slice, dependants);
  for (const dependant of dependants) {
    const job = jobOf(slice, dependant);
    if (isJobFinished(job.state)) continue;
    slice.jobs.set(dependant, { ...job, unmet: job.unmet - 1, badNeeds: job.badNeeds + bad });
  }
}

function countFinished(counts: JobCounts, state: FinishedJobState, failureAllowed: boolean): JobCounts {
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

function withoutPause({ pause: _ended, ...run }: RunHeader): RunHeader {
  return run;
}

function setJob(slice: Evolving, index: number, change: (job: JobRecord) => JobRecord): void {
  const before = jobOf(slice, index);
  const after = change(before);
  if (after.state !== before.state || isJobFinished(before.state)) {
    assertMove(`job ${index}`, JOB_GRAPH, before.state, after.state);
  }
  slice.jobs.set(index, after);
}

function moveRun(slice: Evolving, state: RunState, change: Partial<RunHeader> = {}): void {
  if (state !== slice.run.state) assertMove('run', RUN_GRAPH, slice.run.state, state);
  slice.run = { ...slice.run, ...change, state };
}
