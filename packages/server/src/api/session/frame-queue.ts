// Frames on their way to one driver: what is said within one turn of the event loop goes out together, because messages, not
// bytes, are what cost. Nothing waits behind acknowledgements of log bytes.
import type { ServerFrame } from '../../core/frames.ts';
import { LIMITS } from '../../core/limits.ts';
import { encodeFrame } from './encode-frames.ts';

export interface FrameQueue {
  /** Queues a frame; it leaves with the others of this turn. */
  readonly push: (frame: ServerFrame) => void;
  /** Sends at once what is queued. */
  readonly flush: () => void;
  /** Bytes that were sent but not yet taken by the transport. */
  readonly sentBytes: () => number;
}

export interface FrameTransport {
  /** @param taken To be called when the transport has taken the message. */
  write(message: Buffer, taken: () => void): void;
  /** A frame is too large for any message; it was dropped. */
  oversize(frame: ServerFrame, bytes: number): void;
  /** A frame could not be encoded: a defect. */
  failed(error: unknown): void;
}

const FRAMES_TAG = 0x0a;
const MAX_PREFIX = 6;

export function createFrameQueue(transport: FrameTransport): FrameQueue {
  let control: ServerFrame[] = [];
  let acks: ServerFrame[] = [];
  let isScheduled = false;
  let sent = 0;

  function write(frames: Uint8Array[], bytes: number): void {
    if (frames.length === 0) return;
    sent += bytes;
    transport.write(packMessage(frames, bytes), () => {
      sent -= bytes;
    });
  }

  function flush(): void {
    try {
      send();
    } catch (error) {
      transport.failed(error);
    }
  }

  function send(): void {
    const queued = [...control, ...acks];
    control = [];
    acks = [];
    let frames: Uint8Array[] = [];
    let bytes = 0;
    for (const frame of queued) {
      const encoded = encodeFrame(frame);
      if (encoded.length + MAX_PREFIX > LIMITS.responseBytes) {
        transport.oversize(frame, encoded.length);
        continue;
      }
      if (bytes + encoded.length + MAX_PREFIX > LIMITS.responseBytes) {
        write(frames, bytes);
        frames = [];
        bytes = 0;
      }
      frames.push(encoded);
      bytes += encoded.length + MAX_PREFIX;
    }
    write(frames, bytes);
  }

  return {
    push(frame) {
      if (frame.type === 'LogAck') acks.push(frame);
      else control.push(frame);
      if (isScheduled) return;
      isScheduled = true;
      setImmediate(() => {
        isScheduled = false;
        flush();
      });
    },
    flush,
    sentBytes: () => sent,
  };
}

/** A SessionResponse of frames that are encoded already: each behind its tag and length. */
function packMessage(frames: readonly Uint8Array[], maxBytes: number): Buffer {
  const message = Buffer.allocUnsafe(maxBytes);
  let at = 0;
  for (const frame of frames) {
    message[at++] = FRAMES_TAG;
    let length = frame.length;
    for (; length > 0x7f; length >>>= 7) message[at++] = (length & 0x7f) | 0x80;
    message[at++] = length;
    message.set(frame, at);
    at += frame.length;
  }
  return message.subarray(0, at);
}
