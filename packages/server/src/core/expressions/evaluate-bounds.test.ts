import { describe, expect, it } from 'vitest';
import type { Found } from '../check-fields.ts';
import type { JsonValue } from '../json.ts';
import { LIMITS } from '../limits.ts';
import { type Evaluation, evaluateExpression } from './evaluate.ts';
import { compileExpression } from './expression.ts';

const KIB_64 = 65_536;
/** Twice what it may take: others use the same caches and threads of the processor. */
const MAX_MS = 200;

const range = <T>(length: number, make: (index: number) => T): T[] => Array.from({ length }, (_, index) => make(index));

/** A text that comes to many states of a pattern. */
function coins(length: number): string {
  let seed = 12_345;
  return range(length, () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 16) % 2 === 0 ? 'a' : 'b';
  }).join('');
}

/** As large as a value of this kind can be in 64 KiB of JSON. */
const INPUTS: { readonly [name: string]: JsonValue } = {
  digits: range(KIB_64 / 2, (index) => index % 10),
  numbers: range(9_000, (index) => index),
  words: range(6_000, (index) => `word${index}`),
  objects: range(3_000, (index) => ({ a: index, b: 'x' })),
  empties: range(20_000, () => ({})),
  lists: range(100, () => range(300, () => 1)),
  map: Object.fromEntries(range(5_000, (index) => [`key${index}`, 1])),
  members: Object.fromEntries(range(6_500, (index) => [index.toString(36), {}])),
  same: 'a'.repeat(KIB_64),
  other: coins(KIB_64),
  shorter: coins(12_000),
  coins: coins(5_000),
  files: range(1_000, (index) => `packages/server/src/core/file-${index}.ts`),
  commas: ','.repeat(KIB_64),
  json: JSON.stringify(range(KIB_64 / 2, (index) => index % 10)),
  tail: `,1${',{}'.repeat(2_000)}]`,
  brackets: '['.repeat(KIB_64),
  ids: JSON.stringify([...range(KIB_64 / 2 - 20, () => 1), 9_007_199_254_740_991]),
  half: `${'a'.repeat(KIB_64 / 4)}b${'a'.repeat(KIB_64 / 4)}`,
};

/** Time of the processor, and the best of some runs: others may use the machine, too. */
function measure(source: string): { readonly evaluation: Evaluation; readonly ms: number } {
  const found: Found = [];
  const expression = compileExpression(found, 'if', source, { roots: ['params'], needs: [] });
  expect(found).toEqual([]);
  const first = evaluateExpression(expression!, { params: INPUTS });
  let ms = Infinity;
  for (let run = 0; run < 5 && ms > 50; run++) {
    const begin = process.cpuUsage();
    const evaluation = evaluateExpression(expression!, { params: INPUTS });
    const { user, system } = process.cpuUsage(begin);
    ms = Math.min(ms, (user + system) / 1_000);
    expect(evaluation).toEqual(first);
  }
  return { evaluation: first, ms };
}

const times = (text: string, count: number, by: string): string => Array(count).fill(text).join(by);

