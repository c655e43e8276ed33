// One driver's stream, from Hello to its status, on bytes and plain events: this is the hot path. That a stream closes says nothing
// about the attempts on it; only the engine ends a session well.
import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { type SessionRequest, SessionRequestSchema } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { DriverFrame, Hello, ServerFrame } from '../../core/frames.ts';
import { LIMITS } from '../../core/limits.ts';
import { RefusedError } from '../../core/refusal.ts';
import type { DriverOperations, DriverSession } from '../../engine/driver-operations.ts';
import type { Principal } from '../../engine/engine.ts';
import type { CallPolicy } from '../call-policy.ts';
import { grpcStatus } from '../grpc/grpc-status.ts';
import { isTooDeep, READ_OPTIONS, TOO_DEEP } from '../message-levels.ts';
import { decodeFrame } from './decode-frames.ts';
import { decodeHello } from './decode-hello.ts';
import { createFrameQueue } from './frame-queue.ts';
import { protocolViolation } from './protocol-violation.ts';

export type SessionStream = ServerDuplexStream<Buffer, Buffer>;

export interface StreamOptions {
  readonly principal: Principal;
  readonly drivers: DriverOperations;
  readonly explain: CallPolicy['explain'];
}

/** How long an admitted stream may stay without Hello. */
const HELLO_TIMEOUT_MS = 10_000;
/** A message that takes longer to handle is followed by a rest of its stream, so that a driver that floods takes a part of this process only. */
const LONG_MESSAGE_MS = 4;
const REST_FACTOR = 3;
const LONGEST_REST_MS = 250;
/** What a driver that does not read may leave in memory; then its session ends. */
const MAX_SENT_BYTES = 67_108_864;

/** Serves an admitted stream. */
export function serveSession(stream: SessionStream, { principal, drivers, explain }: StreamOptions): void {
  let session: DriverSession | undefined;
  let hasHello = false;
  let hasGoodbye = false;
  let isOver = false;
  const helloTimer = setTimeout(() => {
    fail(protocolViolation(`no Hello came within ${HELLO_TIMEOUT_MS / 1_000} s`));
  }, HELLO_TIMEOUT_MS);
  let restTimer: NodeJS.Timeout | undefined;
  const queue = createFrameQueue({ write, oversize, failed: fail });

  /** Ends the stream with a status; undefined is OK. What was said before still goes out. */
  function end(error: unknown): void {
    if (isOver) return;
    queue.flush();
    // The last frames may have been too many for the driver, which ended the stream.
    if (isOver) return;
    over();
    if (error === undefined) stream.end();
    else stream.emit('error', grpcStatus(explain(error)));
  }

  /** Ends the stream on our own account. */
  function fail(error: unknown): void {
    session?.disconnected();
    end(error);
  }

  function over(): void {
    isOver = true;
    session = undefined;
    clearTimeout(helloTimer);
    clearTimeout(restTimer);
  }

  function write(message: Buffer, taken: () => void): void {
    if (isOver) return;
    stream.write(message, taken);
    if (queue.sentBytes() <= MAX_SENT_BYTES) return;
    const problem = 'the driver does not read what it is sent';
    fail(new RefusedError({ refused: 'LIMIT_REACHED', message: problem, metadata: { limit: 'unread_bytes' } }));
  }

  function oversize(frame: ServerFrame, bytes: number): void {
    const problem = `its ${frame.type} frame has ${bytes} bytes; at most ${LIMITS.responseBytes} can be sent`;
    if ('key' in frame) session?.receive([{ type: 'Malformed', key: frame.key, problem }]);
    else
      fail(new RefusedError({ refused: 'LIMIT_REACHED', message: problem, metadata: { limit: 'max_response_bytes' } }));
  }

  async function open(hello: Hello, early: readonly DriverFrame[]): Promise<void> {
    // Read on only once the takeover is committed; until then the transport holds back what comes.
    stream.pause();
    const opened = await drivers.openSession(principal, hello, {
      send: queue.push,
      queuedBytes: queue.sentBytes,
      end: (refusal) => end(refusal && new RefusedError(refusal)),
    });
    if (isOver) {
      opened.disconnected();
      return;
    }
    session = opened;
    if (early.length > 0) session.receive(early);
    stream.resume();
  }

  function onMessage(bytes: Buffer): void {
    if (isOver) return;
    const beganMs = performance.now();
    try {
      take(bytes);
    } catch (error) {
      fail(error);
    }
    // Before there is a session, the takeover says when to read on.
    if (session !== undefined) rest(performance.now() - beganMs);
  }

  /** Others have their turn first. What comes meanwhile is held back by the transport. */
  function rest(tookMs: number): void {
    if (tookMs < LONG_MESSAGE_MS || isOver) return;
    stream.pause();
    restTimer = setTimeout(() => stream.resume(), Math.min(REST_FACTOR * tookMs, LONGEST_REST_MS));
  }

  function take(bytes: Buffer): void {
    const { hello, frames, problem } = readMessage(bytes, !hasHello);
    hasGoodbye ||= frames.some(({ type }) => type === 'Goodbye');
    if (hello !== undefined) {
      hasHello = true;
      clearTimeout(helloTimer);
      open(hello, frames).catch(fail);
    } else if (frames.length > 0) session?.receive(frames);
    if (problem !== undefined) fail(problem);
  }

  function onHalfClose(): void {
    // After Goodbye the engine ends the stream, once it has given back what was held.
    if (hasGoodbye) return;
    fail(protocolViolation(hasHello ? 'the stream was closed without Goodbye' : 'the stream was closed without Hello'));
  }

  function onCancelled(): void {
    if (isOver) return;
    session?.disconnected();
    over();
  }

  // Listen for the end before reading: it may be there already.
  stream.on('cancelled', onCancelled);
  stream.on('end', onHalfClose);
  stream.on('data', onMessage);
  if (stream.cancelled) onCancelled();
}

