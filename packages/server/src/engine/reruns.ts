// Reruns: a new run of a finished run's definition and params, which takes over the jobs that are not run again as they finished.
import { addViolation, type Found, quote } from '../core/check-fields.ts';
import type { InheritedJob, Trigger } from '../core/events.ts';
import { formatJobId, type JobKey, type RunId } from '../core/ids.ts';
import { nearestName } from '../core/nearest-name.ts';
import type { AddedCells, AddedJobs, Addition, Definition } from '../core/definition.ts';
import { compilePlan, growPlan, type Plan, plannedJob } from '../core/plan.ts';
import { invalidFields, isRefusal, type Refusal, RefusedError } from '../core/refusal.ts';
import { isJobFinished, isRunFinished } from '../core/states.ts';
import { type JobOutcome, jobOutcomes } from '../store/outcome-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { digestOf } from '../store/definition-rows.ts';
import type { CreatedRun } from './created-run.ts';
import type { CheckedRun } from './begin-run.ts';
import type { Creates } from './creates.ts';
import type { RerunSource } from './engine.ts';
import { inTurns } from './pace.ts';
import type { Plans } from './plans.ts';
import { assertKnown, noSuchJob, noSuchRun, notFinished } from './refusals.ts';
import type { Replica } from './replica.ts';
import { bodyDigest, createOnce } from './request-ids.ts';
import { loadContexts } from './run-context.ts';
import { loadRun, type StoredRun } from './stored-run.ts';

