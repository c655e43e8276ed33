// How an event changes a run: pure, total over the events that decide() makes, and all that is needed to rebuild a run from its
// ledger. An event that does not fit the state, or leaves the graphs of states.ts, is a broken invariant and throws.
import type { RunEvent } from './events.ts';
import { addCells, appendJobs, createJobs, NO_JOBS } from './evolve-graph.ts';
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
import { countFinished, type Evolving, moveRun, noteFinishedNeed, setJob } from './evolving.ts';
import { type Plan, plannedJob } from './plan.ts';
import { jobOf, liveOf, type RunHeader, type RunSlice, type StopRequest } from './run-state.ts';
import { isRunFinished } from './states.ts';
import { queuedSince, waitOf } from './waits.ts';

/** The state before a run's first event. */
export function beforeFirstEvent(plan: Plan): RunSlice {
  return { plan, run: { state: 'PENDING', seq: 0, lastMs: 0, counts: NO_JOBS }, jobs: new Map() };
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
      const { type: _type, job: _job, ...found } = event;
      setJob(slice, event.job, (job) => ({ ...job, details: { ...job.details, ...found } }));
      return;
    }
    case 'JobsAdded':
      addCells(slice, event, nowMs);
      return;
    case 'JobsAppended':
      liveAttempt(jobOf(slice, event.job), event);
      appendJobs(slice, event);
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
    case 'AttemptArtifact':
      liveAttempt(jobOf(slice, event.job), event);
      return;
    case 'AttemptTimedOut':
      setJob(slice, event.job, (job) =>
        withStop(job, {
          cause: 'TIMEOUT',
          phase: 'SOFT',
          sinceMs: nowMs,
          reason: whyTimedOut(event, job, plannedJob(slice.plan, event.job).definition.timeouts),
        }),
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
      ...(event.cancelReason !== undefined && { details: { ...job.details, cancelReason: event.cancelReason } }),
    };
  });
  slice.run = { ...slice.run, counts: countFinished(slice.run.counts, event.state, event.failureAllowed === true) };
  // A run that has a result is no longer pending, even if nothing ever started.
  if (slice.run.state === 'PENDING') moveRun(slice, 'RUNNING');
  noteFinishedNeed(slice, event.job);
}

function withoutPause({ pause: _ended, ...run }: RunHeader): RunHeader {
  return run;
}
