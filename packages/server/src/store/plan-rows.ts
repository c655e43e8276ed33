// What a plan of a run reads of the present and the past: which instances of drivers could take jobs now, and how long jobs took before.
import type { InstanceGroup } from '../core/demand.ts';
import type { RunId } from '../core/ids.ts';
import { plain, rowsOf, statement, texts, type Tx } from './sql.ts';

/** The connected instances of a driver that are alike and publish the same schema. */
export interface ConnectedInstances extends InstanceGroup {
  /** Hexadecimal digits; undefined: they publish no schema. */
  readonly digest: string | undefined;
}

/** @param pairs The instances `i` to look at, each with its lease `l`. */
const selectConnected = (pairs: string): string =>
  `select driver, encode(schema_digest, 'hex') as digest, labels::json as labels, pools::json as pools, draining, slots, held,
     count(*)::int as count
   from (
     select i.driver, i.schema_digest, i.labels::text as labels, i.pools::text as pools, i.draining, i.slots,
       (select count(*) from attempts a where a.instance_no = i.no and a.finished_ms is null)::int as held
     from ${pairs}
     where l.expires_ms > extract(epoch from clock_timestamp()) * 1000
   ) i group by driver, schema_digest, labels, pools, draining, slots, held order by driver, count(*) desc`;

const CONNECTED_INSTANCES = statement(
  'connected_instances',
  selectConnected('(select * from instances where driver = any($1::text[])) i join leases l on l.instance_no = i.no'),
);
// From the leases: instances that are gone are many more.
const ALL_CONNECTED_INSTANCES = statement(
  'all_connected_instances',
  selectConnected('leases l cross join lateral (select * from instances where no = l.instance_no limit 1) i'),
);

/** @param drivers Undefined: all. */
export async function connectedInstances(tx: Tx, drivers?: readonly string[]): Promise<ConnectedInstances[]> {
  const rows = await (drivers === undefined
    ? rowsOf<ConnectedColumns>(tx, ALL_CONNECTED_INSTANCES, [])
    : rowsOf<ConnectedColumns>(tx, CONNECTED_INSTANCES, [texts(drivers, (driver) => driver)]));
  return rows.map(({ digest, ...row }) => ({ ...row, digest: digest ?? undefined }));
}

interface ConnectedColumns extends InstanceGroup {
  readonly digest: string | null;
}

const NEWEST_RUNS = statement(
  'newest_runs_of_pipeline',
  'select run_id, total from runs where project = $1 and pipeline = $2 order by run_id desc limit $3',
);

/** The newest runs of a pipeline, and how many jobs each has. */
export async function newestRuns(
  tx: Tx,
  project: string,
  pipeline: string,
  limit: number,
): Promise<{ readonly runId: RunId; readonly jobs: number }[]> {
  const rows = await rowsOf<{ run_id: RunId; total: number }>(tx, NEWEST_RUNS, [project, pipeline, limit]);
  return rows.map(({ run_id: runId, total: jobs }) => ({ runId, jobs }));
}

export interface AttemptDuration {
  readonly runId: RunId;
  readonly job: number;
  readonly durationMs: number;
}

const SUCCEEDED_ATTEMPTS = statement(
  'succeeded_attempts',
  `select run_id, job, (finished_ms - started_ms)::int8 as duration_ms from attempts
   where run_id = any($1::uuid[]) and state = 'SUCCEEDED' and started_ms is not null`,
);

/** How long the succeeded attempts of these runs took. */
export async function succeededAttempts(tx: Tx, runIds: readonly RunId[]): Promise<AttemptDuration[]> {
  const rows = await rowsOf<{ run_id: RunId; job: number; duration_ms: number }>(tx, SUCCEEDED_ATTEMPTS, [
    plain(runIds, (id) => id),
  ]);
  return rows.map(({ run_id: runId, job, duration_ms: durationMs }) => ({ runId, job, durationMs }));
}
