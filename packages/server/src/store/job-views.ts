// Jobs and attempts as readers see them, from the projection. What a job's definition says of it comes from the run's plan.
import { type InferResult, sql } from 'kysely';
import type { Artifact } from '../core/events.ts';
import type { JobKey, RunId } from '../core/ids.ts';
import { detailsView, plannedView, waitView } from '../core/job-view.ts';
import { LIMITS } from '../core/limits.ts';
import type { Plan } from '../core/plan.ts';
import type { JobState } from '../core/states.ts';
import type { AttemptView, JobView, Page } from '../core/views.ts';
import { attemptArtifacts } from './artifact-rows.ts';
import { expiredLogs, nameOf } from './log-expiry.ts';
import { fetchPage, fetchRows, pageOf, tables } from './query.ts';
import type { Tx } from './sql.ts';

/** The run whose jobs are read. */
export interface JobsRun {
  readonly runId: RunId;
  readonly project: string;
  readonly plan: Plan;
}

/** Reads one job, with its spec and the artifacts of its newest attempt, and without its definition. A job that the run's plan has but no row is a broken invariant and throws. */
export async function readJob(tx: Tx, run: JobsRun, job: number): Promise<JobView> {
  const [row] = await fetchRows(tx, selectJobs(run.runId).where('j.job', '=', job));
  if (row === undefined) throw new Error(`job ${job} of run ${run.runId} has no row`);
  const count = row.artifact_count ?? 0;
  const spec = row.details?.spec;
  const view = { ...jobView(run, row), ...(spec !== undefined && { spec }) };
  if (count === 0) return view;
  const key = { runId: run.runId, job, attempt: row.attempt };
  const artifacts = await attemptArtifacts(tx, key, LIMITS.shownArtifacts);
  return { ...view, artifacts, artifactCount: count };
}

export interface JobsQuery {
  /** Empty: all. */
  readonly states: readonly JobState[];
  /** Undefined: all. */
  readonly jobs: readonly number[] | undefined;
  readonly size: number;
  readonly after: number | undefined;
}

/** Lists jobs of a run in the definition's order, without definitions. */
export async function listJobs(tx: Tx, run: JobsRun, filter: JobsQuery): Promise<Page<JobView>> {
  const { states, jobs, size, after } = filter;
  const query = selectJobs(run.runId)
    .$if(states.length > 0, (all) => all.where('j.state', 'in', states))
    .$if(jobs !== undefined, (all) => all.where(sql<boolean>`j.job = any(${jobs}::int[])`))
    .$if(after !== undefined, (all) => all.where('j.job', '>', after ?? 0))
    .orderBy('j.job')
    .limit(size + 1);
  return pageOf(
    await fetchPage(tx, query, sql`job`, size),
    (row) => jobView(run, row),
    (row) => row.job,
  );
}

function selectJobs(runId: RunId) {
  return tables
    .selectFrom('jobs as j')
    .leftJoin('attempts as a', (join) =>
      join.onRef('a.run_id', '=', 'j.run_id').onRef('a.job', '=', 'j.job').onRef('a.attempt', '=', 'j.attempt'),
    )
    .select([
      'j.job',
      'j.state',
      'j.attempt',
      'j.wait',
      'j.hold',
      'j.stop',
      'j.failure',
      'j.failure_allowed',
      'j.started_ms',
      'j.finished_ms',
      'j.details',
    ])
    .select(['j.inherited_from', 'j.inherited_outputs'])
    .select(['a.state as attempt_state', 'a.outputs', 'a.progress', 'a.artifacts as artifact_count'])
    .select(
      sql<number>`512 + coalesce(octet_length(j.failure::text), 0) + coalesce(octet_length(j.inherited_outputs::text), 0)
        + coalesce(octet_length(a.outputs::text), 0) + coalesce(octet_length(a.progress::text), 0)
        + coalesce(octet_length(j.hold::text), 0) + coalesce(octet_length(j.stop::text), 0)
        + coalesce(octet_length(j.details::text), 0)`.as('bytes'),
    )
    .where('j.run_id', '=', runId);
}

type JobRow = InferResult<ReturnType<typeof selectJobs>>[number];

