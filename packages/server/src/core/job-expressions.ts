// What a job leaves to its run, worked out when its needs have finished: its condition, its spec, the values of its matrix. What comes
// out is recorded in events, so nothing is ever worked out twice.
import { boundProblem } from './bounds.ts';
import { jsonBytes, shortJson } from './check-fields.ts';
import type { Cell } from './definition.ts';
import { joinProblems, partOf, type Problem } from './expression-failures.ts';
import { evaluateExpression } from './expressions/evaluate.ts';
import type { Expression } from './expressions/expression.ts';
import { type CheckValue, resolveTemplate } from './expressions/resolve-template.ts';
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
import type { JsonObject, JsonValue } from './json.ts';
import { LIMITS } from './limits.ts';
import { cellsOf, type MatrixValues, notLists } from './matrix.ts';
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
  const found =
    condition !== undefined && isForCells === (job.cell !== undefined) ? traceOf(slice, job, condition) : undefined;
  if (found !== undefined && 'unknown' in found)
    return { outcome: 'UNKNOWN', message: unknownBecause('condition', found.unknown) };
  const traced = found !== undefined && { condition: found.condition };
  if (found?.problem !== undefined) {
    return { outcome: 'INVALID', ...traced, ...joinProblems('its condition cannot be worked out: ', [found.problem]) };
  }
  if (found?.condition.held === false) return { outcome: 'SKIP', ...traced };
  if (isGroup) return { outcome: 'READY', ...traced };
  const shares = evaluateShares(slice, job);
  if ('unknown' in shares)
    return { outcome: 'UNKNOWN', message: unknownBecause('concurrency group or rate limit', shares.unknown) };
  const { name, driver, call } = job.definition;
  const check: CheckValue = (value, isWhole) => {
    const found = isWhole && call === undefined ? slice.facts?.whyUnfit?.(driver, objectOf(value)) : undefined;
    return (found ?? []).map((problem) => ({ ...problem, field: `${name}.${problem.field}` }));
  };
  const given = spec === undefined ? undefined : resolve(slice, job, spec, LIMITS.specBytes, check);
  if (given !== undefined && 'unknown' in given) {
    return { outcome: 'UNKNOWN', message: unknownBecause(call === undefined ? 'spec' : 'params', given.unknown) };
  }
  if ('message' in shares || (given !== undefined && 'message' in given)) {
    const problems = [shares, given].filter((part) => part !== undefined && 'message' in part);
    const unfit = given !== undefined && 'unfit' in given && { spec: given.unfit };
    return { outcome: 'INVALID', ...traced, ...unfit, ...joinProblems('', problems) };
  }
  const worked = { ...traced, ...shares };
  if (given === undefined) return { outcome: 'READY', ...worked };
  return { outcome: 'READY', ...worked, spec: given.value };
}

/** The keys and limits of a job's concurrency group and of its rate limits. @throws FactsNotLoaded */
function evaluateShares(slice: RunSlice, job: PlannedJob): Shares | Problem | { readonly unknown: string } {
  const { definition } = job;
  if (definition.concurrency === undefined && definition.rateLimits === undefined) return {};
  const { shares: template } = expressionsOf(slice.plan, job);
  const resolved = template && resolve(slice, job, template, LIMITS.specBytes);
  if (resolved !== undefined && !('value' in resolved)) return resolved;
  const shares = readShares(definition, resolved?.value ?? sharesIn(definition));
  return 'error' in shares ? { message: shares.error } : shares;
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
  return 'message' in found || 'unknown' in found ? undefined : found;
}

/**
 * The cells of a matrix whose needs have finished, or why they cannot be made; `unknown` says why nobody can know them.
 * @throws FactsNotLoaded
 */
