// Puts the values of its expressions into a template, for each set of inputs with one budget for all of them.
import { jsonBytes, jsonLevels, quote } from '../check-fields.ts';
import type { JsonValue } from '../json.ts';
import { LIMITS } from '../limits.ts';
import { evaluateJson, inLibrary, type OnSpent } from './evaluate.ts';
import { createRun, type Run } from './evaluate-node.ts';
import type { Expression } from './expression.ts';
import { createMeter } from './meter.ts';
import type { Inputs } from './nodes.ts';
import { Failure, Unknown } from './outcome.ts';
import type { Shape, Template } from './template.ts';

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
