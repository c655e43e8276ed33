// The parts of an expression that say why it has its value: the operands of logic and comparisons, and the fields that are read.
import { LIMITS } from '../limits.ts';
import type { Node, Part } from './nodes.ts';

/**
 * In reading order, a part before those inside of it, each text once. Literals say nothing; what is in the body of a loop has not
 * one value but many. Behind them is what paths are read of.
 */
export function findParts(root: Node, textOf: (node: Node) => string): Part[] {
  const parts = new Map<string, Part>();
  const bases = new Map<string, { readonly node: Node; readonly readBy: Node[] }>();
  const add = (node: Node): void => {
    if (node === root || isLiteral(node) || parts.size >= LIMITS.expressionParts) return;
    const expression = textOf(node);
    if (!parts.has(expression)) parts.set(expression, { expression, node });
  };
  const visit = (node: Node): void => {
    switch (node.kind) {
      case 'constant':
      case 'element':
        return;
      case 'has':
        // What is asked for may not be there; what it is asked of is, and shows what is.
        return node.operand.kind === 'root' ? undefined : visit(node.operand);
      case 'root':
      case 'select':
      case 'index':
        add(node);
        return visitInside(node);
      case 'logic':
        return visitEach(node.operands, add);
      case 'choice':
        return visitEach([node.condition, node.whenTrue, node.whenFalse], add);
      case 'call':
        return visitEach(node.operands, node.callee.isTest ? add : undefined);
      case 'matches':
        return visit(node.operand);
      case 'list':
        return visitEach(node.items);
      case 'map':
        return visitEach(node.entries.flatMap(({ key, value }) => [key, value]));
      case 'loop':
        return visit(node.range);
    }
  };
  const visitEach = (nodes: readonly Node[], before?: (node: Node) => void): void => {
    for (const node of nodes) {
      before?.(node);
      visit(node);
    }
  };
  /** A path counts as a whole; beside it only what it is indexed by, and what it begins with if that is no variable. */
  const visitInside = (path: Node): void => {
    if (path.kind !== 'select' && path.kind !== 'index') {
      if (path.kind !== 'root') visit(path);
      return;
    }
    const base = textOf(path.operand);
    const known = bases.get(base);
    if (known === undefined) bases.set(base, { node: path.operand, readBy: [path] });
    else known.readBy.push(path);
    visitInside(path.operand);
    if (path.kind === 'index') visit(path.index);
  };
  visit(root);
  const behind = Array.from(bases, ([expression, base]): Part => ({ expression, ...base }));
  return [...parts.values(), ...behind.filter(({ expression, node }) => !parts.has(expression) && !isLiteral(node))];
}

function isLiteral(node: Node): boolean {
  if (node.kind === 'list') return node.items.every(isLiteral);
  if (node.kind === 'map') return node.entries.every(({ key, value }) => isLiteral(key) && isLiteral(value));
  return node.kind === 'constant';
}
