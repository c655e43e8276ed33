import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JobKey, RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { ProgressView } from '../core/views.ts';
import { moveLogHeads } from '../store/log-rows.ts';
import { withConnection } from '../store/pool.ts';
import { createJobQueries } from './job-queries.ts';
import { finishWell, type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';

let ledger: LedgerFixture;
let jobs: ReturnType<typeof createJobQueries>;
const build = jobNamed('build', { retry: { ...jobNamed('x').retry, initialBackoffMs: 60_000 } });
const two = definitionOf(build, jobNamed('test', { needs: ['build'], driver: 'tester' }));

beforeAll(async () => {
  ledger = await openTestLedger();
  jobs = createJobQueries(ledger);
  await ledger.connect('shell', 'i-1');
});
afterAll(() => ledger[Symbol.asyncDispose]());

/** Starts attempt `attempt` of job 0. */
async function start(runId: RunId, attempt = 1): Promise<JobKey> {
  await ledger.submit(runId, { type: 'Offer', job: 0, instance: 1, instanceId: 'i-1' });
  await ledger.submit(runId, { type: 'Accept', job: 0, attempt, instance: 1 });
  return { runId, job: 0 };
}

async function note(key: JobKey, attempt: number, outputs: JsonObject, progress?: ProgressView): Promise<void> {
  const row = { key: { ...key, attempt }, logSize: 0, logCrc32c: 0, outputs, progress, checkpoint: undefined };
  await withConnection(ledger.pool, (tx) => moveLogHeads(tx, [row]));
}

test('a running job shows its progress, a finished one its outputs', async () => {
  const key = await start(await ledger.create(two));
  const progress: ProgressView = { phase: 'RUNNING', message: 'half way', fraction: 0.5 };
  await note(key, 1, { image: 'sha256:1' }, progress);
  const running = await jobs.get('default', key);
  expect(running).toMatchObject({ name: 'build', driver: 'shell', state: 'RUNNING', attempt: 1, needs: [], progress });
  expect(running.outputs).toBeUndefined();
  expect(running.definition).toEqual(build);
  await ledger.submit(key.runId, finishWell(0, 1));
  const finished = await jobs.get('default', key);
  expect(finished).toMatchObject({ state: 'SUCCEEDED', outputs: { image: 'sha256:1' }, failureAllowed: false });
  expect(finished.progress).toBeUndefined();
  expect(finished.finishedMs).toBeGreaterThanOrEqual(finished.startedMs ?? Infinity);
});

test('a job that waits for a retry says why, and its attempts are listed oldest first', async () => {
  const key = await start(await ledger.create(two));
  await note(key, 1, { a: 1 }, { phase: 'RUNNING', message: '' });
  await ledger.submit(key.runId, {
    ...finishWell(0, 1),
    outcome: 'FAILED',
    failureClass: 'DRIVER',
    message: 'broke',
  });
  const waiting = await jobs.get('default', key);
  expect(waiting).toMatchObject({
    state: 'WAITING',
    wait: { reason: 'BACKOFF', untilMs: expect.any(Number) },
    attempt: 1,
  });
  expect(waiting).not.toHaveProperty('outputs');
  expect(waiting).not.toHaveProperty('failure');
  await ledger.submit(key.runId, { type: 'ReleaseBackoff', job: 0 });
  await start(key.runId, 2);
  const first = await jobs.listAttempts('default', key, { size: 1 });
  expect(first.items).toMatchObject([
    {
      attempt: 1,
      state: 'FAILED',
      instance: 'i-1',
      failure: { class: 'DRIVER', message: 'broke' },
      outputs: { a: 1 },
      logSize: 0,
      logState: 'SEALED',
      annotations: [],
    },
  ]);
  const second = await jobs.listAttempts('default', key, { size: 1, after: first.next ?? '' });
  expect(second).toMatchObject({ items: [{ attempt: 2, state: 'RUNNING', logState: 'OPEN' }] });
  expect(second.next).toBeUndefined();
  expect(second.items[0]).not.toHaveProperty('finishedMs');
});

test('jobs are listed in the order of the definition, by state and by name', async () => {
  const definition = definitionOf(...['c', 'a', 'd', 'b'].map((name) => jobNamed(name)));
  const runId = await ledger.create(definition);
  await ledger.succeed(runId, 2);
  const list = async (states: Parameters<typeof jobs.list>[2], names: string[], size = 10) =>
    (await jobs.list('default', runId, states, names, { size })).items.map(({ name }) => name);
  expect(await list([], [])).toEqual(['c', 'a', 'd', 'b']);
  expect(await list(['QUEUED'], [])).toEqual(['c', 'a', 'b']);
  expect(await list([], ['b', 'd', 'unknown'])).toEqual(['d', 'b']);
  expect(await list(['SUCCEEDED'], ['b', 'd'])).toEqual(['d']);
  expect(await list([], ['unknown'])).toEqual([]);
  const first = await jobs.list('default', runId, [], [], { size: 3 });
  const rest = await jobs.list('default', runId, [], [], { size: 3, after: first.next ?? '' });
  expect([...first.items, ...rest.items].map(({ job }) => job)).toEqual([0, 1, 2, 3]);
  expect(rest.next).toBeUndefined();
});

test('a page of jobs with large outputs stays within its bytes', async () => {
  const runId = await ledger.create(definitionOf(...Array.from({ length: 15 }, (_, i) => jobNamed(`job-${i}`))));
  const output = { text: 'x'.repeat(60_000) };
  for (let job = 0; job < 15; job++) {
    await ledger.submit(runId, { type: 'Offer', job, instance: 1, instanceId: 'i-1' });
    await ledger.submit(runId, { type: 'Accept', job, attempt: 1, instance: 1 });
    await note({ runId, job }, 1, output);
    await ledger.submit(runId, finishWell(job, 1));
  }
  const first = await jobs.list('default', runId, [], [], { size: 100 });
  expect(first.items).toHaveLength(8);
  const rest = await jobs.list('default', runId, [], [], { size: 100, after: first.next ?? '' });
  expect(rest.items.map(({ job }) => job)).toEqual(Array.from({ length: 7 }, (_, i) => i + 8));
  expect(rest.next).toBeUndefined();
});

test('what is not there, or of another project, is not found', async () => {
  const runId = await ledger.create(two);
  const notFound = (refused: string) => ({ refusal: { refused } });
  await expect(jobs.get('other', { runId, job: 0 })).rejects.toMatchObject(notFound('JOB_NOT_FOUND'));
  await expect(jobs.get('default', { runId, job: 2 })).rejects.toMatchObject(notFound('JOB_NOT_FOUND'));
  await expect(jobs.list('other', runId, [], [], { size: 1 })).rejects.toMatchObject(notFound('RUN_NOT_FOUND'));
  await expect(jobs.listAttempts('other', { runId, job: 0 }, { size: 1 })).rejects.toMatchObject(
    notFound('JOB_NOT_FOUND'),
  );
  await expect(jobs.list('default', runId, [], [], { size: 1, after: 'x' })).rejects.toMatchObject(
    notFound('INVALID_CURSOR'),
  );
});
