// Reads what a driver says. What is wrong about one attempt becomes a frame that fails this attempt; what is wrong about the session
// itself is thrown and ends it.
import { durationMs, type Duration } from '@bufbuild/protobuf/wkt';
import {
  type DriverFrame as DriverFrameMessage,
  type Finish,
  FinishOutcome,
  type Log,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import {
  AnnotationLevel,
  type AttemptAnnotation,
  type AttemptProgress,
  FailureClass,
  ProgressPhase,
} from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { LogChannel, type LogSection as LogSectionMessage } from '@conveyor/protocol/conveyor/v1/log_pb.js';
import {
  addViolation,
  checkName,
  checkNumber,
  checkText,
  checkTextBytes,
  type Found,
  OUTPUT_KEY,
} from '../../core/check-fields.ts';
import type { Annotation } from '../../core/events.ts';
import type { DriverFrame } from '../../core/frames.ts';
import { type AttemptKey, parseAttemptId } from '../../core/ids.ts';
import { LIMITS } from '../../core/limits.ts';
import type { LogSection, ProgressView } from '../../core/views.ts';
import { decodeExpected, decodeValue } from '../decode-value.ts';
import { decodeArtifact } from '../artifact-codec.ts';
import { decodeJobDefinition } from '../definition-codec.ts';
import { protocolViolation } from './protocol-violation.ts';

const DAY_MS = 86_400_000;
const MAX_TIME_MS = 8.64e15;
/** An attempt id that is sent back is cut: ours are shorter. */
const MAX_ECHO = 128;

/** @returns Undefined for a frame that this version does not know. @throws RefusedError PROTOCOL_VIOLATION */
export function decodeFrame({ frame }: DriverFrameMessage): DriverFrame | undefined {
  switch (frame.case) {
    case 'hello':
      throw protocolViolation('a session has one Hello, its first frame');
    case 'heartbeat':
      return { type: 'Heartbeat', seq: Number(frame.value.seq) };
    case 'slots':
      return { type: 'Slots', total: decodeSlots(frame.value.total) };
    case 'drain':
      return { type: 'Drain' };
    case 'goodbye':
      return { type: 'Goodbye', reason: personText(frame.value.reason, LIMITS.messageBytes) };
    case 'adopt':
      return about(frame.value, (key) => ({ type: 'Adopt', key }));
    case 'disown':
      return about(frame.value, (key) => ({ type: 'Disown', key }));
    case 'accept':
      return about(frame.value, (key) => ({ type: 'Accept', key }));
    case 'reject': {
      const { reason, retryAfter, invalid } = frame.value;
      return about(frame.value, (key, found) => {
        checkTextBytes(found, 'reason', reason, LIMITS.messageBytes);
        return { type: 'Reject', key, reason, invalid, ...decodeRetryAfter(found, retryAfter) };
      });
    }
    case 'log':
      return decodeLog(frame.value);
    case 'section': {
      const { section } = frame.value;
      return about(frame.value, (key, found) => ({ type: 'Section', key, section: decodeSection(found, section) }));
    }
    case 'output': {
      const { key: name, value } = frame.value;
      return about(frame.value, (key, found) => {
        checkName(found, 'key', name, OUTPUT_KEY);
        return { type: 'Output', key, name, value: decodeValue(found, 'value', value) };
      });
    }
    case 'progress': {
      const { progress } = frame.value;
      return about(frame.value, (key, found) => ({ type: 'Progress', key, progress: decodeProgress(found, progress) }));
    }
    case 'annotation': {
      const { number, annotation } = frame.value;
      return about(frame.value, (key, found) => {
        checkAskNumber(found, number);
        return { type: 'Annotation', key, number, annotation: decodeAnnotation(found, annotation) };
      });
    }
    case 'checkpoint': {
      const { handle } = frame.value;
      return about(frame.value, (key, found) => {
        checkBytes(found, 'handle', handle, 0, LIMITS.checkpointBytes);
        return { type: 'Checkpoint', key, handle };
      });
    }
    case 'declareArtifact': {
      const { number, artifact } = frame.value;
      return about(frame.value, (key, found) => {
        checkNumber(found, 'number', number, { min: 1, max: LIMITS.artifacts });
        return { type: 'DeclareArtifact', key, number, artifact: decodeArtifact(found, 'artifact', artifact) };
      });
    }
    case 'appendJobs': {
      const { number, jobs } = frame.value;
      return about(frame.value, (key, found) => {
        checkAskNumber(found, number);
        return { type: 'AppendJobs', key, number, jobs: jobs.map(decodeJobDefinition) };
      });
    }
    case 'getValue': {
      const { number, key: name } = frame.value;
      return about(frame.value, (key, found) => {
        checkValueRequest(found, frame.value);
        return { type: 'GetValue', key, number, name };
      });
    }
    case 'setValue': {
      const { number, key: name, value, expectedVersion } = frame.value;
      return about(frame.value, (key, found) => {
        checkValueRequest(found, frame.value);
        const expected = decodeExpected(found, expectedVersion, 0);
        return { type: 'SetValue', key, number, name, value: decodeValue(found, 'value', value), expected };
      });
    }
    case 'deleteValue': {
      const { number, key: name, expectedVersion } = frame.value;
      return about(frame.value, (key, found) => {
        checkValueRequest(found, frame.value);
        return { type: 'DeleteValue', key, number, name, expected: decodeExpected(found, expectedVersion, 1) };
      });
    }
    case 'finish': {
      const finish = frame.value;
      return about(finish, (key, found) => decodeFinish(found, key, finish));
    }
    case undefined:
      return undefined;
  }
}

/** Slots are a total; also Hello carries one. @throws RefusedError PROTOCOL_VIOLATION */
function decodeSlots(total: number): number {
  if (total < 0 || total > LIMITS.slots) {
    throw protocolViolation(`slots.total must be from 0 to ${LIMITS.slots}; got ${total}`);
  }
  return total;
}

/** Reads a frame about one attempt. */
function about(
  { attemptId, fence }: { readonly attemptId: string; readonly fence: number },
  read: (key: AttemptKey, found: Found) => DriverFrame,
): DriverFrame {
  const key = parseAttemptId(attemptId);
  if (key === undefined || key.attempt !== fence) {
    return { type: 'Misaddressed', attemptId: attemptId.slice(0, MAX_ECHO), fence };
  }
  const found: Found = [];
  const frame = read(key, found);
  const [wrong] = found;
  if (wrong === undefined) return frame;
  return { type: 'Malformed', key, problem: `${frame.type}: ${wrong.field} ${wrong.description}` };
}

function decodeLog(log: Log): DriverFrame {
  return about(log, (key, found) => {
    const { channel, data } = log;
    const offset = decodeOffset(found, 'offset', log.offset);
    const unixMs = Number(log.unixMs);
    if (unixMs < 0 || unixMs > MAX_TIME_MS) addViolation(found, 'unix_ms', `is no time: ${unixMs}`);
    checkBytes(found, 'data', data, 1, LIMITS.logFrameBytes);
    return { type: 'Log', key, offset, channel: LOG_CHANNELS[channel] ?? 'STDOUT', unixMs, data };
  });
}

const LOG_CHANNELS: Readonly<Record<number, 'STDOUT' | 'STDERR' | 'DRIVER'>> = {
  [LogChannel.STDOUT]: 'STDOUT',
  [LogChannel.STDERR]: 'STDERR',
  [LogChannel.DRIVER]: 'DRIVER',
};

function decodeSection(found: Found, section: LogSectionMessage | undefined): LogSection {
  if (section === undefined) addViolation(found, 'section', 'is required');
  const { offset = 0n, name = '', end = false } = section ?? {};
  checkText(found, 'section.name', name, 256);
  return { offset: decodeOffset(found, 'section.offset', offset), name, end };
}

function checkValueRequest(found: Found, { number, key }: { readonly number: number; readonly key: string }): void {
  checkAskNumber(found, number);
  checkName(found, 'key', key, OUTPUT_KEY);
}

function checkAskNumber(found: Found, number: number): void {
  if (number < 1) addViolation(found, 'number', `must be 1 or more; got ${number}`);
}

function decodeProgress(found: Found, progress: AttemptProgress | undefined): ProgressView {
  const { phase = ProgressPhase.UNSPECIFIED, message = '', fraction } = progress ?? {};
  checkTextBytes(found, 'progress.message', message, 1_024);
  if (fraction !== undefined) checkNumber(found, 'progress.fraction', fraction, { min: 0, max: 1 });
  return { phase: PHASES[phase] ?? 'UNSPECIFIED', message, ...(fraction !== undefined && { fraction }) };
}

const PHASES: Readonly<Record<number, ProgressView['phase']>> = {
  [ProgressPhase.PREPARING]: 'PREPARING',
  [ProgressPhase.RUNNING]: 'RUNNING',
};

function decodeAnnotation(found: Found, annotation: AttemptAnnotation | undefined): Annotation {
  if (annotation === undefined) addViolation(found, 'annotation', 'is required');
  const { level = AnnotationLevel.UNSPECIFIED, text = '', link = '' } = annotation ?? {};
  checkTextBytes(found, 'annotation.text', text, LIMITS.messageBytes);
  checkText(found, 'annotation.link', link, 2_048);
  return { level: LEVELS[level] ?? 'INFO', text, link };
}

const LEVELS: Readonly<Record<number, Annotation['level']>> = {
  [AnnotationLevel.INFO]: 'INFO',
  [AnnotationLevel.WARNING]: 'WARNING',
  [AnnotationLevel.ERROR]: 'ERROR',
};

function decodeFinish(found: Found, key: AttemptKey, finish: Finish): DriverFrame {
  const { exitCode, logCrc32c, logLost } = finish;
  const outcome = OUTCOMES[finish.outcome];
  if (outcome === undefined)
    addViolation(found, 'outcome', `must be SUCCEEDED, FAILED or CANCELLED; got ${finish.outcome}`);
  const failureClass = FAILURE_CLASSES[finish.failureClass];
  if (outcome === 'FAILED' && failureClass === undefined) {
    addViolation(found, 'failure_class', `must be WORKLOAD, DRIVER or INVALID; got ${finish.failureClass}`);
  }
  return {
    type: 'Finish',
    key,
    outcome: outcome ?? 'FAILED',
    failureClass: failureClass ?? 'WORKLOAD',
    // The one text that is cut, not refused: a result must not get lost by what a workload printed.
    message: personText(finish.message, LIMITS.messageBytes),
    ...(exitCode !== undefined && { exitCode }),
    ...decodeRetryAfter(found, finish.retryAfter),
    logSize: decodeOffset(found, 'log_size', finish.logSize),
    logCrc32c,
    logLost,
  };
}

const OUTCOMES: Readonly<Record<number, 'SUCCEEDED' | 'FAILED' | 'CANCELLED'>> = {
  [FinishOutcome.SUCCEEDED]: 'SUCCEEDED',
  [FinishOutcome.FAILED]: 'FAILED',
  [FinishOutcome.CANCELLED]: 'CANCELLED',
};

const FAILURE_CLASSES: Readonly<Record<number, 'WORKLOAD' | 'DRIVER' | 'INVALID'>> = {
  [FailureClass.UNSPECIFIED]: 'WORKLOAD',
  [FailureClass.WORKLOAD]: 'WORKLOAD',
  [FailureClass.DRIVER]: 'DRIVER',
  [FailureClass.INVALID]: 'INVALID',
};

function decodeRetryAfter(found: Found, retryAfter: Duration | undefined): { retryAfterMs?: number } {
  if (retryAfter === undefined) return {};
  const retryAfterMs = durationMs(retryAfter);
  if (!(retryAfterMs >= 0 && retryAfterMs <= DAY_MS)) {
    addViolation(found, 'retry_after', `must be 0 s to 24 h; got ${retryAfterMs / 1_000} s`);
  }
  return { retryAfterMs };
}

function decodeOffset(found: Found, field: string, value: bigint): number {
  const offset = Number(value);
  if (offset < 0 || !Number.isSafeInteger(offset)) addViolation(found, field, `must be 0 or more; got ${value}`);
  return offset;
}

function checkBytes(found: Found, field: string, { length }: Uint8Array, min: number, max: number): void {
  if (length < min || length > max) addViolation(found, field, `must have ${min} to ${max} bytes; has ${length}`);
}

/** Text for people: without NUL, which cannot be stored, and cut to a number of bytes. */
function personText(text: string, maxBytes: number): string {
  const storable = text.replaceAll('\0', '\ufffd');
  if (Buffer.byteLength(storable) <= maxBytes) return storable;
  // A character that the cut leaves in pieces decodes to replacement characters, of which none may stay at the end.
  return (
    Buffer.from(storable)
      .subarray(0, maxBytes - 3)
      .toString()
      .replace(/\ufffd+$/, '') + '…'
  );
}
