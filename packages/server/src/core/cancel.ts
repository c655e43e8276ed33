// Decisions on cancelling: what has not started is cancelled at once, what runs is asked to stop. A result that was committed
// first stands. A cancel wins over a pause and a hold.
import { emitUnstarted } from './attempt.ts';
import type { Command, Reply } from './commands.ts';
import { overrule } from './hold-back.ts';
import { outlivesCancel, plannedJob } from './plan.ts';
import { DONE, refuse } from './replies.ts';
import { assertLoaded, isStopping, jobOf } from './run-state.ts';
import { type Draft, eachInSlices, emit, hasFailed } from './draft.ts';
import { concludeJob } from './settle.ts';
import { isJobFinished, isRunFinished } from './states.ts';

export function cancelRun(draft: Draft, command: Extract<Command, { type: 'CancelRun' }>): Reply {
  const { run } = draft;
  if (run.state === 'CANCELLED') return DONE;
  if (isRunFinished(run.state)) return refuse('ALREADY_FINISHED', `the run has already finished: ${run.state}`);
  const force = command.force || run.cancel?.force === true;
  if (run.cancel !== undefined && run.cancel.force === force) return DONE;
  const { jobs } = draft.plan;
  assertLoaded(
    draft,
    jobs.map(({ index }) => index),
  );
  emit(draft, { type: 'RunCancelRequested', reason: command.reason, force });
  const goesOn = (index: number): boolean => !force && outlivesCancel(plannedJob(draft.plan, index).definition);
  const [goingOn, stopping] = [jobs.filter(({ index }) => goesOn(index)), jobs.filter(({ index }) => !goesOn(index))];
  eachInSlices(draft, goingOn, ({ index }) => overrule(draft, index, command.reason));
  eachInSlices(draft, stopping, ({ index }) => stopJob(draft, index, command.reason));
  return DONE;
}

export function cancelJob(draft: Draft, command: Extract<Command, { type: 'CancelJob' }>): Reply {
  const job = jobOf(draft, command.job);
  if (job.state === 'CANCELLING' || job.state === 'CANCELLED') return DONE;
  if (isJobFinished(job.state)) return refuse('ALREADY_FINISHED', `the job has already finished: ${job.state}`);
  // A run of one job is that job: it ends as cancelled, not as failed.
  if (draft.plan.definition.jobs.length === 1 && command.job === 0)
    return cancelRun(draft, { type: 'CancelRun', reason: command.reason, force: true });
  stopJob(draft, command.job, command.reason);
  return DONE;
}

/** Stops what a failure of this decision makes pointless: the other cells of its matrix, the other jobs of its run. */
export function stopSiblings(draft: Draft): void {
  // Stopped once: what is open after that is being stopped, or always runs.
  const stopped = new Set<number>();
  let isRunStopped = draft.plan.definition.failFast !== true;
  // What is stopped may fail in turn: the list grows on the way.
  for (const event of draft.events) {
    if (event.type !== 'JobFinished' || !hasFailed(jobOf(draft, event.job))) continue;
    const { cell, definition, name } = plannedJob(draft.plan, event.job);
    const reason = `${name} failed`;
    if (cell !== undefined && definition.matrix?.failFast === true && !stopped.has(cell.of)) {
      stopped.add(cell.of);
      stopAll(draft, cellsOf(draft, cell.of), reason);
    }
    if (isRunStopped) continue;
    isRunStopped = true;
    const others = draft.plan.jobs.filter((job) => !outlivesCancel(job.definition));
    const indexes = others.map(({ index }) => index);
    stopAll(draft, indexes, reason);
  }
}

function stopAll(draft: Draft, indexes: readonly number[], reason: string): void {
  assertLoaded(draft, indexes);
  eachInSlices(draft, indexes, (index) => stopJob(draft, index, reason));
}

function cellsOf(draft: Draft, group: number): readonly number[] {
  return plannedJob(draft.plan, group).cells ?? [];
}

/** Cancels one open job, or asks its attempt to stop. */
function stopJob(draft: Draft, index: number, reason: string): void {
  const job = jobOf(draft, index);
  if (job.state === 'WAITING' && (job.wait.reason === 'MATRIX' || job.wait.reason === 'CHILD_RUN')) {
    // It ends as its cells do, or the run that it made, which is told of it.
    if (!isStopping(job)) emit(draft, { type: 'JobCancelRequested', job: index, reason });
    stopAll(draft, cellsOf(draft, index), reason);
    return;
  }
  switch (job.state) {
    case 'BLOCKED':
    case 'WAITING':
    case 'QUEUED':
      concludeJob(draft, index, { state: 'CANCELLED', cancelReason: reason });
      return;
    case 'OFFERED':
      // Nothing runs before Start: the offer is withdrawn and there is nothing to wait for.
      emit(draft, { type: 'JobCancelRequested', job: index, reason });
      emitUnstarted(draft, index, 'CANCELLED');
      concludeJob(draft, index, { state: 'CANCELLED' });
      return;
    case 'RUNNING':
      emit(draft, { type: 'JobCancelRequested', job: index, reason });
      return;
    case 'CANCELLING':
    case 'SUCCEEDED':
    case 'FAILED':
    case 'SKIPPED':
    case 'CANCELLED':
      return;
  }
}
