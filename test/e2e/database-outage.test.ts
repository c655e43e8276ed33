// A database that is silent, half-open, read-only or away while jobs run: calls end in time and say why, and the work goes on with
// the same attempts as soon as the database does.
import { ConveyorError, type Job, JobState } from '@conveyor/client';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf, outputsOf, storedLog, tailedLog } from './jobs.ts';
import { openProxiedDatabase, type ProxiedDatabase } from './proxied-database.ts';
import { finishFrame } from './raw-driver.ts';
import { type Replica, startSystem, type System } from './system.ts';
import { digestOutput, sha256, type Step, writtenBy } from './workload.ts';

vi.setConfig({ testTimeout: 90_000 });

/** Until calls are served again after the database is (P7). */
const RESUMES_WITHIN_MS = 10_000;

let database: ProxiedDatabase;
let system: System;
let a: Replica;
let b: Replica;

beforeAll(async () => {
  database = await openProxiedDatabase();
  system = await startSystem({ openDatabase: async () => database });
  [a, b] = system.replicas as [Replica, Replica];
  await system.startDriver({ name: 'steady' });
});
afterAll(() => system[Symbol.asyncDispose]());

/** Work that writes for some seconds, and is under way. */
async function beginWork(at: Replica, seconds: number) {
  const steps: Step[] = [{ do: 'write', seed: 'steady', bytes: seconds * 100_000, pieceBytes: 10_000, pauseMs: 100 }];
  const job = await createJob(at.client, jobOf('steady', { steps }));
  const tail = tailedLog(at.client, job.jobId);
  await expect.poll(async () => (await storedLog(at.client, job.jobId)).length).toBeGreaterThan(50_000);
  return { job, tail, written: writtenBy(steps) };
}

/** It ended well in its first attempt, and no byte of its log is lost, doubled or out of order. */
async function expectUnharmed(at: Replica, { job, tail, written }: Awaited<ReturnType<typeof beginWork>>) {
  const { state, attempt, outputs } = await finishedJob(at.client, job);
  expect([JobState[state], attempt]).toEqual(['SUCCEEDED', 1]);
  expect(await attemptsOf(at.client, job.jobId)).toMatchObject([{ state: 'SUCCEEDED', logState: 'SEALED' }]);
  expect(outputsOf({ outputs })[digestOutput]).toBe(sha256(written));
  expect(sha256(await tail)).toBe(sha256(written));
  expect(sha256(await storedLog(at.client, job.jobId))).toBe(sha256(written));
}

/** Runs a new job to its end, trying again for as long as service may take to resume. */
async function expectService({ client }: Replica, withinMs: number): Promise<void> {
  const beganMs = performance.now();
  const job = await expect
    .poll(() => createJob(client, jobOf('steady', { steps: [] })).catch(() => undefined), { timeout: withinMs })
    .toBeDefined()
    .then(() => createJob(client, jobOf('steady', { steps: [] })));
  const isDone = async () => (await client.jobs.get(job.jobId)).state;
  await expect.poll(isDone, { timeout: beganMs + withinMs - performance.now() }).toBe(JobState.SUCCEEDED);
}

