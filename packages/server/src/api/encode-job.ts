// Jobs, attempts and logs as the contract shows them.
import { fromJson, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs, type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  AnnotationLevel,
  type AttemptAnnotationSchema,
  type AttemptProgressSchema,
  type AttemptSchema,
  AttemptState,
  type ConditionPartSchema,
  FailureClass,
  type FailureSchema,
  type GateAnswerSchema,
  GateVerdict,
  type JobConditionSchema,
  type JobHoldSchema,
  type JobSchema,
  JobState,
  type JobStopSchema,
  type JobWaitSchema,
  LogState,
  ProgressPhase,
  StopCause,
  StopPhase,
  WaitReason,
} from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { JobPointSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { LogChannel, type LogChunkSchema, type LogSectionSchema } from '@conveyor/protocol/conveyor/v1/log_pb.js';
import type { Annotation } from '../core/events.ts';
import { formatAttemptId, formatJobId } from '../core/ids.ts';
import type {
  ConditionPart,
  ConditionTrace,
  ExpressionFailures,
  GateAnswer,
  HoldBack,
  JobWait,
  StopRequest,
} from '../core/run-state.ts';
import type { Failure } from '../core/states.ts';
import type { AttemptView, JobPointView, JobView, LogChunk, LogSection, Outputs, ProgressView } from '../core/views.ts';
import { encodeArtifact } from './artifact-codec.ts';
import { encodeTime } from './encode-run.ts';

/** Of what a job waits for, what is told. */
interface ShownWait extends Pick<JobWait, 'reason'> {
  readonly untilMs?: number;
  readonly expectedMs?: number;
}

/** A job without its definition, which is for GetJob alone to add. */
export function encodeJob(job: JobView) {
  return {
    jobId: formatJobId(job),
    project: job.project,
    runId: job.runId,
    name: job.name,
    driver: job.driver,
    needs: [...job.needs],
    ...encodeJobPoint(job),
    outputs: encodeOutputs(job.outputs),
    failureAllowed: job.failureAllowed,
    progress: job.progress && encodeProgress(job.progress),
    startTime: encodeTime(job.startedMs),
    finishTime: encodeTime(job.finishedMs),
    inheritedFrom: job.inheritedFrom ?? '',
    condition: job.condition && encodeCondition(job.condition),
    matrixJob: job.cell?.of ?? '',
    matrix: job.cell?.values,
    gateAnswers: (job.answers ?? []).map(encodeAnswer),
    childRunId: job.childRun ?? '',
    cancelReason: job.cancelReason ?? '',
    concurrencyGroup: job.group?.key ?? '',
    concurrencyLimit: job.group?.limit ?? 0,
    rateLimits: [...(job.rates ?? [])],
    maxParallel: job.maxParallel ?? 0,
    stage: job.stage ?? '',
    artifacts: (job.artifacts ?? []).map(encodeArtifact),
    artifactCount: job.artifactCount ?? 0,
    spec: job.spec,
    ...encodeExpressionFailures(job.expressionFailures),
  } satisfies MessageInitShape<typeof JobSchema>;
}

/** Where a job stands: fields that JobPoint and Job have in common. */
export function encodeJobPoint({ state, attempt, wait, hold, stop, failure }: JobPointView) {
  return {
    state: JobState[state],
    attempt,
    wait: wait && encodeWait(wait),
    hold: hold && encodeHold(hold),
    stop: stop && encodeStop(stop),
    failure: failure && encodeFailure(failure),
  } satisfies MessageInitShape<typeof JobPointSchema>;
}

export function encodeAttempt(attempt: AttemptView): MessageInitShape<typeof AttemptSchema> {
  return {
    attemptId: formatAttemptId(attempt),
    project: attempt.project,
    runId: attempt.runId,
    jobId: formatJobId(attempt),
    number: attempt.attempt,
    state: AttemptState[attempt.state],
    driverInstance: attempt.instance,
    failure: attempt.failure && encodeFailure(attempt.failure),
    outputs: encodeOutputs(attempt.outputs),
    logSize: BigInt(attempt.logSize),
    logState: LogState[attempt.logState],
    progress: attempt.progress && encodeProgress(attempt.progress),
    annotations: attempt.annotations.map(encodeAnnotation),
    artifacts: attempt.artifacts.map(encodeArtifact),
    artifactCount: attempt.artifactCount,
    offerTime: timestampFromMs(attempt.offeredMs),
    startTime: encodeTime(attempt.startedMs),
    finishTime: encodeTime(attempt.finishedMs),
  };
}

export function encodeWait(wait: ShownWait): MessageInitShape<typeof JobWaitSchema> {
  return { reason: WaitReason[wait.reason], untilTime: encodeTime(wait.untilMs ?? wait.expectedMs) };
}

export function encodeCondition(condition: ConditionTrace): MessageInitShape<typeof JobConditionSchema> {
  const { expression, held, error = '', parts } = condition;
  return { expression, held, error, parts: parts.map(encodePart) };
}

/** Fields that all messages about a job have in common which tell of its expressions. */
export function encodeExpressionFailures({ first, count }: ExpressionFailures = { first: [], count: 0 }) {
  const expressionFailures = first.map(({ parts, ...failure }) => ({ ...failure, parts: parts.map(encodePart) }));
  return { expressionFailures, expressionFailureCount: count } satisfies MessageInitShape<typeof JobSchema>;
}

function encodePart({ expression, value, note = '' }: ConditionPart): MessageInitShape<typeof ConditionPartSchema> {
  return { expression, note, ...(value !== undefined && { value: fromJson(ValueSchema, value) }) };
}

export function encodeAnswer({
  actor,
  verdict,
  answers,
  comment,
  timeMs,
}: GateAnswer): MessageInitShape<typeof GateAnswerSchema> {
  return { actor, verdict: GateVerdict[verdict], answers, comment, time: timestampFromMs(timeMs) };
}

export function encodeHold({ reason, actor, sinceMs }: HoldBack): MessageInitShape<typeof JobHoldSchema> {
  return { reason, actor, time: timestampFromMs(sinceMs) };
}

function encodeStop({ cause, phase, reason, sinceMs }: StopRequest): MessageInitShape<typeof JobStopSchema> {
  return { cause: StopCause[cause], phase: StopPhase[phase], reason, time: timestampFromMs(sinceMs) };
}

export function encodeFailure({
  class: failureClass,
  message,
  exitCode,
}: Failure): MessageInitShape<typeof FailureSchema> {
  return { class: FailureClass[failureClass], message, exitCode };
}

export function encodeOutputs(outputs: Outputs = {}): Record<string, Value> {
  return Object.fromEntries(Object.entries(outputs).map(([key, value]) => [key, fromJson(ValueSchema, value)]));
}

export function encodeAnnotation({ level, text, link }: Annotation): MessageInitShape<typeof AttemptAnnotationSchema> {
  return { level: AnnotationLevel[level], text, link };
}

export function encodeLogChunk({ offset, data, spans }: LogChunk): MessageInitShape<typeof LogChunkSchema> {
  return {
    offset: BigInt(offset),
    data,
    spans: spans.map(({ length, channel, unixMs }) => ({
      length,
      channel: LogChannel[channel],
      unixMs: BigInt(unixMs),
    })),
  };
}

export function encodeLogSection({ offset, name, end }: LogSection): MessageInitShape<typeof LogSectionSchema> {
  return { offset: BigInt(offset), name, end };
}

function encodeProgress({ phase, message, fraction }: ProgressView): MessageInitShape<typeof AttemptProgressSchema> {
  return { phase: ProgressPhase[phase], message, fraction };
}
