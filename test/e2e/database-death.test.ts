// A PostgreSQL that is killed while jobs run, and comes back: what was acknowledged is there, and the work goes on.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JobState } from '@conveyor/client';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { postmasterPid } from '../bench/ledger-recount.ts';
import { attemptsOf, createJob, finishedJob, jobOf, outputsOf, storedLog, tailedLog } from './jobs.ts';
import { openOwnDatabase } from './own-database.ts';
import { shortTiming, startSystem, type System } from './system.ts';
import { digestOutput, sha256, type Step, writtenBy } from './workload.ts';

vi.setConfig({ testTimeout: 60_000 });

let system: System;
let dataDir: string;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'conveyor-e2e-database-'));
  // The lease is shorter than what the restart may take.
  system = await startSystem({ timing: shortTiming, openDatabase: () => openOwnDatabase(dataDir) });
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true });
});

test('work goes on through the death of the database, and nothing that was acknowledged is lost', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'steady' });
  const steps: Step[] = [{ do: 'write', seed: 'steady', bytes: 2_000_000, pieceBytes: 20_000, pauseMs: 20 }];
  const written = writtenBy(steps);
  const job = await createJob(a!.client, jobOf('steady', { steps }));
  const tail = tailedLog(b!.client, job.jobId);
  await expect.poll(async () => (await storedLog(a!.client, job.jobId)).length).toBeGreaterThan(200_000);
  const acknowledged = await Promise.all(
    Array.from({ length: 20 }, () => createJob(b!.client, jobOf('steady', { steps: [{ do: 'say', text: 'ok' }] }))),
  );

  const before = await postmasterPid(dataDir);
  process.kill(before, 'SIGKILL');
  await expect.poll(async () => await postmasterPid(dataDir).catch(() => before)).not.toBe(before);
  // The call waits for the database to be back, or is told to try again.
  const answered = async () => await createJob(a!.client, jobOf('steady', { steps: [] })).catch(() => undefined);
  await expect.poll(answered, { timeout: 10_000 }).toBeDefined();

  const { state, attempt, outputs } = await finishedJob(a!.client, job);
  expect([JobState[state], attempt]).toEqual(['SUCCEEDED', 1]);
  expect(outputsOf({ outputs })[digestOutput]).toBe(sha256(written));
  expect(sha256(await tail)).toBe(sha256(written));
  expect(sha256(await storedLog(b!.client, job.jobId))).toBe(sha256(written));
  for (const one of acknowledged) {
    expect(JobState[(await finishedJob(b!.client, one)).state]).toBe('SUCCEEDED');
    expect(await attemptsOf(b!.client, one.jobId)).toMatchObject([{ state: 'SUCCEEDED', logState: 'SEALED' }]);
  }
});
