// Stores runs as rows, at times and in numbers that no ledger would come to in a test.
import { randomBytes } from 'node:crypto';
import type { Pool } from 'pg';
import { makeRunId, type RunId } from '../../core/ids.ts';

export interface StoredRunInput {
  readonly project?: string;
  /** Default: long ago. */
  readonly createdMs?: number;
  /** Undefined: it goes on. Default: when it was created. */
  readonly finishedMs?: number | undefined;
  /** Each with an attempt, two events, a section, a value and an artifact. Default: 0. */
  readonly jobs?: number;
  /** Hexadecimal digits. Default: of no definition. */
  readonly digest?: string;
}

export async function storeRun(pool: Pool, input: StoredRunInput = {}): Promise<RunId> {
  const { project = 'default', createdMs = 1_700_000_000_000, jobs = 0, digest = '' } = input;
  const finishedMs = 'finishedMs' in input ? input.finishedMs : createdMs;
  const runId = makeRunId(createdMs, randomBytes(10));
  const finished = finishedMs !== undefined;
  await pool.query(
    `insert into runs (run_id, project, digest, state, seq, last_ms, total, open, succeeded, failed, failure_allowed, skipped,
       cancelled, params, labels, trigger, traceparent, created_ms, finished_ms)
     values ($1, $2, decode($3, 'hex'), $4, 1, $5, 1, $6, $7, 0, 0, 0, 0, '{"param":"of a caller"}', '{}',
       '{"kind":"api","actor":"","reference":""}', '', $5, $8)`,
    [
      runId,
      project,
      digest,
      finished ? 'SUCCEEDED' : 'RUNNING',
      createdMs,
      finished ? 0 : 1,
      finished ? 1 : 0,
      finishedMs,
    ],
  );
  if (jobs === 0) return runId;
  await pool.query(
    `insert into jobs (run_id, job, project, state, attempt, unmet, bad_needs, finished_ms)
     select $1, n, $2, 'SUCCEEDED', 1, 0, 0, 1 from generate_series(0, $3::int - 1) n`,
    [runId, project, jobs],
  );
  await pool.query(
    `insert into attempts (run_id, job, attempt, project, instance_no, state, offered_ms, finished_ms, log_state)
     select $1, n, 1, $2, 1, 'SUCCEEDED', 1, 1, 'SEALED' from generate_series(0, $3::int - 1) n`,
    [runId, project, jobs],
  );
  await pool.query(
    `insert into events (run_id, seq, project, time_ms, version, type, run_state, data)
     select $1, n, $2, 1, 1, 'JobQueued', 'RUNNING', '{}' from generate_series(1, 2 * $3::int) n`,
    [runId, project, jobs],
  );
  await pool.query(
    `insert into log_sections (run_id, job, attempt, log_offset, name, ends)
     select $1, n, 1, 0, 'make', false from generate_series(0, $2::int - 1) n`,
    [runId, jobs],
  );
  await pool.query(
    `insert into run_values (run_id, key, project, value, bytes, version, updated_ms)
     select $1, 'key-' || n, $2, '1', 8, n, 1 from generate_series(1, $3::int) n`,
    [runId, project, jobs],
  );
  await pool.query(
    `insert into artifacts (run_id, job, attempt, number, project, artifact, added_ms)
     select $1, n, 1, 1, $2, '{}', 1 from generate_series(0, $3::int - 1) n`,
    [runId, project, jobs],
  );
  await pool.query(`insert into queue (run_id, job, project, driver) values ($1, 0, $2, 'shell')`, [runId, project]);
  return runId;
}
