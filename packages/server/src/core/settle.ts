// What follows from an event: jobs whose needs have finished become ready, are skipped or cancelled; a run without open jobs
// finishes; time alone will do the rest. A decision emits its own events and then lets them settle.
import type { RunEvent } from './events.ts';
import { evolve, type Evolving } from './evolve.ts';
import { plannedJob, type Plan } from './plan.ts';
import { type JobRecord, jobOf, type RunHeader, type RunSlice, type TimedWait } from './run-state.ts';
import { type Failure, isRunFinished, type JobState, type RunState } from './states.ts';

/** The states of the run, and of the job that the event is about, right after an event. */
export interface EventMark {
  readonly run: RunState;
  readonly job: JobState | undefined;
}

/** A decision in the making: the events so far and the state after them. */
export interface Draft extends Evolving {
  readonly nowMs: number;
  readonly events: RunEvent[];
  readonly marks: EventMark[];
  /** Jobs that changed. */
  readonly touched: Set<number>;
}

/** Begins a decision. The slice itself is never changed. */
export function beginDraft(slice: RunSlice, nowMs: number): Draft {
  return {
    plan: slice.plan,
    run: slice.run,
    jobs: new Map(slice.jobs),
    nowMs,
    events: [],
    marks: [],
    touched: new Set(),
  };
}

/** Adds an event and applies it. */
export function emit(draft: Draft, event: RunEvent): void {
  evolve(draft, event, draft.nowMs);
  draft.events.push(event);
  const job = 'job' in event ? event.job : undefined;
  draft.marks.push({ run: draft.run.state, job: job === undefined ? undefined : jobOf(draft, job).state });
  if (job !== undefined) draft.touched.add(job);
}

/** Concludes a job that its own attempt, a timer or a cancel ended, and settles what follows. */
export function concludeJob(
  draft: Draft,
  job: number,
  conclusion: { readonly state: 'SUCCEEDED' | 'CANCELLED' } | { readonly state: 'FAILED'; readonly failure: Failure },
): void {
  const failureAllowed = conclusion.state === 'FAILED' && plannedJob(draft.plan, job).definition.allowFailure;
  emit(draft, { type: 'JobFinished', job, ...conclusion, ...(failureAllowed && { failureAllowed }) });
  settleDependants(draft, job);
}

/** Decides on every job that waited for this finished one only, and on those that wait for them. */
export function settleDependants(draft: Draft, finished: number): void {
  const queue = [finished];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    for (const dependant of plannedJob(draft.plan, next).dependants) {
      draft.touched.add(dependant);
      if (settleBlocked(draft, dependant) === 'finished') queue.push(dependant);
    }
  }
}

/** Decides on one job: nothing unless it is BLOCKED with no need open. */
export function settleBlocked(draft: Draft, index: number): 'finished' | 'ready' | 'unchanged' {
  const job = jobOf(draft, index);
  if (job.state !== 'BLOCKED' || job.unmet > 0) return 'unchanged';
  const { when } = plannedJob(draft.plan, index).definition;
  const { cancel } = draft.run;
  if (cancel !== undefined && (when !== 'ALWAYS' || cancel.force)) {
    emit(draft, { type: 'JobFinished', job: index, state: 'CANCELLED' });
    return 'finished';
  }
  if (when === 'SUCCESS' && job.badNeeds > 0) {
    emit(draft, { type: 'JobFinished', job: index, state: 'SKIPPED' });
    return 'finished';
  }
  makeReady(draft, index);
  return 'ready';
}

/** Queues a job that may start, or lets it wait: for whoever holds it back, and then for what is left of a wait of its own. */
export function makeReady(draft: Draft, job: number, wait?: TimedWait): void {
  const reason = heldBackBy(draft.run, jobOf(draft, job));
  if (reason !== undefined)
    emit(draft, { type: 'JobWaiting', job, reason, ...(wait !== undefined && { behind: wait }) });
  else if (wait !== undefined && wait.untilMs > draft.nowMs) emit(draft, { type: 'JobWaiting', job, ...wait });
  else emit(draft, { type: 'JobQueued', job });
}

/** What keeps a job from starting although its needs allow it. */
export function heldBackBy(run: RunHeader, job: JobRecord): 'PAUSED' | 'HELD' | undefined {
  if (job.hold !== undefined) return 'HELD';
  return run.pause === undefined ? undefined : 'PAUSED';
}

/** Ends the run when no job is open. To be called last in every decision. */
export function settleRun(draft: Draft): void {
  const { counts, cancel, state } = draft.run;
  if (counts.open > 0 || isRunFinished(state)) return;
  const failed = counts.failed + counts.cancelled > 0;
  emit(draft, { type: 'RunFinished', state: cancel !== undefined ? 'CANCELLED' : failed ? 'FAILED' : 'SUCCEEDED' });
}

/** What time alone will make of a job, and when. BACKOFF_END is the end of any wait that time ends. */
export interface Alarm {
  readonly atMs: number;
  readonly kind: 'TOTAL_TIMEOUT' | 'QUEUE_TIMEOUT' | 'BACKOFF_END' | 'ATTEMPT_TIMEOUT' | 'SILENCE' | 'GRACE_END';
}

/** Every alarm of a job as it is now; of those that are due the first one counts. */
export function alarmsOf(plan: Plan, index: number, job: JobRecord): readonly Alarm[] {
  const { timeouts } = plannedJob(plan, index).definition;
  const alarm = (kind: Alarm['kind'], sinceMs: number | undefined, afterMs: number | undefined): Alarm[] =>
    sinceMs === undefined || afterMs === undefined ? [] : [{ atMs: sinceMs + afterMs, kind }];
  switch (job.state) {
    case 'WAITING':
    case 'QUEUED':
      return [
        ...alarm('TOTAL_TIMEOUT', job.readyMs, timeouts.totalMs),
        ...alarm('QUEUE_TIMEOUT', job.queuedMs, timeouts.queueMs),
        ...(job.state === 'WAITING' && 'untilMs' in job.wait ? alarm('BACKOFF_END', job.wait.untilMs, 0) : []),
      ];
    case 'RUNNING':
    case 'CANCELLING': {
      const { stop, attemptStartedMs, heardMs } = job.live;
      if (stop !== undefined) return alarm('GRACE_END', stop.sinceMs, timeouts.cancelGraceMs);
      return [
        ...alarm('ATTEMPT_TIMEOUT', attemptStartedMs, timeouts.runMs),
        ...alarm('ATTEMPT_TIMEOUT', job.readyMs, timeouts.totalMs),
        ...alarm('SILENCE', heardMs ?? attemptStartedMs, timeouts.silenceMs),
      ];
    }
    case 'OFFERED':
      // Its offer ends within the offer timeout, and then it is due as a queued or running job.
      return [];
    case 'BLOCKED':
    case 'SUCCEEDED':
    case 'FAILED':
    case 'SKIPPED':
    case 'CANCELLED':
      return [];
  }
}

/** When something happens to the job by itself next; undefined: never. */
export function dueOf(slice: RunSlice, index: number, job: JobRecord): number | undefined {
  const alarms = alarmsOf(slice.plan, index, job);
  return alarms.length === 0 ? undefined : Math.min(...alarms.map(({ atMs }) => atMs));
}
