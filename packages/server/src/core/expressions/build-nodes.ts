// From what the parser made to what is evaluated. Everything that can be known to be wrong is found here, all of it at once.
import { type parse, unparse } from '@bufbuild/cel';
import { addViolation, type Found, quote } from '../check-fields.ts';
import { LIMITS } from '../limits.ts';
import { nearestName } from '../nearest-name.ts';
import { type Constant, literalValue, TYPES } from './constants.ts';
import { findParts } from './find-parts.ts';
import { FUNCTION_NAMES, findFunction } from './functions.ts';
import { describeUnknownField } from './known-fields.ts';
import { LOOPS, type Loop, type LoopNode, type Node, type Part, ROOTS, type Root, type Scope } from './nodes.ts';
import { Failure } from './outcome.ts';
import { compilePattern } from './pattern.ts';

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
}

interface Builder {
  readonly found: Found;
  readonly field: string;
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

/** Stands where a violation was found: what is built is then of no use. */
const NOTHING: Node = { kind: 'constant', value: null };

export function buildNodes(found: Found, field: string, parsed: Parsed, scope: Scope): Built {
  const builder: Builder = {
    found,
    field,
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
  };
}

function build(builder: Builder, expr: Expr | undefined, depth: number): Node {
  if (expr === undefined) return violate(builder, 'is no expression');
  if (!isWithinBounds(builder, depth)) return NOTHING;
  const node = buildKind(builder, expr, depth);
  builder.exprs.set(node, expr);
  return node;
}

function isWithinBounds(builder: Builder, depth: number): boolean {
  if (builder.isTooLarge) return false;
  if (depth > LIMITS.expressionDepth) {
    violate(builder, `must have at most ${LIMITS.expressionDepth} levels of operators and calls`);
  } else if (++builder.nodes > LIMITS.expressionNodes) {
    violate(builder, `must have at most ${LIMITS.expressionNodes} operators, calls, fields and literals`);
  } else {
    return true;
  }
  builder.isTooLarge = true;
  return false;
}

function buildKind(builder: Builder, { id, exprKind }: Expr, depth: number): Node {
  switch (exprKind.case) {
    case 'constExpr':
      return buildConstant(builder, exprKind.value);
    case 'identExpr':
      return buildName(builder, exprKind.value.name);
    case 'selectExpr': {
      const { operand, field, testOnly } = exprKind.value;
      const from = buildContainer(builder, operand, depth, field);
      return { kind: testOnly ? 'has' : 'select', operand: from, field };
    }
    case 'callExpr':
      return buildCall(builder, exprKind.value, depth);
    case 'listExpr':
      return { kind: 'list', items: exprKind.value.elements.map((item) => build(builder, item, depth + 1)) };
    case 'structExpr':
      return buildMap(builder, exprKind.value, depth);
    case 'comprehensionExpr':
      return buildLoop(builder, id, exprKind.value, depth);
    case undefined:
      return violate(builder, 'is no expression');
  }
}

function buildConstant(builder: Builder, constant: Constant): Node {
  const value = literalValue(constant);
  return value instanceof Failure ? violate(builder, value.message) : { kind: 'constant', value };
}

function buildName(builder: Builder, name: string): Node {
  if (name === builder.variable) return { kind: 'element' };
  if (name === 'needs' && isRoot(builder, name)) builder.needsAll = true;
  return buildRoot(builder, name);
}

function buildRoot(builder: Builder, name: string): Node {
  const root = builder.scope.roots.find((known) => known === name);
  if (root !== undefined) {
    builder.roots.add(root);
    return { kind: 'root', root };
  }
  const type = TYPES.get(name);
  if (type !== undefined) return { kind: 'constant', value: type };
  if (ROOTS.some((known) => known === name)) {
    return violate(builder, `${quote(name)} has no value here; known are ${listed(builder.scope.roots)}`);
  }
  const names = builder.variable === undefined ? builder.scope.roots : [builder.variable, ...builder.scope.roots];
  const near = nearestName(name, names);
  const hint = near === undefined ? `; known are ${listed(names)}` : `; did you mean ${quote(near)}?`;
  return violate(builder, `there is no variable ${quote(name)}${hint}`);
}

/** What a field or an entry is taken of: of `needs`, the name says which job is meant. */
function buildContainer(builder: Builder, operand: Expr | undefined, depth: number, name: string | undefined): Node {
  const isNeeds = operand?.exprKind.case === 'identExpr' && operand.exprKind.value.name === 'needs';
  if (!isNeeds || name === undefined || !isRoot(builder, 'needs')) {
    const before = builder.found.length;
    const container = build(builder, operand, depth + 1);
    const unknown = name === undefined ? undefined : describeUnknownField(builder.scope, operand, name);
    return unknown === undefined || builder.found.length > before ? container : violate(builder, unknown);
  }
  builder.needs.add(name);
  if (!builder.scope.needs.includes(name)) {
    const near = builder.found.length < MAX_SUGGESTIONS ? nearestNeed(builder.scope, name) : undefined;
    const hint = near === undefined ? '' : `; did you mean ${needPath(near)}?`;
    violate(builder, `there is no job ${quote(name)} among the needs${hint}`);
  }
  if (!isWithinBounds(builder, depth + 1)) return NOTHING;
  const node = buildRoot(builder, 'needs');
  builder.exprs.set(node, operand);
  return node;
}

/** One that goes on after a `-`, which reads as a difference, comes first. */
function nearestNeed({ needs }: Scope, name: string): string | undefined {
  return needs.find((need) => need.startsWith(`${name}-`)) ?? nearestName(name, needs);
}

function buildCall(builder: Builder, call: Call, depth: number): Node {
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
      const operand = buildContainer(builder, container, depth, name);
      return { kind: 'index', operand, index: build(builder, at, depth + 1) };
    }
    case 'matches':
      return buildMatches(builder, call, depth);
  }
  const operands = (target === undefined ? args : [target, ...args]).map((arg) => build(builder, arg, depth + 1));
  const callee = findFunction(id);
  if (callee === undefined) return violate(builder, describeUnknownFunction(id));
  const isMethod = target !== undefined;
  if (isMethod ? !callee.isMethod : !callee.isFunction) {
    return violate(builder, `${id} is called as ${isMethod ? `${id}(x)` : `x.${id}()`}`);
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

function buildMatches(builder: Builder, { target, args }: Call, depth: number): Node {
  const [text, pattern, ...rest] = target === undefined ? args : [target, ...args];
  const source = literalText(pattern);
  const operand = build(builder, text, depth + 1);
  if (source === undefined || rest.length > 0) {
    return violate(builder, 'matches takes a pattern that is a text literal, such as x.matches("^v[0-9]+$")');
  }
  const compiled = compilePattern(builder.found, builder.field, source, builder.scope.work);
  return compiled === undefined ? NOTHING : { kind: 'matches', operand, pattern: compiled };
}

function buildMap(builder: Builder, { messageName, entries }: Struct, depth: number): Node {
  if (messageName !== '') return violate(builder, `cannot make a message ${quote(messageName)}`);
  return {
    kind: 'map',
    entries: entries.map(({ keyKind, value }) => ({
      key: build(builder, keyKind.case === 'mapKey' ? keyKind.value : undefined, depth + 1),
      value: build(builder, value, depth + 1),
    })),
  };
}

/** The parser writes macros out; which one it was, and what it was given, is at a known place of each. */
function buildLoop(builder: Builder, id: bigint, comprehension: Comprehension, depth: number): Node {
  const { iterRange, iterVar, loopStep } = comprehension;
  const macro = builder.parsed.sourceInfo?.macroCalls[id.toString()]?.exprKind;
  const name = macro?.case === 'callExpr' ? macro.value.function : '';
  const loop = name === 'existsOne' ? 'exists_one' : LOOPS.find((known) => known === name);
  if (loop === undefined || loopStep?.exprKind.case !== 'callExpr') return violate(builder, 'is no expression');
  const range = build(builder, iterRange, depth + 1);
  if (builder.variable !== undefined) return violate(builder, `${loop} may not be inside of another loop`);
  if (ROOTS.some((root) => root === iterVar))
    return violate(builder, `${quote(iterVar)} is the name of a variable already`);
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

/** What other systems ask in conditions, and what does it here. */
const OUTCOME_FUNCTIONS = ['success', 'failure', 'always', 'cancelled'];

function describeUnknownFunction(id: string): string {
  if (OUTCOME_FUNCTIONS.includes(id)) {
    return `there is no function ${quote(id)}; how needs have to end is said by the job's \`when\`: success, failure, always, finally`;
  }
  if (id === 'has') return 'has takes a field, such as has(params.name)';
  if (LOOPS.some((loop) => loop === id) || id === 'existsOne')
    return `${id} takes a name and an expression: x.${id}(item, …)`;
  const near = nearestName(id, [...FUNCTION_NAMES, ...LOOPS, 'has']);
  return `there is no function ${quote(id)}${near === undefined ? '' : `; did you mean ${near}?`}`;
}

function needPath(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? `needs.${name}` : `needs[${quote(name)}]`;
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.join(', ');
}

function violate({ found, field }: Builder, description: string): Node {
  addViolation(found, field, description);
  return NOTHING;
}
