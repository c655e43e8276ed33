// Decisions that time makes: the end of a backoff, the timeouts of a job, the phases of a stop. Each is checked against the state
// and the clock again when it fires, so a timer that comes early, late or twice does no harm.
import { endStarted, limitOutcome } from './attempt.ts';
import type { Command, Reply } from './commands.ts';
import { jobOf, liveOf } from './run-state.ts';
import { alarmsOf, concludeJob, type Draft, emit } from './settle.ts';

type TimerCommand = Extract<Command, { type: 'Timer' }>;

const DONE: Reply = { type: 'Done' };

export function releaseBackoff(draft: Draft, index: number): Reply {
  if (jobOf(draft, index).state === 'WAITING') emit(draft, { type: 'JobQueued', job: index });
  return DONE;
}

export function fireTimers(draft: Draft, command: TimerCommand): Reply {
  const { job: index } = command;
  const job = jobOf(draft, index);
  const due = alarmsOf(draft.plan, index, job).find(({ atMs }) => atMs <= draft.nowMs);
  switch (due?.kind) {
    case undefined:
      break;
    case 'TOTAL_TIMEOUT':
      fail(draft, index, 'the total timeout ran out');
      break;
    case 'QUEUE_TIMEOUT':
      fail(draft, index, 'the queue timeout ran out before any driver started it');
      break;
    case 'BACKOFF_END':
      emit(draft, { type: 'JobQueued', job: index });
      break;
    case 'ATTEMPT_TIMEOUT':
      emit(draft, { type: 'AttemptTimedOut', job: index, attempt: job.attempt });
      break;
    case 'GRACE_END':
      endGrace(draft, command);
      break;
  }
  return DONE;
}

/** The grace period ran out: first the driver is told to kill, then the server decrees the end. */
function endGrace(draft: Draft, command: TimerCommand): void {
  const live = liveOf(jobOf(draft, command.job));
  if (live?.stop?.phase === 'SOFT') emit(draft, { type: 'JobKillRequested', job: command.job });
  else if (live !== undefined) endStarted(draft, command, limitOutcome(live) ?? { state: 'CANCELLED' });
}

function fail(draft: Draft, index: number, message: string): void {
  concludeJob(draft, index, { state: 'FAILED', failure: { class: 'TIMEOUT', message } });
}
