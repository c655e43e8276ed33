// Owns how events are told to people: one line each.
import { type Duration, durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import {
  AnnotationLevel,
  AttemptState,
  type Event,
  type GateAnswer,
  GateVerdict,
  type JobCondition,
  type JobStop,
  type JobWait,
  JobState,
  RunState,
  StopCause,
  StopPhase,
  WaitReason,
} from '@conveyor/client';
import type { JobEvaluated, JobsAdded } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import { because } from './failure-text.ts';
import { areCells } from './run-jobs.ts';
import { clipped, duration, enumName, printable, time } from './text.ts';

/** What happened, without the name of the job that it is about; undefined for kinds that this version does not know. */
export function eventText({ kind, runState, jobState, attempt }: Event): string | undefined {
  switch (kind.case) {
    case 'runCreated':
      return `created with ${kind.value.jobs} ${kind.value.jobs === 1 ? 'job' : 'jobs'}`;
    case 'jobQueued':
      return 'queued';
    case 'jobWaiting':
      return kind.value.wait === undefined ? 'waiting' : `waiting: ${waitText(kind.value.wait)}`;
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
    case 'attemptArtifact': {
      const { name = '', digest = '' } = kind.value.artifact ?? {};
      return printable(`made ${name} ${digest}`);
    }
    case 'attemptTimedOut':
      return `attempt ${attempt} ${silentFor(kind.value.silence)}, stopping it`;
    case 'attemptHeard':
      return `attempt ${attempt} was heard of at ${clockText(kind.value.heardTime)}`;
    case 'jobCancelRequested':
      return `cancelling${reasonText(kind.value.reason)}`;
    case 'jobKillRequested':
      return 'grace period over, killing';
    case 'jobFinished':
      return `${enumName(JobState, jobState)}${because(kind.value.failure)}${reasonText(kind.value.cancelReason)}`;
    case 'runCancelRequested':
      return `cancelling${kind.value.force ? ' by force' : ''}${reasonText(kind.value.reason)}`;
    case 'runFinished':
      return enumName(RunState, runState);
    case 'runPaused':
      return `paused${askedBy(kind.value)}`;
    case 'runResumed':
      return `resumed${askedBy(kind.value)}`;
    case 'jobEvaluated': {
      const { condition } = kind.value;
      if (kind.value.expressionFailureCount > 0 && (condition?.error ?? '') === '') return failedText(kind.value);
      if (condition === undefined) return 'its expressions were worked out';
      return `its condition ${conditionText(condition)}${condition.error === '' ? `: ${clipped(condition.expression, 100)}` : ''}`;
    }
    case 'jobsAdded':
      return addedText(kind.value);
    case 'gateAnswered':
      return kind.value.answer === undefined ? 'answered' : answerText(kind.value.answer);
    case 'childRunStarted':
      return `runs as run ${kind.value.runId}`;
    case 'jobHeld':
      return `held${askedBy(kind.value)}`;
    case 'jobReleased':
      return `released${askedBy(kind.value)}`;
    case undefined:
      return undefined;
  }
}

/** False for events that say little beside the ones around them. */
export function isMain({ kind }: Event): boolean {
  if (kind.case === 'attemptEnded') return kind.value.state !== AttemptState.SUCCEEDED;
  // What is held back is told once, by who held it back.
  if (kind.case === 'jobWaiting') {
    const reason = kind.value.wait?.reason;
    return reason !== WaitReason.PAUSED && reason !== WaitReason.HELD && reason !== WaitReason.CHILD_RUN;
  }
  // What lets a job go on is told by what it then does, and one expression that fails by how it ends.
  if (kind.case === 'jobEvaluated') {
    return kind.value.condition?.held === false || kind.value.expressionFailureCount > 1;
  }
  return kind.case !== 'jobQueued' && kind.case !== 'attemptOffered' && kind.case !== 'attemptHeard';
}

/** Whether a condition held, or why that could not be worked out. */
export function conditionText({ held, error }: JobCondition): string {
  if (error !== '') return `cannot be worked out: ${printable(error)}`;
  return held ? 'holds' : 'does not hold';
}

/** Who answered what to a gate. */
export function answerText({ actor, verdict, comment }: GateAnswer): string {
  return `${verdict === GateVerdict.APPROVE ? 'approved' : 'rejected'}${askedBy({ actor, reason: comment })}`;
}

/** What a job waits for, and until when. */
export function waitText({ reason, untilTime }: JobWait): string {
  if (untilTime === undefined) return waitReason(reason);
  // A gate may wait for a year, a retry for less than a day.
  return `${waitReason(reason)} until ${reason === WaitReason.BACKOFF ? clockText(untilTime) : time(untilTime)}`;
}

/** What a job waits for. */
export function waitReason(reason: WaitReason): string {
  if (reason === WaitReason.MATRIX) return 'its cells';
  return reason === WaitReason.CHILD_RUN ? 'its run' : enumName(WaitReason, reason);
}

/** How an attempt is being stopped, and why. */
export function stopText({ cause, phase, reason }: JobStop): string {
  const what = phase === StopPhase.KILL ? 'being killed' : 'asked to stop';
  return `${what} by a ${enumName(StopCause, cause)}${reasonText(reason)}`;
}

/** The time of day in UTC, to the second. */
export function clock(ms: number): string {
  return new Date(ms).toISOString().slice(11, 19);
}

/** Who asked for something and why, as the end of a sentence. */
export function askedBy({ reason, actor }: { readonly reason: string; readonly actor: string }): string {
  return `${actor === '' ? '' : ` by ${printable(actor)}`}${reasonText(reason)}`;
}

/** Jobs, and fields of one, that are named in one line. */
const shownNames = 5;

function addedText(added: JobsAdded): string {
  const { jobs } = added;
  const names = jobs.slice(0, shownNames).map(({ name }) => printable(name));
  if (jobs.length > shownNames) names.push(`${jobs.length - shownNames} more`);
  const [what, one] = areCells(added) ? ['runs as', 'cell'] : ['appended', 'job'];
  return `${what} ${jobs.length} ${one}${jobs.length === 1 ? '' : 's'}: ${names.join(' ')}`;
}

function failedText({ expressionFailures, expressionFailureCount: count }: JobEvaluated): string {
  const fields = expressionFailures.slice(0, shownNames).map(({ field }) => clipped(field, 60));
  if (count > fields.length) fields.push(`${count - fields.length} more`);
  return `${count} of its expressions failed: ${fields.join(', ')}`;
}

function silentFor(silence: Duration | undefined): string {
  return silence === undefined ? 'timed out' : `was not heard of for ${duration(durationMs(silence))}`;
}

function clockText(time: Timestamp | undefined): string {
  return time === undefined ? 'some time' : clock(timestampMs(time));
}

function reasonText(reason: string): string {
  return reason === '' ? '' : `: ${printable(reason)}`;
}
