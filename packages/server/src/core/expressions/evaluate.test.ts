import { describe, expect, it } from 'vitest';
import type { Found } from '../check-fields.ts';
import type { JsonValue } from '../json.ts';
import { LIMITS } from '../limits.ts';
import { type Evaluation, evaluateExpression } from './evaluate.ts';
import { compileExpression } from './expression.ts';
import { type Inputs, ROOTS } from './nodes.ts';

const INPUTS: Inputs = {
  params: {
    n: 3,
    ratio: 0.5,
    whole: 1e21,
    text: 'hello',
    empty: '',
    nothing: null,
    yes: true,
    xs: [1, 2, 3],
    names: ['b', 'a'],
    map: { a: 1, 'b-c': { d: true } },
    at: '2024-03-31T02:30:15.250Z',
    __proto__x: 1,
  },
  needs: {
    build: { outcome: 'SUCCESS', outputs: { image: 'app:1', size: 7 } },
    'type-check': { outcome: 'FAILED', outputs: {} },
  },
  labels: { team: 'core' },
  matrix: JSON.parse('{"__proto__": {"a": 1}}') as JsonValue,
};

function evaluate(source: string, inputs: Inputs = INPUTS): Evaluation {
  const found: Found = [];
  const expression = compileExpression(found, 'if', source, { roots: ROOTS, needs: ['build', 'type-check'] });
  expect(found).toEqual([]);
  return evaluateExpression(expression!, inputs);
}

