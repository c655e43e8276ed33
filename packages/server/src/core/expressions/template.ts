// JSON with expressions in its texts: `${{ params.image }}`. It is compiled once, and resolved for each set of inputs with one
// budget for all of its expressions.
import { addViolation, type Found, isFull, jsonBytes, jsonLevels, quote } from '../check-fields.ts';
import type { JsonValue } from '../json.ts';
import { LIMITS } from '../limits.ts';
import { evaluateJson, inLibrary, type OnSpent } from './evaluate.ts';
import { createRun, type Run } from './evaluate-node.ts';
import { compileExpression, type Expression } from './expression.ts';
import { createMeter } from './meter.ts';
import type { Inputs, Root, Scope } from './nodes.ts';
import { Failure, Unknown } from './outcome.ts';
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
  levels: number = LIMITS.jsonLevels,
): Template | undefined {
  if (!mentionsTemplate(value)) return undefined;
  // A list of its own: that of the caller takes only so many.
  const own: Found = [];
  const compiler: Compiler = { found: own, foundBefore: found.length, scope, expressions: [], count: 0 };
  const shape = compileValue(compiler, field, value);
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

function compileValue(compiler: Compiler, field: string, value: JsonValue): Shape {
  if (typeof value === 'string') {
    return hasTemplate(value) ? compileText(compiler, field, value) : { kind: 'constant', value };
  }
  if (typeof value !== 'object' || value === null) return { kind: 'constant', value };
  if (Array.isArray(value)) {
    const items = value.map((item, index) => compileValue(compiler, `${field}[${index}]`, item));
    return items.every(isConstant) ? { kind: 'constant', value } : { kind: 'list', items };
  }
  const members = Object.entries(value).map(([key, member]): [string, Shape] => {
    if (hasTemplate(key)) {
      addViolation(compiler.found, field, `has the key ${quote(key)}; expressions may not be in keys`);
    }
    return [key, compileValue(compiler, `${field}.${key}`, member)];
  });
  return members.every(([, member]) => isConstant(member)) ? { kind: 'constant', value } : { kind: 'object', members };
}

const WITHOUT_JSON = ['bytes', 'type'];

function isConstant({ kind }: Shape): boolean {
  return kind === 'constant';
}

function compileText(compiler: Compiler, field: string, text: string): Shape {
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
  const segments = split.flatMap((segment): (string | Expression)[] => {
    if ('text' in segment) return [segment.text];
    return compileSource(compiler, field, segment.source);
  });
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

/** What a template comes to, or the path of the text that has no value and why; `unknown` as in an Evaluation. */
export type Resolution =
  | { readonly value: JsonValue }
  | { readonly error: string; readonly field: string; readonly unknown?: string };

/**
 * Puts the values of its expressions into a template. In a text, text stands as it is, null for nothing, and all else as compact
 * JSON. All expressions of a template cost LIMITS.expressionSteps at most.
 * @param maxBytes Of the result as JSON.
 */
export function resolveTemplate(template: Template, inputs: Inputs, maxBytes: number, onSpent?: OnSpent): Resolution {
  return inLibrary(() => {
    const run = createRun(inputs, createMeter(LIMITS.expressionSteps));
    const value = resolveShape({ run, maxBytes, bytes: 0 }, template.shape, template.levels);
    onSpent?.(Math.ceil(run.meter.spent));
    if (value instanceof Unresolved) {
      const { error, field, unknown } = value;
      return { error, field, ...(unknown !== undefined && { unknown }) };
    }
    if (jsonBytes(value) <= maxBytes) return { value };
    return { error: `must have at most ${maxBytes} bytes as JSON; has ${jsonBytes(value)}`, field: template.field };
  });
}

interface Resolver {
  readonly run: Run;
  readonly maxBytes: number;
  /** Of what expressions put into the result so far, as JSON. */
  bytes: number;
}

class Unresolved {
  readonly error: string;
  readonly field: string;
  readonly unknown: string | undefined;

  constructor(error: string, field: string, unknown?: string) {
    this.error = error;
    this.field = field;
    this.unknown = unknown;
  }
}

/** @param levels Left for what is inside of it, itself counted. */
function resolveShape(resolver: Resolver, shape: Shape, levels: number): JsonValue | Unresolved {
  switch (shape.kind) {
    case 'constant':
      return shape.value;
    case 'value':
      return resolveValue(resolver, shape.field, shape.expression, levels);
    case 'text':
      return resolveText(resolver, shape.field, shape.segments);
    case 'list':
      return resolveEach(shape.items, (item) => resolveShape(resolver, item, levels - 1));
    case 'object': {
      const members = resolveEach(shape.members, ([, member]) => resolveShape(resolver, member, levels - 1));
      if (members instanceof Unresolved) return members;
      return Object.fromEntries(shape.members.map(([key], index) => [key, members[index] ?? null]));
    }
  }
}

function resolveEach<T>(items: readonly T[], resolve: (item: T) => JsonValue | Unresolved): JsonValue[] | Unresolved {
  const values: JsonValue[] = [];
  for (const item of items) {
    const value = resolve(item);
    if (value instanceof Unresolved) return value;
    values.push(value);
  }
  return values;
}

function resolveValue(
  resolver: Resolver,
  field: string,
  expression: Expression,
  levels: number,
): JsonValue | Unresolved {
  const value = resolveExpression(resolver, field, expression);
  if (value instanceof Unresolved || jsonLevels(value) <= levels) return value;
  const problem = `is too deep: with what is around it, more than ${LIMITS.jsonLevels} lists and objects are inside of each other`;
  return new Unresolved(`${quote(expression.source)}: ${problem}`, field);
}

function resolveText(
  resolver: Resolver,
  field: string,
  segments: readonly (string | Expression)[],
): string | Unresolved {
  let text = '';
  for (const segment of segments) {
    if (typeof segment === 'string') {
      text += segment;
      continue;
    }
    const value = resolveExpression(resolver, field, segment);
    if (value instanceof Unresolved) return value;
    text += typeof value === 'string' ? value : value === null ? '' : JSON.stringify(value);
  }
  return text;
}

function resolveExpression(resolver: Resolver, field: string, expression: Expression): JsonValue | Unresolved {
  const value = evaluateJson(resolver.run, expression.node);
  if (value instanceof Failure) {
    const unknown = value instanceof Unknown ? value.of : undefined;
    return new Unresolved(`${quote(expression.source)}: ${value.message}`, field, unknown);
  }
  resolver.bytes += jsonBytes(value);
  // The result is measured as a whole at last. Until then values of a hundred expressions may only be that large together, where
  // a text has two quotes less once it is inside of another.
  const { bytes, maxBytes } = resolver;
  if (bytes <= maxBytes + 2 * LIMITS.templateExpressions) return value;
  return new Unresolved(
    `must have at most ${maxBytes} bytes as JSON, with what ${quote(expression.source)} adds`,
    field,
  );
}
