// What follows from an event: jobs whose needs have finished become ready, are skipped or cancelled; a run without open jobs
// finishes. A decision emits its own events and then lets them settle.
import {
  type Conclusion,
  type Draft,
  eachInSlices,
  emit,
  finishJob,
  hasFailed,
  invalid,
  isSpent,
  record,
} from './draft.ts';
import { lacksPlace } from './group.ts';
import { assertFacts, evaluateJob } from './job-expressions.ts';
import { concludeGroup, makeCells } from './matrix-job.ts';
import { isGroup, outlivesCancel, type PlannedJob, plannedJob } from './plan.ts';
import { lacksTokens } from './rate.ts';
import { assertLoaded, isStopping, type JobRecord, jobOf, type RunHeader, type TimedWait } from './run-state.ts';
import { isJobFinished, isRunFinished } from './states.ts';

/** Concludes a job that its own attempt, a timer or a cancel ended, and settles what follows. */
export function concludeJob(draft: Draft, job: number, conclusion: Conclusion): void {
  finishJob(draft, job, conclusion);
  settleDependants(draft, job);
}

/** Decides on new jobs, all from one on; what those add on the way is settled there. */
export function settleNew(draft: Draft, from: number): void {
  eachInSlices(draft, draft.plan.jobs.slice(from), ({ index, cell, cells }) => {
    draft.touched.add(index);
    if (cells !== undefined) settleCells(draft, index);
    if (cell === undefined && settleBlocked(draft, index) === 'finished') settleDependants(draft, index);
  });
}

/** Starts cells while there is room, and decides on what waited for those that have finished at once. */
export function settleCells(draft: Draft, group: number): void {
  for (const finished of startCells(draft, group)) settleDependants(draft, finished);
}

/** Decides on every job that waited for this finished one only, and on those that wait for them. */
export function settleDependants(draft: Draft, finished: number): void {
  settleBehind(draft, [{ job: finished, from: 0 }]);
}

/** A job that has finished, and the first of its dependants that is not settled. */
interface Finished {
  readonly job: number;
  readonly from: number;
}

/** Settles what follows from finished jobs, the last one first. */
function settleBehind(draft: Draft, open: Finished[]): void {
  const add = (job: number): number => open.push({ job, from: 0 });
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { job, from } = next;
    const { dependants, cell, definition } = plannedJob(draft.plan, job);
    // Its end makes room for the next.
    if (from === 0 && cell !== undefined && definition.matrix?.maxParallel !== undefined)
      startCells(draft, cell.of).forEach(add);
    if (from === 0) assertReady(draft, dependants);
    for (const [offset, dependant] of dependants.slice(from).entries()) {
      if (isSpent(draft)) {
        open.push({ job, from: from + offset });
        draft.putOff.push(() => settleBehind(draft, open));
        return;
      }
      draft.touched.add(dependant);
      if (settleBlocked(draft, dependant) === 'finished') add(dependant);
    }
  }
}

/** @throws FactsNotLoaded naming what all of these jobs read that begin now: what each asks for by itself is a round of its own. */
export function assertReady(draft: Draft, jobs: readonly number[]): void {
  const ready = jobs.filter((index) => {
    const { state, unmet } = jobOf(draft, index);
    return unmet === 0 && state === 'BLOCKED' && whyNotToRun(draft, index, jobOf(draft, index)) === undefined;
  });
  if (ready.length > 0) {
    assertFacts(
      draft,
      ready.map((index) => plannedJob(draft.plan, index)),
    );
  }
}

/** Decides on one job: nothing unless it is BLOCKED with no need open, or a matrix whose last cell has finished. */
export function settleBlocked(draft: Draft, index: number): 'finished' | 'ready' | 'unchanged' {
  const job = jobOf(draft, index);
  if (job.unmet > 0) return 'unchanged';
  if (job.state === 'WAITING' && job.wait.reason === 'MATRIX') {
    finishJob(draft, index, concludeGroup(draft, index));
    return 'finished';
  }
  if (job.state !== 'BLOCKED') return 'unchanged';
  const conclusion = whyNotToRun(draft, index, job) ?? evaluate(draft, index);
  if (conclusion === 'UNKNOWN') return 'unchanged';
  if (conclusion !== undefined) {
    finishJob(draft, index, conclusion);
    return 'finished';
  }
  makeReady(draft, index, draft.startMs === undefined ? undefined : { reason: 'DELAY', untilMs: draft.startMs });
  return 'ready';
}

/** What a job without open needs concludes as because of how these, or its run, have ended. */
function whyNotToRun(draft: Draft, index: number, job: JobRecord): Conclusion | undefined {
  const { definition, needs, cell } = plannedJob(draft.plan, index);
  const { cancel } = draft.run;
  if (cancel !== undefined && (!outlivesCancel(definition) || cancel.force))
    return { state: 'CANCELLED', cancelReason: cancel.reason };
  // That its matrix has cells says that it may run.
  if (cell !== undefined) return undefined;
  if (definition.when === 'SUCCESS' && job.badNeeds > 0) return { state: 'SKIPPED' };
  if (definition.when !== 'FAILURE') return undefined;
  if (job.badNeeds === 0) return { state: 'SKIPPED' };
  assertLoaded(draft, needs);
  return needs.some((need) => hasFailed(jobOf(draft, need))) ? undefined : { state: 'SKIPPED' };
}