export interface Reruns {
  rerun(
    project: string,
    runId: RunId,
    scope: RerunSource,
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
  readonly replica: Pick<Replica, 'oldest'>;
}

interface FinishedRun {
  readonly run: StoredRun;
  readonly outcomes: readonly JobOutcome[];
}

export function createReruns({ pool, plans, creates, replica }: RerunsOptions): Reruns {
  async function load(project: string, runId: RunId): Promise<FinishedRun | undefined> {
    return await withConnection(pool, async (tx) => {
      const run = await loadRun(tx, plans, project, runId);
      if (run === undefined) return undefined;
      if (!isRunFinished(run.view.state)) throw notFinished(runId, run.view.state);
      const jobs = run.plan.jobs.map(({ index }) => index);
      const outcomes = await jobOutcomes(tx, runId, jobs);
      // Fewer: it was deleted since it was loaded.
      return outcomes.length < jobs.length ? undefined : { run, outcomes };
    });
  }

  async function create(
    { run, outcomes }: FinishedRun,
    again: ReadonlySet<number>,
    trigger: Trigger,
    request: CheckedRun['request'],
  ): Promise<CreatedRun | Refusal> {
    const { pipeline, revision, labels, project } = run.view;
    const plan = planAgain(run.plan, again);
    assertKnown(plan.definition, replica.oldest());
    return await creates.create({
      project,
      digest: await inTurns(digestOf(plan.definition)),
      definition: plan.definition,
      command: {
        type: 'Create',
        ...(pipeline !== undefined && revision !== undefined && { pipeline, revision }),
        rerunOf: run.runId,
        trigger,
        inherited: inheritedJobs(run, plan, outcomes, again),
      },
      params: run.params,
      labels,
      traceparent: '',
      request,
    });
  }

  /** Makes a run once for each request id. @param start Loads the run to repeat and creates the new one. */
  async function once(
    project: string,
    requestId: string | undefined,
    body: object,
    start: (request: CheckedRun['request']) => Promise<CreatedRun | Refusal>,
  ): Promise<RunId> {
    const request =
      requestId === undefined ? undefined : { id: requestId, bodyDigest: await inTurns(bodyDigest('rerun', body)) };
    const asked = request && { project, requestId: request.id, bodyDigest: request.bodyDigest };
    const created = await createOnce(pool, asked, () => start(request));
    if (isRefusal(created)) throw new RefusedError(created);
    return created.runId;
  }

  /** The job of a new run that has the name of another one's. */
  async function sameJob(job: JobKey, runId: RunId): Promise<number> {
    const contexts = await withConnection(pool, (tx) => loadContexts(tx, plans, [job.runId, runId]));
    const [from, to] = [contexts.get(job.runId)?.plan, contexts.get(runId)?.plan];
    // One of them was deleted meanwhile: whoever reads the job is told so.
    if (from === undefined || to === undefined) return job.job;
    const { name } = plannedJob(from, job.job);
    return to.jobs.find((planned) => planned.name === name)?.index ?? job.job;
  }

  return {
    rerun: (project, runId, scope, trigger, requestId) =>
      once(project, requestId, { runId, scope, trigger }, async (request) => {
        const finished = await load(project, runId);
        if (finished === undefined) throw noSuchRun(runId);
        return await create(finished, jobsAgain(finished.run.plan, finished.outcomes, scope), trigger, request);
      }),
    async rerunFrom(project, key, trigger, requestId) {
      const runId = await once(project, requestId, retryOf(key, trigger), async (request) => {
        const finished = await load(project, key.runId);
        if (finished?.run.plan.jobs[key.job] === undefined) throw noSuchJob(key);
        return await create(finished, withDependants(finished.run.plan, [key.job]), trigger, request);
      });
      return { runId, job: await sameJob(key, runId) };
    },
  };
}

/** What a retry of a job asks for, whether it makes a new run or releases a backoff. */
export function retryOf(key: JobKey, trigger: Trigger): object {
  return { job: formatJobId(key), trigger };
}

function jobsAgain(plan: Plan, outcomes: readonly JobOutcome[], scope: RerunSource): ReadonlySet<number> {
  if (typeof scope === 'object') return withDependants(plan, jobsNamed(plan, scope.from));
  // What was skipped because of one of these is run again with it; what its condition skipped would be skipped again, and what needed
  // it, and succeeded, has no reason to be run again.
  const failed = outcomes.flatMap(({ job, state }) => (state === 'FAILED' || state === 'CANCELLED' ? [job] : []));
  // What did not fail in a run without a failure is run again as a whole: asking for nothing helps nobody.
  const isWhole = scope === 'ALL' || failed.length === 0;
  return isWhole ? new Set(plan.jobs.map(({ index }) => index)) : withDependants(plan, failed);
}

/** @throws RefusedError INVALID_FIELD naming those that the run does not have. */
function jobsNamed(plan: Plan, names: readonly string[]): readonly number[] {
  const indexes = new Map(plan.jobs.map(({ index, name }) => [name, index]));
  const found: Found = [];
  for (const [position, name] of names.entries()) {
    if (indexes.has(name)) continue;
    const near = nearestName(name, indexes.keys());
    const hint = near === undefined ? '' : `; did you mean ${quote(near)}?`;
    addViolation(found, `from_jobs[${position}]`, `the run has no job ${quote(name)}${hint}`);
  }
  if (found.length > 0) throw new RefusedError(invalidFields(found));
  return names.flatMap((name) => indexes.get(name) ?? []);
}

/** These jobs and all that need them, directly or not. */
function withDependants(plan: Plan, jobs: readonly number[]): ReadonlySet<number> {
  const found = new Set(jobs);
  // A set is walked in order of insertion, and what is added on the way is reached too.
  for (const job of found) for (const dependant of plan.jobs[job]?.dependants ?? []) found.add(dependant);
  return found;
}

/**
 * The plan of a run that runs some jobs of another one again. A matrix that is to be worked out again loses its cells; one of which only
 * cells are run again keeps all of them. What a job appended goes when that job is run again, and with it what cannot be without it.
 */
function planAgain(plan: Plan, again: ReadonlySet<number>): Plan {
  const { added = [], ...definition } = plan.definition;
  const gone = new Set<string>();
  const kept = added.filter((addition) => {
    const isKept =
      'cells' in addition ? keepsCells(plan, addition, again, gone) : keepsJobs(plan, addition, again, gone);
    if (isKept) return true;
    for (const name of namesOf(plan, addition)) gone.add(name);
    return false;
  });
  return kept.length === added.length ? plan : compilePlan(renumbered(plan, { ...definition, added: kept }));
}

function keepsCells(plan: Plan, { job }: AddedCells, again: ReadonlySet<number>, gone: ReadonlySet<string>): boolean {
  const { name, needs, cells = [] } = plannedJob(plan, job);
  if (gone.has(name)) return false;
  if (!again.has(job)) return true;
  return cells.some((cell) => again.has(cell)) && !needs.some((need) => again.has(need));
}

function keepsJobs(
  plan: Plan,
  { by, jobs }: AddedJobs,
  again: ReadonlySet<number>,
  gone: ReadonlySet<string>,
): boolean {
  if (again.has(by) || gone.has(plannedJob(plan, by).name)) return false;
  return !jobs.some(({ needs }) => needs.some((need) => gone.has(need)));
}

function namesOf(plan: Plan, addition: Addition): readonly string[] {
  if ('jobs' in addition) return addition.jobs.map(({ name }) => name);
  const { name } = plannedJob(plan, addition.job);
  return addition.cells.map(({ key }) => `${name}[${key}]`);
}

/** A definition whose additions say where the jobs stand that they are of, when others are not there any more. */
function renumbered(plan: Plan, { added = [], ...base }: Definition): Definition {
  let partial = compilePlan(base);
  const placed: Addition[] = [];
  const placeOf = (job: number): number => {
    const { name } = plannedJob(plan, job);
    return partial.jobs.find((planned) => planned.name === name)?.index ?? job;
  };
  for (const addition of added) {
    const moved =
      'cells' in addition ? { ...addition, job: placeOf(addition.job) } : { ...addition, by: placeOf(addition.by) };
    placed.push(moved);
    partial = growPlan(partial, moved);
  }
  return placed.length === 0 ? base : { ...base, added: placed };
}

/** The jobs that are not run again, by their place in the new run, whose cells may have other places. */
function inheritedJobs(
  { runId, plan }: StoredRun,
  target: Plan,
  outcomes: readonly JobOutcome[],
  again: ReadonlySet<number>,
): InheritedJob[] {
  const indexes = new Map(target.jobs.map(({ name, index }) => [name, index]));
  return outcomes.flatMap(({ job, state, failure, outputs }) => {
    const index = indexes.get(plannedJob(plan, job).name);
    if (again.has(job) || index === undefined || !isJobFinished(state)) return [];
    return [
      {
        job: index,
        from: formatJobId({ runId, job }),
        state,
        ...(failure !== undefined && { failure }),
        ...(Object.keys(outputs).length > 0 && { outputs }),
      },
    ];
  });
}
