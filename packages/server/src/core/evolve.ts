// How an event changes a run: pure, total over the events that decide() makes, and all that is needed to rebuild a run from its
// ledger. An event that does not fit the state is a broken invariant and throws.
import type { RunEvent } from './events.ts';
import { plannedJob, type Plan } from './plan.ts';
import {
  concludesWell,
  type JobBase,
  type JobRecord,
  jobOf,
  liveOf,
  type LiveAttempt,
  type RunHeader,
  type RunSlice,
} from './run-state.ts';
import { type FinishedJobState, isJobFinished } from './states.ts';
import type { JobCounts } from './views.ts';

const NO_JOBS: JobCounts = { total: 0, open: 0, succeeded: 0, failed: 0, failureAllowed: 0, skipped: 0, cancelled: 0 };

/** The state before a run's first event. */
export function beforeFirstEvent(plan: Plan): RunSlice {
  return { plan, run: { state: 'PENDING', seq: 0, lastMs: 0, counts: NO_JOBS }, jobs: new Map() };
}

/** A slice that evolves in place while a decision is made or a ledger is replayed. Its owner starts from a copy. */
export interface Evolving {
  readonly plan: Plan;
  run: RunHeader;
  readonly jobs: Map<number, JobRecord>;
}

/** Applies one event that was made at `nowMs`. */
export function evolve(slice: Evolving, event: RunEvent, nowMs: number): void {
  const before = slice.run;
  slice.run = { ...before, seq: before.seq + 1, lastMs: nowMs };
  switch (event.type) {
    case 'RunCreated':
      createJobs(slice, event, nowMs);
      return;
    case 'RunCancelRequested':
      slice.run = {
        ...slice.run,
        state: 'CANCELLING',
        cancel: { reason: event.reason, force: event.force },
      };
      return;
    case 'RunFinished':
      slice.run = { ...slice.run, state: event.state, finishedMs: nowMs };
      return;
    case 'JobFinished':
      finishJob(slice, event, nowMs);
      return;
    case 'JobQueued':
      setJob(slice, event.job, (job) => ({ ...baseOf(job, nowMs), state: 'QUEUED' }));
      return;
    case 'JobWaiting':
      setJob(slice, event.job, (job) => ({
        ...baseOf(job, nowMs),
        state: 'WAITING',
        wait: { reason: event.reason, untilMs: event.untilMs },
      }));
      return;
    case 'AttemptOffered':
      setJob(slice, event.job, (job) => ({
        ...baseOf(job, nowMs),
        attempt: event.attempt,
        state: 'OFFERED',
        live: { instance: event.instanceNo },
      }));
      return;
    case 'AttemptStarted':
      setJob(slice, event.job, (job) => startAttempt(job, nowMs));
      markStarted(slice, nowMs);
      return;
    case 'AttemptAdopted':
    case 'AttemptAnnotated':
      jobOf(slice, event.job);
      return;
    case 'AttemptTimedOut':
      setJob(slice, event.job, (job) =>
        withLive(job, { stop: { cause: 'TIMEOUT', phase: 'SOFT', sinceMs: nowMs, reason: 'run timeout' } }),
      );
      return;
    case 'JobCancelRequested':
      setJob(slice, event.job, (job) => ({
        ...withLive(job, { stop: { cause: 'CANCEL', phase: 'SOFT', sinceMs: nowMs, reason: event.reason } }),
        state: 'CANCELLING',
      }));
      return;
    case 'JobKillRequested':
      setJob(slice, event.job, (job) => {
        const stop = liveOf(job)?.stop;
        if (stop === undefined) throw new Error('a kill without a request to stop');
        return withLive(job, { stop: { ...stop, phase: 'KILL', sinceMs: nowMs } });
      });
      return;
    case 'AttemptEnded':
      setJob(slice, event.job, (job) => endAttempt(job, event, nowMs));
      return;
  }
}

