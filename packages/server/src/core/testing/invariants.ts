// Owns what may never happen in a ledger, as checks of one step and of all events. They know the definition, the events and the rows,
// and nothing of how decisions are made.
import { expect } from 'vitest';
import type { Command, Reply } from '../commands.ts';
import type { RunEvent } from '../events.ts';
import { type Plan, plannedJob } from '../plan.ts';
import { createReplay, startPoint } from '../replay.ts';
import { type JobRecord, jobOf, JobsNotLoaded, type RunSlice } from '../run-state.ts';
import type { JobState, RunState } from '../states.ts';
import { checkAttempts, checkFence, checkRetries, checkSilence, checkStarts } from './attempt-invariants.ts';
import { jobMoves, runMoves } from './moves.ts';
import { checkAlarms, checkState, claim, FINISHED } from './run-invariants.ts';
import { attemptKey, type Decide, type SimulatedLedger, type Step } from './simulated-ledger.ts';

/** Fails unless the step kept to every promise. To be called right after it. */
export function checkStep(ledger: SimulatedLedger, attemptsBefore: SimulatedLedger['attempts'], step: Step): void {
  checkMoves(step);
  checkFence(attemptsBefore, step);
  checkTouched(step);
  checkAttempts(ledger, attemptsBefore, step);
  checkStarts(step);
  checkCancels(step);
  checkHoldBacks(step);
  checkSilence(attemptsBefore, step);
  checkRetries(ledger, step);
  checkState(step.decision.after);
  checkSlices(ledger.decideWith, step);
  checkRepetition(ledger, step);
  checkAlarms(ledger);
}

/** Fails unless the events alone, as they are stored, rebuild the run. */
export function checkReplay(ledger: SimulatedLedger): void {
  const stored = JSON.parse(JSON.stringify(ledger.entries)) as typeof ledger.entries;
  const replay = createReplay(startPoint(ledger.slice.plan));
  for (const [i, entry] of stored.entries()) replay.take({ ...entry, seq: i + 1 });
  const rebuilt = replay.slice;
  expect(rebuilt.run).toEqual(ledger.slice.run);
  expect(new Map(rebuilt.jobs)).toEqual(new Map(ledger.slice.jobs));
  claim(rebuilt.run.seq === stored.length, 'the run counts each of its events once');
}

function checkMoves({ before, decision, nowMs }: Step): void {
  const { events, marks, after } = decision;
  claim(after.run.seq === before.run.seq + events.length, 'seq has no gap and no repeat');
  claim(events.length > 0 || after.run === before.run, 'nothing changes without an event');
  const timeMs = events.length > 0 ? Math.max(nowMs, before.run.lastMs) : before.run.lastMs;
  claim(after.run.lastMs === timeMs, 'the time of an event is now, and never before the event before it');
  let run: RunState = before.run.state;
  const jobs = new Map([...before.jobs].map(([index, job]): [number, JobState] => [index, job.state]));
  for (const [i, event] of events.entries()) {
    const mark = marks[i];
    claim(mark !== undefined, 'each event tells the states after it');
    claim(mark.run === run || runMoves.has(`${run} ${mark.run}`), `a run does not go from ${run} to ${mark.run}`);
    run = mark.run;
    if (event.type === 'RunCreated') {
      for (const [index, job] of after.jobs) jobs.set(index, 'inheritedFrom' in job ? job.state : 'BLOCKED');
      continue;
    }
    if (!('job' in event)) continue;
    const from = jobs.get(event.job);
    const to = mark.job;
    claim(from !== undefined && to !== undefined, 'an event about a job tells its state');
    claim(!FINISHED.includes(from), `a job that is ${from} changes no more`);
    claim(to === from || jobMoves.has(`${from} ${to}`), `a job does not go from ${from} to ${to}`);
    jobs.set(event.job, to);
    for (const added of addedBy(after.plan, event)) jobs.set(added, 'BLOCKED');
  }
  claim(run === after.run.state, 'the state of the run is the one after its last event');
}

/** The jobs that an event adds to the run. */
function addedBy(plan: Plan, event: RunEvent): readonly number[] {
  if (event.type === 'JobsAdded') return plannedJob(plan, event.job).cells ?? [];
  if (event.type !== 'JobsAppended') return [];
  const names = event.jobs.map(({ name }) => name);
  return plan.jobs.filter(({ name }) => names.includes(name)).map(({ index }) => index);
}

function checkTouched({ before, given, decision }: Step): void {
  expect({ run: before.run, jobs: new Map(before.jobs) }, 'a decision leaves what it was given as it is').toEqual(
    given,
  );
  for (const [index, job] of decision.after.jobs) {
    claim(before.jobs.get(index) === job || decision.touched.has(index), 'a changed job is told as touched');
  }
}

