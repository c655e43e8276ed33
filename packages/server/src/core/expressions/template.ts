// JSON with expressions in its texts: `${{ params.image }}`. It is compiled once, and resolved for each set of inputs.
import { addViolation, type Found, isFull, quote } from '../check-fields.ts';
import type { JsonValue } from '../json.ts';
import { LIMITS } from '../limits.ts';
import { atOnce, type Slices } from '../slices.ts';
import { compileExpression, type Expression } from './expression.ts';
import type { Root, Scope } from './nodes.ts';
import { hasTemplate, splitTemplate } from './split-template.ts';

/** A checked template. Compiling is costly: keep it. */
export interface Template {
  /** Of all of its expressions, as in Expression. */
  readonly roots: readonly Root[];
  readonly needs: readonly string[] | 'all';
  /** Where the value is. */
  readonly field: string;
  /** Of lists and objects inside of each other in what it comes to, at most. */
  readonly levels: number;
  readonly shape: Shape;
}

/** What a value is made of. A part without expressions is a constant as a whole. */
export type Shape =
  | { readonly kind: 'constant'; readonly value: JsonValue }
  /** A text that is one expression, and keeps the type of its value. */
  | { readonly kind: 'value'; readonly field: string; readonly expression: Expression }
  | { readonly kind: 'text'; readonly field: string; readonly segments: readonly (string | Expression)[] }
  | { readonly kind: 'list'; readonly items: readonly Shape[] }
  | { readonly kind: 'object'; readonly members: readonly (readonly [string, Shape])[] };

interface Compiler {
  readonly found: Found;
  /** How many violations there are beside them. */
  readonly foundBefore: number;
  readonly scope: Scope;
  readonly expressions: Expression[];
  count: number;
}

/**
 * Finds and compiles the expressions in the texts of a value, at any depth, but not in keys: `${{ expression }}`, while `$${{`
 * stands for the characters `${{`. Undefined when there is nothing to resolve, which is cheap to see, and when something is wrong,
 * which is then added to `found` with paths under `field`.
 * @param levels Of lists and objects inside of each other in what it comes to, at most.
 */
export function compileTemplate(
  found: Found,
  field: string,
  value: JsonValue,
  scope: Scope,
  levels?: number,
): Template | undefined {
  return atOnce(compileTemplateInSlices(found, field, value, scope, levels));
}

/** As compileTemplate, an expression at a time. */
export function* compileTemplateInSlices(
  found: Found,
  field: string,
  value: JsonValue,
  scope: Scope,
  levels: number = LIMITS.jsonLevels,
): Slices<Template | undefined> {
  if (!mentionsTemplate(value)) return undefined;
  // A list of its own: that of the caller takes only so many.
  const own: Found = [];
  const compiler: Compiler = { found: own, foundBefore: found.length, scope, expressions: [], count: 0 };
  const shape = yield* compileValue(compiler, field, value);
  for (const violation of own) addViolation(found, violation.field, violation.description);
  if (own.length > 0 || isFull(found)) return undefined;
  const { expressions } = compiler;
  const isAll = expressions.some(({ needs }) => needs === 'all');
  return {
    roots: Array.from(new Set(expressions.flatMap(({ roots }) => roots))),
    needs: isAll ? 'all' : Array.from(new Set(expressions.flatMap(({ needs }) => needs))),
    field,
    levels,
    shape,
  };
}

/** Whether there is anything to resolve in a value, or in one of its keys, where nothing may be. */
export function mentionsTemplate(value: JsonValue): boolean {
  if (typeof value === 'string') return hasTemplate(value);
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return value.some(mentionsTemplate);
  return Object.entries(value).some(([key, member]) => hasTemplate(key) || mentionsTemplate(member));
}

function* compileValue(compiler: Compiler, field: string, value: JsonValue): Slices<Shape> {
  if (typeof value === 'string') {
    return hasTemplate(value) ? yield* compileText(compiler, field, value) : { kind: 'constant', value };
  }
  if (typeof value !== 'object' || value === null) return { kind: 'constant', value };
  if (Array.isArray(value)) {
    const items: Shape[] = [];
    for (const [index, item] of value.entries()) items.push(yield* compileValue(compiler, `${field}[${index}]`, item));
    return items.every(isConstant) ? { kind: 'constant', value } : { kind: 'list', items };
  }
  const members: [string, Shape][] = [];
  for (const [key, member] of Object.entries(value)) {
    if (hasTemplate(key)) {
      addViolation(compiler.found, field, `has the key ${quote(key)}; expressions may not be in keys`);
    }
    members.push([key, yield* compileValue(compiler, `${field}.${key}`, member)]);
  }
  return members.every(([, member]) => isConstant(member)) ? { kind: 'constant', value } : { kind: 'object', members };
}

const WITHOUT_JSON = ['bytes', 'type'];

function isConstant({ kind }: Shape): boolean {
  return kind === 'constant';
}

function* compileText(compiler: Compiler, field: string, text: string): Slices<Shape> {
  const { found } = compiler;
  const split = splitTemplate(text);
  if ('unclosedAt' in split) {
    addViolation(
      found,
      field,
      `has no }} after ${quote(text.slice(split.unclosedAt))}; write $\${{ for the characters \${{`,
    );
    return { kind: 'constant', value: text };
  }
  const segments: (string | Expression)[] = [];
  for (const segment of split) {
    if ('text' in segment) {
      segments.push(segment.text);
      continue;
    }
    yield;
    segments.push(...compileSource(compiler, field, segment.source));
  }
  const [first] = segments;
  if (segments.length === 1 && typeof first === 'object') return { kind: 'value', field, expression: first };
  return { kind: 'text', field, segments };
}

function compileSource(compiler: Compiler, field: string, source: string): Expression[] {
  compiler.count++;
  if (compiler.count > LIMITS.templateExpressions) {
    if (compiler.count === LIMITS.templateExpressions + 1) {
      addViolation(compiler.found, field, `is beyond the ${LIMITS.templateExpressions} expressions that there may be`);
    }
    return [];
  }
  if (isFull(compiler.found, compiler.foundBefore)) return [];
  const expression = compileExpression(compiler.found, field, source.trim(), compiler.scope);
  if (expression === undefined) return [];
  if (WITHOUT_JSON.includes(expression.type)) {
    addViolation(compiler.found, field, `${quote(source.trim())} is of type ${expression.type}, which has no JSON`);
  }
  compiler.expressions.push(expression);
  return [expression];
}
