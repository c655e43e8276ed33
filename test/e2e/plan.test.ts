// A plan and the run of what it planned agree, through a real server and real drivers; planning leaves nothing behind.
import { toJson } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type AssumedInput,
  type Job,
  JobPrediction,
  JobState,
  type PlannedJob,
  type Run,
  RunState,
} from '@conveyor/client';
import { ExpressionFailureSchema, JobConditionSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { jobOf, jobsByName, outputsOf } from './jobs.ts';
import { startSystem, type System } from './system.ts';
import type { Step } from './workload.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem({ replicas: 1 });
  await system.startDriver({ name: 'work', slots: 8 });
});
afterAll(() => system[Symbol.asyncDispose]());

const work = (name: string, steps: readonly Step[] = [], job: Parameters<typeof jobOf>[2] = {}) =>
  jobOf('work', { steps }, { name, ...job });
const failing: Step = { do: 'fail', class: 'WORKLOAD', message: 'no good' };

const definition = {
  jobs: [
    work('build', [
      { do: 'output', key: 'image', value: 'app:7' },
      { do: 'output', key: 'shards', value: ['a', 'b'] },
    ]),
    work('lint', [failing], { allowFailure: true }),
    work('test', [], { needs: ['build'], matrix: { axes: { shard: '${{ needs.build.outputs.shards }}' } } }),
    work('broken', [failing], { needs: ['test'] }),
    work('never', [], { needs: ['build'], if: 'needs.build.outputs.image == "app:8"' }),
    work('after', [], { needs: ['broken'] }),
    work('mend', [], { needs: ['broken'], when: RunCondition.FAILURE, if: 'needs.lint.conclusion == "succeeded"' }),
    work('wrong', [{ do: 'output', key: 'a', value: '${{ needs.build.outputs.image.tag }}' }], {
      needs: ['build'],
      concurrency: { key: '${{ needs.build.outputs.none }}', limit: 1 },
    }),
    work('tidy', [], { when: RunCondition.FINALLY }),
  ],
};
definition.jobs[6]!.needs = ['broken', 'lint'];

test('a plan that is told the outcomes of a run says what became of it', async () => {
  const { client } = system.replicas[0]!;
  const { revision } = (await client.pipelines.apply({ name: 'planned', definition })).pipeline;
  const unknown = await client.runs.plan({ pipeline: 'planned' });
  expect(unknown.state).toBeUndefined();
  expect(unknown.jobs.find(({ name }) => name === 'test')).toMatchObject({
    prediction: JobPrediction.UNKNOWN,
    unknownReason: 'its matrix reads outputs of build, which are not assumed',
  });
  expect(await Array.fromAsync(client.runs.list())).toEqual([]);

  const created: Run = await client.runs.create({ pipeline: 'planned' });
  const run = await client.runs.finished(created.runId);
  const jobs = await jobsByName(client, created.runId);

  const assumed: Record<string, AssumedInput> = {
    build: { outputs: outputsOf(jobs.get('build')!) },
    lint: { outcome: 'failed' },
    broken: { outcome: 'failed' },
  };
  const plan = await client.runs.plan({ pipeline: 'planned', assumed });
  expect(plan).toMatchObject({ pipeline: 'planned', revision, state: run.state, warnings: [] });
  expect(RunState[plan.state!]).toBe('FAILED');
  const shown = (rows: readonly (Job | PlannedJob)[]) =>
    Object.fromEntries(
      rows.map(({ name, state, condition, expressionFailures }) => [
        name,
        {
          state: JobState[state!],
          condition: condition && toJson(JobConditionSchema, condition),
          failures: expressionFailures.map((failure) => toJson(ExpressionFailureSchema, failure)),
        },
      ]),
    );
  expect(shown(plan.jobs)).toEqual(shown([...jobs.values()]));
  expect(Object.keys(shown(plan.jobs))).toContain('test[b]');
  expect(shown(plan.jobs)['wrong']!.failures).toMatchObject([
    { field: 'concurrency.key' },
    { field: 'spec.steps[0].value' },
  ]);
  expect(plan.drivers).toMatchObject([{ name: 'work', connectedInstances: 1, readyInstances: 1, freeSlots: 8 }]);
  const steps = plan.criticalPath!.steps.map(({ job }) => job);
  expect(steps[0]).toBe('build');
  expect(plan.criticalPath!.steps[0]!.expectedDuration).toBeDefined();
  expect((await Array.fromAsync(client.runs.list())).length).toBe(1);
});
