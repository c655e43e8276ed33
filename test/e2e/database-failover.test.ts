// A primary that dies and a standby that takes its place, at the same address: nothing that was acknowledged is lost, nothing is read
// from a standby, and the work goes on by itself.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConveyorError, JobState } from '@conveyor/client';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { TestDatabase } from '../../packages/server/src/store/testing/database.ts';
import { type PostgresProxy, startPostgresProxy } from '../../packages/server/src/store/testing/postgres-proxy.ts';
import { attemptsOf, createJob, finishedJob, jobOf, outputsOf, storedLog, tailedLog } from './jobs.ts';
import { type PrimaryAndStandby, socketOf, startPrimaryAndStandby, urlOf } from './standby.ts';
import { startSystem, type System } from './system.ts';
import { digestOutput, sha256, type Step, writtenBy } from './workload.ts';

vi.setConfig({ testTimeout: 90_000 });

let directory: string;
let pair: PrimaryAndStandby;
let proxy: PostgresProxy;
let system: System;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conveyor-e2e-failover-'));
  system = await startSystem({ openDatabase });
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

async function openDatabase(): Promise<TestDatabase> {
  pair = await startPrimaryAndStandby(directory);
  proxy = await startPostgresProxy(urlOf(pair.primary));
  // Both servers have the same credentials.
  return {
    config: { connection: proxy.url, schema: 'conveyor' },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await pair[Symbol.asyncDispose]();
    },
  };
}

async function refusal(call: Promise<unknown>): Promise<string | undefined> {
  return await call.then(
    () => 'none',
    (error: unknown) => (error instanceof ConveyorError ? error.reason : String(error)),
  );
}

test('a standby that takes the place of its primary is used once it does, and not before', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'steady' });
  const steps: Step[] = [{ do: 'write', seed: 'steady', bytes: 400_000, pieceBytes: 10_000, pauseMs: 100 }];
  const job = await createJob(a!.client, jobOf('steady', { steps }));
  const tail = tailedLog(b!.client, job.jobId);
  await expect.poll(async () => (await storedLog(a!.client, job.jobId)).length).toBeGreaterThan(50_000);
  const acknowledged = await Promise.all(
    Array.from({ length: 20 }, () => createJob(b!.client, jobOf('steady', { steps: [{ do: 'say', text: 'ok' }] }))),
  );

  await pair.killPrimary();
  proxy.lead(socketOf(pair.standby));
  expect(proxy.sever()).toBeGreaterThanOrEqual(0);
  // The standby answers, but takes no writes, and may be behind.
  await expect.poll(() => refusal(a!.client.runs.get(job.runId, { timeoutMs: 2_000 }))).toBe('DATABASE_UNAVAILABLE');

  await pair.promote();
  const promotedMs = performance.now();
  for (const { client } of [a!, b!]) {
    const answered = () => createJob(client, jobOf('steady', { steps: [] })).catch(() => undefined);
    await expect.poll(answered, { timeout: 10_000 }).toBeDefined();
  }
  expect(performance.now() - promotedMs).toBeLessThan(10_000);

  const { state, attempt, outputs } = await finishedJob(a!.client, job);
  expect([JobState[state], attempt]).toEqual(['SUCCEEDED', 1]);
  expect(outputsOf({ outputs })[digestOutput]).toBe(sha256(writtenBy(steps)));
  expect(sha256(await tail)).toBe(sha256(writtenBy(steps)));
  expect(sha256(await storedLog(b!.client, job.jobId))).toBe(sha256(writtenBy(steps)));
  for (const one of acknowledged) {
    expect(JobState[(await finishedJob(b!.client, one)).state]).toBe('SUCCEEDED');
    expect(await attemptsOf(b!.client, one.jobId)).toMatchObject([{ state: 'SUCCEEDED', logState: 'SEALED' }]);
  }
});
