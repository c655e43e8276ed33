// What a job gives to those that need it fits its schema, or the job has failed.
import { FailureClass, JobState } from '@conveyor/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attemptsOf, jobOf, jobsByName } from './jobs.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

test('outputs that do not fit their schema fail the attempt for good, by the name of the key', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'typed', at: [b!] });
  const outputsSchema = { properties: { count: { type: 'integer' } }, required: ['count'] };
  const output = (value: number | string) => [{ do: 'output', key: 'count', value } as const];
  const run = await a!.client.runs.create({
    definition: {
      jobs: [
        jobOf('typed', { steps: output(3) }, { name: 'fits', outputsSchema }),
        jobOf('typed', { steps: output('three') }, { name: 'wrong', outputsSchema, retry: { workload: 5 } }),
        jobOf('typed', { steps: [] }, { name: 'missing', outputsSchema }),
        jobOf('typed', { steps: [] }, { name: 'after', needs: ['wrong'] }),
      ],
    },
  });
  await a!.client.runs.finished(run.runId);
  const jobs = await jobsByName(b!.client, run.runId);
  const told = [...jobs].map(([name, { state, failure }]) => [
    name,
    [JobState[state], failure && FailureClass[failure.class], failure?.message],
  ]);
  expect(Object.fromEntries(told)).toEqual({
    fits: ['SUCCEEDED', undefined, undefined],
    wrong: [
      'FAILED',
      'INVALID',
      `outputs.count must be integer; got "three": the job's outputs_schema does not allow it`,
    ],
    missing: ['FAILED', 'INVALID', "outputs.count is required: the job's outputs_schema does not allow it"],
    after: ['SKIPPED', undefined, undefined],
  });
  expect((await attemptsOf(a!.client, jobs.get('wrong')!.jobId)).map(({ state }) => state)).toEqual(['FAILED']);
});
