// Owns what holds of a run at any moment: what its rows say follows from its definition and its jobs, and its timers fire when they
// are due.
import { expect } from 'vitest';
import type { RunCondition } from '../definition.ts';
import { EVENT_VERSION } from '../event-versions.ts';
import type { RunEvent } from '../events.ts';
import { plannedJob } from '../plan.ts';
import { type JobRecord, jobOf, type RunHeader, type RunSlice } from '../run-state.ts';
import { dueOf } from '../alarms.ts';
import type { JobState, RunState } from '../states.ts';
import { attemptKey, type SimulatedLedger } from './simulated-ledger.ts';

export const FINISHED: readonly (RunState | JobState)[] = ['SUCCEEDED', 'FAILED', 'SKIPPED', 'CANCELLED'];

export function claim(holds: boolean, promise: string): asserts holds {
  if (!holds) throw new Error(`broken: ${promise}`);
}

/** Fails unless the run and its jobs agree with one another. */
export function checkState(slice: RunSlice): void {
  checkJobs(slice);
  checkRun(slice);
}

/** Whether a need in this state lets its dependant run. */
export function needAllows(need: JobRecord, when: RunCondition): boolean {
  if (when !== 'SUCCESS') return FINISHED.includes(need.state);
  return need.state === 'SUCCEEDED' || (need.state === 'FAILED' && need.failureAllowed === true);
}

function checkJobs(slice: RunSlice): void {
  const { plan, jobs, run } = slice;
  claim(jobs.size === (run.seq === 0 ? 0 : plan.jobs.length), 'a run has the jobs of its plan');
  for (const [index, job] of jobs) {
    const { needs: own, cells, cell, definition, maxParallel } = plannedJob(plan, index);
    // Once a matrix has cells it waits for these; they are there because its needs have finished.
    const needs = (cell === undefined ? (cells ?? own) : []).map((need) => jobOf(slice, need));
    if (cells !== undefined) checkCells(slice, cells, job.hold !== undefined, maxParallel);
    if (!FINISHED.includes(job.state)) {
      const open = needs.filter((need) => !FINISHED.includes(need.state));
      claim(job.unmet === open.length, 'a job counts the needs that have not finished');
      const bad = needs.filter((need) => FINISHED.includes(need.state) && !needAllows(need, 'SUCCESS'));
      claim(job.badNeeds === bad.length, 'a job counts the needs that did not succeed');
      const isBlocked = cells === undefined && (open.length > 0 || (cell !== undefined && job.state === 'BLOCKED'));
      claim((job.state === 'BLOCKED') === isBlocked, 'a job is blocked exactly while a need is open');
      claim((job.readyMs !== undefined) === (job.state !== 'BLOCKED'), 'a job is ready once its needs allow it');
    }
    if (definition.when === 'FINALLY') checkLast(slice, job);
    checkHold(run, job);
    const waits = job.state === 'QUEUED' || job.state === 'OFFERED';
    claim(!waits || job.queuedMs !== undefined, 'a job that waits for a driver says since when');
    claim(job.state !== 'RUNNING' || job.queuedMs === undefined, 'a job that runs does not wait for a driver');
  }
}

/** What comes last has not begun while anything else is open, whatever became of that. */
function checkLast({ plan, jobs }: RunSlice, { state }: JobRecord): void {
  if (state === 'BLOCKED' || FINISHED.includes(state)) return;
  const others = plan.jobs.filter(({ definition }) => definition.when !== 'FINALLY');
  const isOver = others.every(({ index }) => FINISHED.includes(jobs.get(index)?.state ?? 'BLOCKED'));
  claim(isOver, 'a FINALLY job comes after every other job');
}

/** No more cells are open than may be, and none waits while there is room and its matrix is not held. */
function checkCells(slice: RunSlice, cells: readonly number[], isHeld: boolean, maxParallel = cells.length): void {
  const states = cells.map((cell) => jobOf(slice, cell).state);
  const open = states.filter((state) => state !== 'BLOCKED' && !FINISHED.includes(state)).length;
  claim(open <= maxParallel, 'no more cells are open than may be');
  claim(isHeld || open === maxParallel || !states.includes('BLOCKED'), 'no cell waits while there is room');
}

