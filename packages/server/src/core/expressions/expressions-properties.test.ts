import { type CelInput, run as runLibrary, isCelError, isCelList, isCelMap, isCelUint } from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Found } from '../check-fields.ts';
import type { JsonObject, JsonValue } from '../json.ts';
import { LIMITS } from '../limits.ts';
import { evaluateExpression } from './evaluate.ts';
import { compileExpression, type Expression } from './expression.ts';
import { ROOTS } from './nodes.ts';
import { OVERLOADS } from './overloads.ts';
import { resolveTemplate } from './resolve-template.ts';
import { compileTemplate } from './template.ts';

const SCOPE = { roots: ROOTS, needs: ['a', 'b'] };

function compile(source: string): { readonly expression: Expression | undefined; readonly found: Found } {
  const found: Found = [];
  return { expression: compileExpression(found, 'if', source, SCOPE), found };
}

/** Puts the variable of a loop into what is to become its body. */
function inLoop(body: string): string {
  return body.replaceAll('params.a', 'x').replaceAll('params.n', 'x');
}

/** Expressions whose types fit. */
const { bool, num, text, list } = fc.letrec<{ bool: string; num: string; text: string; list: string }>((tie) => {
  const [bools, nums, texts, lists] = [tie('bool'), tie('num'), tie('text'), tie('list')];
  const compare = fc.constantFrom('==', '!=', '<', '<=', '>', '>=');
  return {
    bool: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constantFrom('true', 'false', 'has(params.n)', 'has(params.missing)'),
      fc.tuple(nums, compare, nums).map(([left, operator, right]) => `(${left} ${operator} ${right})`),
      fc.tuple(texts, compare, texts).map(([left, operator, right]) => `(${left} ${operator} ${right})`),
      fc.tuple(lists, fc.constantFrom('==', '!='), lists).map(([a, operator, b]) => `(${a} ${operator} ${b})`),
      fc.tuple(bools, fc.constantFrom('&&', '||', '=='), bools).map(([a, operator, b]) => `(${a} ${operator} ${b})`),
      bools.map((operand) => `!${operand}`),
      fc.tuple(nums, lists).map(([item, items]) => `(${item} in ${items})`),
      fc
        .tuple(texts, fc.constantFrom('contains', 'startsWith', 'endsWith'), texts)
        .map(([a, f, b]) => `${a}.${f}(${b})`),
      fc
        .tuple(lists, fc.constantFrom('all', 'exists', 'exists_one'), bools)
        .map(([items, loop, body]) => `${items}.${loop}(x, ${inLoop(body)})`),
    ),
    num: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constantFrom('0', '1', '7', '-2', '2.5', '3u', 'params.n', 'params.n', 'params.missing'),
      fc
        .tuple(nums, fc.constantFrom('+', '-', '*', '/', '%'), nums)
        .map(([a, operator, b]) => `(${a} ${operator} ${b})`),
      fc.tuple(bools, nums, nums).map(([condition, a, b]) => `(${condition} ? ${a} : ${b})`),
      texts.map((operand) => `size(${operand})`),
      lists.map((operand) => `${operand}.size()`),
      fc.tuple(lists, nums).map(([items, index]) => `${items}[${index}]`),
      fc.tuple(texts, texts).map(([a, b]) => `${a}.indexOf(${b})`),
    ),
    text: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constantFrom('""', '"a"', '"ab\\n"', "'b'", 'params.text', 'needs.a.b'),
      fc.tuple(texts, texts).map(([a, b]) => `(${a} + ${b})`),
      nums.map((operand) => `string(${operand})`),
      texts.map((operand) => `${operand}.upperAscii().trim()`),
      fc.oneof(nums, lists, bools).map((operand) => `toJSON(${operand})`),
      fc.tuple(texts, texts).map(([a, b]) => `${a}.split(${b}).join("-")`),
    ),
    list: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constantFrom('params.xs', 'params.xs', '[]'),
      lists.map((items) => `fromJSON(toJSON(${items}))`),
      fc.array(nums, { maxLength: 3 }).map((items) => `[${items.join(', ')}]`),
      fc.tuple(lists, lists).map(([a, b]) => `(${a} + ${b})`),
      fc.tuple(lists, nums).map(([items, body]) => `${items}.map(x, ${inLoop(body)})`),
      fc.tuple(lists, bools).map(([items, body]) => `${items}.filter(x, ${inLoop(body)})`),
    ),
  };
});
const typed = fc.oneof(bool, num, text, list);
const fitting: fc.Arbitrary<JsonObject> = fc.record({
  n: fc.oneof(fc.integer({ min: -5, max: 5 }), fc.double({ noNaN: true, noDefaultInfinity: true })),
  text: fc.string({ maxLength: 5 }),
  xs: fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 5 }),
});

