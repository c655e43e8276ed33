// Plans runs: checks what is asked for as if it were to be created, plays it in memory, and looks who would take its jobs now and how
// long they took before. Nothing is written.
import { type Assumptions, checkAssumptions, schemedOutputs } from '../core/assumptions.ts';
import { criticalPath } from '../core/critical-path.ts';
import type { Definition } from '../core/definition.ts';
import { compileSchema } from '../core/json-schema.ts';
import { compilePlan, isGroup } from '../core/plan.ts';
import { type PlayedRun, playRun } from '../core/play-run.ts';
import { predictionOf, type RunPrediction } from '../core/prediction.ts';
import { type FieldViolation, invalidFields, RefusedError } from '../core/refusal.ts';
import type { PlannedJobView, RunPlanView } from '../core/run-plan.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { checkBounded } from './bounded-check.ts';
import type { RunOperations } from './engine.ts';
import { jobDurations } from './job-durations.ts';
import { createPace } from './pace.ts';
import type { DriverSchemas } from './driver-schemas.ts';
import type { Plans } from './plans.ts';
import { type PlannedCalls, readPlannedCalls } from './planned-calls.ts';
import { readGroups } from './planned-groups.ts';
import { readReadiness } from './readiness.ts';
import type { PreparedRun, RunCreation } from './run-creation.ts';
import { driversToAsk, specProblems } from './spec-check.ts';
import { createWaitingLine } from './waiting-line.ts';

const PLANS_AT_A_TIME = 1;
const PLANS_IN_LINE = 20;
const TURN_MS = 10;
const MAX_PLAN_MS = 10_000;
const MAX_WARNINGS = 100;

/** There is no run: its expressions read this as its id. */
const NO_RUN = '00000000-0000-0000-0000-000000000000';

export interface RunPlansOptions {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly schemas: DriverSchemas;
  readonly creation: RunCreation;
}

export function createRunPlans(options: RunPlansOptions): Pick<RunOperations, 'plan'> {
  const { pool, plans, schemas, creation } = options;
  const takeTurn = createWaitingLine({ atATime: PLANS_AT_A_TIME, inLine: PLANS_IN_LINE, refuse: tooMany });

  async function plan(
    project: string,
    prepared: PreparedRun,
    assumed: Assumptions,
    signal: AbortSignal,
  ): Promise<RunPlanView> {
    const { definition, pipeline } = prepared;
    const pace = createPace({ turnMs: TURN_MS, maxMs: MAX_PLAN_MS, refuse: tooLong }, signal);
    const found: FieldViolation[] = [];
    for (const { field, outputs, schema } of schemedOutputs('assumed', definition, assumed)) {
      const compiled = compileSchema([], field, schema);
      if (compiled !== undefined) checkBounded(compiled, found, field, outputs);
      await pace();
    }
    if (found.length > 0) throw new RefusedError(invalidFields(found));
    const whyUnfit = await specProblems(schemas, driversToAsk(compilePlan(definition)));
    const calls = await withConnection(pool, (tx) => readPlannedCalls(tx, project, definition));
    const playing = playRun(definition, { ...factsOf(project, prepared), whyUnfit }, assumed, calls.whyNoChild);
    let played: PlayedRun | undefined;
    while (played === undefined) {
      const { done, value } = playing.next();
      if (done === true) played = value;
      await pace();
    }
    const prediction = predictionOf(played, assumed);
    const { readiness, groupNow, durations } = await withConnection(pool, async (tx) => ({
      readiness: await readReadiness(tx, prediction.jobs),
      groupNow: await readGroups(tx, project, prediction.jobs),
      durations: pipeline === undefined ? new Map() : await jobDurations(tx, plans, project, pipeline.name),
    }));
    const jobs: PlannedJobView[] = [];
    for (const job of prediction.jobs) {
      const group = groupNow(job);
      jobs.push({ ...readiness.look(job), ...(group !== undefined && { groupNow: group }) });
      await pace();
    }
    const warnings = [
      ...prepared.warnings,
      ...readiness.warnings(),
      ...missing(prediction, calls),
      ...unmetCells(prediction, assumed),
    ];
    return {
      ...(pipeline !== undefined && { pipeline }),
      ...(prediction.state !== undefined && { state: prediction.state }),
      plan: prediction.plan,
      jobs,
      drivers: readiness.drivers(),
      path: criticalPath(prediction, durations),
      durations,
      warnings: warnings.slice(0, MAX_WARNINGS),
    };
  }

  return {
    async plan(project, run, assumed, signal) {
      const prepared = await creation.prepare(project, run);
      checkAssumed(prepared.definition, assumed);
      return await takeTurn(project, () => plan(project, prepared, assumed, signal), signal);
    },
  };
}

function factsOf(project: string, { pipeline, params, labels, trigger }: PreparedRun) {
  const source = pipeline !== undefined && { pipeline: pipeline.name, revision: pipeline.revision };
  return { runId: NO_RUN, project, params, labels, trigger, ...source };
}

function checkAssumed(definition: Definition, assumed: Assumptions): void {
  const found: FieldViolation[] = [];
  checkAssumptions(found, 'assumed', definition, assumed);
  if (found.length > 0) throw new RefusedError(invalidFields(found));
}

/** Of jobs that may call what is not there: those that are not known, and those of which something is assumed. */
function missing({ jobs }: RunPrediction, { whyMissing }: PlannedCalls): string[] {
  const told = new Map<string, string>();
  for (const { job, fate } of jobs) {
    const { call } = job.definition;
    const why = call === undefined || (fate !== 'RUNS' && fate !== 'UNKNOWN') ? undefined : whyMissing(call);
    if (why !== undefined && !told.has(why)) told.set(why, `the call of job ${job.name} could not be made now: ${why}`);
  }
  return [...told.values()];
}

/** Assumptions of cells that are not made. */
function unmetCells({ plan, jobs }: RunPrediction, assumed: Assumptions): string[] {
  const names = new Set(plan.jobs.map(({ name }) => name));
  const open = jobs.flatMap(({ job, fate }) => (fate === 'UNKNOWN' && isGroup(job) ? [`${job.name}[`] : []));
  return [...assumed.keys()]
    .filter((name) => !names.has(name) && !open.some((group) => name.startsWith(group)))
    .map((name) => `nothing is assumed of ${name}: its matrix makes no such cell`);
}

function tooMany(): RefusedError {
  return new RefusedError({
    refused: 'LIMIT_REACHED',
    message: `${PLANS_IN_LINE} plans wait at this replica already: try again later`,
    metadata: { limit: 'plans', max: String(PLANS_IN_LINE) },
  });
}

function tooLong(): RefusedError {
  return new RefusedError({
    refused: 'LIMIT_REACHED',
    message: `the plan takes longer than ${MAX_PLAN_MS / 1_000} s to work out: plan a smaller definition, or one with cheaper expressions`,
    metadata: { limit: 'plan_ms', max: String(MAX_PLAN_MS) },
  });
}
