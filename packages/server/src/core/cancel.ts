// Decisions on cancelling: what has not started is cancelled at once, what runs is asked to stop. A result that was committed
// first stands. A cancel wins over a pause and a hold.
import { emitUnstarted } from './attempt.ts';
import type { Command, Reply } from './commands.ts';
import { overrule } from './hold-back.ts';
import { plannedJob } from './plan.ts';
import { DONE, refuse } from './replies.ts';
import { assertLoaded, jobOf } from './run-state.ts';
import { concludeJob, type Draft, emit } from './settle.ts';
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
  const goesOn = (index: number): boolean => !force && plannedJob(draft.plan, index).definition.when === 'ALWAYS';
  for (const { index } of jobs) if (goesOn(index)) overrule(draft, index, command.reason);
  for (const { index } of jobs) if (!goesOn(index)) stopJob(draft, index, command.reason);
  return DONE;
}

export function cancelJob(draft: Draft, command: Extract<Command, { type: 'CancelJob' }>): Reply {
  const job = jobOf(draft, command.job);
  if (job.state === 'CANCELLING' || job.state === 'CANCELLED') return DONE;
  if (isJobFinished(job.state)) return refuse('ALREADY_FINISHED', `the job has already finished: ${job.state}`);
  // A run of one job is that job: it ends as cancelled, not as failed.
  if (draft.plan.jobs.length === 1) return cancelRun(draft, { type: 'CancelRun', reason: command.reason, force: true });
  stopJob(draft, command.job, command.reason);
  return DONE;
}

/** Cancels one open job, or asks its attempt to stop. */
function stopJob(draft: Draft, index: number, reason: string): void {
  const job = jobOf(draft, index);
  switch (job.state) {
    case 'BLOCKED':
    case 'WAITING':
    case 'QUEUED':
      concludeJob(draft, index, { state: 'CANCELLED' });
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
