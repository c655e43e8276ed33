// Evaluates a node, as the specification of CEL has it. Every visit is paid for, and so is every value that is looked at.
import {
  type CelMap,
  type CelUint,
  type CelValue,
  celList,
  celMap,
  celType,
  isCelList,
  isCelMap,
  isCelUint,
} from '@bufbuild/cel';
import { quote } from '../check-fields.ts';
import { fromJson, type Importer } from './json-values.ts';
import { isMapKey, type MapKey } from './map-keys.ts';
import type { Meter } from './meter.ts';
import type { Inputs, LoopNode, Node } from './nodes.ts';
import { Failure, type Outcome } from './outcome.ts';
import type { Matcher, Pattern } from './pattern.ts';
import { ENTRY_STEPS } from './scales.ts';

/** To make a matcher, of any pattern and for each of its states. */
const MATCHER_STEPS = 2_000;
const MATCHER_SIZE_STEPS = 25;
/** Of a character by which a match comes to states that it has not been in together before. */
const SLOW_STEPS = 24;

/** One evaluation, or several of the same inputs with one budget. */
export interface Run extends Importer {
  /** Who pays: first the value, then its trace. */
  meter: Meter;
  readonly inputs: Inputs;
  /** Of every node that was visited, but those in the body of a loop. */
  readonly outcomes: Map<Node, Outcome>;
  /** With an upper bound of the sets of states that each came to: those are fast from then on. */
  readonly matchers: Map<Pattern, { readonly matcher: Matcher; readonly seen: number }>;
  /** What the loop is at; there is at most one, since they are not nested. */
  element: CelValue | undefined;
}

export function createRun(inputs: Inputs, meter: Meter): Run {
  return {
    meter,
    inputs,
    weights: new WeakMap(),
    imported: new Map(),
    outcomes: new Map(),
    matchers: new Map(),
    element: undefined,
  };
}

/** Throws CostExceeded, and nothing else that an author could cause. */
export function evaluateNode(run: Run, node: Node): Outcome {
  run.meter.charge(1);
  const outcome = evaluateKind(run, node);
  if (run.element === undefined) run.outcomes.set(node, outcome);
  return outcome;
}

function evaluateKind(run: Run, node: Node): Outcome {
  switch (node.kind) {
    case 'constant':
      return node.value;
    case 'root': {
      const input = run.inputs[node.root];
      return input === undefined ? new Failure(`${node.root} has no value here`) : fromJson(run, input);
    }
    case 'element':
      return run.element ?? null;
    case 'select':
      return withValue(run, node.operand, (value) => readField(value, node.field));
    case 'has':
      return withValue(run, node.operand, (value) =>
        isCelMap(value) ? value.get(node.field) !== undefined : noFields(value, node.field),
      );
    case 'index':
      return withValue(run, node.operand, (value) =>
        withValue(run, node.index, (index) => readEntry(run, value, index)),
      );
    case 'logic':
      return evaluateLogic(run, node.operands, node.endsAt);
    case 'choice': {
      const condition = evaluateBool(run, node.condition);
      if (condition instanceof Failure) return condition;
      return evaluateNode(run, condition ? node.whenTrue : node.whenFalse);
    }
    case 'call': {
      const operands = evaluateEach(run, node.operands);
      return operands instanceof Failure ? operands : node.callee.call(run, node.isMethod, operands);
    }
    case 'matches':
      return withValue(run, node.operand, (text) => evaluateMatch(run, node.pattern, text));
    case 'list': {
      const items = evaluateEach(run, node.items);
      return items instanceof Failure ? items : celList(items);
    }
    case 'map':
      return evaluateMap(run, node.entries);
    case 'loop':
      return withValue(run, node.range, (range) => evaluateLoop(run, node, range));
  }
}

function withValue(run: Run, node: Node, use: (value: CelValue) => Outcome): Outcome {
  const outcome = evaluateNode(run, node);
  return outcome instanceof Failure ? outcome : use(outcome);
}

function evaluateEach(run: Run, nodes: readonly Node[]): CelValue[] | Failure {
  const values: CelValue[] = [];
  for (const node of nodes) {
    const outcome = evaluateNode(run, node);
    if (outcome instanceof Failure) return outcome;
    values.push(outcome);
  }
  return values;
}

function evaluateBool(run: Run, node: Node): boolean | Failure {
  const outcome = evaluateNode(run, node);
  if (typeof outcome === 'boolean' || outcome instanceof Failure) return outcome;
  return new Failure(`expected a bool, got ${typeName(outcome)}`);
}

