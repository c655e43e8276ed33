import { describe, expect, it } from 'vitest';
import type { Found } from '../check-fields.ts';
import type { JsonValue } from '../json.ts';
import { LIMITS } from '../limits.ts';
import type { Inputs, Scope } from './nodes.ts';
import { UnknownRead } from './outcome.ts';
import { resolveTemplate } from './resolve-template.ts';
import { compileTemplate } from './template.ts';

const SCOPE: Scope = { roots: ['params', 'needs', 'matrix'], needs: ['build', 'lint'] };
const INPUTS: Inputs = {
  params: { n: 3, ratio: 0.5, text: 'a"b', yes: true, nothing: null, xs: [1, 'x'], map: { a: 1 } },
  needs: { build: { outputs: { image: 'app:1' } }, lint: {} },
};

function compile(value: JsonValue) {
  const found: Found = [];
  return { template: compileTemplate(found, 'spec', value, SCOPE), found };
}

function resolve(value: JsonValue, maxBytes = 65_536) {
  const { template, found } = compile(value);
  expect(found).toEqual([]);
  return resolveTemplate(template!, INPUTS, maxBytes);
}

describe('a template', () => {
  const texts: [string, JsonValue][] = [
    // One expression keeps its type.
    ['${{ params.n }}', 3],
    ['${{params.xs}}', [1, 'x']],
    ['${{\n params.map\n}}', { a: 1 }],
    ['${{ params.nothing }}', null],
    ['${{ params.text }}', 'a"b'],
    // In a text, values become text.
    [' ${{ params.n }}', ' 3'],
    ['n=${{ params.n }}, r=${{ params.ratio }}, y=${{ params.yes }}', 'n=3, r=0.5, y=true'],
    ['${{ params.text }}${{ params.nothing }}!', 'a"b!'],
    ['xs: ${{ params.xs }} map: ${{ params.map }}', 'xs: [1,"x"] map: {"a":1}'],
    // Braces and quotes of CEL.
    ['${{ "}}" }}', '}}'],
    ["${{ '}}' + '''}}''' }}", '}}}}'],
    [String.raw`${'$'}{{ "\"}}" }}`, '"}}'],
    [String.raw`${'$'}{{ r"\" + "}}" }}`, String.raw`\}}`],
    ['${{ {"a": {"b": 1}} }}', { a: { b: 1 } }],
    ['${{ {"a": {"b": 1}}}}', { a: { b: 1 } }],
    // Escapes, and what only looks like an expression.
    ['$${{ params.n }}', '${{ params.n }}'],
    ['$${{ a }} ${{ params.n }} $${{', '${{ a }} 3 ${{'],
    ['$$${{', '$${{'],
    ['${ params.n } {{ params.n }} ${{ 1 }} }}', '${ params.n } {{ params.n }} 1 }}'],
    ['${{ params.n }}}', '3}'],
  ];
  it.each(texts)('resolves %j', (text, value) => {
    expect(resolve(text)).toEqual({ value });
    expect(resolve({ deep: [{ text }] })).toEqual({ value: { deep: [{ text: value }] } });
  });

  it('has no value where lists and objects are too many inside of each other, and says which text makes them', () => {
    const listed = (levels: number): string => `${'['.repeat(levels)}params.map${']'.repeat(levels)}`;
    expect(resolve({ a: [`\${{ ${listed(22)} }}`] })).toMatchObject({ value: {} });
    expect(resolve({ a: [`\${{ ${listed(23)} }}`] })).toMatchObject({
      field: 'spec.a[0]',
      error: expect.stringMatching(/is too deep: with what is around it, more than 25 lists and objects/),
    });
    // As text it is flat.
    expect(resolve({ a: [`is \${{ ${listed(23)} }}`] })).toMatchObject({ value: {} });
  });

  it('knows what its expressions refer to', () => {
    const value = {
      a: '${{ params.n }}',
      b: ['x ${{ needs.build.outputs.image }} ${{ needs.lint }}'],
      c: '${{ params.n }}',
    };
    expect(compile(value).template).toMatchObject({ roots: ['params', 'needs'], needs: ['build', 'lint'] });
    expect(compile({ a: '${{ needs.lint }}', b: '${{ size(needs) }}' }).template).toMatchObject({ needs: 'all' });
    expect(compile('$${{').template).toMatchObject({ roots: [], needs: [] });
  });

  it('is none where there is nothing to resolve', () => {
    for (const value of [null, 1, 'text', '$ {{ }}', '{{ x }}', [], { a: [{ b: '$' }] }]) {
      expect(compile(value)).toEqual({ template: undefined, found: [] });
    }
  });

  it('leaves the rest of a value as it is', () => {
    const value: JsonValue = { a: 1, b: [true, null, { c: 'text' }], d: '${{ params.n }}', e: { f: [] } };
    expect(resolve(value)).toEqual({ value: { ...value, d: 3 } });
    const sneaky = JSON.parse('{"__proto__": "${{ params.n }}"}') as JsonValue;
    expect(JSON.stringify(resolve(sneaky))).toBe('{"value":{"__proto__":3}}');
  });

  const wrong: [JsonValue, string, RegExp, number?][] = [
    [
      { steps: [{}, {}, { run: 'make ${{ params.n' }] },
      'spec.steps[2].run',
      /^at column 6: has no }} after "\$\{\{ params.n"; write \$\$\{\{/,
      5,
    ],
    [{ a: '${{ "}} }}' }, 'spec.a', /: has no }} after/, 0],
    [{ a: '${{ {"b": 1 }}' }, 'spec.a', /: has no }} after/, 0],
    [
      { a: { 'x ${{ params.n }}': 1 } },
      'spec.a',
      /^has the key "x \$\{\{ params.n }}"; expressions may not be in keys/,
    ],
    [{ 'app.io/name': { 'a"b': '${{ parms.n }}' } }, 'spec["app.io/name"]["a\\"b"]', /did you mean "params"/, 4],
    [{ a: '${{ }}' }, 'spec.a', /^at column 5: is required: an expression/, 4],
    [['${{ parms.n }}'], 'spec[0]', /^at column 5: .*did you mean "params"/, 4],
    [{ a: 'x ${{ 1 }} ${{needs.deploy.x }}' }, 'spec.a', /^at column 21: .*no job "deploy"/, 20],
    [{ a: '${{ params.n + }}' }, 'spec.a', /^at column 15: .*ends too early/, 14],
    [{ a: 'a\n  ${{ foo() }}' }, 'spec.a', /^at line 2, column 7: there is no function/, 8],
  ];
  it.each(wrong)('names the place of what is wrong in %j', (value, field, description, offset) => {
    const { template, found } = compile(value);
    expect(template).toBeUndefined();
    expect(found).toEqual([
      { field, description: expect.stringMatching(description), ...(offset !== undefined && { offset }) },
    ]);
  });

  it('names all that is wrong', () => {
    const { found } = compile({ a: '${{ parms }} ${{ foo() }}', b: '${{', '${{': 1 });
    expect(found.map(({ field }) => field)).toEqual(['spec.a', 'spec.a', 'spec.b', 'spec']);
  });

  it('names the place and the expression that has no value', () => {
    expect(resolve({ a: ['${{ params.n }}', 'x ${{ params.missing }}'] })).toMatchObject({
      field: 'spec.a[1]',
      error: '"params.missing": there is no field "missing"',
    });
  });

  it('tells all expressions that fail, with the values of their parts', () => {
    const value = {
      a: '${{ params.map.b.c }}',
      b: ['${{ params.n }}', '${{ params.n + 1 == 4 && params.text }} and ${{ params.xs[params.n] }}'],
      c: '${{ [[[[[[[[[[[[[[[[[[[[[[[[[params.n]]]]]]]]]]]]]]]]]]]]]]]]] }}',
    };
    expect(resolve(value)).toEqual({
      field: 'spec.a',
      error: '"params.map.b.c": there is no field "b"',
      count: 4,
      failed: [
        {
          field: 'spec.a',
          expression: 'params.map.b.c',
          error: 'there is no field "b"',
          // Where the path ends.
          parts: [{ expression: 'params.map', value: { a: 1 } }],
        },
        {
          field: 'spec.b[1]',
          expression: 'params.n + 1 == 4 && params.text',
          error: 'expected a bool, got string',
          parts: [
            { expression: 'params.n + 1 == 4', value: true },
            { expression: 'params.n + 1', value: 4 },
            { expression: 'params.n', value: 3 },
            { expression: 'params.text', value: 'a"b' },
          ],
        },
        {
          field: 'spec.b[1]',
          expression: 'params.xs[params.n]',
          error: 'there is no entry 3 in a list of 2',
          parts: [
            { expression: 'params.n', value: 3 },
            { expression: 'params.xs', value: [1, 'x'] },
          ],
        },
        {
          field: 'spec.c',
          expression: expect.any(String),
          error: expect.stringContaining('too deep'),
          parts: [expect.anything()],
        },
      ],
    });
  });

  it('tells the first ten that fail, and how many do', () => {
    const texts = Array.from({ length: 12 }, (_, n) => `\${{ params.missing${n} }}`);
    const resolution = resolve(texts);
    expect(resolution).toMatchObject({ field: 'spec[0]', count: 12 });
    expect('failed' in resolution && resolution.failed.map(({ field }) => field)).toEqual(
      Array.from({ length: 10 }, (_, n) => `spec[${n}]`),
    );
  });

  it('ends with the first that nobody can know, whatever failed before', () => {
    const { template } = compile(['${{ params.missing }}', '${{ needs.build.outputs.x }}', '${{ needs.lint.x }}']);
    const unknown = {
      get outputs(): JsonValue {
        throw new UnknownRead('build');
      },
    };
    const lint = {
      get x(): JsonValue {
        throw new Error('is not read');
      },
    };
    expect(resolveTemplate(template!, { params: {}, needs: { build: unknown, lint } }, 65_536)).toEqual({
      unknown: 'build',
    });
  });
});

