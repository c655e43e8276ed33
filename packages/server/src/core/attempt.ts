// Decisions about one attempt, from its offer to its end. Whichever commits first stands; the loser is told that its fence is
// stale.
import type { AttemptContent, AttemptRef, Command, Reply } from './commands.ts';
import { canonicalJson } from './json.ts';
import { LIMITS } from './limits.ts';
import { plannedJob } from './plan.ts';
import { retryDelayMs } from './retry.ts';
import { jobOf, liveOf, type LiveAttempt } from './run-state.ts';
import { type Draft, emit } from './draft.ts';
import { concludeJob, makeReady } from './settle.ts';
import type { EndedAttemptState, Failure, LogState } from './states.ts';

type CommandOf<T extends Command['type']> = Extract<Command, { type: T }>;

/** What the end of an attempt needs to know beside the state. */
interface Ending {
  readonly job: number;
  readonly random: number;
  readonly retryAfterMs?: number;
}

interface Outcome {
  readonly state: EndedAttemptState;
  readonly failure?: Failure;
}

/** The attempt in hand, if it is exactly the one that the speaker names and holds. */
export function heldBy(draft: Draft, ref: AttemptRef): LiveAttempt | undefined {
  const job = jobOf(draft, ref.job);
  const live = liveOf(job);
  return live !== undefined && job.attempt === ref.attempt && live.instance === ref.instance ? live : undefined;
}

export function stale(content?: AttemptContent): Reply {
  return content === undefined ? { type: 'Stale' } : { type: 'Stale', state: content.state };
}

/** The store holds something of every attempt that started. */
function stored(content: AttemptContent | undefined): AttemptContent {
  if (content === undefined) throw new Error('the content of a started attempt is missing');
  return content;
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
  endUnstarted(draft, command, 'REJECTED', {
    class: command.invalid ? 'INVALID' : 'REJECTED',
    message:
      command.reason === '' ? 'the driver declined the offer' : `the driver declined the offer: ${command.reason}`,
  });
  return { type: 'Done' };
}

export function withdraw(draft: Draft, command: CommandOf<'Withdraw'>): Reply {
  if (heldBy(draft, command) === undefined || jobOf(draft, command.job).state !== 'OFFERED') return { type: 'Stale' };
  if (command.expired) {
    const message = 'the driver did not answer the offer in time';
    endUnstarted(draft, command, 'EXPIRED', { class: 'REJECTED', message });
  } else {
    // Nobody declined it, so no retry is spent.
    emitUnstarted(draft, command.job, 'EXPIRED');
    makeReady(draft, command.job);
  }
  return { type: 'Done' };
}

export function adopt(draft: Draft, command: CommandOf<'Adopt'>): Reply {
  const live = heldBy(draft, command);
  if (live?.attemptStartedMs === undefined) return { type: 'Stale' };
  // Recorded each time: who adopts what is known to the session alone, which lets no orphan be adopted twice.
  emit(draft, { type: 'AttemptAdopted', job: command.job, attempt: command.attempt });
  return { type: 'Done' };
}

export function annotate(draft: Draft, command: CommandOf<'Annotate'>): Reply {
  const { job, attempt, number, annotation, content } = command;
  if (heldBy(draft, command)?.attemptStartedMs === undefined) return stale(content);
  if (number === stored(content).annotations + 1 && number <= LIMITS.annotations) {
    emit(draft, { type: 'AttemptAnnotated', job, attempt, number, annotation });
  }
  return { type: 'Done' };
}

/** Adds a reference to something that the attempt made. */
export function declare(draft: Draft, command: CommandOf<'Declare'>): Reply {
  const { job, attempt, number, artifact, content } = command;
  if (heldBy(draft, command)?.attemptStartedMs === undefined) return stale(content);
  if (number === stored(content).artifacts + 1 && number <= LIMITS.artifacts) {
    emit(draft, { type: 'AttemptArtifact', job, attempt, number, artifact });
  }
  return { type: 'Done' };
}

/** Identifies a result, so that the same Finish again gets the same answer. */
export function resultOf(command: CommandOf<'Finish'>): string {
  const { outcome, failureClass, message, exitCode, logSize, logCrc32c, logLost } = command;
  return JSON.stringify([outcome, failureClass, message, exitCode ?? null, logSize, logCrc32c, logLost]);
}

export function finish(draft: Draft, command: CommandOf<'Finish'>): Reply {
  const live = heldBy(draft, command);
  if (live?.attemptStartedMs === undefined) {
    const { content } = command;
    const repeated = content?.result !== undefined && content.result === resultOf(command);
    return repeated ? { type: 'Finished', logState: content.logState } : stale(content);
  }
  const content = stored(command.content);
  if (!command.logLost && command.logSize > content.logSize) return { type: 'LogMissing', offset: content.logSize };
  const outcome = outcomeOf(command, live);
  const schema = plannedJob(draft.plan, command.job).definition.outputsSchema;
  const { outputs = {} } = content;
  // What was looked at may have been replaced since.
  const isChecked = schema === undefined || command.checked?.text === canonicalJson(outputs);
  if (outcome.state === 'SUCCEEDED' && !isChecked) return { type: 'Unchecked', schema, outputs };
  const logState = sealedState(command, content);
  endWith(draft, command, content, logState, schema === undefined ? outcome : fitting(outcome, command));
  return { type: 'Finished', logState };
}

