// The rows of the replicas: each touches its own every second, so that an outage of the database, or of every replica, is seen as a
// gap. After a gap nobody is declared lost for one lease. The newest row outlives its replica: it tells when the last one was there.
import { execute, rowsOf, statement, type Tx } from './sql.ts';

const TOUCH = statement(
  'touch_replica',
  `with clock as materialized (select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms),
     before as (select max(seen_ms) as newest, max(seen_ms) filter (where replica = $1) as own,
       count(*) filter (where replica <> $1 and seen_ms > now_ms - 10000) as others from replicas, clock),
     touched as (insert into replicas (replica, version, started_ms, seen_ms) select $1, $2, now_ms, now_ms from clock
       on conflict (replica) do update set seen_ms = excluded.seen_ms)
   select now_ms, coalesce(own, newest) as last_ms, others from clock, before`,
);

export interface Touch {
  readonly nowMs: number;
  /** When this replica, or at its first touch any replica, touched before; undefined: never. */
  readonly lastMs: number | undefined;
  /** How many other replicas are alive. */
  readonly others: number;
}

export async function touchReplica(tx: Tx, replica: string, version: string): Promise<Touch> {
  const [row] = await rowsOf<{ now_ms: number; last_ms: number | null; others: number }>(tx, TOUCH, [replica, version]);
  if (row === undefined) throw new Error('a touch returned no row');
  return { nowMs: row.now_ms, lastMs: row.last_ms ?? undefined, others: row.others };
}

const GIVE_GRACE = statement('give_grace', 'update cluster set grace_until_ms = greatest(grace_until_ms, $1)');

/** Nobody is declared lost before `untilMs`. */
export async function giveGrace(tx: Tx, untilMs: number): Promise<void> {
  await execute(tx, GIVE_GRACE, [untilMs]);
}

const FORGET_REPLICAS = statement(
  'forget_replicas',
  `with clock as materialized (select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms)
   delete from replicas r using clock where (r.replica = $1 or r.seen_ms < now_ms - $2)
     and exists (select from replicas newer where (newer.seen_ms, newer.replica) > (r.seen_ms, r.replica))`,
);

/** Removes the row of a replica that leaves, and of those not seen for `keepMs`, but never the newest. */
export async function forgetReplicas(tx: Tx, replica: string, keepMs: number): Promise<void> {
  await execute(tx, FORGET_REPLICAS, [replica, keepMs]);
}
