// Decisions on pausing a run and holding a job: what has not started does not start until it is resumed or released; what runs goes
// on. A cancel wins over both.
import { emitUnstarted } from './attempt.ts';
import type { Command, Reply } from './commands.ts';
import { DONE, refuse } from './replies.ts';
import { assertLoaded, isStopping, jobOf, type JobWait, type TimedWait } from './run-state.ts';
import { type Draft, eachInSlices, emit } from './draft.ts';
import { heldBackBy, makeReady, settleCells } from './settle.ts';
import { isJobFinished, isRunFinished } from './states.ts';

type CommandOf<T extends Command['type']> = Extract<Command, { type: T }>;

export function pauseRun(draft: Draft, { reason, actor }: CommandOf<'PauseRun'>): Reply {
  const { run } = draft;
  if (isRunFinished(run.state)) return refuse('ALREADY_FINISHED', `the run has already finished: ${run.state}`);
  if (run.cancel !== undefined)
    return refuse('CANCEL_REQUESTED', 'the run is being cancelled: nothing is left to pause');
  if (run.pause !== undefined) return DONE;
  const indexes = loadAll(draft);
  emit(draft, { type: 'RunPaused', reason, actor });
  eachInSlices(draft, indexes, (index) => holdBack(draft, index));
  return DONE;
}

export function resumeRun(draft: Draft, { reason, actor }: CommandOf<'ResumeRun'>): Reply {
  const { run } = draft;
  if (isRunFinished(run.state)) return refuse('ALREADY_FINISHED', `the run has already finished: ${run.state}`);
  if (run.pause === undefined) return DONE;
  const indexes = loadAll(draft);
  emit(draft, { type: 'RunResumed', reason, actor });
  eachInSlices(draft, indexes, (index) => letGo(draft, index));
  return DONE;
}

export function holdJob(draft: Draft, { job: index, reason, actor }: CommandOf<'HoldJob'>): Reply {
  const job = jobOf(draft, index);
  if (isJobFinished(job.state)) return refuse('ALREADY_FINISHED', `the job has already finished: ${job.state}`);
  if (job.state === 'CANCELLING' || isStopping(job))
    return refuse('CANCEL_REQUESTED', 'the job is being cancelled: it does not start again');
  if (draft.run.cancel !== undefined) {
    return refuse(
      'CANCEL_REQUESTED',
      'the run is being cancelled: cancel it by force to stop the jobs that it runs always',
    );
  }
  if (job.hold !== undefined) return DONE;
  emit(draft, { type: 'JobHeld', job: index, reason, actor });
  holdBack(draft, index);
  return DONE;
}

export function releaseJob(draft: Draft, { job: index, reason, actor }: CommandOf<'ReleaseJob'>): Reply {
  const job = jobOf(draft, index);
  if (isJobFinished(job.state)) return refuse('ALREADY_FINISHED', `the job has already finished: ${job.state}`);
  if (job.hold === undefined) return DONE;
  emit(draft, { type: 'JobReleased', job: index, reason, actor });
  letGo(draft, index);
  return DONE;
}

/** Lets a job go that its run's cancel leaves to run: whoever held it back is overruled. */
export function overrule(draft: Draft, index: number, reason: string): void {
  if (jobOf(draft, index).hold !== undefined) emit(draft, { type: 'JobReleased', job: index, reason, actor: '' });
  letGo(draft, index);
}

/** Cuts short what a waiting job waits for by itself. One that is held back goes on waiting for that alone. */
export function releaseBackoff(draft: Draft, index: number): Reply {
  const job = jobOf(draft, index);
  if (job.state === 'WAITING' && timedPart(job.wait) !== undefined) makeReady(draft, index);
  return DONE;
}

function loadAll(draft: Draft): readonly number[] {
  const indexes = draft.plan.jobs.map(({ index }) => index);
  assertLoaded(draft, indexes);
  return indexes;
}

/** Takes a job that waits for its start out of the queue. */
function holdBack(draft: Draft, index: number): void {
  const job = jobOf(draft, index);
  switch (job.state) {
    case 'OFFERED':
      // Nothing runs before Start, and nobody declined it: the offer is withdrawn and no retry is spent.
      emitUnstarted(draft, index, 'EXPIRED');
      makeReady(draft, index);
      return;
    case 'QUEUED':
      makeReady(draft, index);
      return;
    case 'WAITING':
      // What no driver runs has begun.
      if ('sinceMs' in job.wait) return;
      if (job.wait.reason !== heldBackBy(draft.run, job)) makeReady(draft, index, timedPart(job.wait));
      return;
    case 'BLOCKED':
    case 'RUNNING':
    case 'CANCELLING':
    case 'SUCCEEDED':
    case 'FAILED':
    case 'SKIPPED':
    case 'CANCELLED':
      return;
  }
}

/** Lets a job go on unless something else still holds it back. */
function letGo(draft: Draft, index: number): void {
  const job = jobOf(draft, index);
  if (job.state !== 'WAITING') return;
  if (job.wait.reason === 'MATRIX') {
    settleCells(draft, index);
    return;
  }
  if (job.wait.reason !== 'PAUSED' && job.wait.reason !== 'HELD') return;
  if (job.wait.reason !== heldBackBy(draft.run, job)) makeReady(draft, index, job.wait.behind);
}

/** What ends by itself of what a job waits for. */
function timedPart(wait: JobWait): TimedWait | undefined {
  if ('untilMs' in wait) return wait;
  return 'behind' in wait ? wait.behind : undefined;
}
