import { expect, test } from 'vitest';
import type { Found } from '../core/check-fields.ts';
import type { JsonObject } from '../core/json.ts';
import { compileSchema } from '../core/json-schema.ts';
import { checkBounded } from './bounded-check.ts';

function check(schema: JsonObject, value: JsonObject) {
  const compiled = compileSchema([], 'schema', schema);
  if (compiled === undefined) throw new Error('the schema does not compile');
  const found: Found = [];
  const beganMs = performance.now();
  const filled = checkBounded(compiled, found, 'params', value);
  return { found, filled, tookMs: performance.now() - beganMs };
}

/** Each of these applies the next one twice. */
const doubling: JsonObject = {
  $ref: '#/$defs/d0',
  $defs: Object.fromEntries(
    Array.from({ length: 60 }, (_, n) => [
      `d${n}`,
      n === 59 ? { type: 'string' } : { anyOf: [{ $ref: `#/$defs/d${n + 1}` }, { $ref: `#/$defs/d${n + 1}` }] },
    ]),
  ),
};

const endless: [string, JsonObject, JsonObject][] = [
  ['that doubles the work at each step', doubling, {}],
  ['that is itself', { $ref: '#' }, {}],
  [
    'that compares every item with every other one',
    { properties: { items: { uniqueItems: true } } },
    { items: Array.from({ length: 20_000 }, (_, n) => ({ n })) },
  ],
  [
    'that has as many alternatives as the value has items',
    { properties: { items: { items: { anyOf: Array.from({ length: 2_000 }, (_, n) => ({ const: `${n}` })) } } } },
    { items: Array.from({ length: 20_000 }, (_, n) => n) },
  ],
];

test.each(endless)('a schema %s is cut off, and the value is refused', (_, schema, value) => {
  const { found, tookMs } = check(schema, value);
  expect(found).toEqual([{ field: 'params', description: expect.stringContaining('ms to check') }]);
  expect(tookMs).toBeLessThan(2_000);
});

test('a schema that refers to itself as values do is checked like any other', () => {
  const tree: JsonObject = {
    properties: { name: { type: 'string' }, size: { default: 1 }, of: { type: 'array', items: { $ref: '#' } } },
  };
  const value = { of: [{ name: 'a', of: [{ name: 7 }] }] };
  const { found, filled } = check(tree, value);
  expect(found).toEqual([{ field: 'params.of[0].of[0].name', description: 'must be string; got 7' }]);
  expect(filled).toEqual({ size: 1, of: [{ size: 1, name: 'a', of: [{ size: 1, name: 7 }] }] });
});

test('what is wrong is told once the check is through', () => {
  const { found } = check(
    { required: ['a'], properties: { b: { $ref: '#/$defs/b' } }, $defs: { b: { type: 'null' } } },
    { b: 1 },
  );
  expect(found.map(({ field }) => field).toSorted()).toEqual(['params.a', 'params.b']);
});
