// What a job leaves to its run, worked out when its needs have finished: its condition, its spec, the values of its matrix. What comes
// out is recorded in events, so nothing is ever worked out twice.
import { boundProblem } from './bounds.ts';
import { type Found, jsonBytes } from './check-fields.ts';
import { compileEnv, compileJob, type JobExpressions } from './compile-job.ts';
import type { Cell } from './definition.ts';
import { evaluateExpression, type OnSpent, type PartValue } from './expressions/evaluate.ts';
import type { Expression } from './expressions/expression.ts';
import type { Inputs } from './expressions/nodes.ts';
import { UnknownRead } from './expressions/outcome.ts';
import { type Resolution, resolveTemplate, type Template } from './expressions/template.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { LIMITS } from './limits.ts';
import { cellsOf } from './matrix.ts';
import { declaredNeeds, isDriven, type Plan, type PlannedJob, plannedJob } from './plan.ts';
import { readShares, type Shares, sharesIn } from './shares.ts';
import {
  assertLoaded,
  concludesWell,
  type ConditionPart,
  type ConditionTrace,
  FactsNotLoaded,
  jobOf,
  type RunHeader,
  type RunSlice,
  type Working,
} from './run-state.ts';

export type Evaluated =
  | ({
      readonly outcome: 'READY' | 'SKIP';
      readonly condition?: ConditionTrace;
      readonly spec?: JsonObject;
    } & Shares)
  | { readonly outcome: 'INVALID'; readonly condition?: ConditionTrace; readonly message: string }
  /** Of a planned run: it depends on what nobody knows. */
  | { readonly outcome: 'UNKNOWN'; readonly message: string };

/**
 * Works out the condition and the spec of a job whose needs have finished.
 * @throws JobsNotLoaded @throws FactsNotLoaded
 */
export function evaluateJob(slice: RunSlice, job: PlannedJob): Evaluated {
  if (job.isPlain) return { outcome: 'READY' };
  const evaluated = workOut(slice, job);
  if (slice.working !== undefined) slice.working.bytes += jsonBytes(evaluated);
  return evaluated;
}

function workOut(slice: RunSlice, job: PlannedJob): Evaluated {
  const { condition, spec } = expressionsOf(slice.plan, job);
  // One that reads the values of a cell is for the cells, any other for their matrix.
  const isForCells = condition?.roots.includes('matrix') === true;
  const isGroup = job.definition.matrix !== undefined && job.cell === undefined;
  const trace =
    condition !== undefined && isForCells === (job.cell !== undefined) ? traceOf(slice, job, condition) : undefined;
  if (typeof trace === 'string') return { outcome: 'UNKNOWN', message: unknownBecause('condition', trace) };
  const traced = trace !== undefined && { condition: trace };
  if (trace?.error !== undefined) {
    return { outcome: 'INVALID', ...traced, message: `its condition cannot be worked out: ${trace.error}` };
  }
  if (trace?.held === false) return { outcome: 'SKIP', ...traced };
  if (isGroup) return { outcome: 'READY', ...traced };
  const shares = evaluateShares(slice, job);
  if ('unknown' in shares)
    return { outcome: 'UNKNOWN', message: unknownBecause('concurrency group or rate limit', shares.unknown) };
  if ('error' in shares) return { outcome: 'INVALID', ...traced, message: shares.error };
  const worked = { ...traced, ...shares };
  if (spec === undefined) return { outcome: 'READY', ...worked };
  const resolved = resolve(slice, job, spec, LIMITS.specBytes);
  const { driver, call } = job.definition;
  if ('unknown' in resolved) {
    return { outcome: 'UNKNOWN', message: unknownBecause(call === undefined ? 'spec' : 'params', resolved.unknown) };
  }
  if ('error' in resolved) return { outcome: 'INVALID', ...traced, message: resolved.error };
  const { value } = resolved;
  const problem = call === undefined ? slice.facts?.specProblem?.(driver, value) : undefined;
  if (problem !== undefined) return { outcome: 'INVALID', ...traced, message: `its spec: ${problem}` };
  return { outcome: 'READY', ...worked, spec: value };
}

/** The keys and limits of a job's concurrency group and of its rate limits. @throws FactsNotLoaded */
function evaluateShares(
  slice: RunSlice,
  job: PlannedJob,
): Shares | { readonly error: string } | { readonly unknown: string } {
  const { definition } = job;
  if (definition.concurrency === undefined && definition.rateLimits === undefined) return {};
  const { shares: template } = expressionsOf(slice.plan, job);
  const resolved = template && resolve(slice, job, template, LIMITS.specBytes);
  if (resolved !== undefined && !('value' in resolved)) return resolved;
  return readShares(definition, resolved?.value ?? sharesIn(definition));
}

