// What a schema says of types holds for every value that fits it, and what is told by these types fails whenever it is worked out.
import { celType } from '@bufbuild/cel';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import type { Found } from './check-fields.ts';
import { inLibrary } from './expressions/evaluate.ts';
import { createRun, evaluateNode } from './expressions/evaluate-node.ts';
import { compileExpression } from './expressions/expression.ts';
import { createMeter } from './expressions/meter.ts';
import type { Node } from './expressions/nodes.ts';
import { Failure, type Outcome } from './expressions/outcome.ts';
import { ANY, NUMBER, type StaticType, staticType } from './expressions/static-types.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { compileSchema } from './json-schema.ts';
import { LIMITS } from './limits.ts';
import { commonType, typesOf } from './schema-types.ts';

describe('the type by a schema', () => {
  it.each<[JsonValue, StaticType]>([
    [{ type: 'string' }, 'string'],
    [{ type: 'integer' }, NUMBER],
    [{ type: 'number' }, NUMBER],
    [{ type: 'boolean' }, 'bool'],
    [{ type: 'array' }, 'list'],
    [{ type: 'object' }, 'map'],
    [{ type: 'null' }, 'null_type'],
    [{ const: 'a' }, 'string'],
    [{ const: null }, 'null_type'],
    [{ enum: ['a', 'b'] }, 'string'],
    [{ enum: [1, 1.5] }, NUMBER],
    [{ enum: [[], [1]], default: [] }, 'list'],
    [{ enum: ['a', 1] }, ANY],
    [{ enum: ['a', null] }, ANY],
    [{ type: ['string', 'null'] }, ANY],
    [{ type: ['string', 'null'], enum: ['a', 'b'] }, 'string'],
    [{ type: 'string', nullable: true }, ANY],
    [{ $ref: '#/$defs/text' }, ANY],
    [{ anyOf: [{ type: 'string' }] }, ANY],
    [true, ANY],
    [{}, ANY],
  ])('%j is %s', (schema, type) => {
    expect(typesOf({ properties: { a: schema } })(['a'])).toBe(type);
    expect(typesOf({ properties: { o: { properties: { a: schema } } } })(['o', 'a'])).toBe(type);
  });

  it('is not known of what it does not name', () => {
    const typeAt = typesOf({ properties: { a: { type: 'string' } }, additionalProperties: { type: 'string' } });
    expect([['b'], ['a', 'b'], ['constructor'], []].map(typeAt)).toEqual([ANY, ANY, ANY, ANY]);
    expect(typesOf(undefined)(['a'])).toBe(ANY);
  });
});

const values = fc.oneof(
  fc.constantFrom<JsonValue>('', 'a', '1', 0, 1, -7, 1.5, 1e300, 2 ** 53, true, false, null),
  fc.array(fc.oneof(fc.integer({ min: -2, max: 2 }), fc.constant('a')), { maxLength: 2 }),
  fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom<JsonValue>('a', 1, true, null), { maxKeys: 2 }),
);
const NAMES = ['string', 'integer', 'number', 'boolean', 'array', 'object', 'null'];
const $defs = { text: { type: 'string' } };

/** Schemas that take a value, most of them. */
function schemasOf(value: JsonValue): fc.Arbitrary<JsonValue> {
  const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
  const named = Number.isInteger(value) ? fc.constantFrom('integer', type) : fc.constant(type);
  const plain = fc.oneof(
    named.map((name) => ({ type: name })),
    fc.tuple(named, fc.constantFrom(...NAMES)).map((both) => ({ type: [...new Set(both)] })),
    fc.array(values, { maxLength: 1 }).map((others) => ({ enum: [...others, value] })),
    fc.constantFrom<JsonValue>({}, true, { const: value }, { anyOf: [{ type: 'null' }, { type }] }),
    fc
      .constantFrom(...NAMES)
      .map((name) => (value === null ? { type: name, nullable: true } : { $ref: '#/$defs/text', type: name })),
  );
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return plain;
  const members = Object.entries(value).map(([name, member]) =>
    schemasOf(member).map((schema): JsonObject => ({ [name]: schema })),
  );
  return fc.oneof(
    plain,
    fc.tuple(...members).map((all) => ({ properties: Object.assign({}, ...all) as JsonObject })),
  );
}

const named = values.chain((value) => fc.tuple(fc.constant(value), schemasOf(value)));
const params = fc.record({ a: named, b: named, c: named }).map((all) => {
  const of = (place: 0 | 1): JsonObject =>
    Object.fromEntries(Object.entries(all).map(([name, pair]) => [name, pair[place]]));
  return { given: of(0), schema: { properties: of(1), $defs } };
});

