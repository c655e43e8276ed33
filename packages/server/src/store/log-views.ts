// Reads the rows of logs. Offsets have no gap, so what begins at the last chunk start before an offset is whole from there on.
import type { AttemptKey, JobKey } from '../core/ids.ts';
import type { LogState, ShownLogState } from '../core/states.ts';
import type { LogChunk, LogSection, LogSpan } from '../core/views.ts';
import { expiredLogs, logDays, type AttemptLogRow } from './log-expiry.ts';
import { CHANNELS } from './log-rows.ts';
import { rowsOf, statement, type Tx } from './sql.ts';

export interface LogPosition {
  readonly key: AttemptKey;
  readonly logSize: number;
  readonly logState: ShownLogState;
  /** Whether its driver ever had it started: otherwise it has, and gets, no log. */
  readonly ran: boolean;
  /** The days on which its chunks may have been written. */
  readonly days: readonly [first: string, last: string];
}

const LOG_POSITION = statement(
  'log_position',
  `select a.job, a.attempt, a.log_size, a.log_state, a.started_ms, a.offered_ms, a.finished_ms, c.logs_from_ms
   from attempts a cross join cluster c
   where a.run_id = $1 and a.job = $2 and ($3::int is null or a.attempt = $3) and exists (select from runs where run_id = $1)
   order by a.attempt desc limit 1`,
);

/** How long the log of an attempt is, or of the newest one; undefined when there is none, also when its run was deleted. */
export async function logPosition(tx: Tx, key: JobKey, attempt: number | undefined): Promise<LogPosition | undefined> {
  const [row] = await rowsOf<AttemptLogRow & { log_state: LogState; started_ms: number | null }>(tx, LOG_POSITION, [
    key.runId,
    key.job,
    attempt,
  ]);
  if (row === undefined) return undefined;
  const expired = await expiredLogs(tx, key.runId, [row]);
  return {
    key: { ...key, attempt: row.attempt },
    logSize: row.log_size,
    logState: expired.size > 0 ? 'EXPIRED' : row.log_state,
    ran: row.started_ms !== null,
    days: logDays(row),
  };
}

// The chunk that holds the offset is found by its start: how far back it lies depends on how the bytes came.
const READ_CHUNKS = statement(
  'read_log_chunks',
  `select start_offset, data, spans from log_chunks
   where run_id = $1 and job = $2 and attempt = $3 and day between $4 and $5 and start_offset < $7::bigint
     and start_offset >= (select start_offset from log_chunks
       where run_id = $1 and job = $2 and attempt = $3 and day between $4 and $5 and start_offset <= $6::bigint
       order by start_offset desc limit 1)
   order by start_offset limit $8`,
);

const CHUNKS_A_READ = 1_000;

/** Reads stored bytes from `from` up to `to`, or fewer: at least one chunk if there is any. Chunks are cut to the range. */
export async function readChunks(
  tx: Tx,
  { key, days }: Pick<LogPosition, 'key' | 'days'>,
  from: number,
  to: number,
): Promise<LogChunk[]> {
  const rows = await rowsOf<{ start_offset: number; data: Buffer; spans: [number, number, number][] }>(
    tx,
    READ_CHUNKS,
    [key.runId, key.job, key.attempt, ...days, from, to, CHUNKS_A_READ],
  );
  return rows.map((row) => cutChunk(row.start_offset, row.data, row.spans, from, to));
}

function cutChunk(
  start: number,
  data: Uint8Array,
  spans: readonly (readonly [number, number, number])[],
  from: number,
  to: number,
): LogChunk {
  const begin = Math.max(from, start) - start;
  const end = Math.min(to, start + data.length) - start;
  const cut: LogSpan[] = [];
  let at = 0;
  for (const [length, channel, unixMs] of spans) {
    const kept = Math.min(end, at + length) - Math.max(begin, at);
    if (kept > 0) cut.push({ length: kept, channel: CHANNELS[channel] ?? 'STDOUT', unixMs });
    at += length;
  }
  return { offset: start + begin, data: data.subarray(begin, end), spans: cut };
}

const READ_SECTIONS = statement(
  'read_log_sections',
  `select log_offset, name, ends from log_sections
   where run_id = $1 and job = $2 and attempt = $3 and log_offset >= $4 and log_offset < $5 order by log_offset, no`,
);

export async function readSections(tx: Tx, key: AttemptKey, from: number, to: number): Promise<LogSection[]> {
  const rows = await rowsOf<{ log_offset: number; name: string; ends: boolean }>(tx, READ_SECTIONS, [
    key.runId,
    key.job,
    key.attempt,
    from,
    to,
  ]);
  return rows.map((row) => ({ offset: row.log_offset, name: row.name, end: row.ends }));
}