/** Works out what a job leaves to its run. Returns how it concludes when it is not to run. */
function evaluate(draft: Draft, index: number): Conclusion | 'UNKNOWN' | undefined {
  const evaluated = evaluateJob(draft, plannedJob(draft.plan, index));
  if (evaluated.outcome === 'UNKNOWN') {
    draft.unknown.set(index, evaluated.message);
    return 'UNKNOWN';
  }
  if (evaluated.outcome === 'INVALID') {
    const { outcome: _invalid, message, ...worked } = evaluated;
    record(draft, index, worked);
    return invalid(message);
  }
  const { outcome, ...worked } = evaluated;
  record(draft, index, worked);
  return outcome === 'READY' ? undefined : { state: 'SKIPPED' };
}

/** Queues a job that may start, or lets it wait: for whoever holds it back, and then for what is left of a wait of its own. */
export function makeReady(draft: Draft, job: number, wait?: TimedWait): void {
  const reason = heldBackBy(draft.run, jobOf(draft, job));
  if (reason !== undefined)
    emit(draft, { type: 'JobWaiting', job, reason, ...(wait !== undefined && { behind: wait }) });
  else if (wait !== undefined && wait.untilMs > draft.nowMs) emit(draft, { type: 'JobWaiting', job, ...wait });
  else begin(draft, job);
}

/** Lets a job begin: its driver's queue, its cells, what people say, or the run that it calls. */
function begin(draft: Draft, job: number): void {
  const planned = plannedJob(draft.plan, job);
  if (isGroup(planned)) expand(draft, planned);
  else if (planned.definition.gate !== undefined) emit(draft, { type: 'JobWaiting', job, reason: 'APPROVAL' });
  else if (planned.definition.call !== undefined) emit(draft, { type: 'JobWaiting', job, reason: 'CHILD_RUN' });
  else if (lacksPlace(jobOf(draft, job))) emit(draft, { type: 'JobWaiting', job, reason: 'CONCURRENCY' });
  else if (lacksTokens(jobOf(draft, job))) emit(draft, { type: 'JobWaiting', job, reason: 'RATE' });
  else emit(draft, { type: 'JobQueued', job });
}

/** What keeps a job from starting although its needs allow it. */
export function heldBackBy(run: RunHeader, job: JobRecord): 'PAUSED' | 'HELD' | undefined {
  if (job.hold !== undefined) return 'HELD';
  return run.pause === undefined ? undefined : 'PAUSED';
}

/** Ends the run when no job is open. To be called last in every decision. */
export function settleRun(draft: Draft): void {
  const { counts, cancel, state } = draft.run;
  if (counts.open > 0 || isRunFinished(state)) return;
  const failed = counts.failed + counts.cancelled > 0;
  emit(draft, { type: 'RunFinished', state: cancel !== undefined ? 'CANCELLED' : failed ? 'FAILED' : 'SUCCEEDED' });
}

/** Makes the cells of a matrix, and starts them. */
function expand(draft: Draft, group: PlannedJob): void {
  const made = makeCells(draft, group);
  if ('unknown' in made) {
    draft.unknown.set(group.index, made.unknown);
    return;
  }
  if ('state' in made) return concludeJob(draft, group.index, made);
  const first = draft.plan.jobs.length;
  emit(draft, { type: 'JobsAdded', job: group.index, ...made });
  for (let cell = first; cell < draft.plan.jobs.length; cell++) draft.touched.add(cell);
  settleCells(draft, group.index);
}

/** Starts cells that have not been, in order, while there is room. Returns those that have finished at once. */
function startCells(draft: Draft, group: number): readonly number[] {
  const { cells = [], definition, maxParallel = cells.length } = plannedJob(draft.plan, group);
  assertLoaded(draft, cells);
  // What is held begins no more of them until it is released.
  if (jobOf(draft, group).hold !== undefined) return [];
  // They are stopped next: none is begun for that.
  if (
    isStopping(jobOf(draft, group)) ||
    (definition.matrix?.failFast === true && cells.some((cell) => hasFailed(jobOf(draft, cell))))
  )
    return [];
  const isOpen = (cell: number): boolean => {
    const { state } = jobOf(draft, cell);
    return state !== 'BLOCKED' && !isJobFinished(state);
  };
  let room = maxParallel - cells.filter(isOpen).length;
  const finished: number[] = [];
  for (const cell of cells) {
    if (room <= 0) break;
    if (jobOf(draft, cell).state !== 'BLOCKED') continue;
    if (isSpent(draft)) {
      draft.putOff.push(() => settleCells(draft, group));
      break;
    }
    draft.touched.add(cell);
    const settled = settleBlocked(draft, cell);
    if (settled === 'ready') room--;
    if (settled !== 'finished') continue;
    finished.push(cell);
    if (definition.matrix?.failFast === true && hasFailed(jobOf(draft, cell))) break;
  }
  return finished;
}