describe('the value of an expression', () => {
  const values: [string, JsonValue][] = [
    // Numbers: whole ones are ints, others doubles, and they mix.
    ['params.n == 3', true],
    ['params.n == 3.0', true],
    ['params.n + 1 > 3', true],
    ['size(params.xs) >= params.n', true],
    ['params.xs[params.n - 1]', 3],
    ['params.n % 2 == 1', true],
    ['params.n / 2', 1],
    ['params.n / 2.0', 1.5],
    ['params.ratio * 2', 1],
    ['2 - params.ratio', 1.5],
    ['params.ratio + params.n', 3.5],
    ['params.ratio < 1 && params.n > 0.5', true],
    ['params.whole > 1', true],
    ['params.whole', 1e21],
    ['-params.n', -3],
    ['double(params.n)', 3],
    ['int(2.9)', 2],
    ['int("42") + 1', 43],
    ['double("1.5")', 1.5],
    ['3u + 4u', 7],
    ['int(3u) == 3', true],
    // Text.
    ['params.text + " " + string(params.n)', 'hello 3'],
    ['params.text.contains("ell") && params.text.startsWith("he") && params.text.endsWith("lo")', true],
    ['params.text.matches("^h.*o$")', true],
    ['matches(params.text, "^l")', false],
    ['size(params.text) + params.empty.size()', 5],
    ['params.text.upperAscii().lowerAscii().replace("l", "L", 1).replace("o", "0")', 'heLl0'],
    ['"a,b,c".split(",")', ['a', 'b', 'c']],
    ['params.names.join("+")', 'b+a'],
    ['" x ".trim() + params.text.substring(1, 3) + params.text.charAt(0)', 'xelh'],
    ['params.text.indexOf("l") + params.text.lastIndexOf("l")', 5],
    ['string(params.ratio) + string(true)', '0.5true'],
    ['bool("true")', true],
    [String.raw`r'\d' + "\u00e9" + '''it's'''`, "\\d\u00e9it's"],
    // Lists and maps.
    ['params.xs + [4]', [1, 2, 3, 4]],
    ['2 in params.xs && !(9 in params.xs)', true],
    ['params.xs == [1, 2.0, 3u]', true],
    ['params.map == {"a": 1, "b-c": {"d": true}}', true],
    ['params.map["b-c"].d', true],
    ['{"a": params.n, "b": [null]}', { a: 3, b: [null] }],
    ['{1: "x"}[1]', 'x'],
    ['"a" in params.map && !("z" in params.map)', true],
    ['params.xs.all(x, x > 0)', true],
    ['params.xs.exists(x, x > 2)', true],
    ['params.xs.exists_one(x, x > 1)', false],
    ['params.xs.existsOne(x, x > 2)', true],
    ['params.xs.filter(x, x > 1).map(y, y * 2)', [4, 6]],
    ['params.xs.map(x, x != 2, x * 10)', [10, 30]],
    ['params.map.map(key, key)', ['a', 'b-c']],
    ['needs.exists(name, needs[name].outcome == "FAILED")', true],
    ['[].all(x, x)', true],
    // What is not there, and null.
    ['has(params.n) && !has(params.missing)', true],
    ['has(params.nothing) && "nothing" in params', true],
    ['params.nothing == null', true],
    ['params.nothing', null],
    ['has(needs.build.outputs.image)', true],
    ['has(params.toString)', false],
    ['matrix.__proto__.a', 1],
    // An operand that fails does not matter when another decides.
    ['params.missing == 1 || true', true],
    ['true || params.missing', true],
    ['params.missing == 1 && false', false],
    ['params.xs.exists(x, x == "a" || 1 / (x - 1) > 0)', true],
    ['params.n > 2 ? "large" : params.missing', 'large'],
    // Types.
    ['type(params.n) == int && type(params.ratio) == double && type(params.text) == string', true],
    ['type(params.xs) == list && type(params.map) == map && type(null) == null_type', true],
    ['params.n == "3"', false],
    // Times, in UTC.
    ['timestamp(params.at) + duration("90m")', '2024-03-31T04:00:15.250Z'],
    ['timestamp("2024-03-02T00:00:00Z") - timestamp("2024-03-01T12:00:00Z")', '43200s'],
    ['duration("1h30m")', '5400s'],
    ['timestamp(params.at) > timestamp("2024-01-01T00:00:00Z")', true],
    ['timestamp(params.at) == timestamp("2024-03-31T04:30:15.25+02:00")', true],
    [
      '[timestamp(params.at).getFullYear(), timestamp(params.at).getMonth(), timestamp(params.at).getDate()]',
      [2024, 2, 31],
    ],
    [
      '[timestamp(params.at).getHours(), timestamp(params.at).getMinutes(), timestamp(params.at).getSeconds()]',
      [2, 30, 15],
    ],
    [
      '[timestamp(params.at).getDayOfWeek(), timestamp(params.at).getDayOfYear(), timestamp(params.at).getDayOfMonth()]',
      [0, 90, 30],
    ],
    ['timestamp(params.at).getMilliseconds() + duration("90s").getMinutes()', 251],
    ['string(timestamp(params.at))', '2024-03-31T02:30:15.250Z'],
    // JSON as text.
    [`fromJSON('[1, 2.5, "a", null, {"b": [true]}]')`, [1, 2.5, 'a', null, { b: [true] }]],
    ['fromJSON("7") + 1', 8],
    [`fromJSON('[9007199254740992, 1.2345678901234567890, "12345678901234567890"]').size()`, 3],
    ['fromJSON("[3, 4]").map(x, x * 2)', [6, 8]],
    [`fromJSON('{"__proto__": 1}').__proto__`, 1],
    ['fromJSON(toJSON(params)) == params', true],
    ['toJSON({"b": [1, null], "a": params.ratio})', '{"a":0.5,"b":[1,null]}'],
    ['toJSON(timestamp(params.at))', '"2024-03-31T02:30:15.250Z"'],
  ];
  it.each(values)('of %s', (source, value) => {
    const { cost, ...evaluation } = evaluate(source);
    expect(evaluation).toMatchObject({ value });
    expect(cost).toBeGreaterThan(0);
  });

  const failures: [string, string][] = [
    ['params.missing', 'there is no field "missing"'],
    ['params.text.length', 'cannot read the field "length" of string'],
    ['has(params.nothing.x)', 'cannot read the field "x" of null_type'],
    ['params.xs[3]', 'there is no entry 3 in a list of 3'],
    ['params.xs[-1]', 'there is no entry -1 in a list of 3'],
    ['params.xs[0.5]', 'there is no entry 0.5 in a list of 3'],
    ['params.map[1]', 'there is no entry 1'],
    ['params.xs["a"]', 'cannot read the entry string of list'],
    ['timestamp("tomorrow")', 'timestamp: "tomorrow" is none; one is written as "2026-01-31T12:00:00Z"'],
    ['duration("soon")', 'duration: "soon" is none; one is written as "1h30m"'],
    ['params.n && true', 'expected a bool, got int'],
    ['params.n ? 1 : 2', 'expected a bool, got int'],
    ['!params.text', 'cannot apply ! to string'],
    ['params.n + params.text', 'cannot apply + to int and string'],
    ['params.n < params.text', 'cannot apply < to int and string'],
    ['size(params.n)', 'cannot apply size to int'],
    ['params.n.matches("a")', 'cannot apply matches to int'],
    ['params.n.all(x, true)', 'all goes through a list or a map, not int'],
    ['params.xs.all(x, x < "a")', 'cannot apply < to int and string'],
    ['params.xs.filter(x, x)', 'expected a bool, got int'],
    ['params.n / 0', '/: int divide by zero'],
    ['9223372036854775807 + params.n', '+: int overflow during _+_'],
    ['9223372036854775807', '9223372036854775807 is too large for a number of JSON'],
    ['1.0 / 0.0', 'Infinity has no JSON'],
    ['[0.0 / 0.0]', 'NaN has no JSON'],
    ['b"a"', 'a value of type bytes has no JSON'],
    ['type(1)', 'a value of type type has no JSON'],
    ['{1: 2}', 'a map with a key of type int has no JSON'],
    ['{1.5: 2}', 'a map has no keys of type double'],
    ['{"a": 1, "a": 2}', 'a map has the key "a" twice'],
    [String.raw`"\u0000"`, 'the text has a NUL'],
    ['"😀".substring(0, 1)', 'the text has half of a surrogate pair'],
    ['int("")', 'int: the text is no whole number of 64 bits'],
    ['int("0x10")', 'int: the text is no whole number of 64 bits'],
    ['int("9223372036854775808")', 'int: the text is no whole number of 64 bits'],
    ['double("")', 'double: the text is no number'],
    ['"a".replace("", "b")', 'replace: there is nothing to replace: the first text is empty'],
    ['timestamp(0)', 'cannot apply timestamp to int'],
    ['timestamp(params.at).getHours("Europe/Berlin")', 'cannot apply getHours to google.protobuf.Timestamp and string'],
    ['trigger.kind', 'trigger has no value here'],
    ['fromJSON("[1,")', 'fromJSON: "[1," is no JSON'],
    [
      'fromJSON("[12345678901234567890, 1]")',
      'fromJSON: 12345678901234567890 loses digits as a number; make it a text',
    ],
    ['fromJSON(params.n)', 'cannot apply fromJSON to int'],
    ['toJSON(b"a")', 'toJSON: a value of type bytes has no JSON'],
    [
      `fromJSON("${'['.repeat(26)}${']'.repeat(26)}")`,
      'fromJSON: more than 25 lists and objects are inside of each other',
    ],
  ];
  it.each(failures)('fails for %s', (source, error) => {
    expect(evaluate(source)).toMatchObject({ error });
  });

  it('repeats no large text in an error', () => {
    const { error } = evaluate('bool(params.text)', { params: { text: 'x'.repeat(60_000) } });
    expect(error?.length).toBeLessThan(300);
  });

  it('has no half of a character in an error', () => {
    const errors = [0, 1].map((n) =>
      evaluate('bool(params.text)', { params: { text: `${'x'.repeat(n)}${'😀'.repeat(200)}` } }),
    );
    const cut = evaluate('bool(params.text.substring(0, 1))', { params: { text: '😀' } });
    expect([...errors, cut].map(({ error }) => error?.isWellFormed())).toEqual([true, true, true]);
  });
});