export function evaluateMatrix(slice: RunSlice, job: PlannedJob): EvaluatedMatrix {
  const { working } = slice;
  if (working === undefined) return workOutMatrix(slice, job);
  return workOutOnce(working, working.known.matrices, job.index, () => {
    const evaluated = workOutMatrix(slice, job);
    if ('message' in evaluated) working.bytes += jsonBytes(evaluated);
    return evaluated;
  });
}

function workOutMatrix(slice: RunSlice, job: PlannedJob): EvaluatedMatrix {
  const { matrix } = job.definition;
  if (matrix === undefined) throw new Error(`job ${job.name} has no matrix`);
  const template = expressionsOf(slice.plan, job).matrix;
  if (template === undefined) return madeOf(cellsOf(matrix), undefined);
  const { name } = job.definition;
  const check: CheckValue = (value) =>
    notLists(valuesOf(objectOf(value))).map((problem) => ({ ...problem, field: `${name}.matrix.${problem.field}` }));
  const resolved = resolve(slice, job, template, LIMITS.matrixBytes, check);
  if ('unknown' in resolved) return { unknown: unknownBecause('matrix', resolved.unknown) };
  if ('message' in resolved) return joinProblems('its matrix: ', [resolved]);
  return madeOf(cellsOf(valuesOf(resolved.value)), resolved.value['max_parallel_expression']);
}

function valuesOf({ axes, include, exclude }: JsonObject): MatrixValues {
  return {
    axes: objectOf(axes ?? {}),
    ...(include !== undefined && { include }),
    ...(exclude !== undefined && { exclude }),
  };
}

function madeOf(cells: readonly Cell[] | string, maxParallel: JsonValue | undefined): MadeCells | Problem {
  if (typeof cells === 'string') return { message: `its matrix: ${cells}` };
  if (maxParallel === undefined) return { cells };
  const problem = boundProblem(maxParallel, LIMITS.matrixCells);
  if (problem !== undefined) return { message: `its matrix: max_parallel ${problem}` };
  return { cells, maxParallel: Number(maxParallel) };
}

type Worked = 'condition' | 'spec' | 'params' | 'matrix' | 'concurrency group or rate limit';

function unknownBecause(what: Worked, need: string): string {
  return `its ${what} ${what === 'params' ? 'read' : 'reads'} outputs of ${need}, which are not assumed`;
}

/** What a condition was, with why when it could not be worked out; `unknown` names the job on whose outputs that depends. */
function traceOf(
  slice: RunSlice,
  job: PlannedJob,
  condition: Expression,
): { readonly condition: ConditionTrace; readonly problem?: Problem } | { readonly unknown: string } {
  const expression = condition.source;
  const failed = (problem: Problem, parts: readonly ConditionPart[] = []) => {
    return { condition: { expression, held: false, error: problem.message, parts }, problem };
  };
  const found = inputsOf(slice, job, condition);
  if ('message' in found) return failed(found);
  const { value, error, unknown, parts } = evaluateExpression(condition, found.inputs, spending(slice));
  if (unknown !== undefined) return { unknown };
  const told = parts.map(partOf);
  if (error !== undefined) return failed({ message: error }, told);
  if (typeof value === 'boolean') return { condition: { expression, held: value, parts: told } };
  return failed({ message: `it must be true or false; it is ${shortJson(value)}` }, told);
}

function resolve(slice: RunSlice, job: PlannedJob, template: Template, maxBytes: number, check?: CheckValue): Resolved {
  const found = inputsOf(slice, job, template);
  if ('message' in found) return found;
  return resolvedOf(resolveTemplate(template, found.inputs, maxBytes, spending(slice), check), job.definition.name);
}

/** @throws FactsNotLoaded naming what all of these jobs will ask for, so that one load is enough. */
export function assertFacts(slice: RunSlice, jobs: readonly PlannedJob[]): void {
  const needed = new Set(jobs.flatMap((job) => readByJob(slice.plan, job)));
  assertLoaded(slice, [...needed]);
  outputsOf(slice, [...needed]);
}
