// Deletes runs. The transaction that deletes one removes its row and leaves a tombstone, so nobody reads it any more; what else it
// had is swept in passes of bounded size, each of which may be the last that a replica makes.
import type { RunId } from '../core/ids.ts';
import type { RunState } from '../core/states.ts';
import { execute, plain, rowsOf, statement, type Tx } from './sql.ts';

const LOCK_RUN = statement('lock_run_to_delete', 'select project, state from runs where run_id = $1 for update');

/** Locks a run for good and tells whose it is and where it stands; undefined when there is none. */
export async function lockRunToDelete(
  tx: Tx,
  runId: RunId,
): Promise<{ readonly project: string; readonly state: RunState } | undefined> {
  return (await rowsOf<{ project: string; state: RunState }>(tx, LOCK_RUN, [runId]))[0];
}

// A finished run never changes, so what is read before the lock is what is locked.
const DELETE_RUNS = statement(
  'delete_finished_runs',
  `with locked as (
     select run_id from runs where run_id = any($1::uuid[]) and finished_ms is not null order by run_id for update skip locked
   ), gone as (
     delete from runs r using locked l where r.run_id = l.run_id returning r.*
   )
   insert into deleted_runs (run_id, project, run, deleted_ms, feed_xid)
   select run_id, project, to_jsonb(gone) - 'params', floor(extract(epoch from clock_timestamp()) * 1000), pg_current_xact_id()
   from gone order by run_id returning run_id`,
);

/** Deletes those of these runs that have finished and that nobody else holds. Returns which. */
export async function deleteFinishedRuns(tx: Tx, runIds: readonly RunId[]): Promise<RunId[]> {
  const rows = await rowsOf<{ run_id: RunId }>(tx, DELETE_RUNS, [plain(runIds, (id) => id)]);
  return rows.map((row) => row.run_id);
}

const CLAIM = statement(
  'claim_deleted_runs',
  'select run_id from deleted_runs where settled_xid is null order by run_id limit $1 for update skip locked',
);

// Rows are found by their run and removed by their place: nobody but the holder of the tombstone touches them.
const SWEEPS = ['events', 'jobs', 'attempts', 'log_sections', 'queue', 'run_values', 'artifacts', 'call_trees'].map(
  (table) =>
    statement(
      `sweep_${table}`,
      `delete from ${table} where ctid = any(array(
       select t.place from unnest($1::uuid[]) u (run_id)
       cross join lateral (select ctid as place from ${table} where run_id = u.run_id limit $2) t limit $2))`,
    ),
);

const SETTLE = statement(
  'settle_deleted_runs',
  'update deleted_runs set settled_xid = pg_snapshot_xmax(pg_current_snapshot()) where run_id = any($1::uuid[])',
);

export interface Sweep {
  /** How many rows it removed. */
  readonly rows: number;
  /** How many runs have nothing left. */
  readonly settled: number;
}

/**
 * One pass over deleted runs that no other replica sweeps; to be committed by the caller.
 * @param runs How many at most.
 * @param rowsATable How many rows of one table at most.
 */
export async function sweepDeletedRuns(tx: Tx, runs: number, rowsATable: number): Promise<Sweep> {
  const claimed = await rowsOf<{ run_id: RunId }>(tx, CLAIM, [runs]);
  if (claimed.length === 0) return { rows: 0, settled: 0 };
  const runIds = plain(claimed, (row) => row.run_id);
  const counts: number[] = [];
  for (const sweep of SWEEPS) counts.push(await execute(tx, sweep, [runIds, rowsATable]));
  const rows = counts.reduce((sum, count) => sum + count, 0);
  // A table that gave as many as it may have more.
  if (counts.includes(rowsATable)) return { rows, settled: 0 };
  return { rows, settled: await execute(tx, SETTLE, [runIds]) };
}

const FORGET = statement(
  'forget_deleted_runs',
  `with old as (
     select run_id from deleted_runs where settled_xid is not null and deleted_ms < $1 order by deleted_ms limit $2
     for update skip locked
   ), gone as (
     delete from deleted_runs d using old where d.run_id = old.run_id returning d.settled_xid
   ), newest as (
     select settled_xid from gone order by settled_xid desc limit 1
   ), moved as (
     update cluster set feed_from = greatest(feed_from, newest.settled_xid) from newest
   )
   select count(*)::int as count from gone`,
);

/** Forgets deletions that are older, and with them how to tell watchers from before of them. Returns how many. */
export async function forgetDeletedRuns(tx: Tx, beforeMs: number, limit: number): Promise<number> {
  const [row] = await rowsOf<{ count: number }>(tx, FORGET, [beforeMs, limit]);
  return row?.count ?? 0;
}
