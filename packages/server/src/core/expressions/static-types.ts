// The types that are known before anything is read: of literals, of what is said to be of one, and of what is made of these. What
// is told is sure: it would fail whenever it is worked out.
import { celType } from '@bufbuild/cel';
import { NUMBER } from './functions.ts';
import type { LoopNode, Node, Scope } from './nodes.ts';

/** The name of a type of CEL, or NUMBER; ANY where it is only known later. */
export type StaticType = string;
export { NUMBER };
export const ANY = 'dyn';

type Tell = (problem: string, node: Node) => void;
type TypeAt = Scope['typeAt'];

/**
 * The type of a node. Tells what is wrong inside of it.
 * @param typeAt Of what is read, as of Scope.
 */
export function staticType(node: Node, tell: Tell, typeAt?: TypeAt): StaticType {
  const typeOf = (inner: Node): StaticType => staticType(inner, tell, typeAt);
  switch (node.kind) {
    case 'constant':
      return celType(node.value).name;
    case 'root':
      return 'map';
    case 'element':
      return ANY;
    case 'select':
    case 'has': {
      const type = typeOf(node.operand);
      if (!isOne(type, ['map'])) tell(`cannot read the field ${JSON.stringify(node.field)} of ${type}`, node);
      return node.kind === 'has' ? 'bool' : typeOfRead(node, typeAt);
    }
    case 'index': {
      const [type, index] = [typeOf(node.operand), typeOf(node.index)];
      if (!isOne(type, ['map', 'list'])) tell(`cannot read the entry ${index} of ${type}`, node);
      return typeOfRead(node, typeAt);
    }
    case 'logic':
      for (const operand of node.operands) tellUnlessBool(operand, tell, typeAt);
      return 'bool';
    case 'choice': {
      tellUnlessBool(node.condition, tell, typeAt);
      const [whenTrue, whenFalse] = [typeOf(node.whenTrue), typeOf(node.whenFalse)];
      return oneOf([whenTrue, whenFalse]);
    }
    case 'call':
      return typeOfCall(node, node.operands.map(typeOf), tell);
    case 'matches': {
      const type = typeOf(node.operand);
      if (!isOne(type, ['string'])) tell(`cannot apply matches to ${type}`, node);
      return 'bool';
    }
    case 'list':
      node.items.forEach(typeOf);
      return 'list';
    case 'map':
      for (const { key, value } of node.entries) [key, value].forEach(typeOf);
      return 'map';
    case 'loop':
      return typeOfLoop(node, tell, typeAt);
  }
}

function typeOfRead(node: Node, typeAt: TypeAt): StaticType {
  const path = typeAt && pathOf(node);
  return path === undefined ? ANY : (typeAt?.(path) ?? ANY);
}

/** The variable and the names by which a value is read; undefined where one of them is worked out. */
function pathOf(node: Node): readonly string[] | undefined {
  if (node.kind === 'root') return [node.root];
  if (node.kind !== 'select' && node.kind !== 'index') return undefined;
  const path = pathOf(node.operand);
  const name = node.kind === 'select' ? node.field : node.index.kind === 'constant' ? node.index.value : undefined;
  return path === undefined || typeof name !== 'string' ? undefined : [...path, name];
}

function typeOfCall(node: Extract<Node, { kind: 'call' }>, types: readonly StaticType[], tell: Tell): StaticType {
  const { callee, isMethod } = node;
  const results = callee.resultsOf(isMethod, types);
  if (results.length === 0) {
    tell(`cannot apply ${callee.name} to ${types.length === 0 ? 'nothing' : types.join(' and ')}`, node);
    return ANY;
  }
  return oneOf(results);
}

/** What is one of these, and not known which. */
function oneOf(types: readonly StaticType[]): StaticType {
  const [first = ANY, ...more] = new Set(types);
  if (more.length === 0) return first;
  return [first, ...more].every((type) => ['int', 'double', NUMBER].includes(type)) ? NUMBER : ANY;
}

function typeOfLoop(node: LoopNode, tell: Tell, typeAt: TypeAt): StaticType {
  const { loop, range, test, step } = node;
  const type = staticType(range, tell, typeAt);
  if (!isOne(type, ['list', 'map'])) tell(`${loop} goes through a list or a map, not ${type}`, node);
  if (test !== undefined) tellUnlessBool(test, tell, typeAt);
  if (step !== undefined) staticType(step, tell, typeAt);
  return loop === 'map' || loop === 'filter' ? 'list' : 'bool';
}

function tellUnlessBool(node: Node, tell: Tell, typeAt: TypeAt): void {
  const type = staticType(node, tell, typeAt);
  if (!isOne(type, ['bool'])) tell(`expected a bool, got ${type}`, node);
}

/** Whether a value of this type may be of one of those. */
export function isOne(type: StaticType, those: readonly StaticType[]): boolean {
  return type === ANY || those.includes(type);
}
