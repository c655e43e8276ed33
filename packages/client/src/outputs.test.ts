import { create, fromJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { JobSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { expect, it } from 'vitest';
import { outputsOf } from './outputs.ts';

it('gives outputs as JSON', () => {
  const outputs = { image: 'a@sha256:1', tests: { passed: 3, flaky: [null, true] } };
  const values = Object.entries(outputs).map(([key, value]) => [key, fromJson(ValueSchema, value)]);
  expect(outputsOf(create(JobSchema, { outputs: Object.fromEntries(values) }))).toEqual(outputs);
});
