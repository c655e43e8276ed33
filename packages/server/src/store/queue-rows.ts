// The rows of the queue: one for each job that waits for a driver. Jobs of one project and pipeline that the same instances may take are
// a flow; rows of a flow are in the order of their rank.
import type { JobKey, RunId } from '../core/ids.ts';
import { execute, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

export interface QueueInsert {
  readonly key: JobKey;
  readonly project: string;
  readonly driver: string;
  /** '': an inline definition. */
  readonly pipeline: string;
  readonly flow: string;
  /** Whether not every instance of the driver may take it. */
  readonly placed: boolean;
  readonly priority: number;
  readonly stickyKey: string | undefined;
  readonly rank: number;
}

const ENQUEUE = statement(
  'enqueue',
  `insert into queue (run_id, job, project, driver, pipeline, flow, placed, priority, sticky_key, rank)
   select * from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::boolean[], $8::smallint[],
     $9::text[], $10::bigint[])
   on conflict (run_id, job) do nothing`,
);

/** Queues jobs. One that is queued already keeps its place. */
export async function enqueue(tx: Tx, rows: readonly QueueInsert[]): Promise<void> {
  await execute(tx, ENQUEUE, [
    plain(rows, (row) => row.key.runId),
    plain(rows, (row) => row.key.job),
    texts(rows, (row) => row.project),
    texts(rows, (row) => row.driver),
    texts(rows, (row) => row.pipeline),
    plain(rows, (row) => row.flow),
    plain(rows, (row) => row.placed),
    plain(rows, (row) => row.priority),
    texts(rows, (row) => row.stickyKey),
    plain(rows, (row) => row.rank),
  ]);
}

// A paused flow is left out before its rows are looked at. The rows of a flow are found by its own index, however long it is. Of runs that
// others hold none is locked, for one that is costs its flow a seat. Of rows that older replicas queue, whose flow is everybody's, the
// project is known, and its pause counts.
const CLAIM = statement(
  'claim',
  `select f.flow, q.run_id, q.job, q.rank, q.no, q.priority, q.sticky_key, case when q.sticky_key is not null
     then floor(extract(epoch from clock_timestamp()) * 1000)::bigint - q.rank - q.priority * 60000 end as waited_ms
   from (select * from unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::int[])
       c (flow, project, pipeline, from_rank, from_no, quantum)
     where not exists (select from queue_pauses p where p.driver = $1 and p.project in ('', c.project) and p.pipeline in ('', c.pipeline))
     offset 0) f
   cross join lateral (select run_id, job, rank, no, sticky_key, priority from queue w
     where driver = $1 and flow = f.flow and (rank, no) >= (f.from_rank, f.from_no) and not (run_id = any($8::uuid[]))
       and (f.project <> '' or not exists (select from queue_pauses p where p.driver = $1 and p.project = w.project and p.pipeline = ''))
     order by rank, no limit f.quantum for update skip locked) q`,
);

/** A place in a flow: rows are in the order of their rank, those of one rank in that of their number. */
export interface QueuePlace {
  readonly rank: number;
  readonly no: number;
}

/** How much to take of a flow. */
export interface FlowClaim {
  readonly flow: string;
  readonly project: string;
  readonly pipeline: string;
  /** Rows before this place are left out. */
  readonly from: QueuePlace;
  readonly quantum: number;
}

export interface QueueRow extends JobKey, QueuePlace {
  readonly flow: string;
  readonly priority: number;
  readonly stickyKey?: string;
  /** How long it has been queued; only of a row with a sticky key. */
  readonly waitedMs?: number;
}

interface QueueColumns {
  flow: string;
  run_id: JobKey['runId'];
  job: number;
  rank: number;
  no: number;
  priority: number;
  sticky_key: string | null;
  waited_ms: number | null;
}

/**
 * Takes the first rows of each flow that nobody else holds, for the length of the transaction.
 * @param passed Runs whose jobs are looked past.
 */
export async function claimQueued(
  tx: Tx,
  driver: string,
  claims: readonly FlowClaim[],
  passed: readonly RunId[] = [],
): Promise<QueueRow[]> {
  const rows = await rowsOf<QueueColumns>(tx, CLAIM, [
    driver,
    plain(claims, (claim) => claim.flow),
    texts(claims, (claim) => claim.project),
    texts(claims, (claim) => claim.pipeline),
    plain(claims, (claim) => claim.from.rank),
    plain(claims, (claim) => claim.from.no),
    plain(claims, (claim) => claim.quantum),
    plain(passed, (runId) => runId),
  ]);
  return rows.map(({ run_id: runId, job, sticky_key: stickyKey, waited_ms: waitedMs, ...row }) => ({
    ...row,
    runId,
    job,
    ...(stickyKey !== null && waitedMs !== null && { stickyKey, waitedMs }),
  }));
}

// One step into the index for each flow, and none over the rows of a flow that is known.
const FIND_FLOWS = statement(
  'find_flows',
  `select n.* from unnest($2::uuid[], $3::uuid[]) g (low, high) cross join lateral (
     with recursive found as (
       (select flow, run_id, job, project, pipeline, placed from queue
        where driver = $1 and flow > g.low and flow < g.high order by flow, rank, no limit 1)
       union all
       select next.* from found f cross join lateral (
         select q.flow, q.run_id, q.job, q.project, q.pipeline, q.placed from queue q
         where q.driver = $1 and q.flow > f.flow and q.flow < g.high order by q.flow, q.rank, q.no limit 1) next)
     select * from found limit $4) n
   limit $4`,
);

/** A flow as the first of its rows tells it. */
export interface FoundFlow {
  readonly flow: string;
  readonly project: string;
  readonly pipeline: string;
  readonly placed: boolean;
  readonly first: JobKey;
}

/** Flows strictly between two others. */
export interface FlowGap {
  readonly low: string;
  readonly high: string;
}

/** Finds the flows in these gaps, which are given in order, that have rows: at most `limit`, the first ones. */
export async function findFlows(tx: Tx, driver: string, gaps: readonly FlowGap[], limit: number): Promise<FoundFlow[]> {
  const rows = await rowsOf<Omit<FoundFlow, 'first'> & { run_id: JobKey['runId']; job: number }>(tx, FIND_FLOWS, [
    driver,
    plain(gaps, (gap) => gap.low),
    plain(gaps, (gap) => gap.high),
    limit,
  ]);
  return rows.map(({ run_id: runId, job, ...flow }) => ({ ...flow, first: { runId, job } }));
}

const DEQUEUE = statement(
  'dequeue',
  `delete from queue q using unnest($1::uuid[], $2::int[]) u (run_id, job) where q.run_id = u.run_id and q.job = u.job`,
);

export async function dequeue(tx: Tx, keys: readonly JobKey[]): Promise<void> {
  await execute(tx, DEQUEUE, [plain(keys, (key) => key.runId), plain(keys, (key) => key.job)]);
}

// A row that a claim holds is left to it: its holder finds the run locked, and whoever claims it next that the job is not queued.
const LEAVE_QUEUE = statement(
  'leave_queue',
  `delete from queue where ctid = any(array(
     select q.place from unnest($1::uuid[], $2::int[]) u (run_id, job)
     cross join lateral (select ctid as place from queue where run_id = u.run_id and job = u.job for update skip locked) q))`,
);

/** Takes jobs out of the queue that wait or end without an offer, under the locks of their runs. Waits for nobody. */
export async function leaveQueue(tx: Tx, keys: readonly JobKey[]): Promise<void> {
  await execute(tx, LEAVE_QUEUE, [plain(keys, (key) => key.runId), plain(keys, (key) => key.job)]);
}
