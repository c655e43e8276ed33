// Reads the stored bytes of a run's logs and holds them against what their attempts say: every chunk begins where the one before ended,
// and together they have the size and the CRC32C that the attempt counts. Chunks and attempts come in the same order, so both are read
// once, in pages.
import { crc32c } from '@node-rs/crc32';
import type { RunId } from '../core/ids.ts';
import type { Report, Verification } from '../core/ledger-check.ts';
import { rowsOf, statement, type Tx } from './sql.ts';

/** At most 16 MiB. */
const CHUNKS_A_PAGE = 64;

/** What an attempt says of its log. */
export interface StoredLog {
  readonly job: number;
  readonly attempt: number;
  readonly size: number;
  readonly crc: number;
  readonly isExpired: boolean;
}

export interface LogsChecking {
  readonly tx: Tx;
  readonly runId: RunId;
  readonly counts: { -readonly [Count in keyof Verification['verified']]: number };
  readonly report: Report;
  readonly skipLogs: boolean;
  readonly signal?: AbortSignal;
}

/** @param logs Of every attempt of the run, by job and number. */
export async function checkLogs(checking: LogsChecking, logs: AsyncIterable<StoredLog>): Promise<void> {
  const { counts, report, skipLogs } = checking;
  const chunks = skipLogs ? none() : readChunks(checking);
  let next = await chunks.next();
  for await (const log of logs) {
    if (log.isExpired) counts.expiredLogs++;
    if (skipLogs) continue;
    const where = `logs[${log.job}.${log.attempt}]`;
    let [size, crc] = [0, 0];
    for (; next.done !== true && order(next.value, log) <= 0; next = await chunks.next()) {
      const { value: chunk } = next;
      if (order(chunk, log) < 0) reportOrphan(report, chunk);
      // What is left of an expired log is never read again.
      if (order(chunk, log) < 0 || log.isExpired) continue;
      if (chunk.start_offset !== size) differs(`chunks[${chunk.start_offset}].start_offset`, size, chunk.start_offset);
      size += chunk.data.length;
      crc = crc32c(chunk.data, crc);
    }
    if (log.isExpired) continue;
    if (log.size > 0) counts.logs++;
    counts.logBytes += size;
    if (size !== log.size) differs('size', log.size, size);
    else if (crc !== log.crc) differs('crc32c', log.crc, crc);

    function differs(field: string, expected: number, found: number): void {
      report({ kind: 'LOG', where: `${where}.${field}`, expected: String(expected), found: String(found) });
    }
  }
  for (; next.done !== true; next = await chunks.next()) reportOrphan(report, next.value);
}

function reportOrphan(report: Report, { job, attempt, start_offset: start, data }: Chunk): void {
  const found = `${data.length} bytes at ${start}`;
  report({ kind: 'LOG', where: `logs[${job}.${attempt}]`, expected: 'no such attempt', found });
}

interface Chunk {
  readonly job: number;
  readonly attempt: number;
  readonly start_offset: number;
  readonly day: string;
  readonly data: Buffer;
}

function order(chunk: Chunk, log: StoredLog): number {
  return chunk.job - log.job || chunk.attempt - log.attempt;
}

const CHUNKS_PAGE = statement(
  'verify_chunks',
  `select job, attempt, start_offset, day::text as day, data from log_chunks
   where run_id = $1 and (job, attempt, start_offset, day) > ($2, $3, $4::bigint, $5::date)
   order by job, attempt, start_offset, day limit $6`,
);

async function* readChunks({ tx, runId, signal }: LogsChecking): AsyncGenerator<Chunk, void> {
  for (let after: Omit<Chunk, 'data'> = { job: -1, attempt: 0, start_offset: 0, day: '-infinity' }; ; ) {
    signal?.throwIfAborted();
    const page = await rowsOf<Chunk>(tx, CHUNKS_PAGE, [
      runId,
      after.job,
      after.attempt,
      after.start_offset,
      after.day,
      CHUNKS_A_PAGE,
    ]);
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < CHUNKS_A_PAGE) return;
    after = last;
  }
}

async function* none(): AsyncGenerator<Chunk, void> {}