/** Expressions of which few mean anything. */
const { tree } = fc.letrec<{ tree: string; leaf: string }>((tie) => {
  const leaf = fc.oneof(
    fc.constantFrom(
      'params',
      'params.a',
      'params.b',
      'params.xs',
      'params.xs[0]',
      'params.text',
      'params["b"]',
      'needs.a.b',
    ),
    fc.constantFrom(
      '0',
      '1',
      '2',
      '-3',
      '1.5',
      '2u',
      'true',
      'false',
      'null',
      '"a"',
      '"1"',
      "'ab'",
      'b"a"',
      '[]',
      '{}',
      'int',
    ),
    fc.constantFrom('"2024-03-31T02:30:00Z"', '"90s"', '9223372036854775807', '1e308', '"\\u0000"'),
  );
  const sub = tie('tree');
  const binary = fc.constantFrom('+', '-', '*', '/', '%', '==', '!=', '<', '<=', '>', '>=', '&&', '||', 'in');
  const loops = fc.constantFrom('all', 'exists', 'exists_one', 'map', 'filter');
  const methods = fc.constantFrom(
    'contains',
    'startsWith',
    'indexOf',
    'split',
    'join',
    'lastIndexOf',
    'charAt',
    'substring',
  );
  const bare = fc.constantFrom('size', 'lowerAscii', 'trim', 'join', 'getHours', 'getSeconds');
  const calls = fc.constantFrom(
    'size',
    'int',
    'uint',
    'double',
    'string',
    'bool',
    'bytes',
    'type',
    'dyn',
    'timestamp',
    'duration',
  );
  return {
    leaf,
    tree: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaf,
      fc.tuple(sub, binary, sub).map(([left, operator, right]) => `(${left} ${operator} ${right})`),
      fc.tuple(fc.constantFrom('!', '-'), sub).map(([operator, operand]) => `${operator}(${operand})`),
      fc.tuple(sub, sub, sub).map(([condition, a, b]) => `(${condition} ? ${a} : ${b})`),
      fc.tuple(sub, loops, sub).map(([list, loop, body]) => `(${list}).${loop}(x, ${inLoop(body)})`),
      fc.tuple(sub, methods, sub).map(([target, method, arg]) => `(${target}).${method}(${arg})`),
      fc.tuple(sub, bare).map(([target, method]) => `(${target}).${method}()`),
      fc.tuple(sub, sub, sub).map(([target, part, by]) => `(${target}).replace(${part}, ${by})`),
      sub.map((target) => `(${target}).matches("^[a-z]+$")`),
      fc.tuple(calls, sub).map(([name, arg]) => `${name}(${arg})`),
      fc.tuple(sub, sub).map(([list, index]) => `(${list})[${index}]`),
      sub.map((target) => `(${target}).a`),
      sub.map((target) => `has((${target}).b)`),
      fc.array(sub, { maxLength: 3 }).map((items) => `[${items.join(', ')}]`),
      fc.tuple(sub, sub).map(([key, value]) => `{${key}: ${value}}`),
    ),
  };
});

// As it arrives: JSON has no -0.
const json = fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.parse(JSON.stringify(value)) as JsonValue);
const paramsOf = fc.record({
  a: json,
  b: json,
  text: fc.string({ unit: 'grapheme' }),
  xs: fc.array(fc.oneof(fc.integer(), json), { maxLength: 20 }),
});

