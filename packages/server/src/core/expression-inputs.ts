// What the expressions of a job may read: its needs and their outputs, its cell, its run and the env of that. What a slice lacks of it is
// asked for by throwing.
import { compileEnvInSlices, compileJobInSlices, type JobExpressions } from './compile-job.ts';
import type { Found } from './check-fields.ts';
import { type Problem, problemOf, type SingleProblem, unfitProblemOf } from './expression-failures.ts';
import type { OnSpent } from './expressions/evaluate.ts';
import type { Expression } from './expressions/expression.ts';
import type { Inputs } from './expressions/nodes.ts';
import { UnknownRead } from './expressions/outcome.ts';
import { type Resolution, resolveTemplate } from './expressions/resolve-template.ts';
import type { Template } from './expressions/template.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type { JobDefinition } from './definition.ts';
import { LIMITS } from './limits.ts';
import { declaredNeeds, isDriven, type Plan, type PlannedJob, plannedJob } from './plan.ts';
import { assertLoaded, concludesWell, FactsNotLoaded, jobOf, type RunHeader, type RunSlice } from './run-state.ts';
import { atOnce, type Slices } from './slices.ts';
import { type FoundEnv, type Working, workOutEnv } from './working.ts';

/** The cells of a matrix share what is compiled of its job. */
export function expressionsOf({ compiled }: Plan, { definition }: PlannedJob): JobExpressions {
  return compiled.get(definition) ?? atOnce(compileStored(compiled, definition));
}

/**
 * Compiles all expressions of a plan that are not compiled yet, one at a time: where many are used at once, or a job has many, it would
 * take long there. @param more Jobs that are to be appended.
 */
export function* compileAhead(plan: Plan, more: readonly JobDefinition[] = []): Slices<void> {
  const { compiled, compiledEnv, ahead, definition } = plan;
  const jobs = ahead.isCompiled ? [] : plan.jobs.flatMap((job) => (hasNoExpressions(job) ? [] : [job.definition]));
  for (const job of [...jobs, ...more]) {
    if (compiled.has(job)) continue;
    yield;
    yield* compileStored(compiled, job);
  }
  if (!('env' in compiledEnv)) compiledEnv.env = yield* compileEnvInSlices([], 'env', definition.env, 'stored');
  ahead.isCompiled = true;
}

function* compileStored(compiled: Plan['compiled'], job: JobDefinition): Slices<JobExpressions> {
  const found: Found = [];
  const fresh = yield* compileJobInSlices(found, job.name, job, 'stored');
  if (found.length > 0) throw new Error(`an expression of a checked definition is wrong: ${found[0]?.description}`);
  compiled.set(job, fresh);
  return fresh;
}

/** The value of a template; why it has none, or none that fits; the job on whose outputs it depends, which nobody knows. */
export type Resolved =
  | { readonly value: JsonObject }
  | (SingleProblem & { readonly unfit?: JsonObject })
  | { readonly unknown: string };

/** @param within The path of what paths are told within. */
export function resolvedOf(resolution: Resolution, within = ''): Resolved {
  if ('value' in resolution) return { value: objectOf(resolution.value) };
  if ('unknown' in resolution) return resolution;
  if (!('unfit' in resolution)) return problemOf(resolution, within);
  return { unfit: objectOf(resolution.unfit), ...unfitProblemOf(resolution, within) };
}

export function spending({ working }: RunSlice): OnSpent {
  return (steps) => {
    if (working !== undefined) working.steps += steps;
  };
}

/** The jobs whose outcomes the expressions of a job read. */
export function readByJob(plan: Plan, job: PlannedJob): readonly number[] {
  if (hasNoExpressions(job)) return [];
  const { condition, spec, matrix, shares } = expressionsOf(plan, job);
  const readers = [condition, spec, matrix, shares].filter((reader) => reader !== undefined);
  return readers.flatMap((reader) => neededBy(plan, job, reader));
}

function hasNoExpressions({ isPlain, definition }: PlannedJob): boolean {
  return isPlain && definition.matrix === undefined;
}

function neededBy(plan: Plan, job: PlannedJob, { needs: names }: Expression | Template): readonly number[] {
  const declared = declaredNeeds(plan, job.index);
  return names === 'all' ? declared : declared.filter((need) => names.includes(plannedJob(plan, need).name));
}

/** What an expression may read, or why it cannot be worked out. */
export function inputsOf(
  slice: RunSlice,
  job: PlannedJob,
  reader: Expression | Template,
): { readonly inputs: Inputs } | Problem {
  const needed = neededBy(slice.plan, job, reader);
  assertLoaded(slice, needed);
  const { facts, run, working } = slice;
  if (facts === undefined) throw lackOf(slice, missingOf(slice, needed));
  // All of them in one round.
  outputsOf(slice, needed);
  const tooMuch = working && tooMuchAtOnce(working);
  if (tooMuch !== undefined)
    return { message: `${tooMuch} at once: let fewer jobs become ready together, such as by max_parallel` };
  const { params, labels, trigger, runId, project, pipeline = '', revision = 0 } = facts;
  const common = {
    params,
    labels: { ...labels },
    trigger: { ...trigger },
    run: { id: runId, project, pipeline, revision, status: statusOf(run) },
  };
  const found = reader.roots.includes('env') ? envOf(slice, common, common.run.status) : { env: {} };
  if ('message' in found) return found;
  const needs = Object.fromEntries(needed.map((need) => [plannedJob(slice.plan, need).name, needOf(slice, need)]));
  return { inputs: { ...common, ...found, needs, ...(job.cell !== undefined && { matrix: job.cell.values }) } };
}

