// Puts the values of its expressions into a template, for each set of inputs with one budget for all of them.
import { jsonBytes, jsonLevels, quote } from '../check-fields.ts';
import type { JsonValue } from '../json.ts';
import { LIMITS } from '../limits.ts';
import type { FieldViolation } from '../refusal.ts';
import { evaluateJson, inLibrary, type OnSpent, type PartValue, trace } from './evaluate.ts';
import { createRun, type Run } from './evaluate-node.ts';
import type { Expression } from './expression.ts';
import { createMeter } from './meter.ts';
import type { Inputs } from './nodes.ts';
import { Failure, Unknown } from './outcome.ts';
import type { Shape, Template } from './template.ts';

/** What a template comes to. */
export type Resolution =
  | { readonly value: JsonValue }
  /** The job on whose outputs it depends, which nobody knows. */
  | { readonly unknown: string }
  | Unresolved
  | Unfit;

/** Why a template has no value. */
export interface Unresolved {
  /** Where the first thing is that is wrong. */
  readonly field: string;
  readonly error: string;
  /** The first expressions that failed, in reading order; none when only the value as a whole is wrong. */
  readonly failed: readonly FailedExpression[];
  /** How many failed. */
  readonly count: number;
}

/** A template with a value that its check does not take. */
export interface Unfit {
  readonly unfit: JsonValue;
  /** All that is wrong with it. */
  readonly found: readonly FieldViolation[];
  /** The first expressions from which that comes, in the order in which it was found. */
  readonly failed: readonly FailedExpression[];
  readonly count: number;
}

/**
 * Says what is wrong with the value of a template, by paths at or under its field.
 * @param isWhole Whether no expression failed; null stands for those that did.
 */
export type CheckValue = (value: JsonValue, isWhole: boolean) => readonly FieldViolation[];

export interface FailedExpression {
  readonly field: string;
  readonly expression: string;
  readonly error: string;
  readonly parts: readonly PartValue[];
}

/**
 * Puts the values of its expressions into a template. In a text, text stands as it is, null for nothing, and all else as compact
 * JSON. All expressions of a template cost LIMITS.expressionSteps at most. One that fails does not keep the others from being worked
 * out, unless the steps or bytes have come to an end; one that nobody can know does.
 * @param maxBytes Of the result as JSON.
 */
export function resolveTemplate(
  template: Template,
  inputs: Inputs,
  maxBytes: number,
  onSpent?: OnSpent,
  check?: CheckValue,
): Resolution {
  return inLibrary(() => {
    const run = createRun(inputs, createMeter(LIMITS.expressionSteps));
    const resolver: Resolver = { run, maxBytes, bytes: 0, leaves: [], failures: [], isOver: false };
    const value = resolveShape(resolver, template.shape, template.levels);
    const steps = Math.ceil(run.meter.spent);
    const { unknown, failures } = resolver;
    const isWhole = failures.length === 0;
    const bytes = isWhole ? jsonBytes(value) : 0;
    const isChecked = unknown === undefined && !resolver.isOver && bytes <= maxBytes;
    const found = isChecked && check !== undefined ? blame(resolver, check(value, isWhole)) : [];
    const failed = tell(resolver);
    onSpent?.(steps + Math.ceil(run.meter.spent));
    if (unknown !== undefined) return { unknown };
    const count = failures.length;
    const [first] = failed;
    if (first !== undefined && !isWhole) {
      return { field: first.field, error: `${quote(first.expression)}: ${first.error}`, failed, count };
    }
    if (found.length > 0) return { unfit: value, found, failed, count };
    if (bytes <= maxBytes) return { value };
    const error = `must have at most ${maxBytes} bytes as JSON; has ${bytes}`;
    return { field: template.field, error, failed, count: 0 };
  });
}

interface Resolver {
  readonly run: Run;
  readonly maxBytes: number;
  /** Of what expressions put into the result so far, as JSON. */
  bytes: number;
  /** What has come of expressions, in reading order. */
  readonly leaves: Leaf[];
  readonly failures: { readonly field: string; readonly expression: Expression; readonly error: string }[];
  /** The job whose outputs would have to be known. */
  unknown?: string;
  /** Nothing more is worked out. */
  isOver: boolean;
}

interface Leaf {
  readonly field: string;
  readonly expressions: readonly Expression[];
  readonly hasFailed: boolean;
}