/**
 * What a job whose needs have not finished shares, as it would be now; undefined when that reads what is still to come.
 * @throws FactsNotLoaded
 */
export function sharesBefore(slice: RunSlice, job: PlannedJob): Shares | undefined {
  const { shares: template } = expressionsOf(slice.plan, job);
  const isLater = template?.roots.some((root) => root === 'needs' || (root === 'matrix' && job.cell === undefined));
  if (isLater === true) return undefined;
  const found = evaluateShares(slice, job);
  return 'error' in found || 'unknown' in found ? undefined : found;
}

/** The cells of a matrix, and how many of them may be open at the same time when that is worked out, too. */
export interface MadeCells {
  readonly cells: readonly Cell[];
  readonly maxParallel?: number;
}

/**
 * The cells of a matrix whose needs have finished; a text says why they cannot be made, `unknown` why nobody can know them.
 * @throws FactsNotLoaded
 */
export function evaluateMatrix(slice: RunSlice, job: PlannedJob): MadeCells | string | { readonly unknown: string } {
  const { matrix } = job.definition;
  if (matrix === undefined) throw new Error(`job ${job.name} has no matrix`);
  const template = expressionsOf(slice.plan, job).matrix;
  if (template === undefined) return madeOf(cellsOf(matrix), undefined);
  const resolved = resolve(slice, job, template, LIMITS.matrixBytes);
  if ('unknown' in resolved) return { unknown: unknownBecause('matrix', resolved.unknown) };
  if ('error' in resolved) return resolved.error;
  const { axes, include, exclude, max_parallel_expression: maxParallel } = resolved.value;
  const cells = cellsOf({
    axes: objectOf(axes ?? {}),
    ...(include !== undefined && { include }),
    ...(exclude !== undefined && { exclude }),
  });
  return madeOf(cells, maxParallel);
}

function madeOf(cells: readonly Cell[] | string, maxParallel: JsonValue | undefined): MadeCells | string {
  if (typeof cells === 'string') return cells;
  if (maxParallel === undefined) return { cells };
  const problem = boundProblem(maxParallel, LIMITS.matrixCells);
  return problem === undefined ? { cells, maxParallel: Number(maxParallel) } : `max_parallel ${problem}`;
}

/** The cells of a matrix share what is compiled of its job. */
function expressionsOf({ compiled }: Plan, { name, definition }: PlannedJob): JobExpressions {
  const known = compiled.get(definition);
  if (known !== undefined) return known;
  const found: Found = [];
  const fresh = compileJob(found, name, definition, 'stored');
  if (found.length > 0) throw new Error(`an expression of a checked definition is wrong: ${found[0]?.description}`);
  compiled.set(definition, fresh);
  return fresh;
}

type Worked = 'condition' | 'spec' | 'params' | 'matrix' | 'concurrency group or rate limit';

function unknownBecause(what: Worked, need: string): string {
  return `its ${what} reads outputs of ${need}, which are not assumed`;
}

/** A name when that depends on the outputs of a job, which nobody knows. */
function traceOf(slice: RunSlice, job: PlannedJob, condition: Expression): ConditionTrace | string {
  const expression = condition.source;
  const inputs = inputsOf(slice, job, condition);
  if (typeof inputs === 'string') return { expression, held: false, error: inputs, parts: [] };
  const evaluation = evaluateExpression(condition, inputs, spending(slice));
  if (evaluation.unknown !== undefined) return evaluation.unknown;
  const parts = evaluation.parts.map(partOf);
  if (evaluation.error !== undefined) return { expression, held: false, error: evaluation.error, parts };
  const { value } = evaluation;
  if (typeof value === 'boolean') return { expression, held: value, parts };
  return { expression, held: false, error: `it must be true or false; it is ${JSON.stringify(value)}`, parts };
}

/** The value of a template; why it has none; the job on whose outputs it depends, which nobody knows. */
type Resolved = { readonly value: JsonObject } | { readonly error: string } | { readonly unknown: string };

function resolve(slice: RunSlice, job: PlannedJob, template: Template, maxBytes: number): Resolved {
  const inputs = inputsOf(slice, job, template);
  if (typeof inputs === 'string') return { error: inputs };
  return resolvedOf(resolveTemplate(template, inputs, maxBytes, spending(slice)));
}

