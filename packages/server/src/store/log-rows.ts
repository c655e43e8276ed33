// Writes the rows of logs: chunks of bytes by offset, sections, and the head of each log on its attempt. A chunk is written only in
// the transaction that moves its head, with the attempt locked, so offsets have no gap and no overlap. Whoever writes was heard of.
import type { AttemptKey, RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { AttemptState } from '../core/states.ts';
import type { LogChannel, LogSection, LogSpan, Outputs, ProgressView } from '../core/views.ts';
import { expectTouched } from './ledger-rows.ts';
import { execute, hexes, jsons, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

/** Largest chunk, in bytes. */
export const MAX_CHUNK_BYTES = 262_144;

/** Channels by the number that stands for them in stored spans: `[[length, channel, milliseconds], …]`. */
export const CHANNELS: readonly LogChannel[] = ['STDOUT', 'STDERR', 'DRIVER'];

export interface LogHead {
  readonly key: AttemptKey;
  readonly instance: number;
  readonly state: AttemptState;
  readonly logSize: number;
  readonly logCrc32c: number;
  /** Empty unless they were asked for. */
  readonly outputs: Outputs;
  /** How many it has; 0 unless they were asked for. */
  readonly sections: number;
}

export interface LogHeadRead {
  readonly key: AttemptKey;
  /** Whether its outputs are needed; they may be large. */
  readonly withOutputs: boolean;
  readonly withSections: boolean;
}

const LOCK_HEADS = statement(
  'lock_log_heads',
  `select a.run_id, a.job, a.attempt, a.instance_no, a.state, a.log_size, a.log_crc32c,
     case when u.with_outputs then a.outputs end as outputs,
     case when u.with_sections then (select count(*) from log_sections s
       where s.run_id = u.run_id and s.job = u.job and s.attempt = u.attempt) else 0 end as sections
   from unnest($1::uuid[], $2::int[], $3::int[], $4::boolean[], $5::boolean[]) u (run_id, job, attempt, with_outputs, with_sections)
   join attempts a on a.run_id = u.run_id and a.job = u.job and a.attempt = u.attempt
   order by a.run_id, a.job, a.attempt for no key update of a`,
);

/** Locks attempts, each named once, against the ledger, and reads where their logs end. */
export async function lockLogHeads(tx: Tx, reads: readonly LogHeadRead[]): Promise<LogHead[]> {
  const rows = await rowsOf<{
    run_id: RunId;
    job: number;
    attempt: number;
    instance_no: number;
    state: AttemptState;
    log_size: number;
    log_crc32c: number;
    outputs: JsonObject | null;
    sections: number;
  }>(tx, LOCK_HEADS, [
    ...keyColumns(reads),
    plain(reads, (read) => read.withOutputs),
    plain(reads, (read) => read.withSections),
  ]);
  return rows.map((row) => ({
    key: { runId: row.run_id, job: row.job, attempt: row.attempt },
    instance: row.instance_no,
    state: row.state,
    logSize: row.log_size,
    logCrc32c: row.log_crc32c,
    outputs: row.outputs ?? {},
    sections: row.sections,
  }));
}

/** What a flush makes of one attempt's log and notes. Undefined: as before. */
export interface LogHeadWrite {
  readonly key: AttemptKey;
  readonly logSize: number;
  readonly logCrc32c: number;
  readonly outputs: Outputs | undefined;
  readonly checkpoint: Uint8Array | undefined;
  readonly progress: ProgressView | undefined;
}

const MOVE_HEADS = statement(
  'move_log_heads',
  `update attempts a set log_size = u.log_size, log_crc32c = u.log_crc32c, outputs = coalesce(u.outputs, a.outputs),
     checkpoint = coalesce(u.checkpoint, a.checkpoint), progress = coalesce(u.progress, a.progress),
     heard_ms = floor(extract(epoch from clock_timestamp()) * 1000)::bigint
   from unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[], $5::bigint[], $6::json[], $7::bytea[], $8::json[])
     u (run_id, job, attempt, log_size, log_crc32c, outputs, checkpoint, progress)
   where a.run_id = u.run_id and a.job = u.job and a.attempt = u.attempt and a.state = 'RUNNING'`,
);

export async function moveLogHeads(tx: Tx, rows: readonly LogHeadWrite[]): Promise<void> {
  const touched = await execute(tx, MOVE_HEADS, [
    ...keyColumns(rows),
    plain(rows, (row) => row.logSize),
    plain(rows, (row) => row.logCrc32c),
    jsons(rows, (row) => row.outputs),
    hexes(rows, (row) => row.checkpoint),
    jsons(rows, (row) => row.progress),
  ]);
  expectTouched('heads of logs', touched, rows.length);
}

/** Bytes that go into one row, in the pieces in which they came. */
export interface ChunkWrite {
  readonly key: AttemptKey;
  readonly offset: number;
  /** At most MAX_CHUNK_BYTES. */
  readonly length: number;
  readonly pieces: readonly Uint8Array[];
  readonly spans: readonly LogSpan[];
}

// By the day of the write: an attempt may run for longer than the partition of its first day is kept. The bytes of all chunks are
// one binary parameter, of which each row cuts its own: an array of them would be sent as text, twice as long.
const INSERT_CHUNKS = statement(
  'insert_log_chunks',
  `insert into log_chunks (day, run_id, job, attempt, start_offset, data, spans)
   select (clock_timestamp() at time zone 'UTC')::date, run_id, job, attempt, start_offset,
     substring($1::bytea from at for length), spans
   from unnest($2::uuid[], $3::int[], $4::int[], $5::bigint[], $6::int[], $7::int[], $8::json[])
     u (run_id, job, attempt, start_offset, at, length, spans)`,
);

export async function insertChunks(tx: Tx, rows: readonly ChunkWrite[]): Promise<void> {
  let behind = 0;
  await execute(tx, INSERT_CHUNKS, [
    Buffer.concat(rows.flatMap((row) => row.pieces)),
    ...keyColumns(rows),
    plain(rows, (row) => row.offset),
    // Counted from 1.
    plain(rows, (row) => (behind += row.length) - row.length + 1),
    plain(rows, (row) => row.length),
    texts(rows, (row) =>
      JSON.stringify(row.spans.map((span) => [span.length, CHANNELS.indexOf(span.channel), span.unixMs])),
    ),
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

/** Adds sections; those that are there already stay as they are. */
export async function insertSections(tx: Tx, rows: readonly SectionWrite[]): Promise<void> {
  await execute(tx, INSERT_SECTIONS, [
    ...keyColumns(rows),
    plain(rows, (row) => row.section.offset),
    texts(rows, (row) => row.section.name),
    plain(rows, (row) => row.section.end),
  ]);
}

interface Keyed {
  readonly key: AttemptKey;
}

function keyColumns(rows: readonly Keyed[]): string[] {
  return [
    plain(rows, (row) => row.key.runId),
    plain(rows, (row) => row.key.job),
    plain(rows, (row) => row.key.attempt),
  ];
}
