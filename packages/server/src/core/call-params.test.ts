// Of params with expressions only what holds whatever they come to is checked.
import { expect, it } from 'vitest';
import { knownParams, namesSchema, valuesSchema } from './call-params.ts';
import type { Found } from './check-fields.ts';
import { compileSchema } from './json-schema.ts';
import type { JsonObject } from './json.ts';

function findings(schema: JsonObject, params: JsonObject): string[] {
  const found: Found = [];
  const known = knownParams(params);
  const checks =
    known === params
      ? [{ of: schema, value: params }]
      : [
          { of: valuesSchema(schema), value: known },
          { of: namesSchema(schema), value: params },
        ];
  for (const { of, value } of checks) {
    const broken: Found = [];
    compileSchema(broken, 'schema', of)?.check(found, 'params', value);
    expect(broken).toEqual([]);
  }
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
  ['an expression in place of any value', closed, { target: open, size: `${open}${open}` }, []],
  ['an expression inside of a value', { properties: { a: { type: 'array', maxItems: 0 } } }, { a: [open] }, []],
  ['the value of another param', closed, { target: open, size: 'large' }, ['params.size must be integer']],
  [
    'a value by what it refers to',
    closed,
    { target: open, size: 1, note: 'long' },
    ['params.note must NOT have more than 3 characters'],
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
    ['params.xb must be number'],
  ],
  [
    'values of any other name',
    { additionalProperties: { type: 'number' } },
    { a: open, b: 'b' },
    ['params.b must be number'],
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
