// Regular expressions of `matches`: literals, so that they are compiled once, and of bounded size, so that a match takes time in
// proportion to the text.
import { RE2JS } from 're2js';
import { addViolation, type Found, quote } from '../check-fields.ts';
import { LIMITS } from '../limits.ts';

export interface Pattern {
  /** Upper bound of the states that a match may be in. */
  readonly size: number;
  test(text: string): boolean;
}

export function compilePattern(found: Found, field: string, source: string): Pattern | undefined {
  const size = patternSize(source);
  if (size > LIMITS.expressionPattern) {
    const problem = `is too large: ${size} states with its repetitions written out, of at most ${LIMITS.expressionPattern}`;
    addViolation(found, field, `the pattern ${quote(source)} ${problem}`);
    return undefined;
  }
  try {
    const pattern = RE2JS.compile(source);
    return { size, test: (text) => pattern.test(text) };
  } catch (error) {
    const why = error instanceof Error ? error.message.replace('error parsing regexp: ', '') : String(error);
    addViolation(found, field, `the pattern ${quote(source)} is no regular expression as RE2 has them: ${why}`);
    return undefined;
  }
}

const COUNT = /\{(\d{1,6})(?:,(\d{0,6}))?\}/y;

/** How many characters a pattern has when what is repeated by a count is written out: each is at most a few states. */
function patternSize(source: string): number {
  /** Sizes of the groups around, outermost first. */
  const groups: number[] = [];
  let size = 0;
  let last = 0;
  for (let at = 0; at < source.length; at++) {
    const character = source[at];
    COUNT.lastIndex = at;
    const count = character === '{' ? COUNT.exec(source) : null;
    if (count !== null) {
      const times = Math.max(Number(count[1]), Number(count[2] || 0)) + 1;
      size += last * (times - 1);
      last *= times;
      at += count[0].length - 1;
    } else if (character === '(') {
      groups.push(size);
      size = 0;
    } else if (character === ')' && groups.length > 0) {
      last = size + 1;
      size = (groups.pop() ?? 0) + last;
    } else {
      if (character === '\\') at++;
      last = 1;
      size++;
    }
  }
  return groups.reduce((sum, group) => sum + group, size);
}