/** An operand that fails does not matter when another one decides. */
function evaluateLogic(run: Run, operands: readonly Node[], endsAt: boolean): Outcome {
  let failure: Failure | undefined;
  for (const operand of operands) {
    const outcome = evaluateBool(run, operand);
    if (outcome === endsAt) return endsAt;
    if (outcome instanceof Failure) failure ??= outcome;
  }
  return failure ?? !endsAt;
}

function evaluateMatch(run: Run, pattern: Pattern, text: CelValue): Outcome {
  if (typeof text !== 'string') return new Failure(`cannot apply matches to ${typeName(text)}`);
  const known = run.matchers.get(pattern);
  if (known === undefined) run.meter.charge(MATCHER_STEPS + MATCHER_SIZE_STEPS * pattern.size);
  const { matcher, seen } = known ?? { matcher: pattern.createMatcher(), seen: 0 };
  const slow = Math.max(0, Math.min(text.length, pattern.sets - seen));
  run.matchers.set(pattern, { matcher, seen: seen + slow });
  run.meter.charge(text.length + slow * (SLOW_STEPS + pattern.size / 4));
  return matcher.test(text);
}

function readField(value: CelValue, field: string): Outcome {
  if (!isCelMap(value)) return noFields(value, field);
  return value.get(field) ?? nullOrMissing(value, field);
}

function nullOrMissing(map: CelMap, key: MapKey): Outcome {
  return map.get(key) === null
    ? null
    : new Failure(`there is no ${typeof key === 'string' ? 'field' : 'entry'} ${shownKey(key)}`);
}

function noFields(value: CelValue, field: string): Failure {
  return new Failure(`cannot read the field ${quote(field)} of ${typeName(value)}`);
}

function readEntry(run: Run, value: CelValue, index: CelValue): Outcome {
  if (isCelMap(value) && isMapKey(index)) {
    // A map looks through all of its keys for one that is no text.
    run.meter.charge(typeof index === 'string' ? 1 : value.size);
    return value.get(index) ?? nullOrMissing(value, index);
  }
  const place = isCelUint(index) ? index.value : index;
  if (!isCelList(value) || (typeof place !== 'bigint' && typeof place !== 'number')) {
    return new Failure(`cannot read the entry ${typeName(index)} of ${typeName(value)}`);
  }
  const entry = Number.isInteger(Number(place)) ? value.get(Number(place)) : undefined;
  return entry === undefined ? new Failure(`there is no entry ${place} in a list of ${value.size}`) : entry;
}

function shownKey(key: MapKey): string {
  return typeof key === 'string' ? quote(key) : String(isCelUint(key) ? key.value : key);
}

function evaluateMap(run: Run, entries: readonly { readonly key: Node; readonly value: Node }[]): Outcome {
  run.meter.charge(ENTRY_STEPS * entries.length);
  const made = new Map<bigint | string | boolean | CelUint, CelValue>();
  for (const entry of entries) {
    const key = evaluateNode(run, entry.key);
    if (key instanceof Failure) return key;
    if (!isMapKey(key) || typeof key === 'number') return new Failure(`a map has no keys of type ${typeName(key)}`);
    if (made.has(key)) return new Failure(`a map has the key ${shownKey(key)} twice`);
    const value = evaluateNode(run, entry.value);
    if (value instanceof Failure) return value;
    made.set(key, value);
  }
  return celMap(made);
}

function evaluateLoop(run: Run, node: LoopNode, range: CelValue): Outcome {
  if (!isCelList(range) && !isCelMap(range)) {
    return new Failure(`${node.loop} goes through a list or a map, not ${typeName(range)}`);
  }
  run.meter.charge(range.size);
  try {
    return evaluateElements(run, node, isCelMap(range) ? range.keys() : range);
  } finally {
    run.element = undefined;
  }
}

function evaluateElements(run: Run, { loop, test, step }: LoopNode, elements: Iterable<CelValue>): Outcome {
  const made: CelValue[] = [];
  let failure: Failure | undefined;
  for (const element of elements) {
    run.element = element;
    const passes = test === undefined ? true : evaluateBool(run, test);
    if (loop === 'all' || loop === 'exists') {
      if (passes === (loop === 'exists')) return passes;
      if (passes instanceof Failure) failure ??= passes;
    } else if (passes instanceof Failure) {
      return passes;
    } else if (passes) {
      const item = step === undefined ? element : evaluateNode(run, step);
      if (item instanceof Failure) return item;
      made.push(item);
    }
  }
  if (loop === 'all' || loop === 'exists') return failure ?? loop === 'all';
  return loop === 'exists_one' ? made.length === 1 : celList(made);
}

function typeName(value: CelValue): string {
  return celType(value).name;
}
