// Reruns: a new run of a finished run's definition and params, which takes over the jobs that are not run again as they finished.
import type { InheritedJob, Trigger } from '../core/events.ts';
import { formatJobId, type JobKey, type RunId } from '../core/ids.ts';
import type { Plan } from '../core/plan.ts';
import { isRefusal, RefusedError } from '../core/refusal.ts';
import { isJobFinished, isRunFinished } from '../core/states.ts';
import { type JobOutcome, jobOutcomes } from '../store/outcome-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { digestOf } from '../store/definition-rows.ts';
import type { Creates } from './creates.ts';
import type { Plans } from './plans.ts';
import { noSuchJob, noSuchRun } from './refusals.ts';
import { bodyDigest } from './run-creation.ts';
import { loadRun, type StoredRun } from './stored-run.ts';

export interface Reruns {
  rerun(
    project: string,
    runId: RunId,
    scope: 'ALL' | 'FAILED',
    trigger: Trigger,
    requestId: string | undefined,
  ): Promise<RunId>;
  /** A new run that runs this job and all that depend on it again. Returns the job in it. */
  rerunFrom(project: string, job: JobKey, trigger: Trigger, requestId: string | undefined): Promise<JobKey>;
}

export interface RerunsOptions {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly creates: Creates;
}

export function createReruns({ pool, plans, creates }: RerunsOptions): Reruns {
  async function load(project: string, runId: RunId): Promise<{ run: StoredRun; outcomes: readonly JobOutcome[] }> {
    return await withConnection(pool, async (tx) => {
      const run = await loadRun(tx, plans, project, runId);
      if (run === undefined) throw noSuchRun(runId);
      const jobs = run.plan.jobs.map(({ index }) => index);
      return { run, outcomes: await jobOutcomes(tx, runId, jobs) };
    });
  }

  async function create(
    run: StoredRun,
    outcomes: readonly JobOutcome[],
    again: ReadonlySet<number>,
    trigger: Trigger,
    request: { id: string | undefined; body: object },
  ): Promise<RunId> {
    assertFinished(run);
    const { pipeline, revision, labels, project } = run.view;
    const created = await creates.create({
      project,
      digest: digestOf(run.plan.definition),
      definition: run.plan.definition,
      command: {
        type: 'Create',
        ...(pipeline !== undefined && revision !== undefined && { pipeline, revision }),
        rerunOf: run.runId,
        trigger,
        inherited: inheritedJobs(run.runId, outcomes, again),
      },
      params: run.params,
      labels,
      traceparent: '',
      request: request.id === undefined ? undefined : { id: request.id, bodyDigest: bodyDigest('rerun', request.body) },
    });
    if (isRefusal(created)) throw new RefusedError(created);
    return created.runId;
  }

  return {
    async rerun(project, runId, scope, trigger, requestId) {
      const { run, outcomes } = await load(project, runId);
      const failed = outcomes.filter(({ state }) => state !== 'SUCCEEDED').map(({ job }) => job);
      const all = run.plan.jobs.map(({ index }) => index);
      // What did not fail in a run without a failure is run again as a whole: asking for nothing helps nobody.
      const again = scope === 'ALL' || failed.length === 0 ? new Set(all) : withDependants(run.plan, failed);
      return await create(run, outcomes, again, trigger, { id: requestId, body: { runId, scope, trigger } });
    },
    async rerunFrom(project, key, trigger, requestId) {
      const { run, outcomes } = await load(project, key.runId);
      if (run.plan.jobs[key.job] === undefined) throw noSuchJob(key);
      const again = withDependants(run.plan, [key.job]);
      const request = { id: requestId, body: { job: formatJobId(key), trigger } };
      return { runId: await create(run, outcomes, again, trigger, request), job: key.job };
    },
  };
}

function assertFinished(run: StoredRun): void {
  if (isRunFinished(run.view.state)) return;
  const message = `run ${run.runId} is ${run.view.state}: wait for its end, or cancel it first`;
  throw new RefusedError({ refused: 'NOT_FINISHED', message });
}

/** These jobs and all that need them, directly or not. */
function withDependants(plan: Plan, jobs: readonly number[]): ReadonlySet<number> {
  const found = new Set(jobs);
  // A set is walked in order of insertion, and what is added on the way is reached too.
  for (const job of found) for (const dependant of plan.jobs[job]?.dependants ?? []) found.add(dependant);
  return found;
}

function inheritedJobs(runId: RunId, outcomes: readonly JobOutcome[], again: ReadonlySet<number>): InheritedJob[] {
  return outcomes.flatMap(({ job, state, failure, outputs }) => {
    if (again.has(job) || !isJobFinished(state)) return [];
    return [
      {
        job,
        from: formatJobId({ runId, job }),
        state,
        ...(failure !== undefined && { failure }),
        ...(Object.keys(outputs).length > 0 && { outputs }),
      },
    ];
  });
}