interface ReadMessage {
  readonly hello?: Hello;
  /** In order, up to the problem if there is one. */
  readonly frames: DriverFrame[];
  readonly problem?: unknown;
}

function readMessage(bytes: Buffer, isFirst: boolean): ReadMessage {
  const frames: DriverFrame[] = [];
  let hello: Hello | undefined;
  try {
    for (const [index, message] of parse(bytes).frames.entries()) {
      if (isFirst && index === 0) {
        if (message.frame.case !== 'hello') throw protocolViolation('the first frame of a session must be Hello');
        hello = decodeHello(message.frame.value);
        continue;
      }
      const frame = decodeFrame(message);
      if (frame !== undefined) frames.push(frame);
    }
    return { frames, ...(hello !== undefined && { hello }) };
  } catch (problem) {
    return { frames, problem };
  }
}

function parse(bytes: Buffer): SessionRequest {
  if (bytes.length > LIMITS.requestBytes) {
    throw protocolViolation(`a message has ${bytes.length} bytes; at most ${LIMITS.requestBytes} are taken`);
  }
  try {
    if (hasTooManyFrames(bytes)) {
      throw protocolViolation(
        `a message has more than ${LIMITS.messageFrames} frames and appended jobs: send them in several messages`,
      );
    }
    return fromBinary(SessionRequestSchema, bytes, READ_OPTIONS);
  } catch (error) {
    if (error instanceof RefusedError) throw error;
    throw protocolViolation(
      isTooDeep(error)
        ? `a message ${TOO_DEEP}`
        : `a message is no SessionRequest: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/**
 * Told before they are decoded: frames, and appended jobs, without content would take a hundred times the memory of their message, and
 * their time. Field numbers are those of driver_session.proto.
 */
function hasTooManyFrames(bytes: Buffer): boolean {
  // The shortest frame, and the shortest job, has two bytes.
  if (bytes.length <= 2 * LIMITS.messageFrames) return false;
  let count = 0;
  for (const frame of fieldsOf(bytes, 1)) {
    if (++count > LIMITS.messageFrames) return true;
    for (const append of fieldsOf(frame, 21)) {
      for (const _ of fieldsOf(append, 4)) if (++count > LIMITS.messageFrames) return true;
    }
  }
  return false;
}

/** The bytes of each occurrence of a field that is a message. */
function* fieldsOf(bytes: Uint8Array, wanted: number): Generator<Uint8Array> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === wanted && wireType === WireType.LengthDelimited) yield reader.bytes();
    else reader.skip(wireType, field);
  }
}