/** What holds a job back, and nothing else, is what keeps it from the queue. */
function checkHold(run: RunHeader, job: JobRecord): void {
  const isHeld = job.hold !== undefined;
  const isPaused = run.pause !== undefined;
  claim(run.cancel === undefined || (!isHeld && !isPaused), 'a cancel ends a pause and every hold');
  claim(!isHeld || ['BLOCKED', 'WAITING', 'RUNNING'].includes(job.state), 'a job that is held is not offered');
  claim(!isPaused || (job.state !== 'QUEUED' && job.state !== 'OFFERED'), 'no job of a paused run is offered');
  if (job.state !== 'WAITING') return;
  // What no driver runs has begun.
  if ('sinceMs' in job.wait) return;
  const mayHaveToWait = job.wait.reason === 'CONCURRENCY' || job.wait.reason === 'RATE';
  claim(!mayHaveToWait || job.queuedMs === undefined, 'the queue timeout stands still for a place and for tokens');
  if ('untilMs' in job.wait || mayHaveToWait)
    return claim(!isHeld && !isPaused, 'what is held back waits for nothing else first');
  claim(job.wait.reason === (isHeld ? 'HELD' : 'PAUSED') && (isHeld || isPaused), 'a job waits for what holds it back');
  claim(job.queuedMs === undefined, 'the queue timeout stands still for a job that is held back');
}

function checkRun({ run, jobs }: RunSlice): void {
  if (run.seq === 0) return;
  const all = [...jobs.values()];
  const count = (state: JobState): number => all.filter((job) => job.state === state).length;
  const failureAllowed = all.filter((job) => job.state === 'FAILED' && job.failureAllowed === true).length;
  const counts: RunHeader['counts'] = {
    total: all.length,
    open: all.filter((job) => !FINISHED.includes(job.state)).length,
    succeeded: count('SUCCEEDED'),
    failed: count('FAILED') - failureAllowed,
    failureAllowed,
    skipped: count('SKIPPED'),
    cancelled: count('CANCELLED'),
  };
  expect(run.counts, 'the counts are those of the jobs').toEqual(counts);
  claim(FINISHED.includes(run.state) === (counts.open === 0), 'a run ends when its jobs have ended, and not before');
  claim((run.finishedMs !== undefined) === FINISHED.includes(run.state), 'a finished run says when');
  claim(run.state !== 'CANCELLING' || run.cancel !== undefined, 'a run that is being cancelled says why');
  claim(run.pause === undefined || !FINISHED.includes(run.state), 'a finished run is not paused');
  claim((run.startedMs !== undefined) === all.some((job) => job.startedMs !== undefined), 'a run starts with a job');
  if (counts.open > 0) return;
  const outcome = counts.failed + counts.cancelled > 0 ? 'FAILED' : 'SUCCEEDED';
  claim(run.state === (run.cancel === undefined ? outcome : 'CANCELLED'), 'a run ends as its jobs did');
}

const NEVER_MS = 1e15;

/** Fails unless a timer that fires when it is due changes something, and before that nothing. */
export function checkAlarms({ slice, decideWith, attempts }: SimulatedLedger): void {
  for (const [index, job] of slice.jobs) {
    const fire = (nowMs: number): readonly RunEvent[] => {
      const content = attempts.get(attemptKey(index, job.attempt));
      const timer = { type: 'Timer', job: index, eventVersion: EVENT_VERSION, random: 0.5, content } as const;
      return decideWith(slice, timer, nowMs).events;
    };
    const dueMs = dueOf(slice, index, job);
    if (dueMs === undefined) claim(fire(NEVER_MS).length === 0, 'what is never due does nothing');
    else {
      claim(fire(dueMs).length > 0, `what is due does something: ${job.state}`);
      claim(slice.run.lastMs >= dueMs || fire(dueMs - 1).length === 0, 'what is not due does nothing');
    }
  }
}
