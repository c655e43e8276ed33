// A definition that is stored is shown as it was applied, with limits as numbers and as expressions.
import { create, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { PipelineDiffSchema } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { expect, test } from 'vitest';
import type { Found } from '../core/check-fields.ts';
import { checkAtOnce } from '../core/testing/at-once.ts';
import { decodeDefinition, encodeDefinition } from './definition-codec.ts';
import { encodeDiff } from './encode-diff.ts';

function read(limits: { readonly limit?: number; readonly limitExpression?: string }, maxParallel: object) {
  const definition = create(PipelineDefinitionSchema, {
    jobs: [
      {
        name: 'deploy',
        driver: 'shell',
        concurrency: { key: 'k', ...limits },
        rateLimits: [{ key: 'r', period: { seconds: 60n }, ...limits }],
        matrix: { axes: { n: [1, 2] }, ...maxParallel },
      },
    ],
  } as MessageInitShape<typeof PipelineDefinitionSchema>);
  const found: Found = [];
  const decoded = checkAtOnce(decodeDefinition, found, 'definition', definition);
  expect(found).toEqual([]);
  return { definition, decoded };
}

const numbers = read({ limit: 3 }, { maxParallel: 2 });
const expressions = read({ limitExpression: '${{ params.n }}' }, { maxParallelExpression: '${{ params.m }}' });

test.each([
  ['numbers', numbers],
  ['expressions', expressions],
])('limits as %s are sent as they were read', (_, { definition, decoded }) => {
  expect(create(PipelineDefinitionSchema, encodeDefinition(decoded))).toEqual(definition);
});

test('a number that becomes an expression is a difference of both fields', () => {
  const diff = create(PipelineDiffSchema, encodeDiff(numbers.decoded, expressions.decoded));
  expect(toJson(PipelineDiffSchema, diff)).toMatchObject({
    changedJobs: [
      {
        name: 'deploy',
        changes: expect.arrayContaining([
          { path: 'concurrency.limit', oldValue: 3 },
          { path: 'concurrency.limit_expression', newValue: '${{ params.n }}' },
          { path: 'matrix.max_parallel_expression', newValue: '${{ params.m }}' },
        ]),
      },
    ],
  });
});

test('of too many jobs none is looked at', () => {
  const jobs = Array.from({ length: 10_001 }, () => ({}));
  const found: Found = [];
  checkAtOnce(decodeDefinition, found, 'definition', create(PipelineDefinitionSchema, { jobs }));
  expect(found).toEqual([{ field: 'definition.jobs', description: 'must have at most 10000 entries; has 10001' }]);
});