const STOPPED: readonly JobState[] = ['CANCELLING', 'SUCCEEDED', 'FAILED', 'SKIPPED', 'CANCELLED'];

function checkCancels({ command, decision }: Step): void {
  if (decision.reply.type !== 'Done') return;
  const { run, plan } = decision.after;
  if (command.type === 'CancelJob') {
    claim(isStopped(decision.after, command.job), 'a job is stopped once its cancel is acknowledged');
  }
  if (command.type !== 'CancelRun') return;
  claim(run.state === 'CANCELLING' || run.state === 'CANCELLED', 'a run is stopped once its cancel is acknowledged');
  for (const { index, definition } of plan.jobs) {
    const outlives = definition.when === 'ALWAYS' || definition.when === 'FINALLY';
    if (outlives && !command.force) continue;
    claim(isStopped(decision.after, index), 'a cancelled run leaves nothing going but what runs always');
  }
}

/** A matrix is stopped as its cells are, and a call once its run is to be. */
function isStopped(slice: RunSlice, index: number): boolean {
  const job = jobOf(slice, index);
  if (job.state !== 'WAITING' || !('sinceMs' in job.wait)) return STOPPED.includes(job.state);
  const { cells = [] } = plannedJob(slice.plan, index);
  return job.wait.stopping !== undefined && cells.every((cell) => isStopped(slice, cell));
}

/** Who was told that something is held back, or goes on, finds it so. */
function checkHoldBacks({ command, decision }: Step): void {
  if (decision.reply.type !== 'Done') return;
  const { after } = decision;
  if (command.type === 'PauseRun') claim(after.run.pause !== undefined, 'a run is paused once that is acknowledged');
  if (command.type === 'ResumeRun') claim(after.run.pause === undefined, 'a run goes on once that is acknowledged');
  if (command.type !== 'HoldJob' && command.type !== 'ReleaseJob') return;
  const isHeld = jobOf(after, command.job).hold !== undefined;
  claim(isHeld === (command.type === 'HoldJob'), 'a job is held, or let go, once that is acknowledged');
}

/** What a decision on nothing but the jobs that it asks for comes to is what it comes to on the whole run. */
function checkSlices(decideWith: Decide, { before, command, nowMs, decision }: Step): void {
  const jobs = new Map<number, JobRecord>();
  for (;;) {
    try {
      const narrow = decideWith({ ...before, jobs }, command, nowMs);
      expect(narrow.reply).toEqual(decision.reply);
      expect(narrow.events).toEqual(decision.events);
      expect(narrow.marks).toEqual(decision.marks);
      expect(narrow.after.run).toEqual(decision.after.run);
      expect(narrow.touched).toEqual(decision.touched);
      for (const index of decision.touched) {
        expect(narrow.after.jobs.get(index)).toEqual(decision.after.jobs.get(index));
      }
      return;
    } catch (error) {
      if (!(error instanceof JobsNotLoaded)) throw error;
      claim(error.jobs.length > 0, 'a decision that wants jobs names them');
      for (const index of error.jobs) {
        claim(!jobs.has(index), 'a decision wants only jobs that it lacks');
        jobs.set(index, jobOf(before, index));
      }
    }
  }
}

/** Whose reply may change when it is repeated: the attempt is gone by its own doing, or was taken. */
const ENDS_ITSELF: readonly Command['type'][] = ['Offer', 'Reject', 'Withdraw', 'Lose'];

const LETS_GO: readonly Command['type'][] = ['ResumeRun', 'ReleaseJob'];

function checkRepetition(ledger: SimulatedLedger, { command, decision, nowMs }: Step): void {
  // A second adoption is recorded as well: the session lets only orphans through.
  if (command.type === 'Adopt') return;
  const stored = 'content' in command && 'attempt' in command;
  const content = stored ? ledger.attempts.get(attemptKey(command.job, command.attempt)) : undefined;
  const again = ledger.decideWith(ledger.slice, stored ? ({ ...command, content } as Command) : command, nowMs);
  claim(again.events.length === 0, `a repeated ${command.type} has no second effect`);
  const same = again.reply.type === decision.reply.type;
  const gone = again.reply.type === 'Stale' && ENDS_ITSELF.includes(command.type);
  // What goes on may come to its end at once: a matrix without cells.
  const over = again.reply.type === 'Refused' && again.reply.refusal.refused === 'ALREADY_FINISHED';
  const ended = over && LETS_GO.includes(command.type);
  claim(same || gone || ended, `a repeated ${command.type} has the same answer`);
  if (same) expect(withoutState(again.reply)).toEqual(withoutState(decision.reply));
}

function withoutState(reply: Reply): Reply {
  return reply.type === 'Stale' ? { type: 'Stale' } : reply;
}
