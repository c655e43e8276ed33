// Decisions about one attempt, from its offer to its end. Whichever commits first stands; the loser is told that its fence is
// stale.
import type { AttemptContent, AttemptRef, Command, Reply } from './commands.ts';
import { plannedJob } from './plan.ts';
import { retryDelayMs } from './retry.ts';
import { jobOf, liveOf, type LiveAttempt } from './run-state.ts';
import { concludeJob, type Draft, emit } from './settle.ts';
import type { EndedAttemptState, Failure, LogState } from './states.ts';

type CommandOf<T extends Command['type']> = Extract<Command, { type: T }>;

/** The attempt in hand, if it is exactly the one that the speaker names and holds. */
function heldBy(draft: Draft, ref: AttemptRef): LiveAttempt | undefined {
  const job = jobOf(draft, ref.job);
  const live = liveOf(job);
  return live !== undefined && job.attempt === ref.attempt && live.instance === ref.instance ? live : undefined;
}

function stale(content?: AttemptContent): Reply {
  return content === undefined ? { type: 'Stale' } : { type: 'Stale', state: content.state };
}

export function offer(draft: Draft, command: CommandOf<'Offer'>): Reply {
  const job = jobOf(draft, command.job);
  if (job.state !== 'QUEUED') return { type: 'Stale' };
  emit(draft, {
    type: 'AttemptOffered',
    job: command.job,
    attempt: job.attempt + 1,
    instance: command.instanceId,
    instanceNo: command.instance,
  });
  return { type: 'Done' };
}

export function accept(draft: Draft, command: CommandOf<'Accept'>): Reply {
  const live = heldBy(draft, command);
  if (live === undefined) return { type: 'Stale' };
  if (jobOf(draft, command.job).state === 'OFFERED') {
    emit(draft, { type: 'AttemptStarted', job: command.job, attempt: command.attempt });
  }
  return { type: 'Done' };
}

export function reject(draft: Draft, command: CommandOf<'Reject'>): Reply {
  if (heldBy(draft, command) === undefined || jobOf(draft, command.job).state !== 'OFFERED') return { type: 'Stale' };
  const failure: Failure = {
    class: command.invalid ? 'INVALID' : 'REJECTED',
    message:
      command.reason === '' ? 'the driver declined the offer' : `the driver declined the offer: ${command.reason}`,
  };
  endUnstarted(draft, command, 'REJECTED', failure);
  retryOrFail(draft, command.job, failure, command.random, command.retryAfterMs);
  return { type: 'Done' };
}

export function withdraw(draft: Draft, command: CommandOf<'Withdraw'>): Reply {
  if (heldBy(draft, command) === undefined || jobOf(draft, command.job).state !== 'OFFERED') return { type: 'Stale' };
  if (!command.expired) {
    endUnstarted(draft, command, 'EXPIRED');
    emit(draft, { type: 'JobQueued', job: command.job });
    return { type: 'Done' };
  }
  const failure: Failure = { class: 'REJECTED', message: 'the driver did not answer the offer in time' };
  endUnstarted(draft, command, 'EXPIRED', failure);
  retryOrFail(draft, command.job, failure, command.random);
  return { type: 'Done' };
}

export function adopt(draft: Draft, command: CommandOf<'Adopt'>): Reply {
  const live = heldBy(draft, command);
  if (live?.attemptStartedMs === undefined) return { type: 'Stale' };
  emit(draft, { type: 'AttemptAdopted', job: command.job, attempt: command.attempt });
  return { type: 'Done' };
}

export function annotate(draft: Draft, command: CommandOf<'Annotate'>): Reply {
  const { job, attempt, number, annotation, content } = command;
  if (heldBy(draft, command)?.attemptStartedMs === undefined || content === undefined) return stale(content);
  if (number === content.annotations + 1) emit(draft, { type: 'AttemptAnnotated', job, attempt, number, annotation });
  return { type: 'Done' };
}

/** Identifies a result, so that the same Finish again gets the same answer. */
export function resultOf(command: CommandOf<'Finish'>): string {
  const { outcome, failureClass, message, exitCode, logSize, logCrc32c, logLost } = command;
  return JSON.stringify([outcome, failureClass, message, exitCode ?? null, logSize, logCrc32c, logLost]);
}

