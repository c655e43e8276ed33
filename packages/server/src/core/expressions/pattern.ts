// Regular expressions of `matches`: literals, so that they are checked with the definition, and of bounded size, so that a match
// takes time in proportion to the text.
import { RE2JS } from 're2js';
import { addViolation, type Found, quote } from '../check-fields.ts';
import { type CheckWork, takePattern } from '../check-work.ts';
import { LIMITS } from '../limits.ts';

export interface Pattern {
  /** Characters with repetitions written out: about the states of a match. */
  readonly size: number;
  /**
   * How many sets of states a match may come to. Each is slow when a text first comes to it, and fast from then on, so a pattern of
   * few takes a hundredth of the time of one of many.
   */
  readonly sets: number;
  /** A matcher remembers the sets of states that it came to, which may be megabytes: keep it no longer than an evaluation. */
  createMatcher(): Matcher;
}

export interface Matcher {
  test(text: string): boolean;
}

/** @param work What checks may take; undefined where the pattern was checked before. */
export function compilePattern(
  found: Found,
  field: string,
  source: string,
  work: CheckWork | undefined,
): Pattern | undefined {
  const { size, sets } = measurePattern(source);
  if (size > LIMITS.expressionPattern) {
    const problem = `is too large: ${size} states with its repetitions written out, of at most ${LIMITS.expressionPattern}`;
    addViolation(found, field, `the pattern ${quote(source)} ${problem}`);
    return undefined;
  }
  if (work !== undefined && !takePattern(found, field, work, source, size)) return undefined;
  try {
    RE2JS.compile(source);
    return { size, sets, createMatcher: () => RE2JS.compile(source) };
  } catch (error) {
    const why = error instanceof Error ? error.message.replace('error parsing regexp: ', '') : String(error);
    addViolation(found, field, `the pattern ${quote(source)} is no regular expression as RE2 has them: ${why}`);
    return undefined;
  }
}

/** Of a class of Unicode, such as \pL, which has hundreds of ranges. */
const CLASS_SIZE = 100;
const COUNT = /\{(\d{1,6})(?:,(\d{0,6}))?\}/y;

interface Measure {
  readonly size: number;
  /** Places where a match may go on in more than one way. */
  readonly choices: number;
}

/** Upper bounds, from the text of a pattern. Literals have no choices; a word boundary is always slow. */
function measurePattern(source: string): Pick<Pattern, 'size' | 'sets'> {
  /** What is around: what precedes the innermost group is the last. */
  const groups: Measure[] = [];
  let all: Measure = { size: 0, choices: 0 };
  let last = all;
  for (let at = 0; at < source.length; at++) {
    const character = source.charAt(at);
    COUNT.lastIndex = at;
    const count = COUNT.exec(source);
    if (count !== null) {
      const times = Math.max(Number(count[1]), Number(count[2] || 0)) + 1;
      all = plus(all, { size: last.size * (times - 1), choices: (last.choices + 1) * (times - 1) });
      last = { size: last.size * times, choices: (last.choices + 1) * times };
      at += count[0].length - 1;
    } else if (character === '(') {
      groups.push(all);
      all = { size: 0, choices: 0 };
    } else if (character === ')' && groups.length > 0) {
      last = plus(all, { size: 1, choices: 0 });
      all = plus(groups.pop() ?? all, last);
    } else {
      const escaped = character === '\\' ? source.charAt(++at) : '';
      last = measureCharacter(character, escaped);
      all = plus(all, last);
    }
  }
  const { size, choices } = groups.reduce(plus, all);
  return { size, sets: (size + 1) * 2 ** choices };
}

function measureCharacter(character: string, escaped: string): Measure {
  if (/[pP]/.test(escaped)) return { size: CLASS_SIZE, choices: 1 };
  if (/[bB]/.test(escaped)) return { size: 1, choices: Infinity };
  return { size: 1, choices: /[a-zA-Z]/.test(escaped) || /[.*+?|[]/.test(character) ? 1 : 0 };
}

function plus(a: Measure, b: Measure): Measure {
  return { size: a.size + b.size, choices: a.choices + b.choices };
}
