// What the control plane says to a driver, as frames of the contract.
import { create, fromJson, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { durationFromMs, ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  CancelPhase,
  type OfferSchema,
  type OrphanSchema,
  ServerFrameSchema,
  type StartSchema,
  type ValueAnswerSchema,
  VerdictKind,
  type VerdictSchema,
  type WelcomeSchema,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { ErrorReason } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import { AttemptState, JobState, LogState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { LeaseDoubt } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { Offer, Orphan, ServerFrame, Start, Verdict, Welcome } from '../../core/frames.ts';
import { type AttemptKey, formatAttemptId, formatJobId } from '../../core/ids.ts';
import { LIMITS } from '../../core/limits.ts';
import { encodeOutputs } from '../encode-job.ts';
import { encodeHotFrame } from './encode-hot-frames.ts';

/** The bytes of one frame. */
export function encodeFrame(frame: ServerFrame): Uint8Array {
  const hot = encodeHotFrame(frame);
  if (hot !== undefined) return hot;
  const bytes = encodeGenericFrame(frame);
  if (bytes.length <= LIMITS.responseBytes || frame.type !== 'Welcome' || frame.orphans.length === 0) return bytes;
  // What the driver is not told of, it does not adopt: after the offer timeout these attempts are lost and tried again.
  return encodeFrame({ ...frame, orphans: frame.orphans.slice(0, frame.orphans.length / 2) });
}

/** As encodeFrame, by the generic encoder. */
export function encodeGenericFrame(frame: ServerFrame): Uint8Array {
  return toBinary(ServerFrameSchema, create(ServerFrameSchema, { frame: initFrame(frame) }));
}

type FrameInit = NonNullable<MessageInitShape<typeof ServerFrameSchema>['frame']>;

function initFrame(frame: ServerFrame): FrameInit {
  switch (frame.type) {
    case 'Welcome':
      return { case: 'welcome', value: initWelcome(frame) };
    case 'Offer':
      return { case: 'offer', value: initOffer(frame) };
    case 'Start':
      return { case: 'start', value: initStart(frame) };
    case 'Pulse':
      return { case: 'pulse', value: { seq: BigInt(frame.seq), leaseLeft: durationFromMs(frame.leaseLeftMs) } };
    case 'LogAck': {
      const { key, offset, windowEnd, gap } = frame;
      return {
        case: 'logAck',
        value: { ...addressOf(key), offset: BigInt(offset), windowEnd: BigInt(windowEnd), gap },
      };
    }
    case 'Cancel': {
      const { key, phase, reason } = frame;
      return { case: 'cancel', value: { ...addressOf(key), phase: CancelPhase[phase], reason } };
    }
    case 'FinishAck':
      return { case: 'finishAck', value: { ...addressOf(frame.key), logState: LogState[frame.logState] } };
    case 'LogMissing':
      return { case: 'logMissing', value: { ...addressOf(frame.key), offset: BigInt(frame.offset) } };
    case 'ValueAnswer':
      return { case: 'valueAnswer', value: initValueAnswer(frame) };
    case 'AppendAnswer': {
      const { key, number, refusal } = frame;
      const { refused = 'UNSPECIFIED', message = '', violations = [] } = refusal ?? {};
      const error = ErrorReason[refused];
      return {
        case: 'appendAnswer',
        value: { ...addressOf(key), number, error, message, violations: [...violations] },
      };
    }
    case 'Drain':
      return { case: 'drain', value: {} };
    case 'Revoke': {
      const { attemptId, fence, reason, state } = frame;
      return { case: 'revoke', value: { attemptId, fence, reason, state: AttemptState[state ?? 'UNSPECIFIED'] } };
    }
  }
}

/** The fence of an attempt is its number. */
function addressOf(key: AttemptKey): { attemptId: string; fence: number } {
  return { attemptId: formatAttemptId(key), fence: key.attempt };
}

function initWelcome(welcome: Welcome): MessageInitShape<typeof WelcomeSchema> {
  return {
    sessionId: welcome.sessionId,
    epoch: BigInt(welcome.epoch),
    leaseDuration: durationFromMs(welcome.leaseMs),
    heartbeatInterval: durationFromMs(welcome.heartbeatMs),
    attemptLogWindow: BigInt(welcome.attemptLogWindow),
    sessionLogWindow: BigInt(welcome.sessionLogWindow),
    maxMessageBytes: welcome.maxMessageBytes,
    maxLogBytes: BigInt(welcome.maxLogBytes),
    capabilities: [...welcome.capabilities],
    verdicts: welcome.verdicts.map(initVerdict),
    orphans: welcome.orphans.map(initOrphan),
  };
}

function initVerdict(verdict: Verdict): MessageInitShape<typeof VerdictSchema> {
  const addressed = { ...addressOf(verdict.key), kind: VerdictKind[verdict.kind] };
  switch (verdict.kind) {
    case 'START':
      return { ...addressed, start: initStart(verdict.start) };
    case 'KEEP':
      return {
        ...addressed,
        logOffset: BigInt(verdict.logOffset),
        cancel: CancelPhase[verdict.cancel ?? 'UNSPECIFIED'],
      };
    case 'STOP':
      return addressed;
    case 'FINISHED':
      return { ...addressed, logState: LogState[verdict.logState] };
  }
}

function initOrphan({ offer, checkpoint, logOffset, cancel }: Orphan): MessageInitShape<typeof OrphanSchema> {
  return {
    offer: initOffer(offer),
    checkpoint,
    logOffset: BigInt(logOffset),
    cancel: CancelPhase[cancel ?? 'UNSPECIFIED'],
  };
}

function initOffer(offer: Offer): MessageInitShape<typeof OfferSchema> {
  const { key, runTimeoutMs, silenceTimeoutMs } = offer;
  return {
    ...addressOf(key),
    project: offer.project,
    runId: key.runId,
    jobId: formatJobId(key),
    job: offer.jobName,
    spec: offer.spec,
    params: offer.params,
    pipeline: offer.pipeline,
    offerTimeout: durationFromMs(offer.offerTimeoutMs),
    runTimeout: runTimeoutMs === undefined ? undefined : durationFromMs(runTimeoutMs),
    cancelGracePeriod: durationFromMs(offer.cancelGraceMs),
    onLeaseDoubt: LeaseDoubt[offer.onLeaseDoubt],
    traceparent: offer.traceparent,
    silenceTimeout: silenceTimeoutMs === undefined ? undefined : durationFromMs(silenceTimeoutMs),
    pool: offer.pool ?? '',
  };
}

function initStart(start: Start): MessageInitShape<typeof StartSchema> {
  const { key, needs, secrets, timeLeftMs, resumed, logOffset, logCrc32c, annotations, valueNumber, artifacts } = start;
  return {
    ...addressOf(key),
    needs: Object.fromEntries(
      Object.entries(needs).map(([name, { state, outputs }]) => [
        name,
        { values: encodeOutputs(outputs), state: JobState[state] },
      ]),
    ),
    secrets,
    timeLeft: timeLeftMs === undefined ? undefined : durationFromMs(timeLeftMs),
    resumed,
    logOffset: BigInt(logOffset),
    logCrc32c,
    annotations,
    valueNumber,
    artifacts,
  };
}

function initValueAnswer(
  answer: Extract<ServerFrame, { type: 'ValueAnswer' }>,
): MessageInitShape<typeof ValueAnswerSchema> {
  const { key, number, value, version, refusal } = answer;
  return {
    ...addressOf(key),
    number,
    value: value === undefined ? undefined : fromJson(ValueSchema, value),
    version: BigInt(version),
    error: ErrorReason[refusal?.refused ?? 'UNSPECIFIED'],
    message: refusal?.message ?? '',
  };
}
