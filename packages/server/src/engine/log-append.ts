// What the frames of one flush make of one attempt's log and notes. Bytes that overlap what is stored are trimmed, those beyond the
// largest log dropped, consecutive frames become one chunk, and the running CRC32C covers exactly the bytes that are stored.
import { crc32c } from '@node-rs/crc32';
import type { JsonValue } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { LogChannel, LogSection, LogSpan, Outputs, ProgressView } from '../core/views.ts';
import { type ChunkWrite, type LogHead, MAX_CHUNK_BYTES } from '../store/log-rows.ts';
import type { LogEntry, LogResult } from './log-writer.ts';

export interface Appending {
  readonly head: LogHead;
  /** The largest log, in bytes. */
  readonly maxLogBytes: number;
  changed: boolean;
  logSize: number;
  logCrc32c: number;
  /** Undefined: as before. */
  outputs: NotedOutputs | undefined;
  checkpoint: Uint8Array | undefined;
  progress: ProgressView | undefined;
  readonly chunks: GrowingChunk[];
  readonly sections: LogSection[];
}

interface NotedOutputs {
  /** By key: any key may be stored, also those that mean something on an object. */
  readonly values: Map<string, JsonValue>;
  /** As JSON. */
  bytes: number;
}

interface GrowingChunk extends ChunkWrite {
  length: number;
  readonly pieces: Uint8Array[];
  readonly spans: LogSpan[];
}

export function beginAppending(head: LogHead, maxLogBytes: number): Appending {
  return {
    head,
    maxLogBytes,
    changed: false,
    logSize: head.logSize,
    logCrc32c: head.logCrc32c,
    outputs: undefined,
    checkpoint: undefined,
    progress: undefined,
    chunks: [],
    sections: [],
  };
}

/** Takes one frame of a running attempt. @param atMs When it arrived. */
export function append(log: Appending, entry: LogEntry, atMs: number): LogResult {
  switch (entry.type) {
    case 'Log':
      return appendBytes(log, entry.offset, entry.data, entry.channel, entry.unixMs === 0 ? atMs : entry.unixMs);
    case 'Output':
      return setOutput(log, entry.name, entry.value);
    case 'Section':
      // What is too many is left out: nothing else depends on it.
      if (log.head.sections + log.sections.length < LIMITS.sections) log.sections.push(entry.section);
      break;
    case 'Progress':
      log.progress = entry.progress;
      break;
    case 'Checkpoint':
      log.checkpoint = entry.handle;
      break;
  }
  return stored(log);
}

function stored(log: Appending): LogResult {
  log.changed = true;
  return { type: 'Stored', offset: log.logSize };
}

function appendBytes(log: Appending, offset: number, data: Uint8Array, channel: LogChannel, unixMs: number): LogResult {
  // A log that is full drops what comes, wherever that begins: asked for again, it would come for ever.
  if (log.logSize >= log.maxLogBytes) return { type: 'Stored', offset: log.logSize };
  if (offset > log.logSize) return { type: 'Gap', offset: log.logSize };
  const fresh = data.subarray(log.logSize - offset, log.maxLogBytes - offset);
  if (fresh.length === 0) return { type: 'Stored', offset: log.logSize };
  log.logCrc32c = crc32c(fresh, log.logCrc32c);
  for (let at = 0; at < fresh.length; at += MAX_CHUNK_BYTES) {
    addPiece(log, fresh.subarray(at, at + MAX_CHUNK_BYTES), channel, unixMs);
  }
  return stored(log);
}

function addPiece(log: Appending, piece: Uint8Array, channel: LogChannel, unixMs: number): void {
  const { length } = piece;
  const chunk = log.chunks.at(-1);
  if (chunk === undefined || chunk.length + length > MAX_CHUNK_BYTES) {
    const { key } = log.head;
    log.chunks.push({ key, offset: log.logSize, length, pieces: [piece], spans: [{ length, channel, unixMs }] });
  } else {
    chunk.length += length;
    chunk.pieces.push(piece);
    addSpan(chunk.spans, { length, channel, unixMs });
  }
  log.logSize += length;
}

/** Bytes that came on one channel at one time are one span. */
function addSpan(spans: LogSpan[], span: LogSpan): void {
  const last = spans.at(-1);
  if (last === undefined || last.channel !== span.channel || last.unixMs !== span.unixMs) spans.push(span);
  else spans[spans.length - 1] = { ...span, length: last.length + span.length };
}

function setOutput(log: Appending, name: string, value: JsonValue): LogResult {
  log.outputs ??= beginOutputs(log.head.outputs);
  const { values, bytes } = log.outputs;
  const before = values.get(name);
  const after = bytes - (before === undefined ? 0 : memberBytes(name, before)) + memberBytes(name, value);
  if (after > LIMITS.outputBytes) {
    const problem = `its outputs are ${after} bytes as JSON, at most ${LIMITS.outputBytes} are allowed`;
    return { type: 'Invalid', problem };
  }
  values.set(name, value);
  log.outputs.bytes = after;
  return stored(log);
}

function beginOutputs(outputs: Outputs): NotedOutputs {
  const values = new Map(Object.entries(outputs));
  let bytes = 1;
  for (const [name, value] of values) bytes += memberBytes(name, value);
  return { values, bytes };
}

/** Of one member of an object as JSON, with the comma or brace behind it. */
function memberBytes(name: string, value: JsonValue): number {
  return Buffer.byteLength(JSON.stringify({ [name]: value })) - 1;
}
