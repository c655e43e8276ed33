// The mutations are played by `pnpm test:faults --mutations`; here, at once, that each still fits the sources and none is missing.
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { invariants } from './checker/check.ts';
import { mutations } from './mutations.ts';

test('every invariant has its mutation', () => {
  expect([...new Set(mutations.map(({ invariant }) => invariant))]).toEqual(invariants.map(({ number }) => number));
});

test.each(mutations)('the sources have once what is replaced: $says', async ({ source: { file, find, replace } }) => {
  const text = await readFile(new URL(`../../${file}`, import.meta.url), 'utf8');
  expect(text.split(find)).toHaveLength(2);
  expect(replace).not.toBe(find);
});
