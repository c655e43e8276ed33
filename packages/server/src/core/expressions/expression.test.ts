import { describe, expect, it } from 'vitest';
import type { Found } from '../check-fields.ts';
import { LIMITS } from '../limits.ts';
import { compileExpression } from './expression.ts';
import { FUNCTION_NAMES } from './functions.ts';
import type { Scope } from './nodes.ts';

const SCOPE: Scope = { roots: ['params', 'labels', 'needs', 'run'], needs: ['build', 'type-check', 'e2e'] };

function compile(source: string, scope: Scope = SCOPE) {
  const found: Found = [];
  return { expression: compileExpression(found, 'jobs[0].if', source, scope), found };
}

function violations(source: string, scope?: Scope): string[] {
  const { expression, found } = compile(source, scope);
  expect(expression === undefined).toBe(found.length > 0);
  expect(found.every(({ field }) => field === 'jobs[0].if')).toBe(true);
  for (const { description, offset } of found) {
    expect(/^at (?:line \d+, )?column \d+: /.test(description)).toBe(offset !== undefined);
  }
  return found.map(({ description }) => description.replace(/^at (?:line \d+, )?column \d+: /, ''));
}

describe('compileExpression', () => {
  const uses: [string, string[], string[] | 'all'][] = [
    ['true', [], []],
    ['params.a && params.b > labels.c', ['params', 'labels'], []],
    ['needs.build.outcome == "SUCCESS"', ['needs'], ['build']],
    ['needs["type-check"].ok || needs.build.ok || needs.build.failed', ['needs'], ['type-check', 'build']],
    ['has(needs.e2e.outputs.report)', ['needs'], ['e2e']],
    ['has(needs.e2e)', ['needs'], ['e2e']],
    ['needs.exists(name, needs[name].outcome == "FAILED")', ['needs'], 'all'],
    ['needs[params.which].outcome', ['needs', 'params'], 'all'],
    ['size(needs) > 0 && needs.build.ok', ['needs'], 'all'],
    ['labels.all(needed, needed != "x")', ['labels'], []],
  ];
  it.each(uses)('knows what %s refers to', (source, roots, needs) => {
    expect(compile(source).expression).toMatchObject({ source, roots, needs });
  });

  const wrong: [string, string[]][] = [
    ['', ['is required: an expression']],
    ['  \n', ['is required: an expression']],
    ['params.n ==', ['"params.n ==" ends too early']],
    ['(params.n', ['"(params.n" ends too early']],
    ...[
      'params.xs[',
      'params.xs[1',
      'size(',
      'size(1,',
      '[1, 2',
      '{"a": 1,',
      'params.a ?',
      'params.a ? 1',
      'params.a ? 1 :',
    ].map((source): [string, string[]] => [source, [`${JSON.stringify(source)} ends too early`]]),
    ['params.a ? {"b": 1}', ['"params.a ? {\\"b\\": 1}" ends too early']],
    ['params.a in', ['"params.a in" ends too early']],
    ['params.s == "(" b', [String.raw`"params.s == \"(\" b" is no expression from "b" on`]],
    ['params.a b ==', ['"params.a b ==" is no expression from "b ==" on']],
    ['size(1 2)', ['"size(1 2)" is no expression from "(1 2)" on']],
    ['params.s == "abc', ['the text that begins here has no closing quote']],
    ['params.a b', ['"params.a b" is no expression from "b" on']],
    ['params.a\n  && b c', ['"params.a\\n  && b c" is no expression from "c" on']],
    ['params.a = 3', ['"params.a = 3" is no expression from "= 3" on; values are compared by ==']],
    ['parms.n == 3', ['there is no variable "parms"; did you mean "params"?']],
    ['quux', ['there is no variable "quux"; known are params, labels, needs, run']],
    ['params.xs.all(item, itm > 2)', ['there is no variable "itm"; did you mean "item"?']],
    ['matrix.os == "linux"', ['"matrix" has no value here; known are params, labels, needs, run']],
    ['needs.biuld.outcome', ['there is no job "biuld" among the needs; did you mean needs.build?']],
    ['needs["typecheck"].outcome', ['there is no job "typecheck" among the needs; did you mean needs["type-check"]?']],
    ['has(needs.deployment)', ['there is no job "deployment" among the needs']],
    ['params.s.startWith("v")', ['there is no function "startWith"; did you mean startsWith?']],
    ['params.xs.exist(x, x > 1)', ['there is no function "exist"; did you mean exists?']],
    ['${{ params.x }}', ['"${{ params.x }}" is no expression: write it without ${{ }}']],
    [
      'always() && failure()',
      ['always', 'failure'].map(
        (name) =>
          `there is no function "${name}"; how needs have to end is said by the job's \`when\`: success, failure, always, finally`,
      ),
    ],
    ['now() > 3', ['there is no function "now"']],
    ['params.s.format([1])', ['there is no function "format"']],
    ['startsWith(params.s, "v")', ['startsWith is called as x.startsWith()']],
    ['params.s.int()', ['int is called as int(x)']],
    ['has(params)', ['has takes a field, such as has(params.name)']],
    ['params.xs.all(params.x, true)', ['all takes a name and an expression: x.all(item, …)']],
    ['params.xs.map(params, 1)', ['"params" is the name of a variable already']],
    ['params.xs.map(x, params.ys.map(y, y))', ['map may not be inside of another loop']],
    [
      'params.s.matches(params.pattern)',
      ['matches takes a pattern that is a text literal, such as x.matches("^v[0-9]+$")'],
    ],
    ['params.s.matches("(")', ['the pattern "(" is no regular expression as RE2 has them: missing closing ): `(`']],
    ['google.protobuf.Duration{seconds: 1}', ['cannot make a message "google.protobuf.Duration"']],
    ['9223372036854775808 > 1', ['has the number 9223372036854775808, which is too large for 64 bits']],
    ['1e400 > 1.0', ['has a number too large for a double']],
    [
      'parms.a && needs.biuld.ok && foo()',
      [
        'there is no variable "parms"; did you mean "params"?',
        'there is no job "biuld" among the needs; did you mean needs.build?',
        'there is no function "foo"',
      ],
    ],
  ];
  it.each(wrong)('says all that is wrong with %j', (source, expected) => {
    expect(violations(source)).toEqual(expected);
  });

  const places: [string, string[]][] = [
    ['params.a b', ['b']],
    ['params.n ==', ['']],
    ['params.n == \n', [' \n']],
    ['  parms.n == 3', ['parms.n == 3']],
    ['"é😀" + parms', ['parms']],
    ['params.a == 1 && quux.b || needs . biuld.ok', ['quux.b || needs . biuld.ok', 'biuld.ok']],
    ['needs["biuld"].ok', ['"biuld"].ok']],
    ['has(needs.biuld)', ['biuld)']],
    ['params.s\n  .startWith("v")', ['startWith("v")']],
    ['now() > 3', ['now() > 3']],
    ['params.xs.exists(x, y > x)', ['y > x)']],
    ['params.xs.map(x, params.ys.map(y, y))', ['map(y, y))']],
    ['params.s.matches("(") || params.s.matches(params.t)', ['"(") || params.s.matches(params.t)', 't)']],
    ['params.s.int()', ['int()']],
    ['1 in [1, 9223372036854775808]', ['9223372036854775808]']],
    ['params.s == "abc', ['"abc']],
    ["params.s == 'it's'", ["'"]],
    ['params.s == "a\n && params.t == "b"', ['"a\n && params.t == "b"']],
    ['params.s == """a\n" && b', ['"""a\n" && b']],
    ['params.xs[ ', [' ']],
  ];
  it.each(places)('points at the place of what is wrong with %j', (source, expected) => {
    expect(compile(source).found.map(({ offset = NaN }) => source.slice(offset))).toEqual(expected);
  });

  it('says the column, and of several lines which one', () => {
    const descriptions = (source: string) => compile(source).found.map(({ description }) => description);
    expect(descriptions('params.a && foo()')).toEqual(['at column 13: there is no function "foo"']);
    expect(descriptions('foo() ||\n  bar()')).toEqual([
      'at line 1, column 1: there is no function "foo"',
      'at line 2, column 3: there is no function "bar"',
    ]);
    expect(descriptions('"x".matches("' + 'a'.repeat(2_000) + '")')).toEqual([
      'must have at most 1024 characters; has 2015',
    ]);
  });

  it('counts what is a part of a text from where that begins', () => {
    const found: Found = [];
    const text = 'v1\nx ${{ foo() }}';
    compileExpression(found, 'spec.a', 'foo()', SCOPE, { text, offset: 9 });
    compileExpression(found, 'spec.a', '', SCOPE, { text, offset: 9 });
    expect(found).toEqual([
      { field: 'spec.a', description: 'at line 2, column 7: there is no function "foo"', offset: 9 },
      { field: 'spec.a', description: 'at line 2, column 7: is required: an expression', offset: 9 },
    ]);
  });

  it('knows every function that it suggests', () => {
    for (const name of FUNCTION_NAMES) {
      const calls = [`params.x.${name}("a")`, `${name}(params.x, "a")`];
      expect(calls.some((call) => violations(call).length === 0)).toBe(true);
    }
  });

  it('compiles nothing that is wrong, also where the list of violations is full', () => {
    const found: Found = Array.from({ length: 100 }, () => ({ field: 'other', description: 'is wrong' }));
    expect(compileExpression(found, 'if', 'parms', SCOPE)).toBeUndefined();
    expect(found).toHaveLength(100);
  });

  it('hints at brackets where a name of a job has a dash', () => {
    expect(violations('needs.type-check.ok')).toContain(
      'there is no job "type" among the needs; did you mean needs["type-check"]?',
    );
  });

  it('takes no variable of the library or of JavaScript for one of its own', () => {
    for (const name of ['constructor', '__proto__', '@result', 'toString', 'google']) {
      expect(violations(name)).not.toEqual([]);
    }
  });
});