export function lose(draft: Draft, command: CommandOf<'Lose'>): Reply {
  const live = heldBy(draft, command);
  if (live === undefined) return { type: 'Stale' };
  const failure: Failure = { class: command.failureClass, message: command.message };
  const invalid = command.failureClass === 'INVALID';
  if (live.attemptStartedMs !== undefined) {
    endStarted(draft, command, limitOutcome(live) ?? { state: invalid ? 'FAILED' : 'LOST', failure });
    return { type: 'Done' };
  }
  // Nothing ran, so nothing is lost: the offer goes elsewhere, unless nobody could take it.
  if (!invalid) return withdraw(draft, { ...command, type: 'Withdraw', expired: false });
  endUnstarted(draft, command, 'REJECTED', failure);
  return { type: 'Done' };
}

/** Ends a started attempt without its driver's word. Its log is what is stored. */
export function endStarted(
  draft: Draft,
  command: Ending & { readonly content: AttemptContent | undefined },
  outcome: Outcome,
): void {
  endWith(draft, command, stored(command.content), 'TRUNCATED', outcome);
}

/** Ends an attempt that never started and therefore has no log. */
export function emitUnstarted(
  draft: Draft,
  job: number,
  state: 'REJECTED' | 'EXPIRED' | 'CANCELLED',
  failure?: Failure,
): void {
  emit(draft, {
    type: 'AttemptEnded',
    job,
    attempt: jobOf(draft, job).attempt,
    state,
    ...(failure !== undefined && { failure }),
    logSize: 0,
    logState: 'SEALED',
  });
}

/** The outcome of an attempt whose time limit was committed before anything else ended it. */
export function limitOutcome(live: LiveAttempt): Outcome | undefined {
  if (live.stop?.cause !== 'TIMEOUT') return undefined;
  return { state: 'TIMED_OUT', failure: { class: 'TIMEOUT', message: live.stop.reason } };
}

function endUnstarted(draft: Draft, ending: Ending, state: 'REJECTED' | 'EXPIRED', failure: Failure): void {
  emitUnstarted(draft, ending.job, state, failure);
  retryOrFail(draft, ending, failure);
}

function endWith(
  draft: Draft,
  ending: Ending,
  { outputs, logSize }: AttemptContent,
  logState: Exclude<LogState, 'OPEN'>,
  outcome: Outcome,
): void {
  const { job } = ending;
  const { attempt } = jobOf(draft, job);
  emit(draft, {
    type: 'AttemptEnded',
    job,
    attempt,
    ...outcome,
    ...(outputs !== undefined && { outputs }),
    logSize,
    logState,
  });
  if (jobOf(draft, job).state === 'CANCELLING') concludeJob(draft, job, { state: 'CANCELLED' });
  else if (outcome.failure === undefined) concludeJob(draft, job, { state: 'SUCCEEDED' });
  else retryOrFail(draft, ending, outcome.failure);
}

/** After a failed attempt: a retry behind its delay, or the end of the job when its budget or its total timeout is spent. */
function retryOrFail(draft: Draft, { job: index, random, retryAfterMs }: Ending, failure: Failure): void {
  const job = jobOf(draft, index);
  const { definition } = plannedJob(draft.plan, index);
  const delayMs = retryDelayMs(definition, job, failure, random, retryAfterMs);
  const { totalMs } = definition.timeouts;
  const totalEnded = totalMs !== undefined && job.readyMs !== undefined && draft.nowMs >= job.readyMs + totalMs;
  if (delayMs === undefined || totalEnded) concludeJob(draft, index, { state: 'FAILED', failure });
  else makeReady(draft, index, { reason: 'BACKOFF', untilMs: draft.nowMs + delayMs });
}

function sealedState(command: CommandOf<'Finish'>, content: AttemptContent): Exclude<LogState, 'OPEN'> {
  if (command.logLost) return 'TRUNCATED';
  return command.logSize === content.logSize && command.logCrc32c === content.logCrc32c ? 'SEALED' : 'CORRUPT';
}

/** Outputs that do not fit their schema are no success. */
function fitting(outcome: Outcome, { checked }: CommandOf<'Finish'>): Outcome {
  if (outcome.state !== 'SUCCEEDED' || checked?.problem === undefined) return outcome;
  return { state: 'FAILED', failure: { class: 'INVALID', message: checked.problem } };
}

/** How an attempt ends: its driver's word, unless its time limit was committed first. */
function outcomeOf(command: CommandOf<'Finish'>, live: LiveAttempt): Outcome {
  const limit = limitOutcome(live);
  if (limit !== undefined) return limit;
  const { outcome: state, failureClass, message, exitCode } = command;
  switch (state) {
    case 'SUCCEEDED':
      return { state };
    case 'CANCELLED':
      if (live.stop !== undefined) return { state };
      // Nobody asked for it: the driver stopped the work on its own account.
      return {
        state: 'FAILED',
        failure: { class: 'DRIVER', message: message || 'the driver cancelled the attempt by itself' },
      };
    case 'FAILED':
      return { state, failure: { class: failureClass, message, ...(exitCode !== undefined && { exitCode }) } };
  }
}
