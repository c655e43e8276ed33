// From what the parser made to what is evaluated. Everything that can be known to be wrong is found here, all of it at once.
import { type parse, unparse } from '@bufbuild/cel';
import { type Found, quote } from '../check-fields.ts';
import { LIMITS } from '../limits.ts';
import { nearestName } from '../nearest-name.ts';
import { type Constant, literalValue, TYPES } from './constants.ts';
import { offsetOfExpr } from './expr-offsets.ts';
import { findParts } from './find-parts.ts';
import { findFunction } from './functions.ts';
import { describeUnknownField, describeUnknownNeed } from './known-fields.ts';
import { describeUnknownFunction, isNearLoop } from './known-functions.ts';
import { LOOPS, type Loop, type LoopNode, type Node, type Part, ROOTS, type Root, type Scope } from './nodes.ts';
import { Failure } from './outcome.ts';
import { compilePattern } from './pattern.ts';
import { addProblem, type Problem } from './problems.ts';

export type Parsed = ReturnType<typeof parse>;
type Expr = Parsed['expr'];
type ExprOf<Case extends Expr['exprKind']['case']> = Extract<Expr['exprKind'], { case: Case }>;
type Call = NonNullable<ExprOf<'callExpr'>['value']>;
type Comprehension = NonNullable<ExprOf<'comprehensionExpr'>['value']>;
type Struct = NonNullable<ExprOf<'structExpr'>['value']>;

export interface Built {
  readonly node: Node;
  readonly parts: readonly Part[];
  readonly roots: readonly Root[];
  readonly needs: readonly string[] | 'all';
  /** Where a node stands in the source; undefined where nothing of the source is the node by itself. */
  offsetOf(node: Node): number | undefined;
}

interface Builder {
  readonly problems: Problem[];
  readonly source: string;
  readonly parsed: Parsed;
  readonly scope: Scope;
  readonly exprs: Map<Node, Expr>;
  readonly roots: Set<Root>;
  readonly needs: Set<string>;
  needsAll: boolean;
  nodes: number;
  isTooLarge: boolean;
  /** The variable of the loop whose body is built. */
  variable: string | undefined;
}

/** Of one expression: looking for the name that was meant takes time for each need. */
const MAX_SUGGESTIONS = 10;

/** Stands where a problem was found, and may be of any type: what is built is then of no other use than to look for more. */
const NOTHING: Node = { kind: 'element' };

/** Adds what is wrong to `problems`. */
export function buildNodes(problems: Problem[], source: string, parsed: Parsed, scope: Scope): Built {
  const builder: Builder = {
    problems,
    source,
    parsed,
    scope,
    exprs: new Map(),
    roots: new Set(),
    needs: new Set(),
    needsAll: false,
    nodes: 0,
    isTooLarge: false,
    variable: undefined,
  };
  const node = build(builder, parsed.expr, 1);
  const texts = (part: Node): string => {
    const expr = builder.exprs.get(part);
    return expr === undefined ? '' : unparse({ ...parsed, expr });
  };
  return {
    node,
    parts: builder.isTooLarge ? [] : findParts(node, texts),
    roots: Array.from(builder.roots),
    needs: builder.needsAll ? 'all' : Array.from(builder.needs),
    offsetOf: (part) => offsetIn(builder, builder.exprs.get(part)),
  };
}

function build(builder: Builder, expr: Expr | undefined, depth: number): Node {
  if (expr === undefined) return violate(builder, undefined, 'is no expression');
  if (!isWithinBounds(builder, expr, depth)) return NOTHING;
  const node = buildKind(builder, expr, depth);
  builder.exprs.set(node, expr);
  return node;
}

function isWithinBounds(builder: Builder, expr: Expr, depth: number): boolean {
  if (builder.isTooLarge) return false;
  if (depth > LIMITS.expressionDepth) {
    violate(builder, expr, `must have at most ${LIMITS.expressionDepth} levels of operators and calls`);
  } else if (++builder.nodes > LIMITS.expressionNodes) {
    violate(builder, expr, `must have at most ${LIMITS.expressionNodes} operators, calls, fields and literals`);
  } else {
    return true;
  }
  builder.isTooLarge = true;
  return false;
}

