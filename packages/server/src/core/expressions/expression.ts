// Conditions and values of definitions: expressions of CEL, checked when a definition is created, so that what is left for the
// run-time are values of the wrong type and fields that are not there.
import { parse } from '@bufbuild/cel';
import { addFound, addViolation, type Found, quote } from '../check-fields.ts';
import { LIMITS } from '../limits.ts';
import { buildNodes, type Parsed } from './build-nodes.ts';
import { bracketDepth } from './literals.ts';
import type { Node, Part, Root, Scope } from './nodes.ts';
import { addProblem, type Problem } from './problems.ts';
import { ANY, type StaticType, staticType } from './static-types.ts';
import { syntaxProblem } from './syntax-problem.ts';
import { type TextPlace, violationAt } from './text-place.ts';

/** A checked expression. Compiling takes some ten times as long as evaluating: keep it. */
export interface Expression {
  readonly source: string;
  /** The variables that it begins with, each once. */
  readonly roots: readonly Root[];
  /** The jobs whose results it reads, each once; 'all' when that is only known once it is evaluated. */
  readonly needs: readonly string[] | 'all';
  readonly node: Node;
  /** Of its value, where that is known before anything is read. */
  readonly type: StaticType;
  /** What its value comes from, in reading order. */
  readonly parts: readonly Part[];
}

/**
 * Compiles an expression; undefined when something is wrong with it, which is then added to `found` as of `field`.
 * @param place Where it stands when it is only a part of the field's text.
 */
export function compileExpression(
  found: Found,
  field: string,
  source: string,
  scope: Scope,
  place?: TextPlace,
): Expression | undefined {
  // A list of its own: that of the caller takes only so many.
  const own: Problem[] = [];
  const parsed = parseExpression(own, source);
  const built = parsed === undefined ? undefined : buildNodes(own, source, parsed, scope);
  // What is stored was checked when it was created, by the rules of then.
  const isNew = scope.fields !== undefined;
  const type =
    built === undefined || !isNew
      ? ANY
      : staticType(
          built.node,
          (problem, node) =>
            addProblem(own, `${quote(source)} can never be worked out: ${problem}`, built.offsetOf(node)),
          scope.typeAt,
        );
  const { text, offset: from } = place ?? { text: source, offset: 0 };
  for (const { description, offset = place && 0 } of own.toSorted(byOffset)) {
    if (offset === undefined) addViolation(found, field, description);
    else addFound(found, violationAt(field, description, { text, offset: from + offset }));
  }
  if (built === undefined || own.length > 0) return undefined;
  const { node, parts, roots, needs } = built;
  return { source, roots, needs, node, type, parts };
}

function byOffset(a: Problem, b: Problem): number {
  return (a.offset ?? 0) - (b.offset ?? 0);
}

function parseExpression(own: Problem[], source: string): Parsed | undefined {
  const problem = sizeProblem(source);
  if (problem !== undefined) {
    addProblem(own, problem);
    return undefined;
  }
  try {
    return parse(source);
  } catch (error) {
    own.push(syntaxProblem(source, error));
    return undefined;
  }
}

function sizeProblem(source: string): string | undefined {
  if (source.trim() === '') return 'is required: an expression';
  if (source.length > LIMITS.expressionLength)
    return `must have at most ${LIMITS.expressionLength} characters; has ${source.length}`;
  // The parser needs stack for each bracket that is open.
  if (bracketDepth(source) > LIMITS.expressionDepth)
    return `must have at most ${LIMITS.expressionDepth} brackets inside of each other`;
  return undefined;
}
