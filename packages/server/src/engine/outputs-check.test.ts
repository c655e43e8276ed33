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
  ['a wrong type', { image: 1 }, "outputs.image must be string; got 1: the job's outputs_schema does not allow it"],
  [
    'several wrong keys',
    { image: 1, size: 'big' },
    'outputs.image must be string; got 1; outputs.size must be integer; got "big": the job\'s outputs_schema does not allow it',
  ],
])('outputs with %s are told by the key', (_, outputs, problem) => {
  expect(createOutputsCheck()(schema, outputs)).toEqual({ text: expect.any(String), problem });
});

test('outputs that fit are told by their canonical text, without defaults filled in', () => {
  const outputs = { image: 'sha', also: true };
  expect(createOutputsCheck()(schema, outputs)).toEqual({ text: '{"also":true,"image":"sha"}' });
  expect(outputs).toEqual({ image: 'sha', also: true });
});

test('a key that is none is told beside those that are missing', () => {
  const closed = { properties: { count: {}, image: {} }, required: ['count', 'image'], additionalProperties: false };
  const { problem } = createOutputsCheck()(closed, { cuont: '5' });
  expect(problem).toBe(
    'outputs.count is required; outputs.image is required; ' +
      'outputs.cuont is not known to the schema; did you mean "count"?: the job\'s outputs_schema does not allow it',
  );
});

test('of many problems the first five are told, each within its share of the message', () => {
  const names = Array.from({ length: 7 }, (_, n) => `key${n}${'x'.repeat(300)}`);
  const { problem = '' } = createOutputsCheck()({ required: names }, {});
  expect(problem).toMatch(/^(?:outputs\.key\dx{160,}…; ){5}2 more: the job's outputs_schema does not allow it$/);
  expect(problem.length).toBeLessThanOrEqual(1_024);
});

test('a schema that takes too long is a problem, and takes no longer than it may', () => {
  const doubling = Object.fromEntries(
    Array.from({ length: 60 }, (_, n) => [
      `d${n}`,
      n === 59 ? { type: 'string' } : { anyOf: [{ $ref: `#/$defs/d${n + 1}` }, { $ref: `#/$defs/d${n + 1}` }] },
    ]),
  );
  const beganMs = performance.now();
  const { problem } = createOutputsCheck()({ $ref: '#/$defs/d0', $defs: doubling }, {});
  expect(performance.now() - beganMs).toBeLessThan(2_000);
  expect(problem).toMatch(/^outputs takes longer than 200 ms to check/);
});

test('what is told is bounded, whatever the schema holds', () => {
  const huge = { properties: { image: { const: { text: 'é'.repeat(20_000) } } } };
  const { problem } = createOutputsCheck()(huge, { image: 1 });
  expect(problem).toContain('outputs.image must be {"text":"éé');
  expect(Buffer.byteLength(problem ?? '')).toBeLessThan(LIMITS.messageBytes);
});