function buildKind(builder: Builder, expr: Expr, depth: number): Node {
  const { exprKind } = expr;
  switch (exprKind.case) {
    case 'constExpr':
      return buildConstant(builder, expr, exprKind.value);
    case 'identExpr':
      return buildName(builder, expr, exprKind.value.name);
    case 'selectExpr': {
      const { operand, field, testOnly } = exprKind.value;
      const from = buildContainer(builder, operand, depth, { name: field, at: expr });
      return { kind: testOnly ? 'has' : 'select', operand: from, field };
    }
    case 'callExpr':
      return buildCall(builder, expr, exprKind.value, depth);
    case 'listExpr':
      return { kind: 'list', items: exprKind.value.elements.map((item) => build(builder, item, depth + 1)) };
    case 'structExpr':
      return buildMap(builder, expr, exprKind.value, depth);
    case 'comprehensionExpr':
      return buildLoop(builder, expr, exprKind.value, depth);
    case undefined:
      return violate(builder, expr, 'is no expression');
  }
}

function buildConstant(builder: Builder, expr: Expr, constant: Constant): Node {
  const value = literalValue(constant);
  return value instanceof Failure ? violate(builder, expr, value.message) : { kind: 'constant', value };
}

function buildName(builder: Builder, expr: Expr, name: string): Node {
  if (name === builder.variable) return { kind: 'element' };
  if (name === 'needs' && isRoot(builder, name)) builder.needsAll = true;
  return buildRoot(builder, expr, name);
}

function buildRoot(builder: Builder, expr: Expr, name: string): Node {
  const root = builder.scope.roots.find((known) => known === name);
  if (root !== undefined) {
    builder.roots.add(root);
    return { kind: 'root', root };
  }
  const type = TYPES.get(name);
  if (type !== undefined) return { kind: 'constant', value: type };
  if (ROOTS.some((known) => known === name)) {
    return violate(builder, expr, `${quote(name)} has no value here; known are ${listed(builder.scope.roots)}`);
  }
  const names = builder.variable === undefined ? builder.scope.roots : [builder.variable, ...builder.scope.roots];
  const near = nearestName(name, names);
  const hint = near === undefined ? `; known are ${listed(names)}` : `; did you mean ${quote(near)}?`;
  return violate(builder, expr, `there is no variable ${quote(name)}${hint}`);
}

/** A field or entry that is taken by its name, and what says it. */
interface Taken {
  readonly name: string;
  readonly at: Expr;
}

/** What a field or an entry is taken of: of `needs`, the name says which job is meant. */
function buildContainer(builder: Builder, operand: Expr | undefined, depth: number, taken: Taken | undefined): Node {
  const isNeeds = operand?.exprKind.case === 'identExpr' && operand.exprKind.value.name === 'needs';
  if (!isNeeds || taken === undefined || !isRoot(builder, 'needs')) {
    const before = builder.problems.length;
    const container = build(builder, operand, depth + 1);
    const unknown = taken && describeUnknownField(builder.scope, operand, taken.name);
    const isTold = unknown === undefined || builder.problems.length > before;
    return isTold ? container : violate(builder, taken?.at, unknown);
  }
  const { name, at } = taken;
  builder.needs.add(name);
  if (!builder.scope.needs.includes(name)) {
    const isHinted = builder.problems.length < MAX_SUGGESTIONS;
    violate(builder, at, describeUnknownNeed(builder.scope, name, isHinted));
  }
  if (!isWithinBounds(builder, operand, depth + 1)) return NOTHING;
  const node = buildRoot(builder, operand, 'needs');
  builder.exprs.set(node, operand);
  return node;
}

function buildCall(builder: Builder, expr: Expr, call: Call, depth: number): Node {
  const { function: id, target, args } = call;
  switch (id) {
    case '_&&_':
    case '_||_':
      return { kind: 'logic', endsAt: id === '_||_', operands: buildChain(builder, id, args, depth) };
    case '_?_:_': {
      const [condition, whenTrue, whenFalse] = args.map((arg) => build(builder, arg, depth + 1));
      if (condition === undefined || whenTrue === undefined || whenFalse === undefined) break;
      return { kind: 'choice', condition, whenTrue, whenFalse };
    }
    case '_[_]': {
      const [container, at] = args;
      const name = literalText(at);
      const taken = at === undefined || name === undefined ? undefined : { name, at };
      const operand = buildContainer(builder, container, depth, taken);
      return { kind: 'index', operand, index: build(builder, at, depth + 1) };
    }
    case 'matches':
      return buildMatches(builder, expr, call, depth);
  }
  const callee = findFunction(id);
  // In a loop, what comes after the list has a variable that is none elsewhere.
  const given = callee === undefined && isNearLoop(id) ? [] : args;
  const operands = (target === undefined ? given : [target, ...given]).map((arg) => build(builder, arg, depth + 1));
  if (callee === undefined) return violate(builder, expr, describeUnknownFunction(id));
  const isMethod = target !== undefined;
  if (isMethod ? !callee.isMethod : !callee.isFunction) {
    return violate(builder, expr, `${id} is called as ${isMethod ? `${id}(x)` : `x.${id}()`}`);
  }
  return { kind: 'call', callee, isMethod, operands };
}