export function finish(draft: Draft, command: CommandOf<'Finish'>): Reply {
  const { content } = command;
  const live = heldBy(draft, command);
  if (live?.attemptStartedMs === undefined || content === undefined) {
    const repeated = content?.result !== undefined && content.result === resultOf(command);
    return repeated ? { type: 'Finished', logState: content.logState } : stale(content);
  }
  if (!command.logLost && command.logSize > content.logSize) return { type: 'LogMissing', offset: content.logSize };
  const logState = sealedState(command, content);
  const failure = failureOf(command, live);
  const state = endedState(command, live);
  emit(draft, {
    type: 'AttemptEnded',
    job: command.job,
    attempt: command.attempt,
    state,
    ...(failure !== undefined && { failure }),
    ...(content.outputs !== undefined && { outputs: content.outputs }),
    logSize: content.logSize,
    logState,
  });
  if (jobOf(draft, command.job).state === 'CANCELLING') concludeJob(draft, command.job, { state: 'CANCELLED' });
  else if (failure === undefined)
    concludeJob(draft, command.job, { state: state === 'CANCELLED' ? 'CANCELLED' : 'SUCCEEDED' });
  else retryOrFail(draft, command.job, failure, command.random, command.retryAfterMs);
  return { type: 'Finished', logState };
}

export function lose(draft: Draft, command: CommandOf<'Lose'>): Reply {
  const live = heldBy(draft, command);
  if (live === undefined) return { type: 'Stale' };
  if (live.attemptStartedMs === undefined) {
    return command.failureClass === 'INVALID'
      ? reject(draft, { ...command, type: 'Reject', reason: command.message, invalid: true })
      : withdraw(draft, { ...command, type: 'Withdraw', expired: false });
  }
  const failure: Failure = { class: command.failureClass, message: command.message };
  endStarted(draft, command, command.failureClass === 'INVALID' ? 'FAILED' : 'LOST', failure, command.content);
  if (jobOf(draft, command.job).state === 'CANCELLING') concludeJob(draft, command.job, { state: 'CANCELLED' });
  else retryOrFail(draft, command.job, failure, command.random);
  return { type: 'Done' };
}

/** Ends a started attempt without its driver's word: its log is what is stored. */
export function endStarted(
  draft: Draft,
  ref: { readonly job: number; readonly attempt: number },
  state: EndedAttemptState,
  failure: Failure | undefined,
  content: AttemptContent | undefined,
): void {
  emit(draft, {
    type: 'AttemptEnded',
    job: ref.job,
    attempt: ref.attempt,
    state,
    ...(failure !== undefined && { failure }),
    ...(content?.outputs !== undefined && { outputs: content.outputs }),
    logSize: content?.logSize ?? 0,
    logState: 'TRUNCATED',
  });
}

/** Ends an attempt that never started: it has no log. */
export function endUnstarted(
  draft: Draft,
  ref: { readonly job: number; readonly attempt: number },
  state: 'REJECTED' | 'EXPIRED' | 'CANCELLED',
  failure?: Failure,
): void {
  emit(draft, {
    type: 'AttemptEnded',
    job: ref.job,
    attempt: ref.attempt,
    state,
    ...(failure !== undefined && { failure }),
    logSize: 0,
    logState: 'SEALED',
  });
}

/** After a failed attempt: a retry behind its delay, or the end of the job. */
export function retryOrFail(
  draft: Draft,
  index: number,
  failure: Failure,
  random: number,
  retryAfterMs?: number,
): void {
  const job = jobOf(draft, index);
  const { definition } = plannedJob(draft.plan, index);
  const spent = (job.spent[failure.class] ?? 1) - 1;
  const before = { ...job, spent: { ...job.spent, [failure.class]: spent } };
  const delay = retryDelayMs(definition, before, failure, random, retryAfterMs);
  if (delay === undefined) concludeJob(draft, index, { state: 'FAILED', failure });
  else if (delay === 0) emit(draft, { type: 'JobQueued', job: index });
  else emit(draft, { type: 'JobWaiting', job: index, reason: 'BACKOFF', untilMs: draft.nowMs + delay });
}

function sealedState(command: CommandOf<'Finish'>, content: AttemptContent): Exclude<LogState, 'OPEN'> {
  if (command.logLost) return 'TRUNCATED';
  return command.logSize === content.logSize && command.logCrc32c === content.logCrc32c ? 'SEALED' : 'CORRUPT';
}

/** The outcome that the attempt keeps: its driver's word, unless its run timeout was committed first. */
function endedState(command: CommandOf<'Finish'>, live: LiveAttempt): EndedAttemptState {
  return live.stop?.cause === 'TIMEOUT' ? 'TIMED_OUT' : command.outcome;
}

function failureOf(command: CommandOf<'Finish'>, live: LiveAttempt): Failure | undefined {
  if (live.stop?.cause === 'TIMEOUT') return { class: 'TIMEOUT', message: 'the run timeout ran out' };
  switch (command.outcome) {
    case 'SUCCEEDED':
      return undefined;
    case 'CANCELLED':
      // Nobody asked for it: the driver stopped the work on its own account.
      return live.stop === undefined
        ? { class: 'DRIVER', message: command.message || 'the driver cancelled the attempt by itself' }
        : undefined;
    case 'FAILED':
      return {
        class: command.failureClass,
        message: command.message,
        ...(command.exitCode !== undefined && { exitCode: command.exitCode }),
      };
  }
}
