// What the explanation of a job reads beside its run: what it waits for, who could take it, and who holds what it would take. Everything is
// found by an index, and counted up to a bound where there may be any number of it.
import type { InstanceOffer } from '../core/placement.ts';
import type { JobKey, RunId } from '../core/ids.ts';
import type { JobState } from '../core/states.ts';
import { plain, rowsOf, statement, type Tx } from './sql.ts';

const OPEN_JOBS = statement(
  'open_jobs',
  `select job, state from jobs where run_id = $1 and job = any($2::int[])
     and state in ('BLOCKED', 'WAITING', 'QUEUED', 'OFFERED', 'RUNNING', 'CANCELLING') order by job limit $3`,
);

/** The first of these jobs of a run that have not finished. */
export async function openJobs(
  tx: Tx,
  runId: RunId,
  jobs: readonly number[],
  limit: number,
): Promise<readonly { readonly job: number; readonly state: JobState }[]> {
  return await rowsOf<{ job: number; state: JobState }>(tx, OPEN_JOBS, [runId, plain(jobs, (job) => job), limit]);
}

const OFFERED = statement(
  'offered_attempt',
  `select i.instance, a.offered_ms from attempts a join instances i on i.no = a.instance_no
   where a.run_id = $1 and a.job = $2 and a.attempt = $3`,
);

/** Which instance an attempt was offered to, and when. */
export async function offeredAttempt(
  tx: Tx,
  { runId, job }: JobKey,
  attempt: number,
): Promise<{ readonly instance: string; readonly offeredMs: number } | undefined> {
  const [row] = await rowsOf<{ instance: string; offered_ms: number }>(tx, OFFERED, [runId, job, attempt]);
  return row && { instance: row.instance, offeredMs: row.offered_ms };
}

/** A connected instance of a driver. */
export interface InstanceRow extends InstanceOffer {
  readonly no: number;
  /** The replica that its session is at. */
  readonly replica: string;
  readonly slots: number;
  readonly draining: boolean;
  /** Of its spec schema, in hexadecimal digits; undefined when it has none. */
  readonly digest: string | undefined;
}

const INSTANCES = statement(
  'instances_of_driver',
  `select i.no, i.replica, i.labels, i.pools, i.slots, i.draining, encode(i.schema_digest, 'hex') as digest
   from instances i join leases l on l.instance_no = i.no
   where i.driver = $1 and l.expires_ms > extract(epoch from clock_timestamp()) * 1000 order by i.no`,
);

export async function instancesOfDriver(tx: Tx, driver: string): Promise<readonly InstanceRow[]> {
  const rows = await rowsOf<Omit<InstanceRow, 'digest'> & { digest: string | null }>(tx, INSTANCES, [driver]);
  return rows.map((row) => ({ ...row, digest: row.digest ?? undefined }));
}

const HELD_COUNTS = statement(
  'held_counts',
  `select instance_no, count(*)::int as held from attempts
   where instance_no = any($1::bigint[]) and finished_ms is null group by instance_no`,
);

/** How many attempts instances hold by the ledger, by the number of the instance. */
export async function heldCounts(tx: Tx, instances: readonly number[]): Promise<ReadonlyMap<number, number>> {
  const rows = await rowsOf<{ instance_no: number; held: number }>(tx, HELD_COUNTS, [plain(instances, (no) => no)]);
  return new Map(rows.map((row) => [row.instance_no, row.held]));
}

const HELD_OF_RUNS = statement(
  'held_of_runs',
  `select instance_no, run_id, job from attempts
   where instance_no = any($1::bigint[]) and finished_ms is null and run_id = any($2::uuid[]) limit $3`,
);
const HELD = statement(
  'held_attempts',
  'select instance_no, run_id, job from attempts where instance_no = any($1::bigint[]) and finished_ms is null limit $2',
);

export interface HeldRow extends JobKey {
  readonly instance: number;
}

/** Attempts that instances hold by the ledger. @param runIds Only of these; undefined: of all. */
export async function heldAttempts(
  tx: Tx,
  instances: readonly number[],
  runIds: readonly RunId[] | undefined,
  limit: number,
): Promise<readonly HeldRow[]> {
  const numbers = plain(instances, (no) => no);
  const rows = await rowsOf<{ instance_no: number; run_id: RunId; job: number }>(
    tx,
    runIds === undefined ? HELD : HELD_OF_RUNS,
    runIds === undefined ? [numbers, limit] : [numbers, plain(runIds, (id) => id), limit],
  );
  return rows.map(({ instance_no: instance, run_id: runId, job }) => ({ instance, runId, job }));
}

// An offer that was withdrawn, which nobody declined, has no failure.
const RETURNS = statement(
  'returned_offers',
  `select instance_no, count(*)::int as count, max(finished_ms) as last_ms from attempts
   where run_id = $1 and job = $2 and state in ('REJECTED', 'EXPIRED') and failure is not null group by instance_no`,
);

/** How often each instance has sent a job back, or let its offer run out, and when it did so last. */
export async function returnedOffers(
  tx: Tx,
  { runId, job }: JobKey,
): Promise<ReadonlyMap<number, { readonly count: number; readonly lastMs: number }>> {
  const rows = await rowsOf<{ instance_no: number; count: number; last_ms: number }>(tx, RETURNS, [runId, job]);
  return new Map(rows.map((row) => [row.instance_no, { count: row.count, lastMs: row.last_ms }]));
}

const AHEAD = statement(
  'queued_ahead',
  `select (select count(*) from (select from queue q where q.driver = own.driver and q.flow = own.flow
     and (q.rank, q.no) < (own.rank, own.no) limit $3) c)::int as ahead
   from queue own where own.run_id = $1 and own.job = $2`,
);

/** How many jobs of its flow come before a queued job, counted up to `limit`; 0 of one that is not queued. */
export async function queuedAhead(tx: Tx, { runId, job }: JobKey, limit: number): Promise<number> {
  const [row] = await rowsOf<{ ahead: number }>(tx, AHEAD, [runId, job, limit]);
  return row?.ahead ?? 0;
}
