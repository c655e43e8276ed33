// The calls that wait: jobs whose end is that of another run. A row lives from the job's wait to its end.
import type { JobKey, RunId } from '../core/ids.ts';
import type { RunEvent } from '../core/events.ts';
import type { JobDetails, JobWait } from '../core/run-state.ts';
import type { FinishedRunState } from '../core/states.ts';
import { execute, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

export interface CallChange {
  readonly key: JobKey;
  readonly project: string;
  readonly event: Extract<RunEvent, { type: 'JobWaiting' | 'ChildRunStarted' | 'JobFinished' }>;
}

const OPEN_CALLS = statement(
  'open_calls',
  `insert into calls (run_id, job, project) select * from unnest($1::uuid[], $2::int[], $3::text[]) on conflict do nothing`,
);
const LINK_CALLS = statement(
  'link_calls',
  `update calls c set child_run = u.child_run from unnest($1::uuid[], $2::int[], $3::uuid[]) u (run_id, job, child_run)
   where c.run_id = u.run_id and c.job = u.job`,
);
const CLOSE_CALLS = statement(
  'close_calls',
  'delete from calls c using unnest($1::uuid[], $2::int[]) u (run_id, job) where c.run_id = u.run_id and c.job = u.job',
);

/** Follows what events made of calls. */
export async function changeCalls(tx: Tx, changes: readonly CallChange[]): Promise<void> {
  const of = (type: CallChange['event']['type']) => changes.filter(({ event }) => event.type === type);
  const [opened, started, ended] = [of('JobWaiting'), of('ChildRunStarted'), of('JobFinished')];
  const keys = (rows: readonly CallChange[]) => [
    plain(rows, (row) => row.key.runId),
    plain(rows, (row) => row.key.job),
  ];
  await Promise.all([
    opened.length > 0 && execute(tx, OPEN_CALLS, [...keys(opened), texts(opened, (row) => row.project)]),
    started.length > 0 && execute(tx, LINK_CALLS, [...keys(started), plain(started, childOf)]),
    ended.length > 0 && execute(tx, CLOSE_CALLS, keys(ended)),
  ]);
}

function childOf({ event }: CallChange): string | undefined {
  return event.type === 'ChildRunStarted' ? event.childRun : undefined;
}

/** A call that somebody has to see to. */
export interface DueCall {
  readonly key: JobKey;
  readonly project: string;
  readonly details: JobDetails | undefined;
  /** Why its run is to be cancelled; undefined: it is not. */
  readonly stopping: string | undefined;
  readonly force: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** Undefined: it has no run yet. */
  readonly child: { readonly runId: RunId; readonly state: FinishedRunState | 'OPEN' | 'DELETED' } | undefined;
}

// Those that only wait are left out, after a look at each, and so are those whose run has been told to stop: that may take it long.
// The limits leave the planner no way but to look for each by its key.
const DUE_CALLS = statement(
  'due_calls',
  `select c.run_id, c.job, c.project, c.child_run, r.state, r.run_id is null as gone, j.details, j.wait, p.cancel, p.labels
   from calls c
   cross join lateral (select cancel, labels from runs where run_id = c.run_id limit 1) p
   cross join lateral (select details, wait from jobs where run_id = c.run_id and job = c.job limit 1) j
   left join lateral (select run_id, state, finished_ms, cancel from runs where run_id = c.child_run limit 1) r on true
   where (c.run_id, c.job) > ($2::uuid, $3::int) and (
     c.child_run is null or r.run_id is null or r.finished_ms is not null
     or (j.wait ->> 'stopping' is not null
       and (r.cancel is null or (p.cancel ->> 'force' = 'true' and r.cancel ->> 'force' = 'false')))
   )
   order by c.run_id, c.job limit $1`,
);

const FIRST = '00000000-0000-0000-0000-000000000000';

/** The calls that somebody has to see to, in the order of their keys. @param after Undefined: from the first. */
export async function dueCalls(tx: Tx, limit: number, after: JobKey | undefined): Promise<DueCall[]> {
  const rows = await rowsOf<{
    run_id: RunId;
    job: number;
    project: string;
    child_run: RunId | null;
    state: string | null;
    gone: boolean;
    details: JobDetails | null;
    wait: JobWait | null;
    cancel: { force: boolean } | null;
    labels: Record<string, string>;
  }>(tx, DUE_CALLS, [limit, after?.runId ?? FIRST, after?.job ?? -1]);
  return rows.map((row) => ({
    key: { runId: row.run_id, job: row.job },
    project: row.project,
    details: row.details ?? undefined,
    stopping: row.wait !== null && 'sinceMs' in row.wait ? row.wait.stopping : undefined,
    force: row.cancel?.force === true,
    labels: row.labels,
    child: row.child_run === null ? undefined : { runId: row.child_run, state: childState(row.gone, row.state) },
  }));
}

function childState(isGone: boolean, state: string | null): FinishedRunState | 'OPEN' | 'DELETED' {
  if (isGone) return 'DELETED';
  return state === 'SUCCEEDED' || state === 'FAILED' || state === 'CANCELLED' ? state : 'OPEN';
}

const ANY_CALLS = statement('any_calls', 'select true as found from calls limit 1');

/** Whether any call waits at all. */
export async function hasCalls(tx: Tx): Promise<boolean> {
  return (await rowsOf(tx, ANY_CALLS, [])).length > 0;
}

const TRIGGER = statement('run_trigger', 'select trigger from runs where run_id = $1');

/** What started a run; undefined when there is no such run. */
export async function readTrigger(tx: Tx, runId: RunId): Promise<{ kind: string; reference: string } | undefined> {
  const [row] = await rowsOf<{ trigger: { kind: string; reference: string } }>(tx, TRIGGER, [runId]);
  return row?.trigger;
}
