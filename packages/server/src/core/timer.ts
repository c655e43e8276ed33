// Decisions that time makes: the end of a backoff, the timeouts of a job, the phases of a stop. Each is checked against the state
// and the clock again when it fires, so a timer that comes early, late or twice does no harm.
import { endStarted, limitOutcome } from './attempt.ts';
import type { Command, Reply } from './commands.ts';
import { HOLD_VERSION } from './event-versions.ts';
import { limitText } from './evolve-job.ts';
import { plannedJob } from './plan.ts';
import { DONE } from './replies.ts';
import { jobOf, liveOf } from './run-state.ts';
import { alarmsOf } from './alarms.ts';
import { expireGate } from './gate.ts';
import { type Draft, emit } from './draft.ts';
import { concludeJob, makeReady } from './settle.ts';

type TimerCommand = Extract<Command, { type: 'Timer' }>;

export function fireTimers(draft: Draft, command: TimerCommand): Reply {
  const { job: index } = command;
  const job = jobOf(draft, index);
  const { timeouts } = plannedJob(draft.plan, index).definition;
  const due = alarmsOf(draft.plan, index, job).find(({ atMs }) => atMs <= draft.nowMs);
  switch (due?.kind) {
    case undefined:
      break;
    case 'TOTAL_TIMEOUT':
      fail(draft, index, limitText('total', timeouts.totalMs ?? 0));
      break;
    case 'QUEUE_TIMEOUT':
      fail(draft, index, `${limitText('queue', timeouts.queueMs ?? 0)} before any driver started it`);
      break;
    case 'BACKOFF_END':
      makeReady(draft, index);
      break;
    case 'GATE_TIMEOUT':
      expireGate(draft, index);
      break;
    case 'ATTEMPT_TIMEOUT':
      emit(draft, { type: 'AttemptTimedOut', job: index, attempt: job.attempt });
      break;
    case 'SILENCE':
      endSilence(draft, command);
      break;
    case 'GRACE_END':
      endGrace(draft, command);
      break;
  }
  return DONE;
}

/** The silence timeout has passed since the attempt was last known to be heard of: it may have been heard of since. */
function endSilence(draft: Draft, { job: index, content, eventVersion }: TimerCommand): void {
  const { attempt } = jobOf(draft, index);
  const { silenceMs } = plannedJob(draft.plan, index).definition.timeouts;
  // Whichever it is, older replicas would not understand it. The alarm stays due until the last of them is gone.
  if (silenceMs === undefined || eventVersion < HOLD_VERSION) return;
  // The log writer reads the clock by itself, and may be a moment ahead.
  const heardMs = Math.min(content?.heardMs ?? 0, draft.nowMs);
  if (heardMs + silenceMs > draft.nowMs) emit(draft, { type: 'AttemptHeard', job: index, attempt, heardMs });
  else emit(draft, { type: 'AttemptTimedOut', job: index, attempt, silenceMs });
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
