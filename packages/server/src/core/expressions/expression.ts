// Conditions and values of definitions: expressions of CEL, checked when a definition is created, so that what is left for the
// run-time are values of the wrong type and fields that are not there.
import { parse } from '@bufbuild/cel';
import { addViolation, type Found, quote } from '../check-fields.ts';
import { LIMITS } from '../limits.ts';
import { buildNodes, type Parsed } from './build-nodes.ts';
import { bracketDepth } from './literals.ts';
import type { Node, Part, Root, Scope } from './nodes.ts';
import { ANY, type StaticType, staticType } from './static-types.ts';

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

/** Compiles an expression; undefined when something is wrong with it, which is then added to `found` as of `field`. */
export function compileExpression(found: Found, field: string, source: string, scope: Scope): Expression | undefined {
  // A list of its own: that of the caller takes only so many.
  const own: Found = [];
  const parsed = parseExpression(own, field, source);
  const built = parsed === undefined ? undefined : buildNodes(own, field, parsed, scope);
  // What is stored was checked when it was created, by the rules of then.
  const isNew = scope.fields !== undefined;
  const type =
    built === undefined || own.length > 0 || !isNew
      ? ANY
      : staticType(built.node, (problem) =>
          addViolation(own, field, `${quote(source)} can never be worked out: ${problem}`),
        );
  for (const violation of own) addViolation(found, violation.field, violation.description);
  if (built === undefined || own.length > 0) return undefined;
  const { node, parts, roots, needs } = built;
  return { source, roots, needs, node, type, parts };
}

function parseExpression(found: Found, field: string, source: string): Parsed | undefined {
  if (source.trim() === '') {
    addViolation(found, field, 'is required: an expression');
    return undefined;
  }
  if (source.length > LIMITS.expressionLength) {
    addViolation(found, field, `must have at most ${LIMITS.expressionLength} characters; has ${source.length}`);
    return undefined;
  }
  // The parser needs stack for each bracket that is open.
  if (bracketDepth(source) > LIMITS.expressionDepth) {
    addViolation(found, field, `must have at most ${LIMITS.expressionDepth} brackets inside of each other`);
    return undefined;
  }
  try {
    return parse(source);
  } catch (error) {
    addViolation(found, field, describeSyntaxError(source, error));
    return undefined;
  }
}

function describeSyntaxError(source: string, error: unknown): string {
  if (/^\s*\$\{\{/.test(source)) return `${quote(source)} is no expression: write it without \${{ }}`;
  const offset = offsetOf(error);
  if (offset === undefined) {
    return `${quote(source)} is no expression: ${error instanceof Error ? error.message : String(error)}`;
  }
  const lines = source.slice(0, offset).split('\n');
  const column = (lines.at(-1) ?? '').length + 1;
  const place = lines.length > 1 ? `line ${lines.length}, column ${column}` : `column ${column}`;
  const rest = source.slice(offset).trim();
  // The parser stops at the last place to which all is well: before an operator that misses its second operand.
  if (OPERATOR_OR_NOTHING.test(rest)) return `${quote(source)} ends too early, at ${place}`;
  const hint = /^=[^=]/.test(rest) ? '; values are compared by ==' : '';
  return `${quote(source)} is no expression from ${place} on, where it has ${quote(rest)}${hint}`;
}

const OPERATOR_OR_NOTHING = /^(?:[-+*/%<>.]|[=!<>]=|&&|\|\||in)?$/;

/** The errors of the parser have the place that it came to, but their classes are not exported. */
function offsetOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('location' in error)) return undefined;
  const { location } = error;
  if (typeof location !== 'object' || location === null || !('start' in location)) return undefined;
  const { start } = location;
  if (typeof start !== 'object' || start === null || !('offset' in start)) return undefined;
  return typeof start.offset === 'number' ? start.offset : undefined;
}
