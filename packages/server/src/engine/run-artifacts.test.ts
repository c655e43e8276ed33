// Artifacts of attempts on PostgreSQL: recorded in the flush that decides on them, and shown with their attempt, job and run.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Command } from '../core/commands.ts';
import type { Artifact } from '../core/events.ts';
import type { RunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { withConnection } from '../store/pool.ts';
import { liveAttempts } from '../store/attempt-rows.ts';
import { verifyRun } from '../store/verify-run.ts';
import { createJobQueries } from './job-queries.ts';
import { createRunArtifacts } from './run-artifacts.ts';
import { finishWell, type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';

let ledger: LedgerFixture;
let jobs: ReturnType<typeof createJobQueries>;
let runs: ReturnType<typeof createRunArtifacts>;
const two = definitionOf(jobNamed('build'), jobNamed('pack'));
const page = { size: 100 };

beforeAll(async () => {
  ledger = await openTestLedger();
  jobs = createJobQueries(ledger);
  runs = createRunArtifacts(ledger);
  await ledger.connect('shell', 'i-1');
});
afterAll(() => ledger[Symbol.asyncDispose]());

const artifact = (name: string): Artifact => ({
  name,
  digest: `sha256:${'0a'.repeat(32)}`,
  sizeBytes: 7,
  uri: 's3://b/x',
  mediaType: '',
});

const declare = (job: number, number: number, attempt = 1): Extract<Command, { type: 'Declare' }> => ({
  type: 'Declare',
  job,
  attempt,
  instance: 1,
  number,
  artifact: artifact(`${job}.${attempt}.${number}`),
  content: undefined,
});

async function start(runId: RunId, job: number): Promise<void> {
  await ledger.submit(runId, { type: 'Offer', job, instance: 1, instanceId: 'i-1' });
  await ledger.submit(runId, { type: 'Accept', job, attempt: 1, instance: 1 });
}

/** The run's rows are what its ledger says. */
async function expectSound(runId: RunId): Promise<void> {
  const verification = await withConnection(ledger.pool, (tx) => verifyRun(tx, runId, { skipLogs: true }));
  expect(verification?.discrepancies).toEqual([]);
}

test('an attempt that begins, makes something and ends in one flush has it', async () => {
  const runId = await ledger.create(two);
  await ledger.submit(runId, { type: 'Offer', job: 0, instance: 1, instanceId: 'i-1' });
  const replies = await Promise.all([
    ledger.submit(runId, { type: 'Accept', job: 0, attempt: 1, instance: 1 }),
    ledger.submit(runId, declare(0, 1)),
    ledger.submit(runId, declare(0, 1)),
    ledger.submit(runId, declare(0, 2)),
    ledger.submit(runId, finishWell(0, 1)),
  ]);
  expect(replies.map(({ type }) => type)).toEqual(['Done', 'Done', 'Done', 'Done', 'Finished']);
  expect(await ledger.submit(runId, declare(0, 3))).toEqual({ type: 'Stale', state: 'SUCCEEDED' });
  const { items } = await jobs.listAttempts('default', { runId, job: 0 }, page);
  expect(items).toMatchObject([{ artifactCount: 2, artifacts: [{ name: '0.1.1' }, { name: '0.1.2' }] }]);
  await expectSound(runId);
});

test('they are recorded over several flushes, and an attempt that goes on knows how many it has', async () => {
  const runId = await ledger.create(two);
  await start(runId, 0);
  for (const number of [1, 2, 2, 9, 3]) await ledger.submit(runId, declare(0, number));
  const live = await withConnection(ledger.pool, (tx) => liveAttempts(tx, [1]));
  expect(live.filter(({ key }) => key.runId === runId)).toMatchObject([{ artifacts: 3 }]);
  await expectSound(runId);
});

test('an attempt and a job show the first of many, and a list all, page by page', async () => {
  const runId = await ledger.create(two);
  await start(runId, 1);
  const count = LIMITS.shownArtifacts + 30;
  await Promise.all(Array.from({ length: count }, (_, n) => ledger.submit(runId, declare(1, n + 1))));
  await start(runId, 0);
  await ledger.submit(runId, declare(0, 1));
  const [shown] = (await jobs.listAttempts('default', { runId, job: 1 }, page)).items;
  expect([shown?.artifacts.length, shown?.artifactCount]).toEqual([LIMITS.shownArtifacts, count]);
  const job = await jobs.get('default', { runId, job: 1 });
  expect([job.artifacts?.length, job.artifactCount]).toEqual([LIMITS.shownArtifacts, count]);
  const listed = (await jobs.list('default', runId, [], [], page)).items;
  expect(listed.every((one) => one.artifacts === undefined)).toBe(true);

  const first = await runs.artifacts('default', runId, undefined, page);
  expect(first.items[0]).toMatchObject({
    job: 0,
    jobName: 'build',
    attempt: 1,
    number: 1,
    artifact: artifact('0.1.1'),
  });
  expect(first.items[1]).toMatchObject({ job: 1, jobName: 'pack', number: 1 });
  const rest = await runs.artifacts('default', runId, undefined, { ...page, after: first.next! });
  expect(rest.next).toBeUndefined();
  expect([...first.items, ...rest.items].map(({ job: of, number }) => `${of}.${number}`)).toEqual([
    '0.1',
    ...Array.from({ length: count }, (_, n) => `1.${n + 1}`),
  ]);
  const packed = await runs.artifacts('default', runId, 'pack', { size: 1_000 });
  expect(packed.items).toHaveLength(count);
  await expectSound(runId);
});

test('what is not there, or of another project, is not found', async () => {
  const runId = await ledger.create(two);
  const refused = (reason: string) => ({ refusal: { refused: reason } });
  expect(await runs.artifacts('default', runId, undefined, page)).toEqual({ items: [] });
  await expect(runs.artifacts('other', runId, undefined, page)).rejects.toMatchObject(refused('RUN_NOT_FOUND'));
  await expect(runs.artifacts('default', runId, 'none', page)).rejects.toMatchObject(refused('JOB_NOT_FOUND'));
  const wrong = runs.artifacts('default', runId, undefined, { ...page, after: '1.x' });
  await expect(wrong).rejects.toMatchObject(refused('INVALID_CURSOR'));
  expect(await jobs.get('default', { runId, job: 0 })).not.toHaveProperty('artifacts');
});

test('a flush that fails leaves none behind', async () => {
  const runId = await ledger.create(two);
  await start(runId, 0);
  const failing = ledger.inTransaction(async (submit) => {
    expect(await submit(runId, declare(0, 1))).toEqual({ type: 'Done' });
    throw new Error('killed');
  });
  await expect(failing).rejects.toThrow('killed');
  expect(await runs.artifacts('default', runId, undefined, page)).toEqual({ items: [] });
  await expectSound(runId);
});
