// Owns how events are told to people: one line each.
import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  AnnotationLevel,
  AttemptState,
  type Event,
  type Failure,
  JobState,
  RunState,
  WaitReason,
} from '@conveyor/client';
import { enumName, printable } from './text.ts';

/** What happened, without the name of the job that it is about; undefined for kinds that this version does not know. */
export function eventText({ kind, runState, jobState, attempt }: Event): string | undefined {
  switch (kind.case) {
    case 'runCreated':
      return `created with ${kind.value.jobs} ${kind.value.jobs === 1 ? 'job' : 'jobs'}`;
    case 'jobQueued':
      return 'queued';
    case 'jobWaiting': {
      const { wait } = kind.value;
      const until = wait?.untilTime === undefined ? '' : ` until ${clock(timestampMs(wait.untilTime))}`;
      return `waiting: ${enumName(WaitReason, wait?.reason ?? WaitReason.UNSPECIFIED)}${until}`;
    }
    case 'attemptOffered':
      return `attempt ${attempt} offered to ${printable(kind.value.driverInstance)}`;
    case 'attemptStarted':
      return `attempt ${attempt} started`;
    case 'attemptAdopted':
      return `attempt ${attempt} taken over by a new process of its driver`;
    case 'attemptEnded':
      return `attempt ${attempt} ${enumName(AttemptState, kind.value.state)}${because(kind.value.failure)}`;
    case 'attemptAnnotated': {
      const { level = AnnotationLevel.INFO, text = '', link = '' } = kind.value.annotation ?? {};
      return printable(`${enumName(AnnotationLevel, level)}: ${text} ${link}`);
    }
    case 'attemptTimedOut':
      return `attempt ${attempt} timed out, stopping it`;
    case 'jobCancelRequested':
      return `cancelling${reasonText(kind.value.reason)}`;
    case 'jobKillRequested':
      return 'grace period over, killing';
    case 'jobFinished':
      return `${enumName(JobState, jobState)}${because(kind.value.failure)}`;
    case 'runCancelRequested':
      return `cancelling${kind.value.force ? ' by force' : ''}${reasonText(kind.value.reason)}`;
    case 'runFinished':
      return enumName(RunState, runState);
    case undefined:
      return undefined;
  }
}

/** False for events that say little beside the ones around them. */
export function isMain({ kind }: Event): boolean {
  if (kind.case === 'attemptEnded') return kind.value.state !== AttemptState.SUCCEEDED;
  return kind.case !== 'jobQueued' && kind.case !== 'attemptOffered';
}

/** A failure as the end of a sentence; empty without one. */
export function because(failure: Failure | undefined): string {
  if (failure === undefined) return '';
  const exitCode = failure.exitCode === undefined ? '' : ` (exit code ${failure.exitCode})`;
  return `: ${printable(failure.message)}${exitCode}`;
}

/** The time of day in UTC, to the second. */
export function clock(ms: number): string {
  return new Date(ms).toISOString().slice(11, 19);
}

function reasonText(reason: string): string {
  return reason === '' ? '' : `: ${printable(reason)}`;
}
