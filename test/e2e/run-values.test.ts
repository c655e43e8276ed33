// Jobs on two drivers and the platform change the values of one run at once, at two replicas, while connections break.
import { jsonOfValue, JobState } from '@conveyor/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jobOf, jobsByName } from './jobs.ts';
import { startSystem, type System } from './system.ts';

const ADDS = 25;

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

test('no addition to a shared counter is lost, whoever adds, and the last word is read when all is over', async () => {
  const [a, b] = system.replicas;
  await Promise.all([
    system.startDriver({ name: 'adding', at: [a!] }),
    system.startDriver({ name: 'adding', at: [b!] }),
  ]);
  const gate = system.newGate();
  const steps = [{ do: 'add', key: 'count', times: ADDS } as const];
  const run = await a!.client.runs.create({
    definition: {
      jobs: [
        ...[1, 2, 3, 4].map((n) => jobOf('adding', { steps }, { name: `add-${n}` })),
        jobOf('adding', { steps: [{ do: 'wait', file: gate.file }] }, { name: 'open' }),
      ],
    },
  });
  const { values } = b!.httpClient;
  for (let added = 0; added < ADDS; ) {
    const found = await values.get(run.runId, 'count').catch(() => undefined);
    const next = found === undefined ? 1 : Number(jsonOfValue(found)) + 1;
    const set = values.set(run.runId, 'count', next, { expectedVersion: found?.version ?? 0n });
    added += await set.then(
      () => 1,
      (error: { reason?: string }) => {
        expect(error.reason).toBe('VERSION_MISMATCH');
        return 0;
      },
    );
  }
  await expect.poll(async () => jsonOfValue(await values.get(run.runId, 'count'))).toBe(5 * ADDS);
  await gate.open();
  await a!.client.runs.finished(run.runId);
  const states = [...(await jobsByName(a!.client, run.runId)).values()].map(({ state }) => JobState[state]);
  expect(new Set(states)).toEqual(new Set(['SUCCEEDED']));
  expect(jsonOfValue(await a!.client.values.get(run.runId, 'count'))).toBe(5 * ADDS);
  await expect(values.set(run.runId, 'count', 0)).rejects.toMatchObject({ reason: 'ALREADY_FINISHED' });
  await a!.client.runs.delete(run.runId);
  await expect(values.get(run.runId, 'count')).rejects.toMatchObject({ reason: 'RUN_NOT_FOUND' });
});
