// Makes sure, in the transaction that creates the run of a call, that the call still wants one and has none, and that its tree may have
// one more. A run of a call is therefore never without the call that knows it.
import { formatJobId, type JobKey, type RunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import { plain, rowsOf, statement, type Tx } from './sql.ts';

// What is counted is what was asked for: once a tree is full, the number only says so. A call that somebody else holds is left alone: a
// flush waits for calls while it holds runs, so nobody waits for a flush here.
const TAKE_CALLS = statement(
  'take_calls',
  `with free as materialized (
     select c.run_id, c.job, c.project, coalesce(c.root_run, c.run_id) as root, u.child_run
     from unnest($1::uuid[], $2::int[], $3::uuid[]) u (run_id, job, child_run)
     join calls c on c.run_id = u.run_id and c.job = u.job
     where c.child_run is null and not c.stopping
     for no key update of c skip locked
   ), trees as (
     insert into call_trees (run_id, project, runs)
     select root, min(project), count(*) from free group by root order by root
     on conflict (run_id) do update set runs = call_trees.runs + excluded.runs returning run_id, runs
   ), counted as materialized (
     select f.*, t.runs + 1 - row_number() over (partition by f.root order by f.run_id desc, f.job desc) as number
     from free f join trees t on t.run_id = f.root
   ), taken as (
     update calls c set child_run = n.child_run from counted n
     where c.run_id = n.run_id and c.job = n.job and n.number <= $4 returning 1
   )
   select run_id, job, number <= $4 as taken from counted`,
);

export interface WantedChild {
  readonly key: JobKey;
  readonly child: RunId;
}

/**
 * Links calls with the runs that are created for them. Tells of each, by job id, whether it was, or its tree has too many runs; a call
 * that is not named there wants none now.
 */
export async function takeCalls(
  tx: Tx,
  wanted: readonly WantedChild[],
): Promise<ReadonlyMap<string, 'TAKEN' | 'FULL'>> {
  const rows = await rowsOf<{ run_id: RunId; job: number; taken: boolean }>(tx, TAKE_CALLS, [
    plain(wanted, ({ key }) => key.runId),
    plain(wanted, ({ key }) => key.job),
    plain(wanted, ({ child }) => child),
    LIMITS.callTreeRuns,
  ]);
  return new Map(rows.map(({ run_id: runId, job, taken }) => [formatJobId({ runId, job }), taken ? 'TAKEN' : 'FULL']));
}
