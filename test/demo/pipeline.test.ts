// The demo's pipeline is written twice; nobody may have to ask which one is right.
import { create } from '@bufbuild/protobuf';
import { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { expect, test } from 'vitest';
import { demoPipeline, yamlPipeline } from '../../examples/demo/pipeline.ts';

test('the pipeline of the demo is the same as YAML and through the builder', async () => {
  const yaml = await yamlPipeline();
  const built = demoPipeline.definition;
  expect(yaml.name).toBe(demoPipeline.name);
  expect(create(PipelineDefinitionSchema, yaml.definition)).toEqual(built);
  expect(built.jobs.length).toBeGreaterThanOrEqual(6);
});