function jobView({ runId, project, plan }: JobsRun, row: JobRow): JobView {
  // The newest attempt of a finished job is the one that concluded it.
  const outputs = row.finished_ms === null ? null : (row.inherited_outputs ?? row.outputs);
  return {
    project,
    runId,
    job: row.job,
    ...plannedView(plan, row.job),
    state: row.state,
    attempt: row.attempt,
    failureAllowed: row.failure_allowed,
    ...(row.wait !== null && { wait: waitView(plan, row.job, row.wait) }),
    ...(row.hold !== null && { hold: row.hold }),
    ...(row.stop !== null && { stop: row.stop }),
    ...(row.failure !== null && { failure: row.failure }),
    ...(outputs !== null && { outputs }),
    ...(row.progress !== null && row.attempt_state === 'RUNNING' && { progress: row.progress }),
    ...(row.started_ms !== null && { startedMs: row.started_ms }),
    ...(row.finished_ms !== null && { finishedMs: row.finished_ms }),
    ...(row.inherited_from !== null && { inheritedFrom: row.inherited_from }),
    ...(row.details !== null && detailsView(plan, row.job, row.details)),
  };
}

/** Lists the attempts of a job, oldest first. */
export async function listAttempts(
  tx: Tx,
  project: string,
  { runId, job }: JobKey,
  page: { readonly size: number; readonly after: number | undefined },
): Promise<Page<AttemptView>> {
  const query = selectAttempts({ runId, job })
    .$if(page.after !== undefined, (all) => all.where('a.attempt', '>', page.after ?? 0))
    .orderBy('a.attempt')
    .limit(page.size + 1);
  const rows = await fetchPage(tx, query, sql`attempt`, page.size);
  const expired = await expiredLogs(tx, runId, rows.rows);
  return pageOf(
    rows,
    (row) => attemptView(project, { runId, job }, row, expired.has(nameOf(row))),
    (row) => row.attempt,
  );
}

function selectAttempts({ runId, job }: JobKey) {
  return tables
    .selectFrom('attempts as a')
    .leftJoin('instances as i', 'i.no', 'a.instance_no')
    .select([
      'a.attempt',
      'a.state',
      'a.failure',
      'a.outputs',
      'a.log_size',
      'a.log_state',
      'a.progress',
      'a.annotations',
      'a.artifacts as artifact_count',
    ])
    .leftJoinLateral(firstArtifacts, (join) => join.onTrue())
    .select('f.artifacts')
    .select(['a.offered_ms', 'a.started_ms', 'a.finished_ms', 'i.instance'])
    .select(['a.job', sql<number>`(select logs_from_ms from cluster)`.as('logs_from_ms')])
    .select(
      sql<number>`512 + coalesce(octet_length(a.failure::text), 0) + coalesce(octet_length(a.outputs::text), 0)
        + coalesce(octet_length(a.progress::text), 0) + coalesce(octet_length(a.annotations::text), 0)
        + coalesce(octet_length(f.artifacts::text), 0)`.as('bytes'),
    )
    .where('a.run_id', '=', runId)
    .where('a.job', '=', job);
}

/** Most attempts have none: then nothing is looked for. */
const firstArtifacts = sql<{ artifacts: Artifact[] | null }>`(
  select json_agg(l.artifact order by l.number) as artifacts from (
    select artifact, number from artifacts
    where a.artifacts > 0 and run_id = a.run_id and job = a.job and attempt = a.attempt
    order by number limit ${sql.lit(LIMITS.shownArtifacts)}
  ) l)`.as<'f'>(sql`f`);

type AttemptRow = InferResult<ReturnType<typeof selectAttempts>>[number];

function attemptView(project: string, { runId, job }: JobKey, row: AttemptRow, isExpired: boolean): AttemptView {
  return {
    project,
    runId,
    job,
    attempt: row.attempt,
    state: row.state,
    instance: row.instance ?? '',
    logSize: row.log_size,
    logState: isExpired ? 'EXPIRED' : row.log_state,
    annotations: row.annotations ?? [],
    artifacts: row.artifacts ?? [],
    artifactCount: row.artifact_count,
    offeredMs: row.offered_ms,
    ...(row.failure !== null && { failure: row.failure }),
    ...(row.outputs !== null && { outputs: row.outputs }),
    ...(row.progress !== null && row.state === 'RUNNING' && { progress: row.progress }),
    ...(row.started_ms !== null && { startedMs: row.started_ms }),
    ...(row.finished_ms !== null && { finishedMs: row.finished_ms }),
  };
}
