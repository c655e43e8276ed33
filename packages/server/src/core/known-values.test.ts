// Of params with expressions only what holds whatever they come to is checked.
import { expect, it } from 'vitest';
import type { Found } from './check-fields.ts';
import { compileSchema } from './json-schema.ts';
import type { JsonObject } from './json.ts';

function findings(schema: JsonObject, params: JsonObject): string[] {
  const found: Found = [];
  compileSchema(found, 'schema', schema)?.ofKnown.check(found, 'params', params);
  return found.map(({ field, description }) => `${field} ${description}`);
}

const open = '${{ needs.a.outputs.x }}';
const closed: JsonObject = {
  required: ['target', 'size'],
  properties: { target: { enum: ['eu', 'us'] }, size: { type: 'integer' }, note: { $ref: '#/$defs/text' } },
  additionalProperties: false,
  $defs: { text: { type: 'string', maxLength: 3 } },
};

it.each<[string, JsonObject, JsonObject, string[]]>([
  ['nothing wrong', closed, { target: 'eu', size: 1 }, []],
  [
    'all that is wrong without expressions',
    closed,
    { target: 'x' },
    ['params.size is required', 'params.target must be one of "eu", "us"'],
  ],
  ['an expression in place of any value', closed, { target: `${open}${open}`, size: open }, []],
  [
    'how many values there are',
    { properties: { a: { type: 'array', maxItems: 1 } } },
    { a: [open, 1] },
    ['params.a must have at most 1 item; has 2'],
  ],
  [
    'what stands beside an expression, at any depth',
    { properties: { a: { items: { properties: { b: { type: 'integer' } }, additionalProperties: false } } } },
    { a: [{ b: open }, { b: 'x' }, { c: open }] },
    ['params.a[1].b must be integer; got "x"', 'params.a[2].c is not known to the schema'],
  ],
  [
    'that a text with an expression in it is a text',
    { properties: { a: { type: 'array' }, b: { enum: ['x-1'] }, c: { type: 'string', maxLength: 2 } } },
    { a: `x${open}`, b: `x-${open}`, c: `${open}${open}` },
    ['params.a must be array'],
  ],
  [
    'that an escaped expression is a text',
    { properties: { a: { const: '${{ x }}' }, b: { type: 'array' } } },
    { a: '$${{ x }}', b: '$${{ x }}', c: open },
    ['params.b must be array; got "${{ x }}"'],
  ],
  [
    'not what a list or object with an expression may come to',
    { properties: { a: { enum: [[1]] }, b: { uniqueItems: true } } },
    { a: [open], b: [open, open] },
    [],
  ],
  [
    'not what no expression may come to',
    { properties: { a: { not: { const: 1 } }, b: { contains: { const: 1 } } } },
    { a: open, b: [open] },
    [],
  ],
  [
    'what no alternative knows',
    { oneOf: [{ required: ['a'] }, { required: ['c'] }] },
    { b: open },
    ['params.a is required', 'params.c is required'],
  ],
  [
    'not which alternative fits',
    { oneOf: [{ properties: { b: { const: 1 } } }, { properties: { b: { const: 2 } } }] },
    { b: open },
    [],
  ],
  [
    'what a default of a condition fills in',
    { required: ['a'], if: { required: ['c'] }, else: { properties: { a: { default: 1 } } } },
    { b: open },
    [],
  ],
  [
    'names that no part knows',
    { allOf: [{ properties: { a: true } }], unevaluatedProperties: false },
    { a: open, b: open },
    ['params.b is not known to the schema'],
  ],
  ['the value of another param', closed, { target: open, size: 'large' }, ['params.size must be integer; got "large"']],
  [
    'a value by what it refers to',
    closed,
    { target: open, size: 1, note: 'long' },
    ['params.note must have at most 3 characters; has 4'],
  ],
  ['what is missing', closed, { target: open }, ['params.size is required']],
  [
    'an unknown name',
    closed,
    { target: open, size: 1, targte: 1 },
    ['params.targte is not known to the schema; did you mean "target"?'],
  ],
  [
    'an unknown name of an expression',
    closed,
    { target: 'eu', siez: open, size: 1 },
    ['params.siez is not known to the schema; did you mean "size"?'],
  ],
  ['what a default fills in', { required: ['a'], properties: { a: { default: 1 } } }, { b: open }, []],
  [
    'what a default elsewhere may fill in',
    { required: ['a'], allOf: [{ properties: { a: { default: 1 } } }] },
    { b: open },
    [],
  ],
  [
    'names by pattern',
    { patternProperties: { '^x': { type: 'number' } }, additionalProperties: false },
    { xa: open, xb: 'b' },
    ['params.xb must be number; got "b"'],
  ],
  [
    'values of any other name',
    { additionalProperties: { type: 'number' } },
    { a: open, b: 'b' },
    ['params.b must be number; got "b"'],
  ],
  [
    'no alternative that an expression may fit',
    { oneOf: [{ required: ['a'] }, { properties: { b: { const: 1 } } }] },
    { b: open },
    [],
  ],
  [
    'nothing that depends on others',
    { if: { properties: { a: { const: 1 } } }, else: { required: ['c'] } },
    { a: open },
    [],
  ],
])('tells %s', (_, schema, params, told) => {
  expect(findings(schema, params)).toEqual(told);
});