function isOfType(value: Outcome, type: StaticType): boolean {
  if (value instanceof Failure || type === ANY) return true;
  const { name } = celType(value);
  return type === NUMBER ? name === 'int' || name === 'double' : name === type;
}

test('a value that a schema takes is of the type that it says', () => {
  let sure = 0;
  fc.assert(
    fc.property(params, ({ given, schema }) => {
      const found: Found = [];
      compileSchema([], 'schema', schema)?.check(found, 'params', given);
      for (const path of [['a'], ['b'], ['c'], ['a', 'a'], ['b', 'b']]) {
        const type = typesOf(schema)(path);
        const node = path.reduce<Node>((operand, field) => ({ kind: 'select', operand, field }), {
          kind: 'root',
          root: 'params',
        });
        if (found.length > 0) continue;
        expect([path, type, isOfType(valueOf(node, given), type)]).toEqual([path, type, true]);
        if (type !== ANY) sure++;
      }
    }),
    { numRuns: 200 },
  );
  expect(sure).toBeGreaterThan(50);
});

const { expression: expressions } = fc.letrec<{ expression: string }>((tie) => {
  const sub = tie('expression');
  return {
    expression: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constantFrom('params.a', 'params.b', 'params["c"]', 'params.a.b', 'params.b["a"]', '1', '"a"', 'true', '[1]'),
      fc
        .tuple(sub, fc.constantFrom('+', '-', '*', '/', '%', '<', '==', '&&', '||', 'in'), sub)
        .map(([left, operator, right]) => `(${left} ${operator} ${right})`),
      fc.tuple(fc.constantFrom('!', '-', 'size', 'string', 'int'), sub).map(([name, operand]) => `${name}(${operand})`),
      fc.tuple(sub, sub, sub).map(([condition, a, b]) => `(${condition} ? ${a} : ${b})`),
      fc.tuple(sub, sub).map(([list, body]) => `(${list}).exists(x, ${body} == x)`),
      fc.tuple(sub, fc.constantFrom('.a', '[0]', '.size()', '.trim()', '.matches("a")')).map((all) => all.join('')),
      sub.map((operand) => `has((${operand}).a)`),
    ),
  };
});

test('what is told by the types of values fails, and what comes of them is of the type that is told', () => {
  let [typed, told] = [0, 0];
  const sureTypes = fc.record({ a: values, b: values, c: values }).map((given) => ({
    given,
    types: new Map(Object.entries(given).map(([name, value]) => [name, commonType([value])])),
  }));
  fc.assert(
    fc.property(sureTypes, expressions, ({ given, types }, source) => {
      const expression = compileExpression([], 'if', source, { roots: ['params'], needs: [] });
      if (expression === undefined) return;
      const typeAt = ([, name = '', ...inner]: readonly string[]) =>
        inner.length === 0 ? (types.get(name) ?? ANY) : ANY;
      for (const node of partsOf(expression.node)) {
        const problems: (readonly [string, Node])[] = [];
        const type = staticType(node, (problem, at) => problems.push([problem, at]), typeAt);
        expect([source, type, isOfType(valueOf(node, given), type)]).toEqual([source, type, true]);
        if (type !== ANY) typed++;
        for (const [problem, at] of problems) {
          const outcome = valueOf(at, given);
          // What asks for a bool is around it.
          const isNoBool = problem.startsWith('expected a bool') && typeof outcome !== 'boolean';
          expect([source, problem, outcome instanceof Failure || isNoBool]).toEqual([source, problem, true]);
          told++;
        }
      }
    }),
    { numRuns: 2_000 },
  );
  expect(typed).toBeGreaterThan(500);
  expect(told).toBeGreaterThan(100);
});

function valueOf(node: Node, params: JsonObject): Outcome {
  return inLibrary(() => evaluateNode(createRun({ params }, createMeter(LIMITS.expressionSteps)), node));
}

/** The nodes of a tree that have a value by themselves: none in the body of a loop. */
function partsOf(node: Node): readonly Node[] {
  const inner = (): readonly Node[] => {
    switch (node.kind) {
      case 'constant':
      case 'root':
      case 'element':
        return [];
      case 'select':
      case 'has':
      case 'matches':
        return [node.operand];
      case 'index':
        return [node.operand, node.index];
      case 'logic':
      case 'call':
        return node.operands;
      case 'choice':
        return [node.condition, node.whenTrue, node.whenFalse];
      case 'list':
        return node.items;
      case 'map':
        return node.entries.flatMap(({ key, value }) => [key, value]);
      case 'loop':
        return [node.range];
    }
  };
  return [node, ...inner().flatMap(partsOf)];
}
