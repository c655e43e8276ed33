// decide(state, command, now) -> events and a reply. Pure: no clock, no randomness, no I/O. A repeated command has no second effect;
// its reply is the same, or says that the attempt is no longer in hand. A command with a stale fence changes nothing.
import { type AppendCommand, appendJobs } from './append.ts';
import { cancelJob, cancelRun, stopSiblings } from './cancel.ts';
import { claimPlace } from './concurrency.ts';
import { finishChild, refuseChild, startChild } from './child-run.ts';
import type { Command, Reply } from './commands.ts';
import { accept, adopt, annotate, declare, finish, lose, offer, reject, withdraw } from './attempt.ts';
import type { JobDefinition } from './definition.ts';
import type { RunEvent } from './events.ts';
import { compileAhead } from './expression-inputs.ts';
import { answerGate } from './gate.ts';
import { holdJob, pauseRun, releaseBackoff, releaseJob, resumeRun } from './hold-back.ts';
import { LIMITS } from './limits.ts';
import { type RunSlice } from './run-state.ts';
import { beginDraft, type Draft, emit, type EventMark, goOn } from './draft.ts';
import { settleNew, settleRun } from './settle.ts';
import { atOnce, type Slices } from './slices.ts';
import { fireTimers } from './timer.ts';

export interface Decision {
  readonly reply: Reply;
  /** None: nothing changed. */
  readonly events: readonly RunEvent[];
  /** One for each event. */
  readonly marks: readonly EventMark[];
  /** The state after the events. */
  readonly after: RunSlice;
  /** Jobs whose record changed. */
  readonly touched: ReadonlySet<number>;
  /** Jobs of a planned run that nobody can decide on, with why. Empty in a run. */
  readonly unknown: ReadonlyMap<number, string>;
}

/** Makes a decision whole, with the parameters of decideInSlices. */
export function decide(...given: Parameters<typeof decideInSlices>): Decision {
  return atOnce(decideInSlices(...given));
}

/**
 * Makes a decision, a slice of some milliseconds at a time, so that whoever asks for it may do other things in between.
 * @param nowMs The database's clock, read after the run was locked. A time before the run's last event is moved up to it.
 * @throws JobsNotLoaded when the slice lacks a job that the decision depends on. @throws FactsNotLoaded
 */
export function* decideInSlices(
  slice: RunSlice,
  command: Command,
  nowMs: number,
  sliceSteps: number = LIMITS.sliceSteps,
): Slices<Decision> {
  yield* compileAhead(slice.plan, appendedBy(command));
  const draft = beginDraft(slice, Math.max(nowMs, slice.run.lastMs), sliceSteps);
  const reply = command.type === 'AppendJobs' ? yield* appendJobs(draft, command) : apply(draft, command);
  while (!isSettled(draft)) {
    yield;
    goOn(draft);
  }
  if (draft.events.length > 0) settleRun(draft);
  return {
    reply,
    events: draft.events,
    marks: draft.marks,
    after: draft,
    touched: draft.touched,
    unknown: draft.unknown,
  };
}

/** The jobs that a command may append: those that were found wrong are refused, and cannot be compiled. */
function appendedBy(command: Command): readonly JobDefinition[] {
  return command.type === 'AppendJobs' && command.violations.length === 0 ? command.jobs : [];
}

/** Whether all is settled that follows; failures stop others only then, and what is stopped may have to be settled in turn. */
function isSettled(draft: Draft): boolean {
  if (draft.putOff.length === 0) stopSiblings(draft);
  return draft.putOff.length === 0;
}

function apply(draft: Draft, command: Exclude<Command, AppendCommand>): Reply {
  switch (command.type) {
    case 'Create':
      return create(draft, command);
    case 'Offer':
      return offer(draft, command);
    case 'Accept':
      return accept(draft, command);
    case 'Reject':
      return reject(draft, command);
    case 'Withdraw':
      return withdraw(draft, command);
    case 'Adopt':
      return adopt(draft, command);
    case 'Annotate':
      return annotate(draft, command);
    case 'Declare':
      return declare(draft, command);
    case 'Finish':
      return finish(draft, command);
    case 'Lose':
      return lose(draft, command);
    case 'CancelRun':
      return cancelRun(draft, command);
    case 'CancelJob':
      return cancelJob(draft, command);
    case 'ReleaseBackoff':
      return releaseBackoff(draft, command.job);
    case 'PauseRun':
      return pauseRun(draft, command);
    case 'ResumeRun':
      return resumeRun(draft, command);
    case 'HoldJob':
      return holdJob(draft, command);
    case 'ReleaseJob':
      return releaseJob(draft, command);
    case 'AnswerGate':
      return answerGate(draft, command);
    case 'StartChild':
      return startChild(draft, command);
    case 'RefuseChild':
      return refuseChild(draft, command);
    case 'FinishChild':
      return finishChild(draft, command);
    case 'ClaimPlace':
      return claimPlace(draft, command);
    case 'Timer':
      return fireTimers(draft, command);
  }
}

function create(draft: Draft, command: Extract<Command, { type: 'Create' }>): Reply {
  if (draft.run.seq > 0) return { type: 'Done' };
  const { type: _, startMs = 0, ...created } = command;
  const delay = startMs > draft.nowMs ? { startMs } : {};
  emit(draft, { type: 'RunCreated', jobs: draft.plan.jobs.length, ...created, ...delay });
  if (startMs > draft.nowMs) draft.startMs = startMs;
  settleNew(draft, 0);
  return { type: 'Done' };
}
