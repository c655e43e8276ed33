// The jobs whose time has come, read without a lock: who fires them decides again under the lock of their run.
import type { JobKey, RunId } from '../core/ids.ts';
import { rowsOf, statement, type Tx } from './sql.ts';

const DUE_JOBS = statement(
  'due_jobs',
  `with clock as materialized (select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms)
   select clock.now_ms, j.run_id, j.job, j.project, j.due_ms from clock
   left join lateral (select run_id, job, project, due_ms from jobs where due_ms >= $2 order by due_ms limit $1) j on true`,
);

export interface DueJob extends JobKey {
  readonly project: string;
  readonly dueMs: number;
}

export interface DueJobs {
  readonly nowMs: number;
  /** In the order in which they are due. */
  readonly due: readonly DueJob[];
  /** When the first is due that is not yet, as far as it was read. */
  readonly laterMs: number | undefined;
}

/** @param fromMs Only jobs that are due then or later. */
export async function dueJobs(tx: Tx, limit: number, fromMs: number): Promise<DueJobs> {
  const rows = await rowsOf<{ now_ms: number; run_id: RunId | null; job: number; project: string; due_ms: number }>(
    tx,
    DUE_JOBS,
    [limit, fromMs],
  );
  const nowMs = rows[0]?.now_ms ?? 0;
  const due: DueJob[] = [];
  for (const row of rows) {
    if (row.run_id === null) break;
    if (row.due_ms > nowMs) return { nowMs, due, laterMs: row.due_ms };
    due.push({ runId: row.run_id, job: row.job, project: row.project, dueMs: row.due_ms });
  }
  return { nowMs, due, laterMs: undefined };
}
