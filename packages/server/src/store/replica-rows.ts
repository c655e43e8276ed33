// The rows of the replicas: each touches its own every second, so that an outage of the database, or of every replica, is seen as a
// gap. After a gap nobody is declared lost for one lease, from the very touch on that ends it.
import { EVENT_VERSION } from '../core/event-versions.ts';
import { OUTAGE_MS } from '../core/limits.ts';
import { execute, rowsOf, statement, type Tx } from './sql.ts';

const TOUCH = statement(
  'touch_replica',
  `with clock as materialized (select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms),
     before as materialized (select now_ms, max(seen_ms) as last_ms, count(*) filter (where replica <> $1 and seen_ms > now_ms - 10000)
       as others from clock left join replicas on true group by now_ms),
     touched as (insert into replicas (replica, version, event_version, started_ms, seen_ms)
       select $1, $2, ${EVENT_VERSION}, now_ms, now_ms from clock
       on conflict (replica) do update set seen_ms = excluded.seen_ms),
     given as (update cluster set grace_until_ms = greatest(grace_until_ms, now_ms + $3)
       from before where coalesce(now_ms - last_ms > ${OUTAGE_MS}, true) returning now_ms - last_ms as gap_ms)
   select others, (select gap_ms from given) as gap_ms from before`,
);

export interface Touch {
  /** How long no replica had been seen, when that was an outage. Also when nobody knows how long, grace was given. */
  readonly gapMs: number | undefined;
  /** How many other replicas are alive. */
  readonly others: number;
}

/** Says that a replica is there. In one statement with it, an outage that this ends extends every lease by `leaseMs`. */
export async function touchReplica(tx: Tx, replica: string, version: string, leaseMs: number): Promise<Touch> {
  const [row] = await rowsOf<{ others: number; gap_ms: number | null }>(tx, TOUCH, [replica, version, leaseMs]);
  if (row === undefined) throw new Error('a touch returned no row');
  return { gapMs: row.gap_ms ?? undefined, others: row.others };
}

const OLDEST_REPLICA = statement(
  'oldest_replica',
  `select replica, version, event_version from replicas
   where seen_ms > floor(extract(epoch from clock_timestamp()) * 1000)::bigint - $1 and event_version < ${EVENT_VERSION}
   order by event_version, replica limit 1`,
);

/** A replica whose build does not know every event that this one does. */
export interface OlderReplica {
  readonly replica: string;
  /** Of the build. */
  readonly version: string;
  readonly eventVersion: number;
}

/** The replica that knows the least of those seen in the last `aliveMs`; undefined: all know what this build does. */
export async function oldestReplica(tx: Tx, aliveMs: number): Promise<OlderReplica | undefined> {
  const rows = await rowsOf<{ replica: string; version: string; event_version: number }>(tx, OLDEST_REPLICA, [aliveMs]);
  return rows.map((row) => ({ replica: row.replica, version: row.version, eventVersion: row.event_version }))[0];
}

const FORGET_REPLICAS = statement('forget_replicas', 'delete from replicas where replica = $1 or seen_ms < $2');

/** Removes the row of a replica that leaves, and of those not seen since. */
export async function forgetReplicas(tx: Tx, replica: string, seenBeforeMs: number): Promise<void> {
  await execute(tx, FORGET_REPLICAS, [replica, seenBeforeMs]);
}
