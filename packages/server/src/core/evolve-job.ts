// What events about attempts, and about what holds a job back, change in the record of a job.
import type { JobTimeouts } from './definition.ts';
import type { RunEvent } from './events.ts';
import { type JobBase, type JobRecord, liveOf, type LiveAttempt, type StopRequest } from './run-state.ts';
import { assertMove, ATTEMPT_GRAPH } from './states.ts';

export function withoutHold({ hold: _ended, ...job }: JobRecord): JobRecord {
  return job;
}

/** Which time limit of an attempt ran out: when it was not silence, the first of the two that end attempts. */
export function whyTimedOut(
  { silenceMs }: Extract<RunEvent, { type: 'AttemptTimedOut' }>,
  job: JobRecord,
  { runMs = Infinity, totalMs = Infinity }: JobTimeouts,
): string {
  if (silenceMs !== undefined) return `nothing was heard of it for ${silenceMs / 1_000} s`;
  const runEndMs = (liveOf(job)?.attemptStartedMs ?? 0) + runMs;
  const totalEndMs = (job.readyMs ?? 0) + totalMs;
  return runEndMs <= totalEndMs ? limitText('run', runMs) : limitText('total', totalMs);
}

/** A time limit that ran out, and how long it was. */
export function limitText(limit: 'run' | 'total' | 'queue', afterMs: number): string {
  return `its ${limit} timeout of ${afterMs / 1_000} s ran out`;
}

interface AttemptEvent {
  readonly type: RunEvent['type'];
  readonly attempt: number;
}

export function startAttempt(job: JobRecord, event: AttemptEvent, nowMs: number): JobRecord {
  const { instance, attemptStartedMs } = liveAttempt(job, event);
  assertMove('attempt', ATTEMPT_GRAPH, attemptStartedMs === undefined ? 'OFFERED' : 'RUNNING', 'RUNNING');
  const { queuedMs: _waited, ...base } = baseOf(job);
  return {
    ...base,
    startedMs: job.startedMs ?? nowMs,
    state: 'RUNNING',
    live: { instance, attemptStartedMs: nowMs },
  };
}

/** An offer that ends leaves its job queued; the end of a started attempt is followed by what becomes of its job. */
export function endAttempt(job: JobRecord, event: Extract<RunEvent, { type: 'AttemptEnded' }>): JobRecord {
  const { attemptStartedMs } = liveAttempt(job, event);
  assertMove('attempt', ATTEMPT_GRAPH, attemptStartedMs === undefined ? 'OFFERED' : 'RUNNING', event.state);
  const failureClass = event.failure?.class;
  const spent =
    failureClass === undefined ? job.spent : { ...job.spent, [failureClass]: (job.spent[failureClass] ?? 0) + 1 };
  return job.state === 'OFFERED' ? { ...baseOf(job), spent, state: 'QUEUED' } : { ...job, spent };
}

/** What a job carries into its next state. */
export function baseOf(job: JobRecord): JobBase {
  return {
    attempt: job.attempt,
    unmet: job.unmet,
    badNeeds: job.badNeeds,
    spent: job.spent,
    ...(job.readyMs !== undefined && { readyMs: job.readyMs }),
    ...(job.queuedMs !== undefined && { queuedMs: job.queuedMs }),
    ...(job.startedMs !== undefined && { startedMs: job.startedMs }),
    ...(job.hold !== undefined && { hold: job.hold }),
    ...(job.details !== undefined && { details: job.details }),
  };
}

export function liveAttempt(job: JobRecord, event: AttemptEvent): LiveAttempt {
  const live = liveOf(job);
  if (live === undefined || job.attempt !== event.attempt) {
    throw new Error(`${event.type} of attempt ${event.attempt} while the job is ${job.state} with ${job.attempt}`);
  }
  return live;
}

export function withStop(job: JobRecord, stop: StopRequest): JobRecord & { live: LiveAttempt } {
  return withLive(job, { stop });
}

export function withLive(job: JobRecord, change: Partial<LiveAttempt>): JobRecord & { live: LiveAttempt } {
  if (!('live' in job)) throw new Error(`a job that is ${job.state} has no attempt in hand`);
  return { ...job, live: { ...job.live, ...change } };
}
