// Owns one stream from Hello to its end: the wait for Welcome, the heartbeats, and the one place where it ends. Liveness
// rides on the stream itself: a server that answers no heartbeat is left, whatever the connection says.
import { status } from '@grpc/grpc-js';
import type { Duration } from '@bufbuild/protobuf/wkt';
import type { DriverFrame, ServerFrame, Welcome } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import type { SessionStream } from './connection.ts';
import { encodeMessage, goodbyeFrame, heartbeatFrame } from './frames.ts';
import { Outbox } from './outbox.ts';

/** What a session tells of. None is called after `ended` resolved. */
export interface SessionHandlers {
  /** The session is open. Frames go into `outbox`. */
  welcomed(welcome: Welcome, outbox: Outbox): void;
  /** The lease lasts `durationMs` from `sentAtMs` (`performance.now`). */
  renewed(sentAtMs: number, durationMs: number): void;
  /** A frame that is neither Welcome nor Pulse. */
  received(frame: ServerFrame['frame']): void;
}

/** How a session ended. */
export interface SessionEnd {
  readonly code: status;
  readonly details: string;
  /** How long it was open, from Welcome; undefined when there was none. */
  readonly openMs: number | undefined;
}

export interface Session {
  readonly ended: Promise<SessionEnd>;
  /** Says Goodbye and ends in order. */
  leave(reason: string): void;
  /** Ends at once. */
  abandon(why: string): void;
}

const welcomeTimeoutMs = 10_000;
const leaveTimeoutMs = 2_000;
const maxMessageBytes = 1024 * 1024;
const maxUnansweredHeartbeats = 2;
/** What a timer can wait for; longer is as good. */
const maxTimerMs = 2 ** 31 - 1;

export function openSession(stream: SessionStream, hello: DriverFrame, handlers: SessionHandlers): Session {
  const { promise: ended, resolve } = Promise.withResolvers<SessionEnd>();
  const openedAtMs = performance.now();
  let welcomedAtMs: number | undefined;
  let outbox: Outbox | undefined;
  let over = false;
  let leaseMs = 0;
  let beat: NodeJS.Timeout | undefined;
  let seq = 0;
  let unanswered: { readonly seq: number; readonly sentAtMs: number }[] = [];
  let deadline = setTimeout(() => abandon('no Welcome in time'), welcomeTimeoutMs);

  const end = (code: status, details: string): void => {
    if (over) return;
    over = true;
    clearTimeout(deadline);
    clearInterval(beat);
    outbox?.close();
    resolve({ code, details, openMs: welcomedAtMs && performance.now() - welcomedAtMs });
  };
  const abandon = (why: string): void => {
    end(status.UNAVAILABLE, why);
    stream.cancel();
  };
  const send = (message: Buffer, sent: () => void): void => {
    stream.write(message, () => {
      if (!over) sent();
    });
  };
  const sendHeartbeat = (): void => {
    if (unanswered.length >= maxUnansweredHeartbeats) {
      abandon('heartbeats are not answered');
      return;
    }
    unanswered.push({ seq: ++seq, sentAtMs: performance.now() });
    outbox?.say(heartbeatFrame(seq));
  };
  const welcome = (frame: Welcome): void => {
    const heartbeatMs = milliseconds(frame.heartbeatInterval);
    leaseMs = milliseconds(frame.leaseDuration);
    if (leaseMs <= 0 || heartbeatMs <= 0) {
      abandon('a Welcome without a lease');
      return;
    }
    clearTimeout(deadline);
    welcomedAtMs = performance.now();
    const limits = {
      maxMessageBytes: Math.min(maxMessageBytes, frame.maxMessageBytes),
      sessionLogWindow: Number(frame.sessionLogWindow),
    };
    outbox = new Outbox(send, limits, () => abandon('the control plane does not read what it asks for'));
    beat = setInterval(sendHeartbeat, heartbeatMs);
    handlers.renewed(openedAtMs, leaseMs);
    handlers.welcomed(frame, outbox);
  };
  const pulse = (answered: bigint): void => {
    const newest = unanswered.findLast((heartbeat) => heartbeat.seq <= answered);
    if (newest === undefined) return;
    unanswered = unanswered.filter((heartbeat) => heartbeat.seq > answered);
    handlers.renewed(newest.sentAtMs, leaseMs);
  };
  const receive = ({ frame }: ServerFrame): void => {
    if (over) return;
    if (frame.case === 'welcome') {
      if (outbox === undefined) welcome(frame.value);
    } else if (frame.case === 'pulse') {
      pulse(frame.value.seq);
    } else if (outbox !== undefined) {
      handlers.received(frame);
    }
  };

  stream.on('data', ({ frames }) => {
    for (const frame of frames) receive(frame);
  });
  // A failed call says so twice; `status` always comes.
  stream.on('error', () => {});
  stream.on('status', ({ code, details }) => end(code, details));
  stream.write(encodeMessage([hello]));

  return {
    ended,
    abandon,
    leave(reason) {
      if (outbox === undefined) {
        abandon(reason);
        return;
      }
      clearInterval(beat);
      outbox.say(goodbyeFrame(reason));
      outbox.flush();
      outbox.close();
      stream.end();
      deadline = setTimeout(() => abandon('no answer to Goodbye in time'), leaveTimeoutMs);
    },
  };
}

function milliseconds(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Math.min(maxTimerMs, Number(duration.seconds) * 1000 + duration.nanos / 1e6);
}
