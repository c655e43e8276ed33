// The rows of the queue: one for each job that waits for a driver.
import type { JobKey } from '../core/ids.ts';
import { execute, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

export interface QueueInsert {
  readonly key: JobKey;
  readonly project: string;
  readonly driver: string;
}

const ENQUEUE = statement(
  'enqueue',
  `insert into queue (run_id, job, project, driver) select * from unnest($1::uuid[], $2::int[], $3::text[], $4::text[])
   on conflict (run_id, job) do nothing`,
);

/** Queues jobs. One that is queued already keeps its place. */
export async function enqueue(tx: Tx, rows: readonly QueueInsert[]): Promise<void> {
  await execute(tx, ENQUEUE, [
    plain(rows, (row) => row.key.runId),
    plain(rows, (row) => row.key.job),
    texts(rows, (row) => row.project),
    texts(rows, (row) => row.driver),
  ]);
}

const CLAIM = statement(
  'claim',
  `select run_id, job, no from queue where driver = $1 and no >= $2 order by no limit $3 for update skip locked`,
);

export interface QueueRow extends JobKey {
  readonly no: number;
}

/** Takes the oldest queued jobs of a driver that nobody else holds, for the length of the transaction. */
export async function claimQueued(tx: Tx, driver: string, from: number, limit: number): Promise<QueueRow[]> {
  const rows = await rowsOf<{ run_id: JobKey['runId']; job: number; no: number }>(tx, CLAIM, [driver, from, limit]);
  return rows.map((row) => ({ runId: row.run_id, job: row.job, no: row.no }));
}

const DEQUEUE = statement(
  'dequeue',
  `delete from queue q using unnest($1::uuid[], $2::int[]) u (run_id, job) where q.run_id = u.run_id and q.job = u.job`,
);

export async function dequeue(tx: Tx, keys: readonly JobKey[]): Promise<void> {
  await execute(tx, DEQUEUE, [plain(keys, (key) => key.runId), plain(keys, (key) => key.job)]);
}
