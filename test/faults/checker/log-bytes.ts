// 5. The stored log is what the driver sent, up to what was acknowledged and as far as it goes: each frame's bytes are found at their
// offset, nothing else is there, and a reader who followed it to the end has the same bytes.
import { createHash } from 'node:crypto';
import type { JournalEntry } from '../drivers/journal.ts';
import type { Evidence } from './evidence.ts';

type LogFrame = Extract<JournalEntry, { say: 'log' }>;

export function logBytes({ rows, journal, history }: Evidence): string[] {
  const found: string[] = [];
  const frames = new Map<string, LogFrame[]>();
  const acknowledged = new Map<string, number>();
  for (const entry of journal) {
    if ('say' in entry && entry.say === 'log') frames.set(entry.attempt, [...(frames.get(entry.attempt) ?? []), entry]);
    if ('hear' in entry && entry.hear === 'logAck') {
      acknowledged.set(entry.attempt, Math.max(entry.offset, acknowledged.get(entry.attempt) ?? 0));
    }
  }
  const digests = new Map<string, string>();
  for (const { id, log_size: size, log_state: state } of rows.attempts.values()) {
    const stored = rows.logs.get(id) ?? Buffer.alloc(0);
    digests.set(id, sha256(stored));
    if (stored.length !== size) found.push(`${id} has ${stored.length} bytes of log where its row says ${size}`);
    const due = acknowledged.get(id) ?? 0;
    if (stored.length < due) found.push(`${due} bytes of ${id} were acknowledged, and ${stored.length} are stored`);
    if (state === 'CORRUPT') found.push(`the log of ${id} is corrupt`);
    found.push(...unlike(id, stored, frames.get(id) ?? []));
  }
  for (const observation of history.observations) {
    if (observation.kind !== 'log') continue;
    const { watcher, jobId, attempt, sha256: read } = observation;
    const stored = digests.get(`${jobId}.${attempt}`);
    if (read !== stored) found.push(`${watcher} read other bytes than are stored`);
  }
  return found;
}

/** Every stored byte is one that was sent for its offset; a frame that was cut by the end of the log is not judged. */
function unlike(id: string, stored: Buffer, frames: readonly LogFrame[]): string[] {
  const found: string[] = [];
  let sentTo = 0;
  for (const { offset, length, sha256: digest } of frames.toSorted((a, b) => a.offset - b.offset)) {
    if (offset > sentTo && sentTo < stored.length)
      found.push(`nobody sent the bytes of ${id} from ${sentTo} to ${offset}`);
    sentTo = Math.max(sentTo, offset + length);
    if (offset + length > stored.length) continue;
    if (sha256(stored.subarray(offset, offset + length)) !== digest) {
      found.push(`the bytes of ${id} from ${offset} on are not those that were sent`);
    }
  }
  if (sentTo < stored.length) found.push(`nobody sent the bytes of ${id} from ${sentTo} to ${stored.length}`);
  return found;
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