describe('the bounds of a template', () => {
  it('hold for the number of its expressions', () => {
    const texts = (count: number): string => '${{ 1 }}'.repeat(count);
    expect(compile({ a: texts(60), b: texts(40) }).found).toEqual([]);
    expect(compile({ a: texts(60), b: texts(5_000) }).found).toEqual([
      { field: 'spec.b', description: `is beyond the ${LIMITS.templateExpressions} expressions that there may be` },
    ]);
  });

  it('hold for the result', () => {
    expect(resolve({ a: '${{ params.text }}' }, 12)).toEqual({ value: { a: 'a"b' } });
    expect(resolve({ a: '${{ params.text }}' }, 11)).toEqual({
      field: 'spec',
      error: 'must have at most 11 bytes as JSON; has 12',
      failed: [],
      count: 0,
    });
  });

  it('hold for values that are put into many places', () => {
    const inputs: Inputs = { params: { text: 'x'.repeat(60_000) } };
    const { template } = compile({ a: ['${{ params.text }}', 'b: ${{ params.text }}', '${{ params.missing }}'] });
    expect(resolveTemplate(template!, inputs, 65_536)).toMatchObject({
      field: 'spec.a[1]',
      error: '"params.text": with the values before it, comes to more than 65536 bytes as JSON',
      count: 1,
    });
  });

  it('hold for the cost of all of its expressions together', () => {
    const inputs: Inputs = { params: { xs: Array<number>(10_000).fill(1) } };
    const { template } = compile(Array<string>(100).fill('${{ params.xs.all(x, x == 1) }}'));
    expect(resolveTemplate(template!, inputs, 65_536)).toMatchObject({
      error: expect.stringContaining(`costs more than ${LIMITS.expressionSteps} steps`),
      count: 1,
    });
  });

  it('hold for the cost of the traces of all that fail together', () => {
    const inputs: Inputs = { params: { xs: Array<number>(5_000).fill(1) } };
    const part = 'params.xs.all(x, x == 1)';
    const { template } = compile(Array<string>(10).fill(`\${{ params.missing ? ${part} : false }}`));
    let spent = 0;
    const resolution = resolveTemplate(template!, inputs, 65_536, (steps) => (spent += steps));
    const failed = 'failed' in resolution ? resolution.failed : [];
    const of = (n: number) => failed[n]?.parts.find(({ expression }) => expression === part);
    expect(of(0)).toEqual({ expression: part, value: true });
    expect(of(9)).toEqual({ expression: part, error: `costs more than ${LIMITS.expressionTraceSteps} steps` });
    expect(spent).toBeGreaterThanOrEqual(LIMITS.expressionTraceSteps);
    expect(spent).toBeLessThan(LIMITS.expressionTraceSteps + 1_000);
  });
});