describe('the fields of a variable', () => {
  const scope: Scope = {
    roots: ['params', 'run', 'needs', 'env', 'matrix', 'labels'],
    needs: ['build', 'type-check'],
    fields: { run: ['id', 'status'], needs: ['outcome', 'outputs'], env: [], matrix: ['os', 'node'] },
  };
  const wrong: [string, string[]][] = [
    ['needs.build.outcom == "failed"', ['a job of needs has no field "outcom"; did you mean "outcome"?']],
    ['needs["type-check"]["output"].x', ['a job of needs has no field "output"; did you mean "outputs"?']],
    ['needs.exists(job, needs[job].state == "x")', ['a job of needs has no field "state"; known are outcome, outputs']],
    ['run.foo == 1', ['run has no field "foo"; known are id, status']],
    ['has(env.FOO)', ['env has no field "FOO"; known are none']],
    ['has(matrix.noed)', ['matrix has no field "noed"; did you mean "node"?']],
    ['matrix["y"] == 1', ['matrix has no field "y"; known are os, node']],
    [
      'run.stats.x && run.idd',
      ['run has no field "stats"; did you mean "status"?', 'run has no field "idd"; did you mean "id"?'],
    ],
  ];
  it.each(wrong)('are refused where they cannot be there: %s', (source, expected) => {
    expect(violations(source, scope)).toEqual(expected);
  });

  it.each([
    'params.anything && labels.whatever == "x"',
    'needs.build.outputs.anything',
    'needs.all(job, needs[job].outcome == "succeeded")',
    'matrix.os == run.status',
    'matrix[params.axis] == 1',
    'params.xs.all(x, x.foo == 1)',
    'params.run.foo == params.env.FOO',
  ])('are taken where they may be there: %s', (source) => {
    expect(violations(source, scope)).toEqual([]);
  });

  it('are open where none are known', () => {
    expect(violations('run.foo && needs.build.outcom == 1')).toEqual([]);
  });
});

