// Slips in schemas that are valid by themselves.
import { expect, it } from 'vitest';
import type { Found } from './check-fields.ts';
import { checkParamsSchema } from './check-schemas.ts';
import type { JsonObject } from './json.ts';
import { createCheckWork } from './check-work.ts';

function findings(schema: JsonObject): string[] {
  const found: Found = [];
  checkParamsSchema(found, 's', schema, createCheckWork());
  return found.map(({ field, description }) => `${field} ${description}`);
}

it.each<[string, JsonObject, string[]]>([
  [
    'misspelt keywords, at any depth',
    { requried: ['a'], properties: { a: { items: { minLenght: 1 }, anyOf: [{ defualt: 1 }] } } },
    [
      's.requried is no keyword of JSON Schema; did you mean "required"?',
      's.properties.a.items.minLenght is no keyword of JSON Schema; did you mean "minLength"?',
      's.properties.a.anyOf[0].defualt is no keyword of JSON Schema; did you mean "default"?',
    ],
  ],
  [
    'a misspelt format',
    { properties: { a: { format: 'emial' } } },
    ['s.properties.a.format there is no format "emial"; did you mean "email"?'],
  ],
  [
    'a misspelt type',
    { properties: { a: { type: 'intger' } } },
    [expect.stringMatching(/^s\.properties\.a\.type must be one of .*did you mean "integer"\?$/)],
  ],
  [
    'a default that does not fit',
    {
      properties: {
        a: { type: 'integer', default: 'x' },
        b: { properties: { c: { enum: [1], default: 2 } }, default: { c: 1 } },
        d: { properties: { e: { type: 'string' } }, default: { e: 1 } },
        f: { type: 'integer', default: 1 },
        'h.i': { type: 'integer', default: 'x' },
      },
      required: ['g'],
    },
    [
      's.properties.a.default does not fit its own schema: it must be integer; got "x"',
      's.properties.b.properties.c.default does not fit its own schema: it must be one of 1',
      's.properties.d.default does not fit its own schema: its e must be string; got 1',
      's.properties["h.i"].default does not fit its own schema: it must be integer; got "x"',
    ],
  ],
  [
    'a schema that is nothing but itself',
    { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } },
    ['s refers to itself without an end: let each reference be of a part'],
  ],
  [
    'nothing of notes, of names that are no keywords, and of values',
    {
      'x-defualt': 1,
      widget: 'text',
      markdownDescription: '',
      properties: {
        requried: { example: 1, type: 'string', nullable: true, format: 'semver' },
        a: { enum: [{ defualt: 1 }], examples: [{ typ: 1 }] },
      },
    },
    [],
  ],
])('tells %s', (_, schema, told) => {
  expect(findings(schema)).toEqual(told);
});
