import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalChunks, canonicalJson } from './json.ts';

test('keys are sorted by code unit, at every depth, without white space', () => {
  expect(canonicalJson({ b: [{ z: 1, a: 'x' }], a: null, é: true, Z: 1.5 })).toBe(
    '{"Z":1.5,"a":null,"b":[{"a":"x","z":1}],"é":true}',
  );
});

test('what is not there is not written', () => {
  expect(canonicalJson({ a: undefined, b: 1 })).toBe('{"b":1}');
});

test('the text is the value, and equal values have equal texts whatever the order of their keys', () => {
  const reversed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(reversed);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .toReversed()
        .map(([key, member]) => [key, reversed(member)]),
    );
  };
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonicalJson(value);
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      expect(canonicalJson(reversed(value))).toBe(text);
    }),
  );
});

test('chunks of a value are its text, and none is long where no item of a long list is', () => {
  const items = Array.from({ length: 20_000 }, (_, n) => ({ name: `item ${n}`, of: { b: undefined, a: [n] } }));
  for (const value of [items, { z: 1, list: items }, { added: [{ by: 1, jobs: items }, { cells: [undefined, 2] }] }]) {
    const chunks = [...canonicalChunks(value)];
    expect(chunks.join('')).toBe(canonicalJson(value));
    expect(Math.max(...chunks.map(({ length }) => length))).toBeLessThan(70_000);
  }
  fc.assert(fc.property(fc.jsonValue(), (value) => [...canonicalChunks(value)].join('') === canonicalJson(value)));
});
