// The types that are known before anything is read: of literals, and of what is made of them. Whatever is read may be of any type. What
// is told is sure: it would fail whenever it is worked out.
import { celType } from '@bufbuild/cel';
import type { LoopNode, Node } from './nodes.ts';

/** The name of a type of CEL; ANY where it is only known later. */
export type StaticType = string;
export const ANY = 'dyn';

type Tell = (problem: string, node: Node) => void;

/** The type of a node. Tells what is wrong inside of it. */
export function staticType(node: Node, tell: Tell): StaticType {
  const typeOf = (inner: Node): StaticType => staticType(inner, tell);
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
      return node.kind === 'has' ? 'bool' : ANY;
    }
    case 'index': {
      const [type, index] = [typeOf(node.operand), typeOf(node.index)];
      if (!isOne(type, ['map', 'list'])) tell(`cannot read the entry ${index} of ${type}`, node);
      return ANY;
    }
    case 'logic':
      for (const operand of node.operands) tellUnlessBool(operand, tell);
      return 'bool';
    case 'choice': {
      tellUnlessBool(node.condition, tell);
      const [whenTrue, whenFalse] = [typeOf(node.whenTrue), typeOf(node.whenFalse)];
      return whenTrue === whenFalse ? whenTrue : ANY;
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
      return typeOfLoop(node, tell);
  }
}

function typeOfCall(node: Extract<Node, { kind: 'call' }>, types: readonly StaticType[], tell: Tell): StaticType {
  const { callee, isMethod } = node;
  const results = callee.resultsOf(isMethod, types);
  const [first, ...more] = results;
  if (first === undefined) {
    tell(`cannot apply ${callee.name} to ${types.length === 0 ? 'nothing' : types.join(' and ')}`, node);
    return ANY;
  }
  return more.every((result) => result === first) ? first : ANY;
}

function typeOfLoop(node: LoopNode, tell: Tell): StaticType {
  const { loop, range, test, step } = node;
  const type = staticType(range, tell);
  if (!isOne(type, ['list', 'map'])) tell(`${loop} goes through a list or a map, not ${type}`, node);
  if (test !== undefined) tellUnlessBool(test, tell);
  if (step !== undefined) staticType(step, tell);
  return loop === 'map' || loop === 'filter' ? 'list' : 'bool';
}

function tellUnlessBool(node: Node, tell: Tell): void {
  const type = staticType(node, tell);
  if (!isOne(type, ['bool'])) tell(`expected a bool, got ${type}`, node);
}

/** Whether a value of this type may be of one of those. */
export function isOne(type: StaticType, those: readonly StaticType[]): boolean {
  return type === ANY || those.includes(type);
}
