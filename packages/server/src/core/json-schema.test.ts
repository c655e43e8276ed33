import { describe, expect, it } from 'vitest';
import type { Found } from './check-fields.ts';
import type { JsonObject } from './json.ts';
import { compileSchema } from './json-schema.ts';

function compile(schema: JsonObject) {
  const found: Found = [];
  const compiled = compileSchema(found, 'schema', schema);
  return { found, compiled };
}

function check(schema: JsonObject, value: JsonObject) {
  const { compiled } = compile(schema);
  const found: Found = [];
  return { value: compiled!.check(found, 'params', value), found };
}

const BUILD: JsonObject = {
  type: 'object',
  properties: {
    image: { type: 'string', minLength: 1 },
    level: { enum: ['debug', 'release'], default: 'debug' },
    steps: { type: 'array', items: { type: 'object', required: ['run'] } },
    'a/b': { type: 'integer' },
  },
  required: ['image'],
  additionalProperties: false,
};

describe('a compiled schema', () => {
  it('refuses what its defaults make too deep', () => {
    const list = (levels: number): JsonObject[string] => (levels === 0 ? 1 : [list(levels - 1)]);
    const schema: JsonObject = {
      properties: { next: { $ref: '#' }, extra: { default: list(20) } },
    };
    const nested = (levels: number): JsonObject => (levels === 1 ? {} : { next: nested(levels - 1) });
    expect(check(schema, nested(5)).found).toEqual([]);
    expect(check(schema, nested(6)).found).toEqual([
      { field: expect.stringMatching(/^params(\.next){5}\.extra/), description: expect.stringMatching(/is too deep/) },
    ]);
  });

  it('fills in defaults in a copy', () => {
    const given: JsonObject = { image: 'node' };
    expect(check(BUILD, given)).toEqual({ found: [], value: { image: 'node', level: 'debug' } });
    expect(given).toEqual({ image: 'node' });
  });

  const wrong: [string, JsonObject, string, RegExp][] = [
    ['a missing property', {}, 'params.image', /^is required$/],
    ['an unknown property', { image: 'x', imgae: 'y' }, 'params.imgae', /not known/],
    ['a value that is not listed', { image: 'x', level: 'fast' }, 'params.level', /must be one of "debug", "release"/],
    ['a wrong type inside an array', { image: 'x', steps: [{ run: 1 }, {}] }, 'params.steps[1].run', /is required/],
    ['a name with a slash', { image: 'x', 'a/b': 'c' }, 'params["a/b"]', /^must be integer; got "c"$/],
    ['an empty text', { image: '' }, 'params.image', /^must have at least 1 character; has 0$/],
  ];
  it.each(wrong)('names %s by its path', (_, value, field, description) => {
    expect(check(BUILD, value).found).toContainEqual({ field, description: expect.stringMatching(description) });
  });

  it('can refer to itself and to its definitions', () => {
    const tree: JsonObject = {
      $defs: { leaf: { type: 'integer' } },
      properties: { value: { $ref: '#/$defs/leaf' }, children: { type: 'array', items: { $ref: '#' } } },
    };
    expect(check(tree, { value: 1, children: [{ value: 2 }] }).found).toEqual([]);
    expect(check(tree, { value: 1, children: [{ value: 'x' }] }).found).toHaveLength(1);
  });

  it('leaves nothing behind: the same $id may be compiled again, with other contents', () => {
    expect(check({ $id: 'https://example.com/x', required: ['a'] }, {}).found).toHaveLength(1);
    expect(check({ $id: 'https://example.com/x', required: ['b'] }, { b: 1 }).found).toEqual([]);
  });

  it('reports a bounded number of errors', () => {
    const schema: JsonObject = { properties: { list: { items: { type: 'string' } } } };
    const { found } = check(schema, { list: Array.from({ length: 1_000 }, () => 1) });
    expect(found).toHaveLength(20);
  });
});

