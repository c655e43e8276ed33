// What a run would do, as far as it can be told: of each job how it ends, how many jobs one after the other come before it, and of what
// nobody can know, why. What depends on it is not known either, unless it runs whatever comes before it.
import { ASSUMED_FAILURE, type PlayedRun } from './play-run.ts';
import { type Assumptions, assumedOf } from './assumptions.ts';
import { isDriven, outlivesCancel, type Plan, type PlannedJob, plannedJob } from './plan.ts';
import { type ConditionTrace, type ExpressionFailures, type JobRecord, jobOf } from './run-state.ts';
import { type Failure, type FinishedJobState, type FinishedRunState, isJobFinished, isRunFinished } from './states.ts';
import { sharesView } from './job-view.ts';
import type { JsonObject } from './json.ts';
import type { SharedLimit } from './views.ts';

/** RUNS: it starts, or of a job that no driver runs: it begins to wait for what it is about. INVALID: it fails without having run. */
export type Fate = 'RUNS' | 'SKIPPED' | 'INVALID' | 'CANCELLED' | 'UNKNOWN';

export interface JobPrediction {
  readonly job: PlannedJob;
  readonly fate: Fate;
  /** As what it concludes; undefined: unknown. */
  readonly state?: FinishedJobState;
  readonly failure?: Failure;
  readonly failureAllowed?: true;
  /** Why nothing is known. */
  readonly reason?: string;
  readonly condition?: ConditionTrace;
  readonly expressionFailures?: ExpressionFailures;
  /** Its spec, or the params of its call, if that has expressions. */
  readonly spec?: JsonObject;
  readonly group?: SharedLimit;
  readonly rates?: readonly SharedLimit[];
  /** The length of the longest chain of needs before it. */
  readonly wave: number;
}

export interface RunPrediction {
  readonly plan: Plan;
  /** Undefined: unknown. */
  readonly state?: FinishedRunState;
  /** In the order of the definition, each matrix before its cells. */
  readonly jobs: readonly JobPrediction[];
}

/** @param assumed What it was played with. */
export function predictionOf(played: PlayedRun, assumed: Assumptions): RunPrediction {
  const { plan } = played;
  const reasons = reasonsOf(played);
  const waves = wavesOf(plan);
  const jobs = inOrder(plan).map((job): JobPrediction => {
    const wave = waves.get(job.index) ?? 0;
    const reason = reasons.get(job.index);
    if (reason === undefined) return predictJob(played, job, wave);
    if (runsAnyway(played, job)) return { job, fate: 'RUNS', ...endOf(job, assumedOf(assumed, job).outcome), wave };
    return { job, fate: 'UNKNOWN', reason, wave };
  });
  const state = stateOf(played, jobs, reasons.size > 0);
  return { plan, jobs, ...(state !== undefined && { state }) };
}

/** The jobs before their dependants, which those of a matrix are to its cells, but not the cells themselves. */
export function inNeedOrder(plan: Plan): readonly PlannedJob[] {
  const open = new Map<number, number>();
  const ordered = plan.jobs.filter(({ cell, index, needs }) => {
    if (cell === undefined) open.set(index, needs.length);
    return cell === undefined && needs.length === 0;
  });
  for (const { dependants } of ordered) {
    for (const dependant of dependants) {
      const left = (open.get(dependant) ?? 0) - 1;
      open.set(dependant, left);
      if (left === 0) ordered.push(plannedJob(plan, dependant));
    }
  }
  return ordered;
}

function wavesOf(plan: Plan): ReadonlyMap<number, number> {
  const waves = new Map<number, number>();
  for (const { index, needs, cells = [] } of inNeedOrder(plan)) {
    const wave = needs.reduce((most, need) => Math.max(most, (waves.get(need) ?? 0) + 1), 0);
    for (const job of [index, ...cells]) waves.set(job, wave);
  }
  return waves;
}

function inOrder(plan: Plan): PlannedJob[] {
  const own = plan.jobs.filter(({ cell }) => cell === undefined);
  return own.flatMap((job) => [job, ...(job.cells ?? []).map((cell) => plannedJob(plan, cell))]);
}

/** Of jobs that are unknown: those of which it is known why, their cells, and all that depend on these. */
function reasonsOf({ plan, unknown }: PlayedRun): ReadonlyMap<number, string> {
  const reasons = new Map(unknown);
  for (const index of unknown.keys()) {
    const { name, cells = [] } = plannedJob(plan, index);
    for (const cell of cells) if (!reasons.has(cell)) reasons.set(cell, dependsOn(name));
  }
  // What is added on the way is visited, too.
  for (const index of reasons.keys()) {
    const job = plannedJob(plan, index);
    const reason = runsAnyway({ unknown }, job) ? reasons.get(index) : undefined;
    for (const dependant of job.dependants) {
      if (!reasons.has(dependant)) reasons.set(dependant, reason ?? dependsOn(job.name));
    }
  }
  return reasons;
}

/** Whether a job runs whatever becomes of the jobs before it, and leaves nothing to be worked out. */
function runsAnyway({ unknown }: Pick<PlayedRun, 'unknown'>, job: PlannedJob): boolean {
  return (
    outlivesCancel(job.definition) && job.isPlain && isDriven(job) && job.cell === undefined && !unknown.has(job.index)
  );
}

function endOf({ definition }: PlannedJob, state: FinishedJobState): Partial<JobPrediction> {
  if (state !== 'FAILED') return { state };
  return { state, failure: ASSUMED_FAILURE, ...(definition.allowFailure && { failureAllowed: true }) };
}

function dependsOn(name: string): string {
  return `it depends on ${name}, which is not known`;
}

function predictJob(played: PlayedRun, job: PlannedJob, wave: number): JobPrediction {
  const record = jobOf(played, job.index);
  if (!isJobFinished(record.state)) throw new Error(`job ${job.name} is left ${record.state}`);
  const { details = {} } = record;
  const { condition, expressionFailures, spec } = details;
  return {
    job,
    fate: fateOf(job, record),
    state: record.state,
    ...('failure' in record && record.failure !== undefined && { failure: record.failure }),
    ...('failureAllowed' in record && record.failureAllowed === true && { failureAllowed: true }),
    ...(condition !== undefined && { condition }),
    ...(expressionFailures !== undefined && { expressionFailures }),
    ...(spec !== undefined && { spec }),
    ...sharesView(job.definition, details),
    wave,
  };
}

function fateOf(job: PlannedJob, record: JobRecord): Fate {
  const hasBegun = isDriven(job) ? record.attempt > 0 : record.readyMs !== undefined;
  if (hasBegun && !isRefused(job, record)) return 'RUNS';
  if (record.state === 'SKIPPED') return 'SKIPPED';
  return record.state === 'FAILED' ? 'INVALID' : 'CANCELLED';
}

/** Whether its call makes no run. */
function isRefused({ definition }: PlannedJob, { state, details }: JobRecord): boolean {
  return definition.call !== undefined && state === 'FAILED' && details?.childRun === undefined;
}

/** Where something is unknown, a failure that is known decides all the same. */
function stateOf({ run }: PlayedRun, jobs: readonly JobPrediction[], isUnknown: boolean): FinishedRunState | undefined {
  if (!isUnknown) {
    if (!isRunFinished(run.state)) throw new Error(`the run is left ${run.state}`);
    return run.state;
  }
  const isBad = ({ state, failureAllowed }: JobPrediction): boolean =>
    state === 'CANCELLED' || (state === 'FAILED' && failureAllowed !== true);
  return jobs.some(isBad) ? 'FAILED' : undefined;
}
