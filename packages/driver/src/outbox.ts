// Owns what one session has yet to send: frames go out in few messages, control frames before log bytes, a result right
// after the log bytes that it counts. Bytes in flight stay within the windows; one message at a time is on its way.
import type { Attempt } from './attempt.ts';
import { encodeMessage, type Frame } from './frames.ts';
import type { DriverFrame } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';

/** What the control plane allows on this session. */
export interface OutboxLimits {
  readonly maxMessageBytes: number;
  /** How many log bytes of all attempts may be sent beyond what is durable. */
  readonly sessionLogWindow: number;
}

/** Sends one message; calls `sent` when the next may follow. */
export type SendMessage = (message: Buffer, sent: () => void) => void;

/** How long frames wait for company. */
const coalesceMs = 2;

/** Control frames that may wait: more than an honest control plane, which reads what it asks for, can cause. */
const maxControlFrames = 50_000;

/** Log bytes of one message: what a control frame can be behind. */
const logBytesOfMessage = 256 * 1024;

/** Log bytes of one frame. */
const logBytesOfFrame = 64 * 1024;

export class Outbox {
  readonly #send: SendMessage;
  readonly #maxMessageBytes: number;
  readonly #sessionLogWindow: number;
  readonly #overflow: () => void;
  #control: Frame[] = [];
  /** Attempts that may have something to say. */
  readonly #speakers = new Set<Attempt>();
  #inFlight = 0;
  #sending = 0;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #flushedAtMs = -coalesceMs;
  #message: DriverFrame[] = [];
  #messageBytes = 0;

  /** @param overflow Called when more waits than may; what is said from then on is dropped. */
  constructor(send: SendMessage, { maxMessageBytes, sessionLogWindow }: OutboxLimits, overflow: () => void) {
    this.#send = send;
    this.#overflow = overflow;
    this.#maxMessageBytes = maxMessageBytes;
    this.#sessionLogWindow = sessionLogWindow;
  }

  /** Says one control frame. */
  say(frame: Frame): void {
    if (this.#control.length === maxControlFrames) {
      this.#overflow();
      return;
    }
    this.#control.push(frame);
    this.#schedule(true);
  }

  /** Lets an attempt say what it has to. */
  speak(attempt: Attempt, urgent: boolean): void {
    this.#speakers.add(attempt);
    this.#schedule(urgent);
  }

  /** `change` tells an attempt's log what arrived: bytes that are no longer in flight make room for others. */
  changeLog(attempt: Attempt, change: () => void): void {
    const before = attempt.log.inFlight;
    change();
    this.#inFlight += attempt.log.inFlight - before;
    if (attempt.hasMore) this.#speakers.add(attempt);
    if (this.#speakers.size > 0) this.#schedule(false);
  }

  /** The attempt is held no more. */
  forget(attempt: Attempt): void {
    this.#inFlight -= attempt.log.inFlight;
    this.#speakers.delete(attempt);
    if (this.#speakers.size > 0) this.#schedule(false);
  }

  close(): void {
    this.#closed = true;
    this.#unschedule();
  }

  /**
   * The first frame after a quiet spell goes out at the end of this turn of the event loop, with whatever else the turn has
   * to say; under load a message leaves at most every `coalesceMs`. Log bytes and reports always wait that long for more.
   */
  #schedule(urgent: boolean): void {
    if (this.#closed || this.#sending > 0 || this.#immediate !== undefined) return;
    if (urgent && performance.now() - this.#flushedAtMs >= coalesceMs) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#immediate = setImmediate(this.flush);
    } else {
      this.#timer ??= setTimeout(this.flush, coalesceMs);
    }
  }

  #unschedule(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#timer = undefined;
    this.#immediate = undefined;
  }

  /** Sends now what there is to say. */
  readonly flush = (): void => {
    this.#unschedule();
    this.#flushedAtMs = performance.now();
    const control = this.#control;
    this.#control = [];
    for (const frame of control) this.#put(frame);
    for (const attempt of this.#speakers) attempt.takeReports(this.#put);
    this.#putLogs();
    this.#post();
  };

  /** Attempts take turns by a frame's worth of log; whoever gets none this time comes first next time. */
  #putLogs(): void {
    let leftBytes = Math.min(logBytesOfMessage, this.#sessionLogWindow - this.#inFlight);
    let turn = [...this.#speakers];
    this.#speakers.clear();
    while (turn.length > 0) {
      const unserved: Attempt[] = [];
      const served: Attempt[] = [];
      for (const attempt of turn) {
        const sentBefore = attempt.log.sent;
        const frame = leftBytes > 0 ? attempt.takeLog(Math.min(leftBytes, logBytesOfFrame)) : undefined;
        if (frame !== undefined) this.#put(frame);
        const bytes = attempt.log.sent - sentBefore;
        this.#inFlight += bytes;
        leftBytes -= bytes;
        const finish = attempt.takeFinish();
        if (finish !== undefined) this.#put(finish);
        if (attempt.log.sendable) (bytes > 0 ? served : unserved).push(attempt);
      }
      turn = [...unserved, ...served];
      if (leftBytes > 0) continue;
      for (const attempt of turn) this.#speakers.add(attempt);
      return;
    }
  }

  readonly #put = ({ message, maxBytes }: Frame): void => {
    if (this.#messageBytes + maxBytes > this.#maxMessageBytes) this.#post();
    this.#message.push(message);
    this.#messageBytes += maxBytes;
  };

  #post(): void {
    if (this.#message.length === 0) return;
    const message = encodeMessage(this.#message);
    this.#message = [];
    this.#messageBytes = 0;
    this.#sending++;
    this.#send(message, this.#sent);
  }

  readonly #sent = (): void => {
    this.#sending--;
    if (this.#control.length > 0) this.#schedule(true);
    else if (this.#speakers.size > 0) this.#schedule(false);
  };
}