it.each<[JsonObject, JsonObject[string], string]>([
  [{ minimum: 1 }, 0, 'must be at least 1; got 0'],
  [{ maximum: 100 }, 101, 'must be at most 100; got 101'],
  [{ exclusiveMinimum: 1 }, 1, 'must be more than 1; got 1'],
  [{ exclusiveMaximum: 5 }, 5, 'must be less than 5; got 5'],
  [{ multipleOf: 2 }, 3, 'must be multiple of 2; got 3'],
  [{ pattern: '^a$' }, 'b', 'must match pattern "^a$"; got "b"'],
  [{ type: 'string' }, ['x'], 'must be string; got a list'],
  [{ type: ['string', 'null'] }, { a: 1 }, 'must be string,null; got an object'],
  [{ type: 'string' }, null, 'must be string; got null'],
  [{ maxLength: 1 }, '\u{1F600}b', 'must have at most 1 character; has 2'],
  [{ minItems: 2 }, ['x'], 'must have at least 2 items; has 1'],
  [{ maxProperties: 1 }, { a: 1, b: 2 }, 'must have at most 1 property; has 2'],
])('a value that does not fit %j is told: %j', (of, value, description) => {
  expect(check({ properties: { value: of } }, { value }).found).toEqual([{ field: 'params.value', description }]);
});

describe('a bad schema', () => {
  const bad: [string, JsonObject, string, RegExp][] = [
    ['a type that does not exist', { properties: { a: { type: 'strin' } } }, 'schema.properties.a.type', /must be/],
    ['a remote reference', { $ref: 'http://example.com/x.json' }, 'schema', /can't resolve reference http:/],
    ['a missing definition', { $ref: '#/$defs/nowhere' }, 'schema', /can't resolve reference #\/\$defs\/nowhere/],
    ['another dialect', { $schema: 'http://json-schema.org/draft-07/schema#' }, 'schema.$schema', /2020-12/],
    ['a pattern that is no regular expression', { pattern: '(' }, 'schema.pattern', /regular expression/],
    [
      'a pattern of names that is none',
      { default: { pattern: '(' }, allOf: [{ patternProperties: { '(': {} } }] },
      'schema.allOf[0].patternProperties',
      /regular expression/,
    ],
    ['oversize', { description: 'x'.repeat(70_000) }, 'schema', /at most 65536 bytes/],
    ['NUL', { title: '\0' }, 'schema.title', /NUL/],
  ];
  it.each(bad)('is refused: %s', (_, schema, field, description) => {
    const { found, compiled } = compile(schema);
    expect(compiled).toBeUndefined();
    expect(found).toContainEqual({ field, description: expect.stringMatching(description) });
  });
});

describe('a pattern', () => {
  const text = 'a'.repeat(60_000);
  it.each(['^(a+)+$', '^(a|aa)+$', '^(a*)*b', '(x+x+)+y'])('%s takes time in proportion to the text', (pattern) => {
    const beganMs = performance.now();
    const { found } = check({ properties: { name: { type: 'string', pattern } } }, { name: `${text}!` });
    expect(performance.now() - beganMs).toBeLessThan(1_000);
    expect(found).toHaveLength(1);
  });

  it.each([
    ['^[\\w.-]+\\/\\d{1,3}$', 'a-b/42', 'a-b/x'],
    ['^\\p{Lu}\\p{Ll}+$', 'Österreich', 'österreich'],
    ['^\\u0041(?<rest>b|c)$', 'Ab', 'Ad'],
  ])('%s means what it means in JavaScript', (pattern, good, bad) => {
    const schema: JsonObject = { properties: { name: { pattern } } };
    expect(check(schema, { name: good }).found).toEqual([]);
    expect(check(schema, { name: bad }).found).toHaveLength(1);
  });

  it.each(['(?=a)b', '(a)\\1', 'a{1,5000}', '('])('%s is refused, since it cannot be had in linear time', (pattern) => {
    const { found, compiled } = compile({ properties: { name: { pattern } } });
    expect(compiled).toBeUndefined();
    expect(found).toHaveLength(1);
    expect(found[0]?.field).toBe('schema.properties.name.pattern');
    expect(found[0]?.description).toContain(`the pattern ${JSON.stringify(pattern)} is no regular expression`);
  });
});
