import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import type { RunFilter } from './engine.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createRunQueries } from './run-queries.ts';
import { type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';

let ledger: LedgerFixture;
let runs: ReturnType<typeof createRunQueries>;
const one = definitionOf(jobNamed('build'));
const all: RunFilter = { states: [], labels: {} };

beforeAll(async () => {
  ledger = await openTestLedger();
  runs = createRunQueries(ledger);
});
afterAll(() => ledger[Symbol.asyncDispose]());

test('a run is read with its params, its definition and how its jobs stand', async () => {
  const definition = definitionOf(jobNamed('build'), jobNamed('test', { needs: ['build'] }));
  const runId = await ledger.create(definition, {
    project: 'get',
    pipeline: 'ci',
    labels: { sha: 'f00' },
    params: { a: 1 },
  });
  await ledger.succeed(runId, 0);
  expect(await runs.get('get', runId)).toMatchObject({
    runId,
    project: 'get',
    pipeline: 'ci',
    revision: 1,
    state: 'RUNNING',
    labels: { sha: 'f00' },
    params: { a: 1 },
    trigger: { kind: 'api', actor: 'test' },
    counts: { total: 2, open: 1, succeeded: 1 },
    definition,
  });
  await ledger.submit(runId, { type: 'CancelRun', reason: 'enough', force: false });
  const cancelled = await runs.get('get', runId);
  expect(cancelled).toMatchObject({ state: 'CANCELLED', cancelReason: 'enough', counts: { open: 0, cancelled: 1 } });
  expect(cancelled.finishedMs).toBeGreaterThanOrEqual(cancelled.createdMs);
});

test('a run of another project is not found', async () => {
  const runId = await ledger.create(one, { project: 'mine' });
  await expect(runs.get('theirs', runId)).rejects.toMatchObject({ refusal: { refused: 'RUN_NOT_FOUND' } });
  expect((await runs.list('theirs', all, { size: 10 })).items).toEqual([]);
});

test('pages go from the newest run to the oldest, each run once', async () => {
  const created: RunId[] = [];
  for (let i = 0; i < 7; i++) created.push(await ledger.create(one, { project: 'pages' }));
  const listed: RunId[] = [];
  let after: string | undefined;
  let pages = 0;
  do {
    const page = await runs.list('pages', all, { size: 3, ...(after !== undefined && { after }) });
    listed.push(...page.items.map((run) => run.runId));
    after = page.next;
    pages++;
  } while (after !== undefined);
  expect(listed).toEqual(created.toSorted().reverse());
  expect(pages).toBe(3);
});

test('a page that is exactly full is the last one when nothing follows', async () => {
  for (let i = 0; i < 3; i++) await ledger.create(one, { project: 'full' });
  const page = await runs.list('full', all, { size: 3 });
  expect(page.items).toHaveLength(3);
  expect(page.next).toBeUndefined();
});

test('filters by pipeline, state and labels are joined', async () => {
  const project = 'filters';
  const pipeline = 'ci';
  const wanted = await ledger.create(one, { project, pipeline, labels: { repo: 'a', sha: '1' } });
  await ledger.succeed(wanted, 0);
  await ledger.create(one, { project, pipeline, labels: { repo: 'a' } });
  const otherPipeline = await ledger.create(one, { project, pipeline: 'cd', labels: { repo: 'a', sha: '1' } });
  await ledger.succeed(otherPipeline, 0);
  const list = async (filter: Partial<RunFilter>) =>
    (await runs.list(project, { ...all, ...filter }, { size: 10 })).items.map((run) => run.runId);
  expect(await list({ pipeline, states: ['SUCCEEDED'], labels: { repo: 'a', sha: '1' } })).toEqual([wanted]);
  expect(await list({ states: ['SUCCEEDED', 'FAILED'] })).toEqual([otherPipeline, wanted]);
  expect(await list({ labels: { repo: 'a' } })).toHaveLength(3);
  expect(await list({ labels: { repo: 'a', sha: '2' } })).toEqual([]);
  expect(await list({ pipeline: 'ci' })).toHaveLength(2);
});

test('a page of large runs stays within its bytes and goes on with the next', async () => {
  const wide = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`label-${i}`, '\u{10348}'.repeat(256)]));
  const created: RunId[] = [];
  for (let i = 0; i < 12; i++) created.push(await ledger.create(one, { project: 'wide', labels: wide }));
  const first = await runs.list('wide', all, { size: 100 });
  const bytes = first.items.reduce((sum, run) => sum + Buffer.byteLength(JSON.stringify(run.labels)), 0);
  expect(bytes).toBeGreaterThan(LIMITS.pageBytes * 0.8);
  expect(bytes).toBeLessThan(LIMITS.pageBytes);
  const second = await runs.list('wide', all, { size: 100, after: first.next ?? '' });
  expect([...first.items, ...second.items].map((run) => run.runId)).toEqual(created.toSorted().reverse());
  expect(second.next).toBeUndefined();
});

test('a page token that is none is refused', async () => {
  await expect(runs.list('default', all, { size: 1, after: 'x' })).rejects.toMatchObject({
    refusal: { refused: 'INVALID_CURSOR' },
  });
});
