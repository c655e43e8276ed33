// Evaluates expressions over JSON and says why they have their value. What that costs is bounded, whatever was written, and the same
// whenever it is done; it never throws.
import { type CelValue, celEnv, celType, isCelError, isCelList, isCelMap, parse, plan } from '@bufbuild/cel';
import { jsonBytes, jsonLevels } from '../check-fields.ts';
import type { JsonValue } from '../json.ts';
import { LIMITS } from '../limits.ts';
import { createRun, evaluateNode, type Run } from './evaluate-node.ts';
import type { Expression } from './expression.ts';
import { toJson } from './json-values.ts';
import { CostExceeded, createMeter } from './meter.ts';
import type { Inputs, Node, Part } from './nodes.ts';
import { Failure, type Outcome, Unknown, UnknownRead } from './outcome.ts';

/** The value of an expression, or why it has none. */
export type Evaluation = (
  | { readonly value: JsonValue; readonly error?: never }
  | { readonly error: string; readonly value?: never }
) & {
  /** What the value comes from, in reading order; at most LIMITS.expressionParts. */
  readonly parts: readonly PartValue[];
  /** Steps, at most LIMITS.expressionSteps; those of `parts` are not counted. */
  readonly cost: number;
  /** Beside an error: the job whose outputs would have to be known. */
  readonly unknown?: string;
};

/** The value of a part, whether or not it was needed for the value of the whole. */
export type PartValue = { readonly expression: string } & (
  | { readonly value: JsonValue }
  /** What stands for a value of more than LIMITS.expressionPartBytes or jsonLevels, such as "a list of 5000 entries". */
  | { readonly tooLarge: string }
  | { readonly error: string }
);

/** Hears how many steps were taken, also those of a trace. */
export type OnSpent = (steps: number) => void;

/** Evaluates an expression. What an author can get wrong is in the result; it never throws because of it. */
export function evaluateExpression(expression: Expression, inputs: Inputs, onSpent?: OnSpent): Evaluation {
  return inLibrary(() => {
    const meter = createMeter(LIMITS.expressionSteps);
    const run = createRun(inputs, meter);
    const value = evaluateJson(run, expression.node);
    const cost = Math.ceil(meter.spent);
    const [parts = []] = trace(run, [expression]);
    onSpent?.(cost + Math.ceil(run.meter.spent));
    if (!(value instanceof Failure)) return { value, parts, cost };
    return { error: value.message, parts, cost, ...(value instanceof Unknown && { unknown: value.of }) };
  });
}

/** The value of a node as JSON; a failure also when it costs more than is left. */
export function evaluateJson(run: Run, node: Node): JsonValue | Failure {
  return withinCost(() => {
    const outcome = evaluateNode(run, node);
    return outcome instanceof Failure ? outcome : toJson(run, outcome);
  });
}

const READ_VALUE = plan(celEnv(), parse('value'));

/**
 * Functions on timestamps need the library's context of an evaluation, which is there for as long as it evaluates: while it reads
 * a variable, for example.
 */
export function inLibrary<T>(work: () => T): T {
  let done: { readonly result: T } | undefined;
  const read = READ_VALUE({
    get value() {
      done = { result: work() };
      return null;
    },
  });
  if (done === undefined) throw new Error('an evaluation broke off', { cause: isCelError(read) ? read.cause : read });
  return done.result;
}

/** The parts of each of these expressions, which cost LIMITS.expressionTraceSteps together at most. */
export function trace(run: Run, expressions: readonly Expression[]): PartValue[][] {
  run.meter = createMeter(LIMITS.expressionTraceSteps);
  return expressions.map(({ parts }) => traceParts(run, parts).slice(0, LIMITS.expressionParts));
}

function traceParts(run: Run, parts: readonly Part[]): PartValue[] {
  const failed = (node: Node): boolean => run.outcomes.get(node) instanceof Failure;
  return parts.flatMap(({ expression, node, readBy }): PartValue[] => {
    // Of a path without a value, the last that has one is told.
    if (readBy !== undefined && (failed(node) || !readBy.some(failed))) return [];
    return [{ expression, ...describeNode(run, node) }];
  });
}

type Described = { readonly value: JsonValue } | { readonly tooLarge: string } | { readonly error: string };

function describeNode(run: Run, node: Node): Described {
  const known = run.outcomes.get(node);
  const outcome = known instanceof Failure ? known : withinCost(() => visit(run, node, known));
  if (outcome instanceof Failure) return { error: outcome.message };
  // What is charged for a value is no more than its bytes as JSON.
  const meter = createMeter(LIMITS.expressionPartBytes);
  const value = withinCost(() => toJson({ weights: run.weights, meter }, outcome));
  // Where that is more than what is left, nothing is left for the next.
  withinCost(() => run.meter.charge(meter.spent));
  if (value instanceof Failure) {
    return meter.spent >= LIMITS.expressionPartBytes ? { tooLarge: describeSize(outcome) } : { error: value.message };
  }
  const isLarge = jsonBytes(value) > LIMITS.expressionPartBytes || jsonLevels(value) > LIMITS.jsonLevels;
  return isLarge ? { tooLarge: describeSize(outcome) } : { value };
}

/** The value of a node, which is paid for also when it is known. */
function visit(run: Run, node: Node, known: CelValue | undefined): Outcome {
  run.meter.charge(1);
  return known ?? evaluateNode(run, node);
}

function describeSize(value: CelValue): string {
  if (typeof value === 'string') return `a text of ${value.length} characters`;
  if (isCelList(value)) return `a list of ${value.size} entries`;
  if (isCelMap(value)) return `a map of ${value.size} entries`;
  return `a value of type ${celType(value).name}`;
}

function withinCost<T>(work: () => T): T | Failure {
  try {
    return work();
  } catch (error) {
    if (error instanceof CostExceeded) return new Failure(error.message);
    if (error instanceof UnknownRead) return new Unknown(error.of);
    throw error;
  }
}
