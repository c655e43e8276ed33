// Owns the log bytes of one attempt from their writing until they are durable, so that they survive a lost connection.
// durable <= sent <= written; every byte from `durable` on is held, and the CRC covers every byte ever sent, once. A log that would be
// too long is cut: its last line says so, and the rest is dropped.
import { LogChannel } from '@conveyor/protocol/conveyor/v1/log_pb.js';
import { crc32c } from '@node-rs/crc32';

/** Bounds of one spool. */
export interface SpoolBounds {
  /** The largest log of the attempt, in bytes. What is written beyond is dropped, and with it what its last line needs. */
  readonly maxLogBytes: number;
  /** How many bytes may be sent beyond what is durable, until the control plane says otherwise. */
  readonly windowBytes: number;
}

/** Consecutive bytes that were written on one channel at about one time. */
export interface LogSlice {
  readonly offset: number;
  readonly channel: LogChannel;
  /** Milliseconds since the Unix epoch. */
  readonly unixMs: number;
  readonly data: Uint8Array;
}

/** How many bytes that are not durable a spool holds before its writers wait. */
export const spoolBytes = 1024 * 1024;

/** How many bytes of writes that nobody awaited may stand in line before more are dropped. */
export const waitingBytes = 16 * 1024 * 1024;

/** Writes on one channel within this time share one slice, with the time of the first. */
const sameTimeMs = 10;

/** Pages grow with the log, so that a short one costs little and a long one few slices. */
const firstPageBytes = 2 * 1024;
const maxPageBytes = 64 * 1024;

const held = Promise.resolve();

export class LogSpool {
  #runs: Run[] = [];
  /** The first run that is not sent in full. */
  #next = 0;
  #page: Buffer = Buffer.alloc(0);
  #pageUsed = 0;
  #waiting: WaitingWrite[] = [];
  #waitingBytes = 0;

  #written = 0;
  #sent = 0;
  #durable = 0;
  #windowEnd = 0;
  #rewoundTo = -1;
  #crc = 0;
  #crcEnd = 0;
  #lost = false;
  #closed = false;
  #maxLogBytes = 0;
  /** Where a log that is too long is cut. */
  #contentEnd = 0;
  #cut = false;

  /**
   * Begins the log at `offset`: 0, or for work taken over from an earlier process the end of what is durable, whose CRC is
   * `crc`. What that process had not sent is gone, and the log goes on behind what it had.
   */
  begin(offset: number, crc: number, { maxLogBytes, windowBytes }: SpoolBounds): void {
    this.#written = this.#sent = this.#durable = this.#crcEnd = offset;
    this.#windowEnd = offset + windowBytes;
    this.#maxLogBytes = maxLogBytes;
    const noticeBytes = cutNotice(maxLogBytes).length;
    this.#contentEnd = noticeBytes < maxLogBytes ? maxLogBytes - noticeBytes : maxLogBytes;
    this.#crc = crc;
  }

  /** How many bytes the log has in all. */
  get written(): number {
    return this.#written;
  }

  /** All bytes before this offset were sent. */
  get sent(): number {
    return this.#sent;
  }

  /** How many bytes were sent and are not known to be durable. */
  get inFlight(): number {
    return this.#sent - this.#durable;
  }

  /** CRC32C of all bytes that were ever sent: of the whole log once it is drained. */
  get crc32c(): number {
    return this.#crc;
  }

  /** True when bytes were dropped. */
  get lost(): boolean {
    return this.#lost;
  }

  /** True when everything written was sent and no write waits. */
  get drained(): boolean {
    return this.#sent === this.#written && this.#waiting.length === 0;
  }

  /** True when `take` has something to give. */
  get sendable(): boolean {
    return this.#sent < Math.min(this.#written, this.#windowEnd);
  }