/** Calls a method by HTTP with a deadline that only the server knows. Returns how long it took, and what came. */
async function timedCall({ ready }: Replica, token: string, path: string, body: object, deadlineMs: number) {
  const beganMs = performance.now();
  const response = await fetch(`http://${ready.httpAddress}/conveyor.v1.${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'connect-timeout-ms': String(deadlineMs),
    },
    body: JSON.stringify(body),
  });
  const { code } = (await response.json()) as { code: string };
  return { code, ms: performance.now() - beganMs };
}

async function codeOf(call: Promise<unknown>): Promise<string | undefined> {
  return await call.then(
    () => 'ok',
    (error: unknown) => (error instanceof ConveyorError ? error.reason : String(error)),
  );
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('calls end at their deadline while the database is silent, whatever they wait for', async () => {
  const job = await createJob(a.client, jobOf('nobody', { steps: [] }));
  const token = await system.token('operator');
  const calls = [
    ['RunService/GetRun', { runId: job.runId }],
    ['RunService/CreateRun', { run: { definition: { jobs: [{ name: 'x', driver: 'nobody' }] } } }],
    ['RunService/CancelRun', { runId: job.runId }],
    ['JobService/ReadLog', { jobId: job.jobId }],
    ['ServerService/GetServerInfo', {}],
  ] as const;
  database.proxy.freeze();
  const untilMs = performance.now() + 6_500;
  // Also once the token has to be looked up again.
  while (performance.now() < untilMs) {
    for (const { code, ms } of await Promise.all(calls.map(([path, body]) => timedCall(a, token, path, body, 1_000)))) {
      expect(ms).toBeLessThan(2_500);
      expect(['deadline_exceeded', 'unavailable', undefined]).toContain(code);
    }
  }
  expect(database.proxy.harm()).toBeGreaterThan(0);
  database.proxy.thaw();
  await expect.poll(() => codeOf(a.client.runs.get(job.runId)), { timeout: RESUMES_WITHIN_MS }).toBe('ok');
});

test('calls without a deadline are refused when the database does not come back', async () => {
  await database.proxy.cut();
  const beganMs = performance.now();
  const refused = await codeOf(a.client.jobs.create({ job: jobOf('nobody', { steps: [] }) }, { timeoutMs: 0 }));
  expect(refused).toBe('DATABASE_UNAVAILABLE');
  expect(performance.now() - beganMs).toBeLessThan(75_000);
  await database.proxy.open();
});

test('half-open connections to the database are left, and service resumes', async () => {
  const work = await beginWork(a, 3);
  expect(database.proxy.dangle()).toBeGreaterThan(10);
  await Promise.all([expectService(a, RESUMES_WITHIN_MS), expectService(b, RESUMES_WITHIN_MS)]);
  await expectUnharmed(b, work);
});

test('a read-only database is told as such, serves nothing old, and is used again once it takes writes', async () => {
  const work = await beginWork(a, 3);
  await database.administer('alter database % set default_transaction_read_only = on');
  database.proxy.sever();
  const refusedAt = async ({ client }: Replica) => [
    await codeOf(client.runs.get(work.job.runId, { timeoutMs: 3_000 })),
    await codeOf(createJob(client, jobOf('steady', { steps: [] }))),
  ];
  expect(await refusedAt(a)).toEqual(['DATABASE_UNAVAILABLE', 'DATABASE_UNAVAILABLE']);
  await database.administer('alter database % reset all');
  await Promise.all([expectService(a, RESUMES_WITHIN_MS), expectService(b, RESUMES_WITHIN_MS)]);
  await expectUnharmed(b, work);
});

test('a driver that goes on talking while the database is silent is heard up to a bound', async () => {
  const session = await system.openSession({ at: a, hello: { driver: 'talker' } });
  await createJob(b.client, jobOf('talker', { steps: [] }));
  const finish = finishFrame(await session.startNext(), new Uint8Array(), { message: 'x'.repeat(1_000) });
  database.proxy.freeze();
  for (let message = 0; message < 36; message++) session.say(...Array.from({ length: 900 }, () => finish));
  const { code, details } = await session.ended;
  database.proxy.thaw();
  expect([code, details]).toEqual([status.RESOURCE_EXHAUSTED, expect.stringContaining('wait for an answer')]);
  await expectService(b, RESUMES_WITHIN_MS);
});

test('a replica stops in time while the database is silent', async () => {
  const created: Job = await createJob(a.client, jobOf('nobody', { steps: [] }));
  database.proxy.freeze();
  const calls = [a, b].map(({ client }) => codeOf(client.runs.cancel(created.runId, {}, { timeoutMs: 0 })));
  await wait(500);
  const beganMs = performance.now();
  expect(await Promise.all([a.stop(), b.stop()])).toEqual([0, 0]);
  expect(performance.now() - beganMs).toBeLessThan(40_000);
  database.proxy.thaw();
  await Promise.all(calls);
});
