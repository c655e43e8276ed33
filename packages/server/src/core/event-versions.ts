// The versions of events. A row says the lowest one that describes it, so that replicas of older builds go on to understand what does
// not need a newer one; nothing newer is written while one of them serves. What an older build wrote is brought up to date here.
import type { RunEvent } from './events.ts';

/**
 * The newest version that this build knows.
 * 2: RunPaused, RunResumed, JobHeld, JobReleased, AttemptHeard; JobWaiting for PAUSED and HELD; AttemptTimedOut by silence.
 */
export const EVENT_VERSION = 2;

/** The version of what pauses, holds and the silence timeout write. */
export const HOLD_VERSION = 2;

/** The lowest version that describes an event. */
export function versionOf(event: RunEvent): number {
  switch (event.type) {
    case 'RunPaused':
    case 'RunResumed':
    case 'JobHeld':
    case 'JobReleased':
    case 'AttemptHeard':
      return 2;
    case 'JobWaiting':
      return 'untilMs' in event ? 1 : 2;
    case 'AttemptTimedOut':
      return event.silenceMs === undefined ? 1 : 2;
    case 'RunCreated':
    case 'JobQueued':
    case 'AttemptOffered':
    case 'AttemptStarted':
    case 'AttemptAdopted':
    case 'AttemptEnded':
    case 'AttemptAnnotated':
    case 'JobCancelRequested':
    case 'JobKillRequested':
    case 'JobFinished':
    case 'RunCancelRequested':
    case 'RunFinished':
      return 1;
  }
}

/**
 * An event that was written in some version, as this build knows it. Version 2 only adds, so what is in 1 reads as it is.
 * @throws Error when a newer build wrote it: nobody may write what a live replica does not know.
 */
export function upcast(version: number, event: RunEvent): RunEvent {
  if (version > EVENT_VERSION)
    throw new Error(`event ${event.type} has version ${version}, newer than ${EVENT_VERSION}`);
  return event;
}
