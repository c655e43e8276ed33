// The example autoscaler on a real system: jobs of a driver that nobody serves run, because it starts one, and it is gone afterwards.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { RunState } from '@conveyor/client';
import { DemandSchema } from '@conveyor/protocol/conveyor/v1/demand_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { autoscale, type Instance, instancesFor } from '../../examples/autoscaler/autoscaler.ts';
import { startShellDriver } from '../../examples/autoscaler/driver-process.ts';
import { startSystem, type System } from './system.ts';

let system: System;
let workspaces: string;
beforeAll(async () => {
  system = await startSystem();
  workspaces = await mkdtemp(join(tmpdir(), 'conveyor-autoscaler-'));
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await rm(workspaces, { recursive: true });
});

test('jobs that nobody serves run on drivers that it starts, as many as it takes, and none is left', async () => {
  const [one, other] = system.replicas;
  const stop = new AbortController();
  const env = {
    ...process.env,
    CONVEYOR_ADDRESS: one!.ready.grpcAddress,
    CONVEYOR_TOKEN: await system.token('driver'),
    SHELL_WORKSPACES: workspaces,
    SHELL_SLOTS: '2',
  };
  const started: Instance[] = [];
  const scaler = autoscale({
    client: one!.client,
    driver: 'shell',
    slots: 2,
    maxInstances: 2,
    idleMs: 100,
    start() {
      const instance = startShellDriver(env);
      started.push(instance);
      return instance;
    },
    signal: stop.signal,
  });
  scaler.catch(() => undefined);
  const job = (name: string) => ({ name, driver: 'shell', spec: { commands: [`echo ${name}`] } });
  const jobs = ['a', 'b', 'c', 'd', 'e'].map(job);
  const { runId } = await other!.client.runs.create({ definition: { jobs } });
  expect((await other!.client.runs.finished(runId)).state).toBe(RunState.SUCCEEDED);
  expect(started).toHaveLength(2);
  await Promise.all(started.map(({ ended }) => ended));
  await expect.poll(() => Array.fromAsync(other!.client.drivers.list({ name: 'shell' }))).toEqual([]);

  const again = await other!.client.runs.create({ definition: { jobs: [job('again')] } });
  expect((await other!.client.runs.finished(again.runId)).state).toBe(RunState.SUCCEEDED);
  expect(started).toHaveLength(3);
  stop.abort(new Error('enough'));
  await expect(scaler).rejects.toThrow('enough');
  await started[2]!.ended;
});

test.each([
  [[], 0],
  [[{ queued: 1 }], 1],
  [[{ queued: 3, held: 2 }], 3],
  [[{ paused: 5 }], 0],
  [[{ held: 1 }], 1],
  [
    [
      { queued: 5, pool: 'gpu' },
      { queued: 5, required: [{ key: 'os', values: ['mac'] }] },
    ],
    0,
  ],
])('%j calls for %i instances of two slots', (demands, instances) => {
  expect(
    instancesFor(
      demands.map((demand) => create(DemandSchema, demand)),
      2,
    ),
  ).toBe(instances);
});
