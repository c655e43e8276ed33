// What the frames of one flush make of one attempt's log and notes. Bytes that overlap what is stored are trimmed, consecutive frames
// become one chunk, and the running CRC32C covers exactly the bytes that are stored.
import { crc32c } from '@node-rs/crc32';
import type { JsonObject } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { LogChannel, LogChunk, LogSection, LogSpan, ProgressView } from '../core/views.ts';
import { type LogHead, MAX_CHUNK_BYTES } from '../store/log-rows.ts';
import type { LogEntry, LogResult } from './log-writer.ts';

export interface Appending {
  readonly head: LogHead;
  changed: boolean;
  logSize: number;
  logCrc32c: number;
  outputs: JsonObject;
  outputsChanged: boolean;
  checkpoint: Uint8Array | undefined;
  progress: ProgressView | undefined;
  readonly chunks: LogChunk[];
  readonly sections: LogSection[];
}

export function beginAppending(head: LogHead): Appending {
  return {
    head,
    changed: false,
    logSize: head.logSize,
    logCrc32c: head.logCrc32c,
    outputs: head.outputs,
    outputsChanged: false,
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
    case 'Section':
      log.sections.push(entry.section);
      break;
    case 'Output': {
      const outputs = { ...log.outputs, [entry.name]: entry.value };
      const bytes = Buffer.byteLength(JSON.stringify(outputs));
      if (bytes > LIMITS.outputBytes) {
        const problem = `its outputs are ${bytes} bytes as JSON, at most ${LIMITS.outputBytes} are allowed`;
        return { type: 'Invalid', problem };
      }
      log.outputs = outputs;
      log.outputsChanged = true;
      break;
    }
    case 'Progress':
      log.progress = entry.progress;
      break;
    case 'Checkpoint':
      log.checkpoint = entry.handle;
      break;
  }
  log.changed = true;
  return { type: 'Stored', offset: log.logSize };
}

function appendBytes(log: Appending, offset: number, data: Uint8Array, channel: LogChannel, unixMs: number): LogResult {
  if (offset > log.logSize) return { type: 'Gap', offset: log.logSize };
  const fresh = data.subarray(log.logSize - offset);
  if (fresh.length === 0) return { type: 'Stored', offset: log.logSize };
  if (log.logSize + fresh.length > LIMITS.logBytes) {
    return { type: 'Invalid', problem: `its log is longer than max_log_bytes, ${LIMITS.logBytes}` };
  }
  log.logCrc32c = crc32c(fresh, log.logCrc32c);
  for (let at = 0; at < fresh.length; at += MAX_CHUNK_BYTES) {
    addChunk(log, fresh.subarray(at, at + MAX_CHUNK_BYTES), channel, unixMs);
  }
  log.changed = true;
  return { type: 'Stored', offset: log.logSize };
}

function addChunk(log: Appending, data: Uint8Array, channel: LogChannel, unixMs: number): void {
  const span: LogSpan = { length: data.length, channel, unixMs };
  const last = log.chunks.at(-1);
  if (last !== undefined && last.data.length + data.length <= MAX_CHUNK_BYTES) {
    log.chunks[log.chunks.length - 1] = {
      offset: last.offset,
      data: Buffer.concat([last.data, data]),
      spans: [...last.spans, span],
    };
  } else log.chunks.push({ offset: log.logSize, data, spans: [span] });
  log.logSize += data.length;
}