/** Adds the expressions that problems come of to those that failed. Returns the problems but for what comes of a failure. */
function blame({ leaves, failures }: Resolver, problems: readonly FieldViolation[]): readonly FieldViolation[] {
  const traced = problems.map((problem) => ({ problem, leaf: leafAt(leaves, problem.field) }));
  const found = traced.filter(({ leaf }) => leaf?.hasFailed !== true);
  for (const leaf of leaves) {
    for (const { problem } of found.filter((one) => one.leaf === leaf)) {
      for (const expression of leaf.expressions)
        failures.push({ field: problem.field, expression, error: problem.description });
    }
  }
  return found.map(({ problem }) => problem);
}

/** Where a path leads into; undefined where no expression has to do with it. */
function leafAt(leaves: readonly Leaf[], path: string): Leaf | undefined {
  const above = leaves.filter(({ field }) => path.startsWith(field) && /^(?:$|[.[])/.test(path.slice(field.length)));
  return above.reduce<Leaf | undefined>(
    (longest, leaf) => (longest === undefined || leaf.field.length > longest.field.length ? leaf : longest),
    undefined,
  );
}

/** The first failures, with the parts of what failed. */
function tell({ run, failures }: Resolver): FailedExpression[] {
  const first = failures.slice(0, LIMITS.expressionFailures);
  const traces = trace(
    run,
    first.map(({ expression }) => expression),
  );
  return first.map(({ field, expression, error }, nth) => {
    return { field, expression: expression.source, error, parts: traces[nth] ?? [] };
  });
}

/** @param levels Left for what is inside of it, itself counted. */
function resolveShape(resolver: Resolver, shape: Shape, levels: number): JsonValue {
  switch (shape.kind) {
    case 'constant':
      return shape.value;
    case 'value':
      return keepLeaf(resolver, shape.field, [shape.expression], () =>
        resolveValue(resolver, shape.field, shape.expression, levels),
      );
    case 'text': {
      const expressions = shape.segments.filter((segment) => typeof segment !== 'string');
      return keepLeaf(resolver, shape.field, expressions, () => resolveText(resolver, shape.field, shape.segments));
    }
    case 'list':
      return shape.items.map((item) => resolveShape(resolver, item, levels - 1));
    case 'object':
      return Object.fromEntries(
        shape.members.map(([key, member]) => [key, resolveShape(resolver, member, levels - 1)]),
      );
  }
}

function keepLeaf(
  { leaves, failures }: Resolver,
  field: string,
  expressions: readonly Expression[],
  resolve: () => JsonValue,
): JsonValue {
  const before = failures.length;
  const value = resolve();
  leaves.push({ field, expressions, hasFailed: failures.length > before });
  return value;
}

function resolveValue(resolver: Resolver, field: string, expression: Expression, levels: number): JsonValue {
  const value = resolveExpression(resolver, field, expression);
  if (jsonLevels(value) <= levels) return value;
  const problem = `is too deep: with what is around it, more than ${LIMITS.jsonLevels} lists and objects are inside of each other`;
  return fail(resolver, field, expression, problem);
}

function resolveText(resolver: Resolver, field: string, segments: readonly (string | Expression)[]): string {
  let text = '';
  for (const segment of segments) {
    const value = typeof segment === 'string' ? segment : resolveExpression(resolver, field, segment);
    text += typeof value === 'string' ? value : value === null ? '' : JSON.stringify(value);
  }
  return text;
}

/** Null in place of a value that there is not. */
function resolveExpression(resolver: Resolver, field: string, expression: Expression): JsonValue {
  if (resolver.isOver) return null;
  const { run, maxBytes } = resolver;
  const value = evaluateJson(run, expression.node);
  if (value instanceof Unknown) {
    resolver.unknown = value.of;
    resolver.isOver = true;
    return null;
  }
  if (value instanceof Failure) {
    resolver.isOver = run.meter.spent >= LIMITS.expressionSteps;
    return fail(resolver, field, expression, value.message);
  }
  resolver.bytes += jsonBytes(value);
  // The result is measured as a whole at last. Until then values of a hundred expressions may only be that large together, where
  // a text has two quotes less once it is inside of another.
  if (resolver.bytes <= maxBytes + 2 * LIMITS.templateExpressions) return value;
  resolver.isOver = true;
  return fail(resolver, field, expression, `with the values before it, comes to more than ${maxBytes} bytes as JSON`);
}

function fail({ failures }: Resolver, field: string, expression: Expression, error: string): null {
  failures.push({ field, expression, error });
  return null;
}
