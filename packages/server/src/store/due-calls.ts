// The calls that somebody has to see to, read without a lock, by indexes that hold nothing else: those whose run is to be made, those
// whose run is to be stopped, and those that end.
import type { JobKey, RunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import type { JobDetails, JobWait } from '../core/run-state.ts';
import type { FinishedRunState } from '../core/states.ts';
import { execute, plain, rowsOf, type Statement, statement, type Tx } from './sql.ts';

/** A call that somebody has to see to. */
export interface DueCall {
  readonly key: JobKey;
  readonly project: string;
  /** The run that no call made and that led to it. */
  readonly root: RunId;
  /** How many calls lead to the run that it makes. */
  readonly depth: number;
  /** Whether the tree of its root may have no more runs. */
  readonly isFull: boolean;
  /** What had happened to it when it was read. */
  readonly stirs: number;
  readonly details: JobDetails | undefined;
  /** Why it is to stop; undefined: it is not. */
  readonly stopping: string | undefined;
  readonly force: boolean;
  /** Why no run is made for it; undefined: one may be. */
  readonly refused: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Undefined: it has no run yet. */
  readonly child:
    | { readonly runId: RunId; readonly state: FinishedRunState | 'OPEN' | 'DELETED'; readonly jobs: number }
    | undefined;
}

const TO_START = 'stirs <> seen and child_run is null and not stopping';
const TO_STOP = 'stirs <> seen and child_run is not null and stopping and not ended';
const TO_SETTLE = 'stirs <> seen and (ended or (child_run is null) = stopping)';
const ROOT = 'coalesce(root_run, run_id)';

/** With what is to be known of them. The limits leave the planner no way but to look for each by its key. */
function withFacts(keys: string): string {
  return `select c.*, r.state, coalesce(r.total, 0) as jobs, r.run_id is null as gone, j.details, j.wait, p.cancel, p.labels, coalesce(t.runs, 0) >= ${LIMITS.callTreeRuns} as full
   from (${keys}) c
   cross join lateral (select cancel, labels from runs where run_id = c.run_id limit 1) p
   cross join lateral (select details, wait from jobs where run_id = c.run_id and job = c.job limit 1) j
   left join lateral (select run_id, state, total from runs where run_id = c.child_run limit 1) r on true
   left join lateral (select runs from call_trees where run_id = c.root limit 1) t on true`;
}

const COLUMNS = `run_id, job, project, ${ROOT} as root, depth, stirs, refused, child_run`;

/** Of each of some trees its first calls; as many as fit, those of different trees in turns. */
function inTurns(name: string, due: string): Statement {
  const next = (after: string) =>
    `select ${ROOT} as root from calls where ${due} and project = $1 and ${ROOT} > ${after} order by project, ${ROOT} limit 1`;
  return statement(
    name,
    `with recursive trees as (
       (${next('$2::uuid')})
       union all
       select n.root from trees cross join lateral (${next('trees.root')}) n
     ), chosen as (select root from trees limit $3)
     ${withFacts(`select d.* from chosen cross join lateral (
         select ${COLUMNS}, row_number() over (order by run_id, job) as turn from calls
         where ${due} and project = $1 and ${ROOT} = chosen.root order by run_id, job limit $4
       ) d order by d.turn, d.root limit $3`)}`,
  );
}

/** The projects that have any. */
function projectsOf(name: string, due: string): Statement {
  const next = (after: string) =>
    `select project from calls where ${due} and project > ${after} order by project limit 1`;
  return statement(
    name,
    `with recursive projects as (
       (${next('$1')})
       union all
       select n.project from projects cross join lateral (${next('projects.project')}) n
     )
     select project from projects limit $2`,
  );
}

/** What is done for calls in turns of projects, and in each of trees. */
export interface DueTurns {
  readonly projects: Statement;
  readonly calls: Statement;
}

export const CALLS_TO_START: DueTurns = {
  projects: projectsOf('projects_to_start', TO_START),
  calls: inTurns('calls_to_start', TO_START),
};
export const CALLS_TO_STOP: DueTurns = {
  projects: projectsOf('projects_to_stop', TO_STOP),
  calls: inTurns('calls_to_stop', TO_STOP),
};
/** That end, or whose job has to be told of its run. */
export const CALLS_TO_SETTLE: DueTurns = {
  projects: projectsOf('projects_to_settle', TO_SETTLE),
  calls: inTurns('calls_to_settle', TO_SETTLE),
};

/** @param after Undefined: from the first. */
export async function dueProjects(
  tx: Tx,
  { projects }: DueTurns,
  after: string | undefined,
  limit: number,
): Promise<string[]> {
  const rows = await rowsOf<{ project: string }>(tx, projects, [after ?? '', limit]);
  return rows.map(({ project }) => project);
}

const FIRST = '00000000-0000-0000-0000-000000000000';

/**
 * So many calls of one project, of as many trees.
 * @param after The tree after which to begin; undefined: from the first.
 * @param ofTree How many of one tree at most.
 */
export async function dueCalls(
  tx: Tx,
  { calls }: DueTurns,
  project: string,
  after: RunId | undefined,
  limit: number,
  ofTree: number,
): Promise<DueCall[]> {
  return (await rowsOf<DueColumns>(tx, calls, [project, after ?? FIRST, limit, ofTree])).map(toDueCall);
}

interface DueColumns {
  run_id: RunId;
  job: number;
  project: string;
  root: RunId;
  depth: number;
  stirs: number;
  refused: string | null;
  child_run: RunId | null;
  state: string | null;
  jobs: number;
  gone: boolean;
  details: JobDetails | null;
  wait: JobWait | null;
  cancel: { force: boolean } | null;
  labels: Record<string, string>;
  full: boolean;
}

function toDueCall(row: DueColumns): DueCall {
  return {
    key: { runId: row.run_id, job: row.job },
    project: row.project,
    root: row.root,
    depth: row.depth,
    isFull: row.full,
    stirs: row.stirs,
    details: row.details ?? undefined,
    stopping: row.wait !== null && 'sinceMs' in row.wait ? row.wait.stopping : undefined,
    force: row.cancel?.force === true,
    refused: row.refused ?? undefined,
    labels: row.labels,
    child:
      row.child_run === null
        ? undefined
        : { runId: row.child_run, state: childState(row.gone, row.state), jobs: row.jobs },
  };
}

function childState(isGone: boolean, state: string | null): FinishedRunState | 'OPEN' | 'DELETED' {
  if (isGone) return 'DELETED';
  return state === 'SUCCEEDED' || state === 'FAILED' || state === 'CANCELLED' ? state : 'OPEN';
}

// What is held by a flush is due for longer. What happened since it was read is not seen.
const SEE_CALLS = statement(
  'see_calls',
  `with free as materialized (
     select c.run_id, c.job, u.stirs from unnest($1::uuid[], $2::int[], $3::int[]) u (run_id, job, stirs)
     join calls c on c.run_id = u.run_id and c.job = u.job for no key update of c skip locked
   )
   update calls c set seen = f.stirs from free f where c.run_id = f.run_id and c.job = f.job`,
);

/** Notes that calls were seen to, as they were read. */
export async function seeCalls(tx: Tx, calls: readonly DueCall[]): Promise<void> {
  await execute(tx, SEE_CALLS, [
    plain(calls, ({ key }) => key.runId),
    plain(calls, ({ key }) => key.job),
    plain(calls, ({ stirs }) => stirs),
  ]);
}

const REFUSE_CALL = statement(
  'refuse_call',
  `update calls set stopping = true, refused = $3, stirs = stirs + 1
   where run_id = $1 and job = $2 and child_run is null and not stopping`,
);
const REFUSE_TREE = statement(
  'refuse_call_tree',
  `with free as materialized (
     select run_id, job from calls where ${TO_START} and project = $1 and ${ROOT} = $2::uuid order by run_id, job limit $4
     for no key update skip locked
   )
   update calls c set stopping = true, refused = $3, stirs = c.stirs + 1 from free f where c.run_id = f.run_id and c.job = f.job`,
);

/** Has a call end without a run, unless it has one: from then on nobody makes it. */
export async function refuseCall(tx: Tx, key: JobKey, message: string): Promise<void> {
  await execute(tx, REFUSE_CALL, [key.runId, key.job, message]);
}

/** The same for the next calls of a tree that wait for their runs. */
export async function refuseTree(tx: Tx, { project, root }: DueCall, message: string, limit: number): Promise<void> {
  await execute(tx, REFUSE_TREE, [project, root, message, limit]);
}

// Replicas of the version before stir nothing.
const STIR_CALLS = statement(
  'stir_calls',
  `with page as materialized (
     select run_id, job, child_run, stirs = seen and not ended as quiet, stopping from calls
     where (run_id, job) > ($1::uuid, $2::int) order by run_id, job limit $3
   ), found as materialized (
     select c.run_id, c.job, r.run_id is null or r.finished_ms is not null as ended, j.wait ->> 'stopping' is not null as stopping
     from page c
     cross join lateral (select cancel from runs where run_id = c.run_id limit 1) p
     cross join lateral (select wait from jobs where run_id = c.run_id and job = c.job limit 1) j
     left join lateral (select run_id, finished_ms, cancel from runs where run_id = c.child_run limit 1) r on true
     where c.quiet and (c.child_run is null or r.run_id is null or r.finished_ms is not null
       or (j.wait ->> 'stopping' is not null
         and (r.cancel is null or (p.cancel ->> 'force' = 'true' and r.cancel ->> 'force' = 'false'))))
   ), free as materialized (
     select c.run_id, c.job, f.ended, f.stopping from found f
     join calls c on c.run_id = f.run_id and c.job = f.job for no key update of c skip locked
   ), stirred as (
     update calls c set stirs = c.stirs + 1, stopping = c.stopping or f.stopping, ended = c.child_run is not null and f.ended
     from free f where c.run_id = f.run_id and c.job = f.job returning 1
   )
   select run_id, job, (select count(*)::int from stirred) as stirred from page order by run_id desc, job desc limit 1`,
);

/**
 * Looks at a page of calls whether anything has happened to them that nobody noted. Tells how many are due for it, and where the next
 * page begins: undefined when there is none.
 */
export async function stirCalls(
  tx: Tx,
  limit: number,
  after: JobKey | undefined,
): Promise<{ readonly stirred: number; readonly last: JobKey | undefined }> {
  const [row] = await rowsOf<{ run_id: RunId; job: number; stirred: number }>(tx, STIR_CALLS, [
    after?.runId ?? FIRST,
    after?.job ?? -1,
    limit,
  ]);
  return { stirred: row?.stirred ?? 0, last: row && { runId: row.run_id, job: row.job } };
}
