// The calls that wait: jobs whose end is that of another run. A row lives from the job's wait to its end, and counts what happened to
// it (`stirs`): somebody has to see to it until as much was seen. What happens is written by the flush in which it happens.
import type { JobKey, RunId } from '../core/ids.ts';
import { execute, plain, statement, texts, type Tx } from './sql.ts';

export type CallChange =
  | { readonly type: 'OPENED'; readonly key: JobKey; readonly project: string; readonly caller: JobKey | undefined }
  | { readonly type: 'STARTED'; readonly key: JobKey; readonly child: RunId }
  | { readonly type: 'STOPPED'; readonly key: JobKey }
  | { readonly type: 'ENDED'; readonly key: JobKey; readonly child: RunId }
  | { readonly type: 'CLOSED'; readonly key: JobKey };

// Flushes of a run and of those that it called change the same rows: each takes all of its own in one order first.
const LOCK_CALLS = statement(
  'lock_calls',
  `select from unnest($1::uuid[], $2::int[]) u (run_id, job)
   join calls c on c.run_id = u.run_id and c.job = u.job order by c.run_id, c.job for no key update of c`,
);
// The row of the call that made its run is there as long as the run goes on.
const OPEN_CALLS = statement(
  'open_calls',
  `insert into calls (run_id, job, project, root_run, depth)
   select u.run_id, u.job, u.project, coalesce(p.root_run, p.run_id, u.run_id), coalesce(p.depth + 1, 1)
   from unnest($1::uuid[], $2::int[], $3::text[], $4::uuid[], $5::int[]) u (run_id, job, project, caller_run, caller_job)
   left join lateral (
     select root_run, run_id, depth from calls where run_id = u.caller_run and job = u.caller_job and child_run = u.run_id limit 1
   ) p on true
   on conflict do nothing`,
);
const START_CALLS = statement(
  'start_calls',
  `update calls c set child_run = u.child_run, stirs = c.stirs + 1
   from unnest($1::uuid[], $2::int[], $3::uuid[]) u (run_id, job, child_run)
   where c.run_id = u.run_id and c.job = u.job and c.child_run is distinct from u.child_run`,
);
const STOP_CALLS = statement(
  'stop_calls',
  `update calls c set stopping = true, stirs = c.stirs + 1 from unnest($1::uuid[], $2::int[]) u (run_id, job)
   where c.run_id = u.run_id and c.job = u.job`,
);
const END_CALLS = statement(
  'end_calls',
  `update calls c set ended = true, stirs = c.stirs + 1 from unnest($1::uuid[], $2::int[], $3::uuid[]) u (run_id, job, child_run)
   where c.run_id = u.run_id and c.job = u.job and c.child_run = u.child_run`,
);
const CLOSE_CALLS = statement(
  'close_calls',
  'delete from calls c using unnest($1::uuid[], $2::int[]) u (run_id, job) where c.run_id = u.run_id and c.job = u.job',
);

/** Follows what events made of calls. */
export async function changeCalls(tx: Tx, changes: readonly CallChange[]): Promise<void> {
  const of = <T extends CallChange['type']>(type: T) =>
    changes.filter((change): change is Extract<CallChange, { type: T }> => change.type === type);
  const keys = (rows: readonly CallChange[]): string[] => [
    plain(rows, ({ key }) => key.runId),
    plain(rows, ({ key }) => key.job),
  ];
  const [opened, started, stopped, ended, closed] = [
    of('OPENED'),
    of('STARTED'),
    of('STOPPED'),
    of('ENDED'),
    of('CLOSED'),
  ];
  await Promise.all([
    opened.length < changes.length && execute(tx, LOCK_CALLS, keys(changes)),
    opened.length > 0 &&
      execute(tx, OPEN_CALLS, [
        ...keys(opened),
        texts(opened, ({ project }) => project),
        plain(opened, ({ caller }) => caller?.runId),
        plain(opened, ({ caller }) => caller?.job),
      ]),
    started.length > 0 && execute(tx, START_CALLS, [...keys(started), plain(started, ({ child }) => child)]),
    stopped.length > 0 && execute(tx, STOP_CALLS, keys(stopped)),
    ended.length > 0 && execute(tx, END_CALLS, [...keys(ended), plain(ended, ({ child }) => child)]),
    closed.length > 0 && execute(tx, CLOSE_CALLS, keys(closed)),
  ]);
}