describe('the bounds of an expression', () => {
  const chain = (text: string, times: number, by: string): string => Array(times).fill(text).join(by);

  const within: [string, string][] = [
    ['the longest', `params.s == "${'a'.repeat(LIMITS.expressionLength - 14)}"`],
    ['many operands', chain('params.a', 90, '&&')],
    ['many literals', `1 in [${chain('1', 400, ',')}]`],
    ['deep brackets', `${'('.repeat(LIMITS.expressionDepth)}1${')'.repeat(LIMITS.expressionDepth)}`],
    ['brackets inside of a text', `"${'('.repeat(500)}"`],
    ['loops after each other', 'params.xs.map(x, x).filter(x, x > 1).map(x, x).exists(x, x > 1)'],
  ];
  it.each(within)('take %s', (_, source) => {
    expect(violations(source)).toEqual([]);
  });

  const beyond: [string, string, RegExp][] = [
    ['too long a text', `"${'a'.repeat(LIMITS.expressionLength)}"`, /at most 1024 characters/],
    ['a megabyte of brackets', '('.repeat(1_000_000), /at most 1024 characters/],
    ['deep brackets', `${'('.repeat(500)}1${')'.repeat(500)}`, /at most 32 brackets inside of each other/],
    ['deep lists', `${'['.repeat(33)}${']'.repeat(33)}`, /at most 32 brackets inside of each other/],
    ['brackets that nothing closes', '['.repeat(1_000), /at most 32 brackets inside of each other/],
    ['brackets after a quote that nothing closes', `'${'['.repeat(1_000)}`, /no closing quote/],
    ['a long sum', chain('1', 500, '+'), /at most 32 levels of operators/],
    ['a long path', `params${'.a'.repeat(400)}`, /at most 32 levels of operators/],
    ['a long choice', `${'true?1:'.repeat(140)}1`, /at most 32 levels of operators/],
    ['too many literals', `[${chain('1+1', 250, ',')}]`, /at most 512 operators/],
    ['nested loops', `${'params.a.map(x,'.repeat(30)}1${')'.repeat(30)}`, /map may not be inside of another loop/],
    ['a pattern of many states', 'params.s.matches("(a{30}){30}b{900}c{900}")', /is too large: \d+ states/],
    ['a pattern inside of patterns', 'params.s.matches("(((a{9}){9}){9}){9}")', /is too large: \d+ states/],
    ['many classes of Unicode', `params.s.matches("${'\\\\pL'.repeat(30)}")`, /is too large: \d+ states/],
  ];
  it.each(beyond)('refuse %s at once', (_, source, description) => {
    const begin = process.cpuUsage();
    expect(violations(source)[0]).toMatch(description);
    // Not by the clock: others use the processors as well.
    expect(process.cpuUsage(begin).user / 1_000).toBeLessThan(100);
  });
});