describe('the trace of an evaluation', () => {
  it('has operands and paths in reading order, those that were not needed too', () => {
    const { parts } = evaluate('needs.build.outcome == "FAILED" || params.n > 5 && !params.yes');
    expect(parts).toEqual([
      { expression: 'needs.build.outcome == "FAILED"', value: false },
      { expression: 'needs.build.outcome', value: 'SUCCESS' },
      { expression: 'params.n > 5 && !params.yes', value: false },
      { expression: 'params.n > 5', value: false },
      { expression: 'params.n', value: 3 },
      { expression: '!params.yes', value: false },
      { expression: 'params.yes', value: true },
    ]);
  });

  const traces: [string, string[]][] = [
    ['params.n', []],
    ['params.n == 3', ['params.n']],
    ['params.n == 3 || params.n == 4', ['params.n == 3', 'params.n', 'params.n == 4']],
    ['params.yes ? params.n : params.ratio', ['params.yes', 'params.n', 'params.ratio']],
    ['params.xs[params.n - 1] in [1, 2]', ['params.xs[params.n - 1]', 'params.n']],
    [
      'params.xs.exists(x, x > params.n) && params.yes',
      ['params.xs.exists(x, x > params.n)', 'params.xs', 'params.yes'],
    ],
    ['size(params.xs) > 2', ['size(params.xs)', 'params.xs']],
    ['params.text.contains("x")', ['params.text']],
    ['has(needs.build.outputs.image) && true', ['has(needs.build.outputs.image)', 'needs.build.outputs']],
    ['[params.n, 1] == [3, 1]', ['[params.n, 1]', 'params.n']],
    ['params.text.split("l")[0] == "he"', ['params.text.split("l")[0]', 'params.text']],
  ];
  it.each(traces)('of %s', (source, expressions) => {
    expect(evaluate(source).parts.map(({ expression }) => expression)).toEqual(expressions);
  });

  it('says of a part why it has no value', () => {
    expect(evaluate('params.missing == 1 && has(params.n)').parts).toEqual([
      { expression: 'params.missing == 1', error: 'there is no field "missing"' },
      { expression: 'params.missing', error: 'there is no field "missing"' },
      { expression: 'has(params.n)', value: true },
      { expression: 'params', value: expect.objectContaining({ n: 3 }) },
    ]);
  });

  it('has of a path without a value the last on it that has one', () => {
    const shown = (source: string) => evaluate(source).parts.map(({ expression }) => expression);
    expect(shown('params.map.a.x.y')).toEqual(['params.map.a']);
    expect(shown('params.map.a')).toEqual([]);
    expect(shown('params.map["b-c"].e == params.n')).toEqual(['params.map["b-c"].e', 'params.n', 'params.map["b-c"]']);
  });

  it('says how large a value is that it does not show', () => {
    const params = {
      text: 'x'.repeat(2_000),
      xs: Array<number>(600).fill(1),
      ok: 'x'.repeat(1_000),
      map: { a: 'é'.repeat(600) },
    };
    const { parts } = evaluate('params.text == params.xs || params.ok == params.map', { params });
    expect(parts).toMatchObject([
      { value: false },
      { expression: 'params.text', tooLarge: 'a text of 2000 characters' },
      { expression: 'params.xs', tooLarge: 'a list of 600 entries' },
      { value: false },
      { expression: 'params.ok', value: params.ok },
      { expression: 'params.map', tooLarge: 'a map of 1 entries' },
    ]);
  });

  it('shows a map of as many members as fit', () => {
    const map = Object.fromEntries(Array.from({ length: 145 }, (_, index) => [(36 + index).toString(36), 1]));
    const { parts } = evaluate('params.map == 1', { params: { map } });
    expect(parts).toEqual([{ expression: 'params.map', value: map }]);
  });

  it('pays for the values that it shows, and for those that are too large', () => {
    const names = Array.from({ length: 60 }, (_, index) => `x${index}`);
    const params = Object.fromEntries(names.map((name) => [name, Array<number>(2_000).fill(1)]));
    const { parts } = evaluate(`[${names.map((name) => `params.${name}`).join(',')}].size() == 60`, { params });
    expect(parts[1]).toEqual({ expression: 'params.x0', tooLarge: 'a list of 2000 entries' });
    expect(parts.find(({ expression }) => expression === 'params.x59')).toEqual({
      expression: 'params.x59',
      error: `costs more than ${LIMITS.expressionTraceSteps} steps`,
    });
  });

  it('has 64 parts at most', () => {
    const source = Array.from({ length: 80 }, (_, index) => `params.a${index}`).join('||');
    expect(evaluate(source).parts).toHaveLength(64);
  });
});
