// What is wrong with a text that the parser does not take, and where.
import { quote } from '../check-fields.ts';
import { blankLiterals, unclosedLiteral } from './literals.ts';
import type { Problem } from './problems.ts';

export function syntaxProblem(source: string, error: unknown): Problem {
  if (/^\s*\$\{\{/.test(source)) return { description: `${quote(source)} is no expression: write it without \${{ }}` };
  const unclosedAt = unclosedLiteral(source);
  if (unclosedAt !== undefined)
    return { description: 'the text that begins here has no closing quote', offset: unclosedAt };
  const stoppedAt = offsetOf(error);
  if (stoppedAt === undefined) {
    const why = error instanceof Error ? error.message : String(error);
    return { description: `${quote(source)} is no expression: ${why}` };
  }
  if (endsTooEarly(blankLiterals(source).slice(stoppedAt).trim()))
    return { description: `${quote(source)} ends too early`, offset: source.trimEnd().length };
  const rest = source.slice(stoppedAt).trim();
  const offset = stoppedAt + source.slice(stoppedAt).search(/\S/);
  const hint = /^=[^=]/.test(rest) ? '; values are compared by ==' : '';
  return { description: `${quote(source)} is no expression from ${quote(rest)} on${hint}`, offset };
}

/** What the parser stops before when something is missing behind it: it goes back to the last place to which all is well. */
const GOES_ON = /^(?:[-+*/%<>.?([{]|[=!<>]=|&&|\|\||in\b)/;
const LACKS_MORE = /(?:[-+*/%<>.?:,!([{]|[=!<>]=|&&|\|\||\bin)$/;

/** Whether what the parser did not take, without its literals, lacks its end: an operand, a closing bracket or the `:` of a `?`. */
function endsTooEarly(rest: string): boolean {
  if (rest === '') return true;
  if (!GOES_ON.test(rest)) return false;
  let depth = 0;
  let choices = 0;
  for (const character of rest) {
    if ('([{'.includes(character)) depth++;
    else if (')]}'.includes(character)) depth--;
    else if (depth === 0 && character === '?') choices++;
    else if (depth === 0 && character === ':') choices--;
  }
  return depth > 0 || choices > 0 || LACKS_MORE.test(rest);
}

/** The errors of the parser have the place that it came to, but their classes are not exported. */
function offsetOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('location' in error)) return undefined;
  const { location } = error;
  if (typeof location !== 'object' || location === null || !('start' in location)) return undefined;
  const { start } = location;
  if (typeof start !== 'object' || start === null || !('offset' in start)) return undefined;
  return typeof start.offset === 'number' ? start.offset : undefined;
}
