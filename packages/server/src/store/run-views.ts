// Runs as readers see them, from the projection: one run, or those of a project by filter, newest first.
import { type Expression, type InferResult, type RawBuilder, type Selectable, sql } from 'kysely';
import type { RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { RunState } from '../core/states.ts';
import type { Labels, Page, RunView } from '../core/views.ts';
import type { DefinitionDigest } from './definition-rows.ts';
import type { Tables } from './database-types.ts';
import { countsOf } from './ledger-rows.ts';
import { fetchPage, fetchRows, pageOf, tables } from './query.ts';
import type { Tx } from './sql.ts';

export interface FoundRun {
  readonly view: RunView;
  readonly params: JsonObject;
  readonly digest: DefinitionDigest;
}

/** Reads one run of a project; its view is without params and definition. */
export async function findRun(tx: Tx, project: string, runId: RunId): Promise<FoundRun | undefined> {
  const query = selectRuns(project).select(['digest', 'params']).where('run_id', '=', runId);
  const [row] = await fetchRows(tx, query, 'find_run');
  return row && { view: runView(project, row), params: row.params, digest: row.digest.toString('hex') };
}

/** What a run was created with; it never changes. Conditions are joined by AND. */
export interface RunOrigin {
  readonly pipeline: string | undefined;
  readonly labels: Labels;
}

export interface RunsQuery extends RunOrigin {
  /** Empty: all. */
  readonly states: readonly RunState[];
  readonly size: number;
  /** Only runs older than this one. */
  readonly before: RunId | undefined;
}

/** Lists runs, newest first. */
export async function listRuns(tx: Tx, project: string, filter: RunsQuery): Promise<Page<RunView>> {
  const { states, size, before } = filter;
  const query = selectRuns(project)
    .where(isOfOrigin(filter))
    .$if(states.length > 0, (all) => all.where('state', 'in', states))
    .$if(before !== undefined, (all) => all.where('run_id', '<', sql<RunId>`${before}`))
    .orderBy('run_id', 'desc')
    .limit(size + 1);
  const rows = await fetchPage(tx, query, sql`run_id desc`, size);
  return pageOf(
    rows,
    (row) => runView(project, row),
    (row) => row.run_id,
  );
}

export interface ChangedRun {
  /** As it is, or was when it was deleted. */
  readonly run: RunView;
  readonly deleted: boolean;
}

/** Reads those of the given runs that have this origin, in order of their ids, from behind `after`; also deleted ones. */
export async function listChangedRuns(
  tx: Tx,
  project: string,
  runIds: readonly RunId[],
  origin: RunOrigin,
  after: string | undefined,
): Promise<Page<ChangedRun>> {
  if (runIds.length === 0) return { items: [] };
  const query = selectRuns(project, keptOrDeleted(runIds))
    .select(sql<boolean>`deleted`.as('deleted'))
    .where(isOfOrigin(origin))
    .$if(after !== undefined, (all) => all.where('run_id', '>', sql<RunId>`${after}`))
    .orderBy('run_id')
    .limit(runIds.length + 1);
  const rows = await fetchPage(tx, query, sql`run_id`, runIds.length);
  return pageOf(
    rows,
    ({ deleted, ...row }) => ({ run: runView(project, row), deleted }),
    (row) => row.run_id,
  );
}

type RunRows = RawBuilder<Selectable<Tables['runs']>>;

/** The rows of runs as they are, and as they were of those that are deleted. */
function keptOrDeleted(runIds: readonly RunId[]): RunRows {
  return sql`(
    select r.*, false as deleted from runs r where r.run_id = any(${runIds}::uuid[])
    union all
    select was.*, true from deleted_runs d cross join jsonb_populate_record(null::runs, d.run) was
    where d.run_id = any(${runIds}::uuid[]))`;
}

function isOfOrigin({ pipeline, labels }: RunOrigin): Expression<boolean> {
  const ofPipeline = pipeline === undefined ? sql<boolean>`true` : sql<boolean>`pipeline = ${pipeline}`;
  if (Object.keys(labels).length === 0) return ofPipeline;
  // Runs without labels are not in the index.
  return sql<boolean>`${ofPipeline} and labels <> '{}' and labels @> ${JSON.stringify(labels)}::jsonb`;
}

function selectRuns(project: string, source: RunRows = sql`runs`) {
  return tables
    .selectFrom(source.as('runs'))
    .select(['run_id', 'pipeline', 'revision', 'state', 'labels', 'trigger', 'seq', 'rerun_of', 'cancel', 'pause'])
    .select(['total', 'open', 'succeeded', 'failed', 'failure_allowed', 'skipped', 'cancelled'])
    .select(['created_ms', 'started_ms', 'finished_ms'])
    .select(
      sql<number>`512 + octet_length(labels::text) + octet_length(trigger::text) + coalesce(octet_length(cancel::text), 0)
        + coalesce(octet_length(pause::text), 0)`.as('bytes'),
    )
    .where('project', '=', project);
}

type RunRow = InferResult<ReturnType<typeof selectRuns>>[number];

function runView(project: string, row: RunRow): RunView {
  return {
    runId: row.run_id,
    project,
    state: row.state,
    labels: row.labels,
    trigger: row.trigger,
    counts: countsOf(row),
    seq: row.seq,
    createdMs: row.created_ms,
    ...(row.pipeline !== null && { pipeline: row.pipeline }),
    ...(row.revision !== null && { revision: row.revision }),
    ...(row.rerun_of !== null && { rerunOf: row.rerun_of }),
    ...(row.cancel !== null && { cancelReason: row.cancel.reason }),
    ...(row.pause !== null && { pause: row.pause }),
    ...(row.started_ms !== null && { startedMs: row.started_ms }),
    ...(row.finished_ms !== null && { finishedMs: row.finished_ms }),
  };
}