/** The parser makes a balanced tree of a chain; it is evaluated, and read, as one. */
function buildChain(builder: Builder, id: string, args: readonly Expr[], depth: number): Node[] {
  return args.flatMap((arg) => {
    const { exprKind } = arg;
    const isInner = exprKind.case === 'callExpr' && exprKind.value.function === id;
    return isInner ? buildChain(builder, id, exprKind.value.args, depth) : [build(builder, arg, depth + 1)];
  });
}

function buildMatches(builder: Builder, expr: Expr, { target, args }: Call, depth: number): Node {
  const [text, pattern, ...rest] = target === undefined ? args : [target, ...args];
  const source = literalText(pattern);
  const operand = build(builder, text, depth + 1);
  if (source === undefined || rest.length > 0) {
    return violate(
      builder,
      pattern ?? expr,
      'matches takes a pattern that is a text literal, such as x.matches("^v[0-9]+$")',
    );
  }
  const wrong: Found = [];
  const compiled = compilePattern(wrong, '', source, builder.scope.work);
  for (const { description } of wrong) violate(builder, pattern, description);
  return compiled === undefined ? NOTHING : { kind: 'matches', operand, pattern: compiled };
}

function buildMap(builder: Builder, expr: Expr, { messageName, entries }: Struct, depth: number): Node {
  if (messageName !== '') return violate(builder, expr, `cannot make a message ${quote(messageName)}`);
  return {
    kind: 'map',
    entries: entries.map(({ keyKind, value }) => ({
      key: build(builder, keyKind.case === 'mapKey' ? keyKind.value : undefined, depth + 1),
      value: build(builder, value, depth + 1),
    })),
  };
}

/** The parser writes macros out; which one it was, and what it was given, is at a known place of each. */
function buildLoop(builder: Builder, expr: Expr, comprehension: Comprehension, depth: number): Node {
  const { iterRange, iterVar, loopStep } = comprehension;
  const macro = builder.parsed.sourceInfo?.macroCalls[expr.id.toString()]?.exprKind;
  const name = macro?.case === 'callExpr' ? macro.value.function : '';
  const loop = name === 'existsOne' ? 'exists_one' : LOOPS.find((known) => known === name);
  if (loop === undefined || loopStep?.exprKind.case !== 'callExpr') return violate(builder, expr, 'is no expression');
  const range = build(builder, iterRange, depth + 1);
  if (builder.variable !== undefined) return violate(builder, expr, `${loop} may not be inside of another loop`);
  if (ROOTS.some((root) => root === iterVar))
    return violate(builder, expr, `${quote(iterVar)} is the name of a variable already`);
  builder.variable = iterVar;
  const body = buildBody(builder, loop, loopStep.exprKind.value, depth);
  builder.variable = undefined;
  return { kind: 'loop', loop, range, ...body };
}

function buildBody(
  builder: Builder,
  loop: Loop,
  { function: id, args }: Call,
  depth: number,
): Pick<LoopNode, 'test' | 'step'> {
  if (loop === 'all' || loop === 'exists') return { test: build(builder, args[1], depth + 1), step: undefined };
  const isTested = id === '_?_:_';
  const test = isTested ? build(builder, args[0], depth + 1) : undefined;
  if (loop !== 'map') return { test, step: undefined };
  const added = isTested ? callArgs(args[1])[1] : args[1];
  const item = added?.exprKind.case === 'listExpr' ? added.exprKind.value.elements[0] : undefined;
  return { test, step: build(builder, item, depth + 1) };
}

function callArgs(expr: Expr | undefined): readonly Expr[] {
  return expr?.exprKind.case === 'callExpr' ? expr.exprKind.value.args : [];
}

function literalText(expr: Expr | undefined): string | undefined {
  const constant = expr?.exprKind.case === 'constExpr' ? expr.exprKind.value.constantKind : undefined;
  return constant?.case === 'stringValue' ? constant.value : undefined;
}

function isRoot({ scope }: Builder, name: Root): boolean {
  return scope.roots.includes(name);
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.join(', ');
}

function violate(builder: Builder, expr: Expr | undefined, description: string): Node {
  addProblem(builder.problems, description, offsetIn(builder, expr));
  return NOTHING;
}

function offsetIn({ source, parsed }: Builder, expr: Expr | undefined): number | undefined {
  return expr && offsetOfExpr(source, parsed, expr);
}
