// Bounds that a definition says by a number, or leaves to its run by one expression: what may stand there, and what may come of it.
import { addViolation, checkNumber, checkText, type Found, quote, shownJson } from './check-fields.ts';
import type { Bound, Definition, JobDefinition } from './definition.ts';
import { splitTemplate } from './expressions/split-template.ts';
import { resolveTemplate } from './expressions/resolve-template.ts';
import { compileTemplate } from './expressions/template.ts';
import type { JsonValue } from './json.ts';
import { LIMITS } from './limits.ts';

/** A bound as it was written. */
export interface BoundInput {
  /** Undefined: not set. */
  readonly value: number | undefined;
  /** Undefined: not set. */
  readonly expression: string | undefined;
}

/** Reads a bound from 1 to `max`; undefined when it is not set. What is wrong with its expression is told of `<field>_expression`. */
export function checkBound(found: Found, field: string, input: BoundInput, max: number): Bound | undefined {
  const { value, expression } = input;
  if (value !== undefined) checkNumber(found, field, value, { min: 1, max, integer: true });
  if (expression === undefined) return value;
  const at = `${field}_expression`;
  if (value !== undefined) addViolation(found, at, 'must not be set beside the number that it stands for');
  checkText(found, at, expression, LIMITS.expressionLength);
  const split = splitTemplate(expression);
  // What nothing ends is told where it is compiled.
  if ('unclosedAt' in split) return expression;
  if (split.length !== 1 || !split.every((segment) => 'source' in segment)) {
    addViolation(
      found,
      at,
      `must be one expression and nothing else, as \${{ params.limit }}; got ${quote(expression)}`,
    );
    return expression;
  }
  const problem = problemOfConstant(at, expression, max);
  if (problem !== undefined) addViolation(found, at, problem);
  return expression;
}

/** Of an expression that reads nothing, what it comes to is known before any run. */
function problemOfConstant(field: string, expression: string, max: number): string | undefined {
  const constant = compileTemplate([], field, expression, { roots: [], needs: [] });
  if (constant === undefined) return undefined;
  const resolution = resolveTemplate(constant, {}, LIMITS.expressionPartBytes);
  if ('error' in resolution) return resolution.error;
  return 'value' in resolution ? boundProblem(resolution.value, max) : undefined;
}

/** What is wrong with what the expression of a bound came to; undefined: nothing. */
export function boundProblem(value: JsonValue, max: number): string | undefined {
  if (isBound(value, max)) return undefined;
  const hint = typeof value === 'string' && isBound(Number(value), max) ? ': int(…) makes a number of a text' : '';
  return `must become a whole number from 1 to ${max}; it became ${shownJson(value)}${hint}`;
}

function isBound(value: JsonValue, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max;
}

/** A bound that the definition has as a number; undefined where its run works it out. */
export function numberOf(bound: Bound | undefined): number | undefined {
  return typeof bound === 'number' ? bound : undefined;
}

/** Whether any bound is left to a run. */
export function hasOpenBounds({ jobs, added = [] }: Pick<Definition, 'jobs' | 'added'>): boolean {
  const isOpen = ({ concurrency, rateLimits = [], matrix }: JobDefinition): boolean =>
    [concurrency?.limit, matrix?.maxParallel, ...rateLimits.map(({ limit }) => limit)].some(
      (bound) => typeof bound === 'string',
    );
  return jobs.some(isOpen) || added.some((addition) => 'jobs' in addition && addition.jobs.some(isOpen));
}