describe('an evaluation over 64 KiB', () => {
  const affordable: [string, string][] = [
    ['looks at every number', 'params.digits.all(x, x >= 0)'],
    ['looks at every object', 'params.objects.filter(o, o.b == "x").map(o, o.a).size() == 3000'],
    ['looks at every key', 'params.map.all(key, params.map[key] == 1)'],
    ['looks for each of a few in many', 'params.numbers.filter(x, x < 5).all(x, x in params.numbers)'],
    ['compares texts', 'params.same.lowerAscii().upperAscii().trim() != params.other'],
    ['compares lists', 'params.lists == params.lists'],
    ['searches', '!params.same.contains("ab")'],
    ['matches a large text', '!params.other.matches("^(a|b)*c")'],
    ['matches many texts', `params.files.all(f, f.matches("^packages/(server|cli)/.*[.]ts$"))`],
    ['matches a pattern of many states', 'params.coins.matches("[ab]*a[ab]{60}")'],
    ['splits and joins', 'params.words.map(x, x.split("d").join("-")).join(",").size() > 1'],
    ['reads JSON', 'fromJSON(params.json).size() == 32768'],
    ['writes JSON', 'toJSON(params.objects).size() > 50000'],
    ['fails at every element', 'params.empties.all(x, x.missing == 1) || true'],
  ];
  it.each(affordable)('%s', (_, source) => {
    const { evaluation, ms } = measure(source);
    expect(evaluation).toMatchObject({ value: true });
    expect(ms).toBeLessThan(MAX_MS);
  });

  const costly: [string, string][] = [
    ['looks for many in many', 'params.numbers.map(x, x in params.digits)'],
    ['looks for what is not there', 'params.numbers.all(x, !("x" in params.numbers))'],
    ['compares a list with itself for each element', 'params.digits.all(x, params.digits == params.digits)'],
    ['compares lists of lists', 'params.digits.all(x, params.lists == params.lists)'],
    ['compares maps', 'params.words.all(x, params.map == params.map)'],
    ['looks for objects in objects', 'params.objects.all(o, o in params.objects)'],
    ['looks through a map for a number', 'params.digits.all(x, params.map[x] == 1 || true)'],
    ['looks through a map for a key of another type', 'params.digits.all(x, x in params.map || true)'],
    ['adds texts for each element', 'params.digits.map(x, params.same + params.other)'],
    ['adds many texts and compares', `params.numbers.all(x, ${times('params.same', 20, '+')} != "")`],
    ['puts a large value into a list many times', 'params.digits.map(x, params.same)'],
    ['puts a large list into a list many times', 'params.digits.map(x, params.digits)'],
    ['puts a large map into a list', `[${times('params.map', 60, ',')}]`],
    ['adds lists for each element', 'params.digits.map(x, params.digits + [x])'],
    ['adds lists', times('params.digits', 30, '+')],
    ['makes large lists', `params.digits.map(x, [${times('x', 60, ',')}])`],
    ['makes maps', 'params.digits.map(x, {"a": {"a": {"a": x}}})'],
    [
      'compares what it makes',
      'params.digits.all(x, [[[[[x]]]]] == [[[[[x]]]]] && {"a": {"a": x}} == {"a": {"a": x}})',
    ],
    ['joins with a large text', 'params.words.join(params.same).size() > 0'],
    ['replaces by a large text', 'params.same.replace("a", params.same)'],
    ['splits into characters for each element', 'params.words.all(x, size(params.commas.split(",")) > 1)'],
    ['searches for half of a text', 'params.same.contains(params.half)'],
    ['searches from the end', 'params.same.lastIndexOf(params.half) == 1'],
    ['replaces half of a text', 'params.same.replace(params.half, "")'],
    ['counts characters for each element', 'params.digits.all(x, size(params.same) > 1)'],
    ['matches a pattern of many sets of states', 'params.other.matches("[ab]*a[ab]{60}$")'],
    ['matches a pattern of many states', `params.other.matches("${times('(a?b?){20}', 6, '')}$")`],
    ['matches groups of any length', `params.other.matches("${times('([ab]*)', 90, '')}c$")`],
    ['matches for each element', 'params.words.all(x, !params.shorter.matches("[ab]*a[ab]{9}c$"))'],
    ['fails in many operands', `params.digits.exists(x, ${times('x.missing', 80, '||')})`],
    ['fails in a function', 'params.digits.all(x, int("x") == 1)'],
    ['fails to read numbers', 'params.words.all(x, double(x) == 1 || int(x) == 1)'],
    ['fails to read times', 'params.words.all(x, timestamp(x) == 1)'],
    ['overflows', 'params.digits.all(x, 9223372036854775807 + x > 0 || true)'],
    ['makes times', 'params.digits.all(x, timestamp("2024-01-01T00:00:00Z").getHours() == 0)'],
    ['adds times', 'params.digits.all(x, timestamp("2024-01-01T00:00:00Z") + duration("1h") != duration("1h"))'],
    ['makes bytes', 'params.digits.all(x, bytes("abc") == b"abc")'],
    ['reads JSON for each element', 'params.digits.all(x, fromJSON(params.json).size() > 0)'],
    [
      'reads different JSON for each element',
      'params.words.all(x, fromJSON("[" + string(x.size()) + params.tail).size() > 0)',
    ],
    ['reads long numbers for each element', 'params.words.all(x, fromJSON(params.ids).size() > 0)'],
    ['reads brackets', 'params.words.all(x, fromJSON(params.brackets) == 1 || true)'],
    ['writes JSON for each element', 'params.digits.all(x, toJSON(params.map) != "")'],
    ['writes many small maps as JSON', `[${times('toJSON(params.members)', 30, ',')}]`],
    ['writes texts as JSON for each element', 'params.digits.all(x, toJSON([x, params.other]) != "")'],
    ['writes small JSON for each element', 'params.digits.all(x, toJSON({"b": [x], "a": {"c": x}}) != "")'],
    ['reads types', 'params.digits.all(x, dyn(type(x)) == int)'],
  ];
  it.each(costly)('ends when it %s', (_, source) => {
    const { evaluation, ms } = measure(source);
    expect(evaluation).toMatchObject({
      error: `costs more than ${LIMITS.expressionSteps} steps`,
      cost: LIMITS.expressionSteps,
    });
    expect(ms).toBeLessThan(MAX_MS);
  });

  it('cannot hide behind an operand that decides', () => {
    const { evaluation } = measure('params.digits.all(x, params.digits == params.digits) || true');
    expect(evaluation.error).toMatch(/costs more/);
  });

  it('shows what it came to before it ended, and of the rest what is cheap', () => {
    const { evaluation } = measure(
      'params.numbers[7] == 7 && params.digits.all(x, x in params.numbers) && params.numbers[8] == 9',
    );
    expect(evaluation).toMatchObject({
      error: expect.stringMatching(/costs more/),
      parts: [
        { expression: 'params.numbers[7] == 7', value: true },
        { expression: 'params.numbers[7]', value: 7 },
        { error: `costs more than ${LIMITS.expressionTraceSteps} steps` },
        { expression: 'params.digits' },
        { expression: 'params.numbers[8] == 9' },
        { expression: 'params.numbers[8]' },
      ],
    });
  });

  it('does not look at inputs that no expression reads', () => {
    const { evaluation } = measure('params.half.size() > 1');
    expect(evaluation.cost).toBeLessThan(10_000);
  });
});
