// What a job leaves to its run, worked out when its needs have finished: its condition, its spec, the values of its matrix. What comes
// out is recorded in events, so nothing is ever worked out twice.
import { boundProblem } from './bounds.ts';
import { jsonBytes } from './check-fields.ts';
import type { Cell } from './definition.ts';
import { evaluateExpression, type PartValue } from './expressions/evaluate.ts';
import type { Expression } from './expressions/expression.ts';
import { resolveTemplate } from './expressions/resolve-template.ts';
import type { Template } from './expressions/template.ts';
import {
  expressionsOf,
  inputsOf,
  objectOf,
  outputsOf,
  readByJob,
  type Resolved,
  resolvedOf,
  spending,
} from './expression-inputs.ts';
import type { JsonValue } from './json.ts';
import { LIMITS } from './limits.ts';
import { cellsOf } from './matrix.ts';
import { type PlannedJob } from './plan.ts';
import { assertLoaded, type ConditionPart, type ConditionTrace, type RunSlice } from './run-state.ts';
import { readShares, type Shares, sharesIn } from './shares.ts';
import { type Evaluated, type EvaluatedMatrix, type MadeCells, workOutOnce } from './working.ts';

/**
 * Works out the condition and the spec of a job whose needs have finished.
 * @throws JobsNotLoaded @throws FactsNotLoaded
 */
export function evaluateJob(slice: RunSlice, job: PlannedJob): Evaluated {
  if (job.isPlain) return { outcome: 'READY' };
  const { working } = slice;
  if (working === undefined) return workOut(slice, job);
  return workOutOnce(working, working.known.jobs, job.index, () => {
    const evaluated = workOut(slice, job);
    working.bytes += jsonBytes(evaluated);
    return evaluated;
  });
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

/**
 * The cells of a matrix whose needs have finished; a text says why they cannot be made, `unknown` why nobody can know them.
 * @throws FactsNotLoaded
 */
export function evaluateMatrix(slice: RunSlice, job: PlannedJob): EvaluatedMatrix {
  const { working } = slice;
  if (working === undefined) return workOutMatrix(slice, job);
  return workOutOnce(working, working.known.matrices, job.index, () => workOutMatrix(slice, job));
}

function workOutMatrix(slice: RunSlice, job: PlannedJob): EvaluatedMatrix {
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

function resolve(slice: RunSlice, job: PlannedJob, template: Template, maxBytes: number): Resolved {
  const inputs = inputsOf(slice, job, template);
  if (typeof inputs === 'string') return { error: inputs };
  return resolvedOf(resolveTemplate(template, inputs, maxBytes, spending(slice)));
}

function partOf({ expression, ...found }: PartValue): ConditionPart {
  if ('value' in found) return { expression, value: found.value };
  return { expression, note: 'tooLarge' in found ? found.tooLarge : found.error };
}

/** @throws FactsNotLoaded naming what all of these jobs will ask for, so that one load is enough. */
export function assertFacts(slice: RunSlice, jobs: readonly PlannedJob[]): void {
  const needed = new Set(jobs.flatMap((job) => readByJob(slice.plan, job)));
  assertLoaded(slice, [...needed]);
  outputsOf(slice, [...needed]);
}
