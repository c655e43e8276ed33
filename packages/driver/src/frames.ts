// Owns the words of a driver: each frame, and an upper bound of its size, so that messages stay within their limit although
// their frames are encoded together, which costs a fraction of encoding each.
import { fromJson, toBinary } from '@bufbuild/protobuf';
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { type Duration, ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  type DriverFrame,
  type HeldPhase,
  SessionRequestSchema,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import type { AnnotationLevel, ProgressPhase } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { AttemptResult } from './attempt-result.ts';
import type { LogSlice } from './log-spool.ts';

/** One thing to say. */
export interface Frame {
  readonly message: DriverFrame;
  /** At most how many bytes it takes of a message. */
  readonly maxBytes: number;
}

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
  readonly pools: Readonly<Record<string, number>>;
  readonly specSchema: JsonObject | undefined;
  readonly version: string;
  readonly held: readonly Held[];
}

/** What Finish says of the log. */
export interface LogTotals {
  readonly written: number;
  readonly crc32c: number;
  readonly lost: boolean;
}

/** What this runtime knows beyond the first version of the protocol, if the control plane does too. */
export const capabilities = ['values', 'artifacts', 'append_jobs'] as const;

/** One of these abilities. */
export type Capability = (typeof capabilities)[number];

/** Bounds ids, keys, numbers and the reasons of this package. */
const frameBytes = 512;

const maxSectionNameBytes = 256;
const maxProgressBytes = 1024;
const maxNoteBytes = 4096;
const maxLinkBytes = 2048;

export function helloFrame(introduction: Introduction): DriverFrame {
  const { driver, instanceId, incarnation, labels, slots, pools, specSchema, version, held } = introduction;
  return message({
    case: 'hello',
    value: {
      $typeName: 'conveyor.v1.Hello',
      protocolVersion: 1,
      capabilities: [...capabilities],
      driver,
      instanceId,
      incarnation,
      labels: { ...labels },
      slots,
      pools: { ...pools },
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
  return frame({ case: 'accept', value: { $typeName: 'conveyor.v1.Accept', attemptId: id, fence } });
}

export function rejectFrame({ id, fence }: AttemptKey, reason: string): Frame {
  return frame({
    case: 'reject',
    value: { $typeName: 'conveyor.v1.Reject', attemptId: id, fence, reason, invalid: false },
  });
}

export function adoptFrame({ id, fence }: AttemptKey): Frame {
  return frame({ case: 'adopt', value: { $typeName: 'conveyor.v1.Adopt', attemptId: id, fence } });
}

export function disownFrame({ id, fence }: AttemptKey): Frame {
  return frame({ case: 'disown', value: { $typeName: 'conveyor.v1.Disown', attemptId: id, fence } });
}

export function heartbeatFrame(seq: number): Frame {
  return frame({ case: 'heartbeat', value: { $typeName: 'conveyor.v1.Heartbeat', seq: BigInt(seq) } });
}

export function drainFrame(): Frame {
  return frame({ case: 'drain', value: { $typeName: 'conveyor.v1.DriverDrain' } });
}

export function goodbyeFrame(reason: string): Frame {
  return frame({ case: 'goodbye', value: { $typeName: 'conveyor.v1.Goodbye', reason } });
}

export function logFrame({ id, fence }: AttemptKey, { offset, channel, unixMs, data }: LogSlice): Frame {
  return frame(
    {
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
    },
    data.length,
  );
}

export function sectionFrame({ id, fence }: AttemptKey, offset: number, name: string, end: boolean): Frame {
  return frame(
    {
      case: 'section',
      value: {
        $typeName: 'conveyor.v1.Section',
        attemptId: id,
        fence,
        section: {
          $typeName: 'conveyor.v1.LogSection',
          offset: BigInt(offset),
          name: storable(name, maxSectionNameBytes),
          end,
        },
      },
    },
    maxSectionNameBytes,
  );
}

export function outputFrame({ id, fence }: AttemptKey, key: string, json: JsonValue): Frame {
  const value = fromJson(ValueSchema, json);
  return frame(
    { case: 'output', value: { $typeName: 'conveyor.v1.Output', attemptId: id, fence, key, value } },
    toBinary(ValueSchema, value).length,
  );
}

export function progressFrame(
  { id, fence }: AttemptKey,
  phase: ProgressPhase,
  message: string,
  fraction: number | undefined,
): Frame {
  return frame(
    {
      case: 'progress',
      value: {
        $typeName: 'conveyor.v1.Progress',
        attemptId: id,
        fence,
        progress: {
          $typeName: 'conveyor.v1.AttemptProgress',
          phase,
          message: storable(message, maxProgressBytes),
          ...(fraction === undefined ? {} : { fraction }),
        },
      },
    },
    maxProgressBytes,
  );
}

export function annotationFrame(
  { id, fence }: AttemptKey,
  number: number,
  level: AnnotationLevel,
  text: string,
  link: string,
): Frame {
  return frame(
    {
      case: 'annotation',
      value: {
        $typeName: 'conveyor.v1.Annotation',
        attemptId: id,
        fence,
        number,
        annotation: {
          $typeName: 'conveyor.v1.AttemptAnnotation',
          level,
          text: storable(text, maxNoteBytes),
          link: storable(link, maxLinkBytes),
        },
      },
    },
    maxNoteBytes + maxLinkBytes,
  );
}

export function checkpointFrame({ id, fence }: AttemptKey, handle: Uint8Array): Frame {
  return frame(
    { case: 'checkpoint', value: { $typeName: 'conveyor.v1.Checkpoint', attemptId: id, fence, handle } },
    handle.length,
  );
}

export function finishFrame({ id, fence }: AttemptKey, result: AttemptResult, log: LogTotals): Frame {
  return frame(
    {
      case: 'finish',
      value: {
        $typeName: 'conveyor.v1.Finish',
        attemptId: id,
        fence,
        outcome: result.outcome,
        failureClass: result.failureClass,
        message: storable(result.message, maxNoteBytes),
        exitCode: result.exitCode,
        retryAfter: result.retryAfterMs === undefined ? undefined : duration(result.retryAfterMs),
        logSize: BigInt(log.written),
        logCrc32c: log.crc32c,
        logLost: log.lost,
      },
    },
    maxNoteBytes,
  );
}

/** The bytes of a message. */
export function encodeMessage(frames: DriverFrame[]): Buffer {
  const bytes = toBinary(SessionRequestSchema, { $typeName: 'conveyor.v1.SessionRequest', frames });
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function message(frame: DriverFrame['frame']): DriverFrame {
  return { $typeName: 'conveyor.v1.DriverFrame', frame };
}

/** One frame. `payloadBytes` bounds what is not of fixed size, ids and keys aside. */
export function frame(said: DriverFrame['frame'], payloadBytes = 0): Frame {
  return { message: message(said), maxBytes: frameBytes + payloadBytes };
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