function createJobs(slice: Evolving, event: Extract<RunEvent, { type: 'RunCreated' }>, nowMs: number): void {
  const inherited = new Map((event.inherited ?? []).map((job) => [job.job, job]));
  let counts: JobCounts = { ...NO_JOBS, total: slice.plan.jobs.length, open: slice.plan.jobs.length };
  for (const { index, needs, definition } of slice.plan.jobs) {
    const from = inherited.get(index);
    if (from !== undefined) {
      const failureAllowed = from.state === 'FAILED' && definition.allowFailure;
      counts = countFinished(counts, from.state, failureAllowed);
      slice.jobs.set(index, {
        attempt: 0,
        unmet: 0,
        badNeeds: 0,
        spent: {},
        state: from.state,
        finishedMs: nowMs,
        inheritedFrom: from.from,
        ...(from.outputs !== undefined && { inheritedOutputs: from.outputs }),
        ...(from.failure !== undefined && { failure: from.failure }),
        ...(failureAllowed && { failureAllowed }),
      });
    } else if (needs.length === 0) {
      slice.jobs.set(index, {
        attempt: 0,
        unmet: 0,
        badNeeds: 0,
        spent: {},
        readyMs: nowMs,
        queuedMs: nowMs,
        state: 'QUEUED',
      });
    } else {
      slice.jobs.set(index, { attempt: 0, unmet: needs.length, badNeeds: 0, spent: {}, state: 'BLOCKED' });
    }
  }
  slice.run = { ...slice.run, counts };
  for (const index of inherited.keys()) noteFinishedNeed(slice, index);
}

function finishJob(slice: Evolving, event: Extract<RunEvent, { type: 'JobFinished' }>, nowMs: number): void {
  setJob(slice, event.job, (job) => ({
    ...baseOf(job, nowMs),
    state: event.state,
    finishedMs: nowMs,
    ...(event.failure !== undefined && { failure: event.failure }),
    ...(event.failureAllowed === true && { failureAllowed: true }),
  }));
  slice.run = { ...slice.run, counts: countFinished(slice.run.counts, event.state, event.failureAllowed === true) };
  markStarted(slice, nowMs);
  noteFinishedNeed(slice, event.job);
}

/** A run that got a first result is no longer pending, unless that result is part of its cancellation. */
function markStarted(slice: Evolving, nowMs: number): void {
  if (slice.run.state !== 'PENDING') return;
  slice.run = { ...slice.run, state: 'RUNNING', startedMs: nowMs };
}

function noteFinishedNeed(slice: Evolving, index: number): void {
  const good = concludesWell(jobOf(slice, index));
  for (const dependant of plannedJob(slice.plan, index).dependants) {
    setJob(slice, dependant, (job) =>
      isJobFinished(job.state) ? job : { ...job, unmet: job.unmet - 1, badNeeds: job.badNeeds + (good ? 0 : 1) },
    );
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

function startAttempt(job: JobRecord, nowMs: number): JobRecord {
  if (job.state !== 'OFFERED') throw new Error(`an attempt started while its job was ${job.state}`);
  const { queuedMs: _waited, ...base } = baseOf(job, nowMs);
  return {
    ...base,
    startedMs: job.startedMs ?? nowMs,
    state: 'RUNNING',
    live: { instance: job.live.instance, attemptStartedMs: nowMs },
  };
}

/** An offer that ends leaves its job queued; the end of a started attempt is followed by what becomes of its job. */
function endAttempt(job: JobRecord, event: Extract<RunEvent, { type: 'AttemptEnded' }>, nowMs: number): JobRecord {
  const failureClass = event.failure?.class;
  const spent =
    failureClass === undefined ? job.spent : { ...job.spent, [failureClass]: (job.spent[failureClass] ?? 0) + 1 };
  if (job.state === 'OFFERED') return { ...baseOf(job, nowMs), spent, state: 'QUEUED' };
  return { ...job, spent };
}

function baseOf(job: JobRecord, nowMs: number): JobBase {
  const waits = job.state !== 'BLOCKED' || job.unmet === 0;
  return {
    attempt: job.attempt,
    unmet: job.unmet,
    badNeeds: job.badNeeds,
    spent: job.spent,
    ...(waits && { readyMs: job.readyMs ?? nowMs, queuedMs: job.queuedMs ?? nowMs }),
    ...(job.startedMs !== undefined && { startedMs: job.startedMs }),
  };
}

function withLive(job: JobRecord, change: Partial<LiveAttempt>): JobRecord & { live: LiveAttempt } {
  if (!('live' in job)) throw new Error(`job has no attempt in hand in state ${job.state}`);
  return { ...job, live: { ...job.live, ...change } };
}

function setJob(slice: Evolving, index: number, change: (job: JobRecord) => JobRecord): void {
  slice.jobs.set(index, change(jobOf(slice, index)));
}

/** Rebuilds a run from its whole ledger. */
export function replay(plan: Plan, events: readonly { readonly event: RunEvent; readonly timeMs: number }[]): RunSlice {
  const { run, jobs } = beforeFirstEvent(plan);
  const slice: Evolving = { plan, run, jobs: new Map(jobs) };
  for (const { event, timeMs } of events) evolve(slice, event, timeMs);
  return slice;
}