function resolvedOf(resolution: Resolution): Resolved {
  if (!('error' in resolution)) return { value: objectOf(resolution.value) };
  const { field, error, unknown } = resolution;
  return unknown === undefined ? { error: `${field}: ${error}` } : { unknown };
}

function spending({ working }: RunSlice): OnSpent {
  return (steps) => {
    if (working !== undefined) working.steps += steps;
  };
}

function partOf({ expression, ...found }: PartValue): ConditionPart {
  if ('value' in found) return { expression, value: found.value };
  return { expression, note: 'tooLarge' in found ? found.tooLarge : found.error };
}

/** @throws FactsNotLoaded naming what all of these jobs will ask for, so that one load is enough. */
export function assertFacts(slice: RunSlice, jobs: readonly PlannedJob[]): void {
  const needed = new Set<number>();
  for (const job of jobs) {
    const { condition, spec, matrix, shares } =
      job.isPlain && job.definition.matrix === undefined ? {} : expressionsOf(slice.plan, job);
    const readers = [condition, spec, matrix, shares].filter((reader) => reader !== undefined);
    for (const need of readers.flatMap((reader) => neededBy(slice.plan, job, reader))) needed.add(need);
  }
  assertLoaded(slice, [...needed]);
  outputsOf(slice, [...needed]);
}

function neededBy(plan: Plan, job: PlannedJob, { needs: names }: Expression | Template): readonly number[] {
  const declared = declaredNeeds(plan, job.index);
  return names === 'all' ? declared : declared.filter((need) => names.includes(plannedJob(plan, need).name));
}

/** What an expression may read; a text says why it cannot be worked out. */
function inputsOf(slice: RunSlice, job: PlannedJob, reader: Expression | Template): Inputs | string {
  const needed = neededBy(slice.plan, job, reader);
  assertLoaded(slice, needed);
  const { facts, run, working } = slice;
  if (facts === undefined) throw new FactsNotLoaded(needed.filter((need) => attemptHasOutputs(slice, need)));
  // All of them in one round.
  outputsOf(slice, needed);
  const tooMuch = working && tooMuchAtOnce(working);
  if (tooMuch !== undefined) return `${tooMuch} at once: let fewer jobs become ready together, such as by max_parallel`;
  const { params, labels, trigger, runId, project, pipeline = '', revision = 0 } = facts;
  const common = {
    params,
    labels: { ...labels },
    trigger: { ...trigger },
    run: { id: runId, project, pipeline, revision, status: statusOf(run) },
  };
  const env = reader.roots.includes('env') ? envOf(slice, common, common.run.status) : {};
  if (typeof env === 'string') return env;
  return {
    ...common,
    env,
    needs: Object.fromEntries(needed.map((need) => [plannedJob(slice.plan, need).name, needOf(slice, need)])),
    ...(job.cell !== undefined && { matrix: job.cell.values }),
  };
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
function envOf(slice: RunSlice, inputs: Inputs, status: string): JsonObject | string {
  const { plan, working } = slice;
  if (!('env' in plan.compiledEnv)) plan.compiledEnv.env = compileEnv([], 'env', plan.definition.env, 'stored');
  const template = plan.compiledEnv.env;
  if (template === undefined) return { ...plan.definition.env };
  if (working?.env?.status === status) return working.env.found;
  const resolved = resolvedOf(resolveTemplate(template, inputs, LIMITS.envValues * LIMITS.envBytes, spending(slice)));
  // It reads no outputs, so there is nothing in it that nobody knows.
  const found = 'value' in resolved ? resolved.value : 'error' in resolved ? resolved.error : resolved.unknown;
  if (working !== undefined) working.env = { status, found };
  return found;
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
  const ofAttempts = jobs.filter((index) => attemptHasOutputs(slice, index));
  const known = slice.facts?.outputs;
  const missing = ofAttempts.filter((index) => known?.get(index) === undefined);
  if (missing.length > 0) throw new FactsNotLoaded(missing);
  return new Map(
    jobs.map((index) => {
      const record = jobOf(slice, index);
      const own = 'finishedMs' in record ? record.outputs : undefined;
      return [index, own ?? known?.get(index) ?? {}];
    }),
  );
}

function attemptHasOutputs(slice: RunSlice, index: number): boolean {
  const record = jobOf(slice, index);
  return record.attempt > 0 && 'finishedMs' in record && record.outputs === undefined;
}

function objectOf(value: JsonValue): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new Error(`an object became ${JSON.stringify(value)}`);
}
