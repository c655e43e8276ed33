import { expect, test } from 'vitest';
import { LIMITS } from '../core/limits.ts';
import { createOutputsCheck } from './outputs-check.ts';

const schema = {
  type: 'object',
  properties: { image: { type: 'string' }, size: { type: 'integer', default: 1 } },
  required: ['image'],
};

test.each([
  ['a missing key', {}, "outputs.image is required: the job's outputs_schema does not allow it"],
  ['a wrong type', { image: 1 }, "outputs.image must be string: the job's outputs_schema does not allow it"],
  [
    'several wrong keys',
    { image: 1, size: 'big' },
    "outputs.image must be string (and 1 more): the job's outputs_schema does not allow it",
  ],
])('outputs with %s are told by the key', (_, outputs, problem) => {
  expect(createOutputsCheck()(schema, outputs)).toEqual({ text: expect.any(String), problem });
});

test('outputs that fit are told by their canonical text, without defaults filled in', () => {
  const outputs = { image: 'sha', also: true };
  expect(createOutputsCheck()(schema, outputs)).toEqual({ text: '{"also":true,"image":"sha"}' });
  expect(outputs).toEqual({ image: 'sha', also: true });
});

test('a schema that refers to itself without end is a problem, and takes no longer than it may', () => {
  const endless = {
    $defs: { list: { anyOf: [{ items: { $ref: '#/$defs/list' } }, { items: { $ref: '#/$defs/list' } }] } },
    properties: { deep: { allOf: [{ $ref: '#/$defs/list' }, { const: 0 }] } },
  };
  let deep: unknown = 1;
  for (let level = 0; level < 60; level++) deep = [deep, deep === 1 ? 2 : 'x'];
  const beganMs = performance.now();
  const { problem } = createOutputsCheck()(endless, { deep: deep as never });
  expect(performance.now() - beganMs).toBeLessThan(2_000);
  expect(problem).toBeDefined();
});

test('what is told is bounded, whatever the schema holds', () => {
  const huge = { properties: { image: { const: { text: 'é'.repeat(20_000) } } } };
  const { problem } = createOutputsCheck()(huge, { image: 1 });
  expect(problem).toContain('outputs.image must be {"text":"éé');
  expect(Buffer.byteLength(problem ?? '')).toBeLessThan(LIMITS.messageBytes);
});
