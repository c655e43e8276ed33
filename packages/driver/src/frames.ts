// Owns the bytes of what a driver says: each frame is encoded once, when it is said, and a message is frames put together.
import { fromJson, toBinary } from '@bufbuild/protobuf';
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { type Duration, ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  type DriverFrame,
  DriverFrameSchema,
  type FinishOutcome,
  type HeldPhase,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import type { AnnotationLevel, FailureClass, ProgressPhase } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { LogSlice } from './log-spool.ts';

/** One DriverFrame, encoded. */
export type Frame = Uint8Array;

/** What every frame about an attempt carries. */
export interface AttemptKey {
  readonly id: string;
  readonly fence: number;
}

/** An attempt that Hello names. */
export interface Held extends AttemptKey {
  readonly phase: HeldPhase;
  readonly logOffset: number;
}

/** What Hello says of an instance. */
export interface Introduction {
  readonly driver: string;
  readonly instanceId: string;
  readonly incarnation: Uint8Array;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly specSchema: JsonObject | undefined;
  readonly version: string;
  readonly held: readonly Held[];
}

/** How an attempt ended. */
export interface AttemptResult {
  readonly outcome: FinishOutcome;
  readonly failureClass: FailureClass;
  readonly message: string;
  readonly exitCode: number | undefined;
  readonly retryAfterMs: number | undefined;
}

/** What Finish says of the log. */
export interface LogTotals {
  readonly written: number;
  readonly crc32c: number;
  readonly lost: boolean;
}

export function helloFrame(introduction: Introduction): Frame {
  const { driver, instanceId, incarnation, labels, slots, specSchema, version, held } = introduction;
  return encode({
    case: 'hello',
    value: {
      $typeName: 'conveyor.v1.Hello',
      protocolVersion: 1,
      capabilities: [],
      driver,
      instanceId,
      incarnation,
      labels: { ...labels },
      slots,
      specSchema,
      version,
      held: held.map(({ id, fence, phase, logOffset }) => ({
        $typeName: 'conveyor.v1.HeldAttempt',
        attemptId: id,
        fence,
        phase,
        logOffset: BigInt(logOffset),
      })),
    },
  });
}

export function acceptFrame({ id, fence }: AttemptKey): Frame {
  return encode({ case: 'accept', value: { $typeName: 'conveyor.v1.Accept', attemptId: id, fence } });
}

export function rejectFrame({ id, fence }: AttemptKey, reason: string): Frame {
  return encode({
    case: 'reject',
    value: { $typeName: 'conveyor.v1.Reject', attemptId: id, fence, reason, invalid: false },
  });
}

export function adoptFrame({ id, fence }: AttemptKey): Frame {
  return encode({ case: 'adopt', value: { $typeName: 'conveyor.v1.Adopt', attemptId: id, fence } });
}

export function disownFrame({ id, fence }: AttemptKey): Frame {
  return encode({ case: 'disown', value: { $typeName: 'conveyor.v1.Disown', attemptId: id, fence } });
}

export function heartbeatFrame(seq: number): Frame {
  return encode({ case: 'heartbeat', value: { $typeName: 'conveyor.v1.Heartbeat', seq: BigInt(seq) } });
}

export function drainFrame(): Frame {
  return encode({ case: 'drain', value: { $typeName: 'conveyor.v1.DriverDrain' } });
}

export function goodbyeFrame(reason: string): Frame {
  return encode({ case: 'goodbye', value: { $typeName: 'conveyor.v1.Goodbye', reason } });
}

export function logFrame({ id, fence }: AttemptKey, { offset, channel, unixMs, data }: LogSlice): Frame {
  return encode({
    case: 'log',
    value: {
      $typeName: 'conveyor.v1.Log',
      attemptId: id,
      fence,
      offset: BigInt(offset),
      channel,
      unixMs: BigInt(unixMs),
      data,
    },
  });
}

export function sectionFrame({ id, fence }: AttemptKey, offset: number, name: string, end: boolean): Frame {
  return encode({
    case: 'section',
    value: {
      $typeName: 'conveyor.v1.Section',
      attemptId: id,
      fence,
      section: { $typeName: 'conveyor.v1.LogSection', offset: BigInt(offset), name: storable(name, 256), end },
    },
  });
}

export function outputFrame({ id, fence }: AttemptKey, key: string, value: JsonValue): Frame {
  return encode({
    case: 'output',
    value: { $typeName: 'conveyor.v1.Output', attemptId: id, fence, key, value: fromJson(ValueSchema, value) },
  });
}

export function progressFrame(
  { id, fence }: AttemptKey,
  phase: ProgressPhase,
  message: string,
  fraction: number | undefined,
): Frame {
  return encode({
    case: 'progress',
    value: {
      $typeName: 'conveyor.v1.Progress',
      attemptId: id,
      fence,
      progress: {
        $typeName: 'conveyor.v1.AttemptProgress',
        phase,
        message: storable(message, 1024),
        ...(fraction === undefined ? {} : { fraction }),
      },
    },
  });
}

export function annotationFrame(
  { id, fence }: AttemptKey,
  number: number,
  level: AnnotationLevel,
  text: string,
  link: string,
): Frame {
  return encode({
    case: 'annotation',
    value: {
      $typeName: 'conveyor.v1.Annotation',
      attemptId: id,
      fence,
      number,
      annotation: {
        $typeName: 'conveyor.v1.AttemptAnnotation',
        level,
        text: storable(text, 4096),
        link: storable(link, 2048),
      },
    },
  });
}

export function checkpointFrame({ id, fence }: AttemptKey, handle: Uint8Array): Frame {
  return encode({ case: 'checkpoint', value: { $typeName: 'conveyor.v1.Checkpoint', attemptId: id, fence, handle } });
}

export function finishFrame({ id, fence }: AttemptKey, result: AttemptResult, log: LogTotals): Frame {
  return encode({
    case: 'finish',
    value: {
      $typeName: 'conveyor.v1.Finish',
      attemptId: id,
      fence,
      outcome: result.outcome,
      failureClass: result.failureClass,
      message: storable(result.message, 4096),
      exitCode: result.exitCode,
      retryAfter: result.retryAfterMs === undefined ? undefined : duration(result.retryAfterMs),
      logSize: BigInt(log.written),
      logCrc32c: log.crc32c,
      logLost: log.lost,
    },
  });
}

/** Bytes that a frame takes in a message beyond its own: tag and length. */
export const frameOverheadBytes = 6;

/** A SessionRequest of frames; their bytes together are `frameBytes`. */
export function sessionRequest(frames: readonly Frame[], frameBytes: number): Buffer {
  const message = Buffer.allocUnsafe(frameBytes + frames.length * frameOverheadBytes);
  let at = 0;
  for (const frame of frames) {
    // Field 1, length-delimited: SessionRequest.frames.
    message[at++] = 0x0a;
    let length = frame.length;
    for (; length > 0x7f; length >>>= 7) message[at++] = (length & 0x7f) | 0x80;
    message[at++] = length;
    message.set(frame, at);
    at += frame.length;
  }
  return message.subarray(0, at);
}

function encode(frame: DriverFrame['frame']): Frame {
  return toBinary(DriverFrameSchema, { $typeName: 'conveyor.v1.DriverFrame', frame });
}

/** Text as the control plane stores it: valid Unicode without NUL, at most `maxBytes` long in UTF-8. */
function storable(text: string, maxBytes: number): string {
  // A UTF-16 unit takes one to three bytes, so most texts need no count.
  const clean = text.slice(0, maxBytes).toWellFormed().replaceAll('\0', '\ufffd');
  if (clean.length * 3 <= maxBytes || Buffer.byteLength(clean) <= maxBytes) return clean;
  const bytes = Buffer.from(clean);
  let end = maxBytes;
  // Not in the middle of a character: continuation bytes are 10xxxxxx.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end);
}

function duration(ms: number): Duration {
  const wholeMs = Math.round(ms);
  return {
    $typeName: 'google.protobuf.Duration',
    seconds: BigInt(Math.floor(wholeMs / 1000)),
    nanos: (wholeMs % 1000) * 1_000_000,
  };
}