describe('any expression', () => {
  it('evaluates to a value or an error, within its bounds and always to the same', () => {
    let values = 0;
    fc.assert(
      fc.property(fc.oneof(tree, typed), fc.oneof(paramsOf, fitting), (source, params) => {
        const { expression, found } = compile(source);
        expect(expression === undefined).toBe(found.length > 0);
        if (expression === undefined) return;
        const inputs = { params, needs: { a: { b: 1 } } };
        const evaluation = evaluateExpression(expression, inputs);
        expect(evaluation.cost).toBeLessThanOrEqual(LIMITS.expressionSteps);
        expect(evaluation.parts.length).toBeLessThanOrEqual(LIMITS.expressionParts);
        expect(typeof evaluation.error).toBe(evaluation.value === undefined ? 'string' : 'undefined');
        expect(JSON.parse(JSON.stringify(evaluation.value ?? null))).toEqual(evaluation.value ?? null);
        expect(evaluateExpression(expression, structuredClone(inputs))).toEqual(evaluation);
        if (evaluation.value !== undefined) values++;
      }),
      { numRuns: 1_500 },
    );
    expect(values).toBeGreaterThan(100);
  });

  it('is shown by parts that are expressions, with the values that they have by themselves', () => {
    let shown = 0;
    fc.assert(
      fc.property(fc.oneof(tree, typed), fc.oneof(paramsOf, fitting), (source, params) => {
        // The library writes the negative of an unsigned literal, which fails, as one that cannot be read.
        fc.pre(!/-\(+2u/.test(source));
        const { expression } = compile(source);
        if (expression === undefined) return;
        for (const part of evaluateExpression(expression, { params, needs: { a: { b: 1 } } }).parts) {
          const alone = compile(part.expression).expression;
          expect(alone, part.expression).toBeDefined();
          const { value, error } = evaluateExpression(alone!, { params, needs: { a: { b: 1 } } });
          if ('value' in part) expect(part.value).toEqual(value);
          if ('error' in part) expect(part.error).toBe(error);
          shown++;
        }
      }),
      { numRuns: 1_000 },
    );
    expect(shown).toBeGreaterThan(100);
  });

  it('may be any text: what cannot be read is a violation', () => {
    const tokens = fc.constantFrom(
      ...'( ) [ ] { } . , ? : + - ! && || == = " \' """ \\ r" // ${{ }} params needs x 1 .5 1e in has(a.b) .map(x, null'.split(
        ' ',
      ),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(tokens, { maxLength: 30 }).map((all) => all.join(' ')),
        ),
        (source) => {
          const { expression, found } = compile(source);
          expect(expression === undefined).toBe(found.length > 0);
          if (expression !== undefined) evaluateExpression(expression, {});
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('comes to what the library says', () => {
    let compared = 0;
    fc.assert(
      fc.property(typed, fitting, (source, params) => {
        const { expression } = compile(source);
        if (expression === undefined) return;
        const ours = evaluateExpression(expression, { params, needs: { a: { b: 'x' } } });
        const bindings = { params: toInput(params), needs: toInput({ a: { b: 'x' } }) };
        const theirs = runLibrary(source, bindings, { funcs: [...strings, ...OVERLOADS] });
        if (isCelError(theirs)) {
          // The library breaks off at a fractional index, where CEL has an error that another operand may make up for.
          if (theirs.message !== 'unsupported input undefined') expect(ours.error).toBeDefined();
        } else if (ours.value === undefined) {
          expect(ours.error).toMatch(/has no JSON|too large for a number of JSON/);
        } else {
          expect(fromLibrary(theirs)).toEqual(ours.value);
          compared++;
        }
      }),
      { numRuns: 2_000 },
    );
    expect(compared).toBeGreaterThan(500);
  });
});

function toInput(value: JsonValue): CelInput {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(toInput);
  return new Map(Object.entries(value).map(([key, member]) => [key, toInput(member)]));
}

function fromLibrary(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (isCelUint(value)) return Number(value.value);
  if (isCelList(value)) return Array.from(value, fromLibrary);
  if (isCelMap(value)) return Object.fromEntries(Array.from(value, ([key, member]) => [key, fromLibrary(member)]));
  return value;
}

describe('any template', () => {
  it('without expressions is no template, and with escapes only comes to the text that it stands for', () => {
    fc.assert(
      fc.property(json, (value) => {
        fc.pre(!JSON.stringify(value).includes('${{'));
        const found: Found = [];
        expect(compileTemplate(found, 'spec', value, SCOPE)).toBeUndefined();
        expect(found).toEqual([]);
      }),
    );
    const text = fc
      .array(fc.constantFrom('${{', 'a', '}}', '"', '{', '$', ' ', '${'), { maxLength: 12 })
      .map((all) => all.join(''));
    fc.assert(
      fc.property(fc.array(fc.record({ text })), (value) => {
        const escape = (plain: string): string => plain.replaceAll('${{', () => '$${{');
        const found: Found = [];
        const template = compileTemplate(
          found,
          'spec',
          value.map((item) => ({ text: escape(item.text) })),
          SCOPE,
        );
        expect(found).toEqual([]);
        if (template === undefined) expect(JSON.stringify(value)).not.toContain('${{');
        else expect(resolveTemplate(template, {}, 65_536)).toEqual({ value });
      }),
    );
  });

  it('leaves what is not an expression, and puts in the values of what is', () => {
    fc.assert(
      fc.property(json, json, (value, param) => {
        fc.pre(!JSON.stringify([value, param]).includes('${{'));
        const template = compileTemplate([], 'spec', { value, here: ['${{ params.it }}'] }, SCOPE);
        const params: JsonObject = { it: param };
        const resolved = resolveTemplate(template!, { params }, 65_536);
        // As JSON, which has one zero.
        const expected = JSON.stringify({ value: { value, here: [param] } });
        if (!('error' in resolved)) expect(JSON.stringify(resolved)).toBe(expected);
        else expect(resolved).toMatchObject({ field: 'spec.here[0]', error: expect.stringMatching(/NUL|surrogate/) });
      }),
    );
  });
});
