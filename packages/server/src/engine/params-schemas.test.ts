import { expect, test } from 'vitest';
import type { Found } from '../core/check-fields.ts';
import { createParamsSchemas } from './params-schemas.ts';

test('a schema is compiled once for its content, and forgotten when many others were used since', () => {
  const schemas = createParamsSchemas();
  const found: Found = [];
  const compile = (title: string) => schemas.compile(found, 'schema', { type: 'object', title });
  const first = compile('first');
  expect(first).toBeDefined();
  expect(compile('first')).toBe(first);
  for (let n = 1; n < 200; n++) compile(`${n}`);
  expect(compile('first')).toBe(first);
  for (let n = 200; n < 400; n++) compile(`${n}`);
  expect(compile('first')).not.toBe(first);
  expect(schemas.compile(found, 'schema', { type: 'nothing' })).toBeUndefined();
  expect(found).not.toEqual([]);
});