  /**
   * Writes. Resolves once the bytes are held: at once while less than `spoolBytes` are held, else when earlier bytes become
   * durable, so while the control plane is away a writer blocks. Writes are held in order of their calls. Until it resolves
   * the bytes must not be changed. Whoever does not await may have `waitingBytes` in line; beyond, a write is dropped, as is what
   * comes after the log was cut.
   */
  write(data: string | Uint8Array, channel: LogChannel): Promise<void> {
    if (this.#closed || this.#cut) return held;
    const unixMs = Date.now();
    const length = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
    if (this.#waiting.length === 0 && length <= this.#room()) {
      if (typeof data === 'string') this.#appendText(data, length, channel, unixMs);
      else this.#append(data, channel, unixMs);
      return held;
    }
    if (this.#waiting.length > 0 && this.#waitingBytes + length > waitingBytes) {
      this.#lost = true;
      return held;
    }
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    this.#waitingBytes += length;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ bytes, channel, unixMs, resolve });
    this.#admit();
    return promise;
  }

  /** Takes the next bytes to send, at most `maxBytes` and what the window allows; undefined when there are none. */
  take(maxBytes: number): LogSlice | undefined {
    const run = this.#runs[this.#next];
    const limit = Math.min(maxBytes, this.#windowEnd - this.#sent);
    if (run === undefined || limit <= 0) return undefined;
    const skip = this.#sent - run.offset;
    const length = Math.min(run.length - skip, limit);
    if (length === 0) return undefined;
    const data = run.page.subarray(run.start + skip, run.start + skip + length);
    const offset = this.#sent;
    this.#sent += length;
    if (this.#sent > this.#crcEnd) {
      this.#crc = crc32c(data.subarray(this.#crcEnd - offset), this.#crc);
      this.#crcEnd = this.#sent;
    }
    // A run that is sent in full stays the next one while it is the last: it may still grow.
    if (skip + length === run.length && this.#next < this.#runs.length - 1) this.#next++;
    return { offset, channel: run.channel, unixMs: run.unixMs, data };
  }

  /**
   * All bytes before `offset` are durable; bytes up to `windowEnd` may be sent. Nobody can have what was never sent, so of an
   * offset beyond counts what was: the CRC at the end tells.
   */
  acknowledge(offset: number, windowEnd: number): void {
    this.#windowEnd = Math.max(this.#windowEnd, windowEnd);
    const durable = Math.min(offset, this.#crcEnd);
    if (durable <= this.#durable) return;
    this.#durable = durable;
    if (this.#sent < durable) this.#sent = durable;
    this.#release();
    this.#admit();
  }

  /**
   * The stream dropped bytes: sends again from `offset`. Said once for each message that came after the gap, so what was
   * already rewound to is not rewound again.
   */
  fillGap(offset: number): void {
    if (offset === this.#rewoundTo) return;
    this.#rewoundTo = offset;
    this.rewind(offset);
  }

  /** Sends again from `offset`, which is durable up to there. When those bytes are no longer held, the log is lost. */
  rewind(offset: number): void {
    if (offset < this.#durable) {
      this.#lost = true;
      this.close();
      return;
    }
    this.acknowledge(offset, this.#windowEnd);
    if (offset >= this.#sent) return;
    this.#sent = offset;
    this.#next = this.#runs.findIndex((run) => offset < run.offset + run.length);
  }

  /** A new session began: from `offset` on nothing is in flight, and the window is new. */
  restart(offset: number, windowBytes: number): void {
    this.#rewoundTo = -1;
    this.rewind(offset);
    this.#windowEnd = Math.min(offset, this.#sent) + windowBytes;
  }

  /** Drops what is held and what is written from now on; writers that wait go on. */
  close(): void {
    this.#closed = true;
    this.#runs = [];
    this.#next = 0;
    this.#page = Buffer.alloc(0);
    this.#sent = this.#durable = this.#written;
    this.#dropWaiting();
  }

  #dropWaiting(): void {
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  #room(): number {
    return spoolBytes - (this.#written - this.#durable);
  }

  /** Holds as much of the waiting writes as there is room for. */
  #admit(): void {
    let admitted = 0;
    for (const write of this.#waiting) {
      const part = write.bytes.subarray(0, this.#room());
      this.#append(part, write.channel, write.unixMs);
      if (this.#cut) return this.#dropWaiting();
      this.#waitingBytes -= part.length;
      write.bytes = write.bytes.subarray(part.length);
      if (write.bytes.length > 0) break;
      write.resolve();
      admitted++;
    }
    if (admitted > 0) this.#waiting.splice(0, admitted);
  }

  /** The common case of a short text is encoded in place. */
  #appendText(text: string, length: number, channel: LogChannel, unixMs: number): void {
    if (this.#pageUsed + length > this.#page.length) this.#turnPage(length);
    if (this.#pageUsed + length > this.#page.length || this.#written + length > this.#contentEnd) {
      this.#append(Buffer.from(text), channel, unixMs);
      return;
    }
    this.#page.write(text, this.#pageUsed);
    this.#extend(length, channel, unixMs);
  }

  #append(bytes: Uint8Array, channel: LogChannel, unixMs: number): void {
    const allowed = Math.max(0, Math.min(bytes.length, this.#contentEnd - this.#written));
    this.#hold(bytes.subarray(0, allowed), channel, unixMs);
    if (allowed === bytes.length) return;
    this.#cut = this.#lost = true;
    const notice = cutNotice(this.#maxLogBytes);
    // An earlier process may have left no room for it.
    if (this.#written + notice.length <= this.#maxLogBytes) this.#hold(notice, LogChannel.DRIVER, unixMs);
  }

  #hold(bytes: Uint8Array, channel: LogChannel, unixMs: number): void {
    let from = 0;
    while (from < bytes.length) {
      if (this.#pageUsed === this.#page.length) this.#turnPage(bytes.length - from);
      const length = Math.min(bytes.length - from, this.#page.length - this.#pageUsed);
      this.#page.set(bytes.subarray(from, from + length), this.#pageUsed);
      this.#extend(length, channel, unixMs);
      from += length;
    }
  }

  #turnPage(neededBytes: number): void {
    const size = Math.max(firstPageBytes, this.#page.length * 4, neededBytes);
    this.#page = Buffer.allocUnsafe(Math.min(size, maxPageBytes));
    this.#pageUsed = 0;
  }

  /** The next `length` bytes of the page are written: they lengthen the last run or begin one. */
  #extend(length: number, channel: LogChannel, unixMs: number): void {
    const last = this.#runs.at(-1);
    if (last?.page === this.#page && last.channel === channel && unixMs - last.unixMs <= sameTimeMs) {
      last.length += length;
    } else {
      this.#runs.push({
        offset: this.#written,
        channel,
        unixMs,
        page: this.#page,
        start: this.#pageUsed,
        length,
      });
      if (this.#sent === this.#written) this.#next = this.#runs.length - 1;
    }
    this.#pageUsed += length;
    this.#written += length;
  }

  #release(): void {
    let durable = 0;
    for (const run of this.#runs) {
      if (run.offset + run.length > this.#durable) break;
      durable++;
    }
    this.#runs.splice(0, durable);
    this.#next = Math.max(0, this.#next - durable);
  }
}

/** The last line of a log that is too long; what it follows may be cut anywhere. */
function cutNotice(maxLogBytes: number): Buffer {
  return Buffer.from(`\nThe log is cut here: it has reached the ${maxLogBytes} bytes that it may have.\n`);
}

interface Run {
  readonly offset: number;
  readonly channel: LogChannel;
  readonly unixMs: number;
  readonly page: Buffer;
  readonly start: number;
  length: number;
}

interface WaitingWrite {
  bytes: Uint8Array;
  readonly channel: LogChannel;
  readonly unixMs: number;
  readonly resolve: () => void;
}
