// The versions of events. A row says the lowest one that describes it, so that replicas of older builds go on to understand what does
// not need a newer one; nothing newer is written while one of them serves. What an older build wrote is brought up to date here.
import { hasOpenBounds } from './bounds.ts';
import type { RunEvent } from './events.ts';

/**
 * The newest version that this build knows.
 * 2: RunPaused, RunResumed, JobHeld, JobReleased, AttemptHeard; JobWaiting for PAUSED and HELD; AttemptTimedOut by silence.
 * 3: RunCreated with a time to start at; JobWaiting for DELAY.
 * 4: JobEvaluated, JobsAdded, JobsAppended, GateAnswered, ChildRunStarted, AttemptArtifact; JobWaiting for APPROVAL, CHILD_RUN, CONCURRENCY
 *    and RATE;
 *    JobFinished with outputs. Definitions that have what leads to them, or conditions, policies and schemas of outputs that older builds
 *    do not know; values of runs.
 * 5: JobEvaluated and JobsAdded with bounds that were worked out. Definitions that leave them to a run. JobFinished with why the job was
 *    cancelled.
 */
export const EVENT_VERSION = 5;

/** The version of what pauses, holds and the silence timeout write. */
export const HOLD_VERSION = 2;

/** The version of what runs that start later write. */
export const DELAY_VERSION = 3;

/** The version of what expressions, matrices, gates, calls, concurrency groups and rate limits write, and that knows their definitions. */
export const LANGUAGE_VERSION = 4;

/** The version of what bounds by expression write, and that knows their definitions. */
export const BOUND_VERSION = 5;

/** The version of events that say why a job was cancelled. While an older replica serves they do without. */
export const CANCEL_REASON_VERSION = 5;

/** The version of what declared artifacts write. */
export const ARTIFACT_VERSION = 4;

/** The version of builds that know values of runs and schemas of outputs. */
export const VALUES_VERSION = 4;

/** The lowest version that describes an event. */
export function versionOf(event: RunEvent): number {
  switch (event.type) {
    case 'RunPaused':
    case 'RunResumed':
    case 'JobHeld':
    case 'JobReleased':
    case 'AttemptHeard':
      return 2;
    case 'JobEvaluated':
      // Builds that do not know failures of expressions keep them with the job all the same.
      return event.groupLimit === undefined && event.rateLimits === undefined ? 4 : 5;
    case 'JobsAdded':
      return event.maxParallel === undefined ? 4 : 5;
    case 'JobsAppended':
      return hasOpenBounds(event) ? 5 : 4;
    case 'GateAnswered':
    case 'ChildRunStarted':
      return 4;
    case 'JobWaiting':
      if ('untilMs' in event) return event.reason === 'DELAY' ? 3 : 1;
      if (event.reason !== 'PAUSED' && event.reason !== 'HELD') return 4;
      return event.behind?.reason === 'DELAY' ? 3 : 2;
    case 'AttemptTimedOut':
      return event.silenceMs === undefined ? 1 : 2;
    case 'RunCreated':
      return event.startMs === undefined ? 1 : 3;
    case 'JobFinished':
      if (event.cancelReason !== undefined) return 5;
      return event.outputs === undefined ? 1 : 4;
    case 'AttemptArtifact':
      return 4;
    case 'JobQueued':
    case 'AttemptOffered':
    case 'AttemptStarted':
    case 'AttemptAdopted':
    case 'AttemptEnded':
    case 'AttemptAnnotated':
    case 'JobCancelRequested':
    case 'JobKillRequested':
    case 'RunCancelRequested':
    case 'RunFinished':
      return 1;
  }
}

/**
 * An event that was written in some version, as this build knows it. Each version only adds, so what is in an older one reads as it is.
 * @throws Error when a newer build wrote it: nobody may write what a live replica does not know.
 */
export function upcast(version: number, event: RunEvent): RunEvent {
  if (version > EVENT_VERSION)
    throw new Error(`event ${event.type} has version ${version}, newer than ${EVENT_VERSION}`);
  return event;
}
