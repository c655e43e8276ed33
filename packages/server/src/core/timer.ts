// Decisions that time makes: the end of a backoff, the timeouts of a job, the phases of a stop. Each is checked against the state
// and the clock again when it fires, so a timer that comes early, late or twice does no harm.
import { endStarted, retryOrFail } from './attempt.ts';
import type { Command, Reply } from './commands.ts';
import { plannedJob } from './plan.ts';
import { type JobRecord, jobOf } from './run-state.ts';
import { concludeJob, type Draft, emit } from './settle.ts';
import type { Failure } from './states.ts';

const DONE: Reply = { type: 'Done' };

export function releaseBackoff(draft: Draft, index: number): Reply {
  if (jobOf(draft, index).state === 'WAITING') emit(draft, { type: 'JobQueued', job: index });
  return DONE;
}

export function fireTimers(draft: Draft, command: Extract<Command, { type: 'Timer' }>): Reply {
  const { job: index } = command;
  const job = jobOf(draft, index);
  const { timeouts } = plannedJob(draft.plan, index).definition;
  const isDue = (sinceMs: number | undefined, afterMs: number | undefined): boolean =>
    sinceMs !== undefined && afterMs !== undefined && draft.nowMs >= sinceMs + afterMs;
  switch (job.state) {
    case 'WAITING':
    case 'QUEUED':
      if (isDue(job.readyMs, timeouts.totalMs)) fail(draft, index, 'the total timeout ran out');
      else if (isDue(job.queuedMs, timeouts.queueMs))
        fail(draft, index, 'the queue timeout ran out before any driver started it');
      else if (job.state === 'WAITING' && draft.nowMs >= job.wait.untilMs)
        emit(draft, { type: 'JobQueued', job: index });
      return DONE;
    case 'RUNNING':
    case 'CANCELLING':
      fireRunning(draft, job, command, isDue);
      return DONE;
    case 'BLOCKED':
    case 'OFFERED':
    case 'SUCCEEDED':
    case 'FAILED':
    case 'SKIPPED':
    case 'CANCELLED':
      return DONE;
  }
}

function fireRunning(
  draft: Draft,
  job: Extract<JobRecord, { state: 'RUNNING' | 'CANCELLING' }>,
  command: Extract<Command, { type: 'Timer' }>,
  isDue: (sinceMs: number | undefined, afterMs: number | undefined) => boolean,
): void {
  const { job: index } = command;
  const { timeouts } = plannedJob(draft.plan, index).definition;
  const { stop, attemptStartedMs } = job.live;
  if (stop === undefined) {
    if (isDue(attemptStartedMs, timeouts.runMs) || isDue(job.readyMs, timeouts.totalMs)) {
      emit(draft, { type: 'AttemptTimedOut', job: index, attempt: job.attempt });
    }
    return;
  }
  if (!isDue(stop.sinceMs, timeouts.cancelGraceMs)) return;
  if (stop.phase === 'SOFT') {
    emit(draft, { type: 'JobKillRequested', job: index });
    return;
  }
  const ref = { job: index, attempt: job.attempt };
  if (stop.cause === 'CANCEL') {
    endStarted(draft, ref, 'CANCELLED', undefined, command.content);
    concludeJob(draft, index, { state: 'CANCELLED' });
    return;
  }
  const failure: Failure = { class: 'TIMEOUT', message: 'the run timeout ran out and the driver did not stop in time' };
  endStarted(draft, ref, 'TIMED_OUT', failure, command.content);
  retryOrFail(draft, index, failure, command.random);
}

function fail(draft: Draft, index: number, message: string): void {
  concludeJob(draft, index, { state: 'FAILED', failure: { class: 'TIMEOUT', message } });
}
