// What is told of the expressions of a job that cannot be worked out: one message, and what each of them was, within bounds.
import { beginning, jsonBytes, tellFound } from './check-fields.ts';
import type { PartValue } from './expressions/evaluate.ts';
import type { FailedExpression, Unfit, Unresolved } from './expressions/resolve-template.ts';
import { LIMITS } from './limits.ts';
import type { ConditionPart, ExpressionFailure, ExpressionFailures } from './run-state.ts';

/** Why something of a job cannot be worked out. */
export interface Problem {
  readonly message: string;
  readonly expressionFailures?: ExpressionFailures;
}

/** A problem before it is joined with others. */
export interface SingleProblem extends Problem {
  /** Of how many things it is, and how many of these its message tells: as many as expressions failed, and one. */
  readonly size?: number;
  readonly told?: number;
}

/** @param within The path of what paths are told within. */
export function problemOf({ field, error, failed, count }: Unresolved, within: string): Problem {
  const message = `${shownField(field, within)}: ${error}`;
  return { message, ...failuresOf(failed, count, within) };
}

/** @param within The path of what paths are told within. */
export function unfitProblemOf({ found, failed, count }: Omit<Unfit, 'unfit'>, within: string): SingleProblem {
  const shown = found.map(({ field, description }) => ({ field: shownField(field, within), description }));
  return { message: tellFound(shown), size: found.length, told: found.length, ...failuresOf(failed, count, within) };
}

function failuresOf(
  failed: readonly FailedExpression[],
  count: number,
  within: string,
): Pick<Problem, 'expressionFailures'> {
  if (count === 0) return {};
  const first = failed.map(({ field, parts, ...failure }) => {
    return { field: shownField(field, within), ...failure, parts: parts.map(partOf) };
  });
  return { expressionFailures: { first, count } };
}

/**
 * What a job fails for: all of it, by the message of the first. What is the same, since several expressions read it, is told once.
 * @param prefix Of the message.
 */
export function joinProblems(prefix: string, problems: readonly SingleProblem[]): Problem {
  const message = `${prefix}${problems[0]?.message ?? ''}`;
  const different = [...new Map(problems.map((problem) => [problem.message, problem])).values()];
  const failures = different.flatMap(({ expressionFailures }) => expressionFailures ?? []);
  const all = different.reduce(
    (total, { size, expressionFailures }) => total + (size ?? expressionFailures?.count ?? 1),
    0,
  );
  const more = all - (problems[0]?.told ?? 1);
  const told = more === 0 ? message : `${beginning(message, MAX_FIRST)} (and ${more} more)`;
  if (failures.length === 0) return { message: told };
  const first = withinBounds(failures.flatMap((failure) => failure.first));
  return {
    message: told,
    expressionFailures: { first, count: failures.reduce((total, { count }) => total + count, 0) },
  };
}

/** Of a message, when more follows: what it fails with has at most 1,024 characters. */
const MAX_FIRST = 1_000;

function withinBounds(failures: readonly ExpressionFailure[]): ExpressionFailure[] {
  let left: number = LIMITS.expressionFailureBytes;
  const fits = (value: ExpressionFailure | ConditionPart): boolean => {
    const bytes = jsonBytes(value) + 1;
    if (bytes > left) return false;
    left -= bytes;
    return true;
  };
  return failures.slice(0, LIMITS.expressionFailures).flatMap((failure) => {
    if (!fits({ ...failure, parts: [] })) return [];
    return [{ ...failure, parts: failure.parts.filter(fits) }];
  });
}

/** A key may be as long as what holds it. */
function shownField(path: string, within: string): string {
  const field = path.startsWith(`${within}.`) ? path.slice(within.length + 1) : path;
  if (field.length <= LIMITS.expressionFieldLength) return field;
  return `${beginning(field, LIMITS.expressionFieldLength - 1)}…`;
}

export function partOf({ expression, ...found }: PartValue): ConditionPart {
  if ('value' in found) return { expression, value: found.value };
  return { expression, note: 'tooLarge' in found ? found.tooLarge : found.error };
}
