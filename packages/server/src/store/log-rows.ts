// The rows of logs: chunks of bytes by offset, sections, and the head of each log on its attempt. A chunk is written only in the
// transaction that moves its head, with the attempt locked, so offsets have no gap and no overlap.
import type { AttemptKey, RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { AttemptState, LogState } from '../core/states.ts';
import type { LogChannel, LogChunk, LogSection, LogSpan, ProgressView } from '../core/views.ts';
import { expectTouched } from './ledger-rows.ts';
import { execute, hexes, jsons, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

/** Largest chunk, in bytes. A reader looks so far back for the chunk that holds its offset. */
export const MAX_CHUNK_BYTES = 262_144;

const CHANNELS: readonly LogChannel[] = ['STDOUT', 'STDERR', 'DRIVER'];

export interface LogHead {
  readonly key: AttemptKey;
  readonly instance: number;
  readonly state: AttemptState;
  readonly logSize: number;
  readonly logCrc32c: number;
  readonly outputs: JsonObject;
}

const LOCK_HEADS = statement(
  'lock_log_heads',
  `select a.run_id, a.job, a.attempt, a.instance_no, a.state, a.log_size, a.log_crc32c, a.outputs from attempts a
   where (a.run_id, a.job, a.attempt) in (select * from unnest($1::uuid[], $2::int[], $3::int[]))
   order by a.run_id, a.job, a.attempt for no key update of a`,
);

/** Locks attempts against the ledger, and reads where their logs end. */
export async function lockLogHeads(tx: Tx, keys: readonly AttemptKey[]): Promise<LogHead[]> {
  const rows = await rowsOf<{
    run_id: RunId;
    job: number;
    attempt: number;
    instance_no: number;
    state: AttemptState;
    log_size: number;
    log_crc32c: number;
    outputs: JsonObject | null;
  }>(
    tx,
    LOCK_HEADS,
    keyColumns(keys, (key) => key),
  );
  return rows.map((row) => ({
    key: { runId: row.run_id, job: row.job, attempt: row.attempt },
    instance: row.instance_no,
    state: row.state,
    logSize: row.log_size,
    logCrc32c: row.log_crc32c,
    outputs: row.outputs ?? {},
  }));
}

/** What a flush makes of one attempt's log and notes. Undefined: as before. */
export interface LogHeadWrite {
  readonly key: AttemptKey;
  readonly logSize: number;
  readonly logCrc32c: number;
  readonly outputs: JsonObject | undefined;
  readonly checkpoint: Uint8Array | undefined;
  readonly progress: ProgressView | undefined;
}

const MOVE_HEADS = statement(
  'move_log_heads',
  `update attempts a set log_size = u.log_size, log_crc32c = u.log_crc32c, outputs = coalesce(u.outputs, a.outputs),
     checkpoint = coalesce(u.checkpoint, a.checkpoint), progress = coalesce(u.progress, a.progress)
   from unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[], $5::bigint[], $6::json[], $7::bytea[], $8::json[])
     u (run_id, job, attempt, log_size, log_crc32c, outputs, checkpoint, progress)
   where a.run_id = u.run_id and a.job = u.job and a.attempt = u.attempt and a.state = 'RUNNING'`,
);

export async function moveLogHeads(tx: Tx, rows: readonly LogHeadWrite[]): Promise<void> {
  const touched = await execute(tx, MOVE_HEADS, [
    ...keyColumns(rows, (row) => row.key),
    plain(rows, (row) => row.logSize),
    plain(rows, (row) => row.logCrc32c),
    jsons(rows, (row) => row.outputs),
    hexes(rows, (row) => row.checkpoint),
    jsons(rows, (row) => row.progress),
  ]);
  expectTouched('heads of logs', touched, rows.length);
}

export interface ChunkWrite extends LogChunk {
  readonly key: AttemptKey;
}

// By the day of the write: an attempt may run for longer than the partition of its first day is kept.
const INSERT_CHUNKS = statement(
  'insert_log_chunks',
  `insert into log_chunks (day, run_id, job, attempt, start_offset, data, spans)
   select (clock_timestamp() at time zone 'UTC')::date, * from unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[], $5::bytea[], $6::json[])`,
);

export async function insertChunks(tx: Tx, rows: readonly ChunkWrite[]): Promise<void> {
  await execute(tx, INSERT_CHUNKS, [
    ...keyColumns(rows, (row) => row.key),
    plain(rows, (row) => row.offset),
    hexes(rows, (row) => row.data),
    texts(rows, (row) => formatSpans(row.spans)),
  ]);
}

export interface SectionWrite {
  readonly key: AttemptKey;
  readonly section: LogSection;
}

const INSERT_SECTIONS = statement(
  'insert_log_sections',
  `insert into log_sections (run_id, job, attempt, log_offset, name, ends)
   select * from unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[], $5::text[], $6::boolean[])
   on conflict do nothing`,
);

/** Adds sections; those that are there already, or of an attempt that has `limit` of them, are left out. */
export async function insertSections(tx: Tx, rows: readonly SectionWrite[], limit: number): Promise<void> {
  const counts = await countSections(
    tx,
    rows.map(({ key }) => key),
  );
  const fitting = rows.filter(({ key }) => {
    const id = `${key.runId}.${key.job}.${key.attempt}`;
    const count = counts.get(id) ?? 0;
    counts.set(id, count + 1);
    return count < limit;
  });
  await execute(tx, INSERT_SECTIONS, [
    ...keyColumns(fitting, (row) => row.key),
    plain(fitting, (row) => row.section.offset),
    texts(fitting, (row) => row.section.name),
    plain(fitting, (row) => row.section.end),
  ]);
}

const COUNT_SECTIONS = statement(
  'count_log_sections',
  `select u.run_id, u.job, u.attempt, (select count(*) from log_sections s
     where s.run_id = u.run_id and s.job = u.job and s.attempt = u.attempt) as sections
   from unnest($1::uuid[], $2::int[], $3::int[]) u (run_id, job, attempt)`,
);

async function countSections(tx: Tx, keys: readonly AttemptKey[]): Promise<Map<string, number>> {
  const rows = await rowsOf<{ run_id: RunId; job: number; attempt: number; sections: number }>(
    tx,
    COUNT_SECTIONS,
    keyColumns(keys, (key) => key),
  );
  return new Map(rows.map((row) => [`${row.run_id}.${row.job}.${row.attempt}`, row.sections]));
}

function keyColumns<T>(rows: readonly T[], key: (row: T) => AttemptKey): string[] {
  return [
    plain(rows, (row) => key(row).runId),
    plain(rows, (row) => key(row).job),
    plain(rows, (row) => key(row).attempt),
  ];
}

export interface LogPosition {
  readonly attempt: number;
  readonly state: AttemptState;
  readonly logSize: number;
  readonly logState: LogState;
}

const LOG_POSITION = statement(
  'log_position',
  `select attempt, state, log_size, log_state from attempts
   where run_id = $1 and job = $2 and ($3::int is null or attempt = $3) order by attempt desc limit 1`,
);

/** How long the log of an attempt is, or of the newest one. */
export async function logPosition(
  tx: Tx,
  runId: RunId,
  job: number,
  attempt: number | undefined,
): Promise<LogPosition | undefined> {
  const [row] = await rowsOf<{ attempt: number; state: AttemptState; log_size: number; log_state: LogState }>(
    tx,
    LOG_POSITION,
    [runId, job, attempt],
  );
  return row && { attempt: row.attempt, state: row.state, logSize: row.log_size, logState: row.log_state };
}

const READ_CHUNKS = statement(
  'read_log_chunks',
  `select start_offset, data, spans from log_chunks
   where run_id = $1 and job = $2 and attempt = $3 and start_offset > $4::bigint - ${MAX_CHUNK_BYTES} and start_offset < $5::bigint
   order by start_offset limit $6`,
);

const CHUNKS_A_READ = 256;

/** Reads stored bytes from `from` up to `to`, or fewer: at least one chunk if there is any. Chunks are cut to the range. */
export async function readChunks(tx: Tx, key: AttemptKey, from: number, to: number): Promise<LogChunk[]> {
  const rows = await rowsOf<{ start_offset: number; data: Buffer; spans: [number, number, number][] }>(
    tx,
    READ_CHUNKS,
    [key.runId, key.job, key.attempt, from, to, CHUNKS_A_READ],
  );
  return rows.flatMap((row) => cutChunk(row.start_offset, row.data, row.spans, from, to));
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

/** Spans as they are stored: `[[length, channel, milliseconds], …]`. */
function formatSpans(spans: readonly LogSpan[]): string {
  return JSON.stringify(spans.map((span) => [span.length, CHANNELS.indexOf(span.channel), span.unixMs]));
}

function cutChunk(
  start: number,
  data: Uint8Array,
  spans: readonly (readonly [number, number, number])[],
  from: number,
  to: number,
): LogChunk[] {
  const begin = Math.max(from, start) - start;
  const end = Math.min(to, start + data.length) - start;
  if (begin >= end) return [];
  const cut: LogSpan[] = [];
  let at = 0;
  for (const [length, channel, unixMs] of spans) {
    const kept = Math.min(end, at + length) - Math.max(begin, at);
    if (kept > 0) cut.push({ length: kept, channel: CHANNELS[channel] ?? 'STDOUT', unixMs });
    at += length;
  }
  return [{ offset: start + begin, data: data.subarray(begin, end), spans: cut }];
}