function tooMuchAtOnce({ steps, bytes }: Working): string | undefined {
  if (steps > LIMITS.decisionSteps) return `the expressions of its run cost more than ${LIMITS.decisionSteps} steps`;
  if (bytes > LIMITS.decisionBytes) return `the expressions of its run come to more than ${LIMITS.decisionBytes} bytes`;
  return undefined;
}

/** What the run would end as if nothing else happened. */
function statusOf({ cancel, counts }: RunHeader): string {
  if (cancel !== undefined) return 'cancelled';
  return counts.failed + counts.cancelled > 0 ? 'failed' : 'succeeded';
}

/** The values of `env`; when one of them cannot be had, why: whoever reads another one is told, too, and not that there is none. */
function envOf(slice: RunSlice, inputs: Inputs, status: string): FoundEnv {
  const { plan, working } = slice;
  if (!('env' in plan.compiledEnv))
    plan.compiledEnv.env = atOnce(compileEnvInSlices([], 'env', plan.definition.env, 'stored'));
  const template = plan.compiledEnv.env;
  if (template === undefined) return { env: { ...plan.definition.env } };
  const workOut = (): FoundEnv => {
    const resolved = resolvedOf(resolveTemplate(template, inputs, LIMITS.envValues * LIMITS.envBytes, spending(slice)));
    if ('unknown' in resolved) throw new Error(`env reads the outputs of ${resolved.unknown}`);
    return 'value' in resolved ? { env: resolved.value } : resolved;
  };
  return working === undefined ? workOut() : workOutEnv(working, status, workOut);
}

function needOf(slice: RunSlice, need: number): JsonObject {
  const record = jobOf(slice, need);
  const outcome = record.state.toLowerCase();
  const failure = 'finishedMs' in record ? record.failure : undefined;
  const known = { outcome, conclusion: concludesWell(record) ? 'succeeded' : outcome, failure: failure?.class ?? '' };
  if (!hasUnknownOutputs(slice, need)) return { ...known, outputs: outputsOf(slice, [need]).get(need) ?? {} };
  const { name } = plannedJob(slice.plan, need);
  return {
    ...known,
    get outputs(): JsonObject {
      throw new UnknownRead(name);
    },
  };
}

/** Whether a finished job of a planned run may have outputs that nobody knows. */
function hasUnknownOutputs(slice: RunSlice, index: number): boolean {
  const isAssumed = slice.facts?.isAssumed;
  if (isAssumed === undefined) return false;
  const job = plannedJob(slice.plan, index);
  const { state, attempt } = jobOf(slice, index);
  if (job.cells !== undefined) {
    assertLoaded(slice, job.cells);
    return state === 'SUCCEEDED' && job.cells.some((cell) => hasUnknownOutputs(slice, cell));
  }
  return (isDriven(job) ? attempt > 0 : state === 'SUCCEEDED') && !isAssumed(job);
}

/** The outputs of jobs that have finished, whoever made them. @throws FactsNotLoaded naming all that are missing. */
export function outputsOf(slice: RunSlice, jobs: readonly number[]): ReadonlyMap<number, JsonObject> {
  const missing = missingOf(slice, jobs);
  if (missing.length > 0) throw lackOf(slice, missing);
  const known = slice.facts?.outputs;
  return new Map(
    jobs.map((index) => {
      const record = jobOf(slice, index);
      const own = 'finishedMs' in record ? record.outputs : undefined;
      return [index, own ?? known?.get(index) ?? {}];
    }),
  );
}

/** Those of these jobs whose outputs are not loaded. */
function missingOf(slice: RunSlice, jobs: readonly number[]): readonly number[] {
  return jobs.filter((index) => {
    const record = jobOf(slice, index);
    const isOfAttempt = record.attempt > 0 && 'finishedMs' in record && record.outputs === undefined;
    return isOfAttempt && slice.facts?.outputs.get(index) === undefined;
  });
}

/** Outputs that are read together, give or take those of one job: no more than a decision may work out. */
const OUTPUTS_AT_ONCE = LIMITS.decisionBytes / LIMITS.outputBytes;

/**
 * What is missing, with what other blocked jobs that are loaded are going to read: a decision may go on to these, one after the other, down a chain
 * of jobs that are skipped, and would ask for the outputs of one job at a time.
 */
function lackOf(slice: RunSlice, missing: readonly number[]): FactsNotLoaded {
  const { plan, jobs } = slice;
  const wanted = new Set(missing);
  const [first] = missing;
  const from = first === undefined ? 0 : (plannedJob(plan, first).dependants[0] ?? 0);
  for (let n = 0; n < plan.jobs.length && wanted.size < OUTPUTS_AT_ONCE; n++) {
    const job = plannedJob(plan, (from + n) % plan.jobs.length);
    if (jobs.get(job.index)?.state !== 'BLOCKED') continue;
    const loaded = readByJob(plan, job).filter((need) => jobs.has(need));
    for (const need of missingOf(slice, loaded)) wanted.add(need);
  }
  return new FactsNotLoaded([...wanted]);
}

export function objectOf(value: JsonValue): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new Error(`an object became ${JSON.stringify(value)}`);
}
