import { afterAll, beforeAll, expect, test } from 'vitest';
import { LIMITS } from '../core/limits.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { JobView, Page } from '../core/views.ts';
import { moveLogHeads } from '../store/log-rows.ts';
import { withConnection } from '../store/pool.ts';
import { createRunHistory, type RunHistory } from './run-history.ts';
import { createRunQueries } from './run-queries.ts';
import { asker, asksBy } from './testing/asks.ts';
import { type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';

let ledger: LedgerFixture;
let history: RunHistory;
let runs: ReturnType<typeof createRunQueries>;
let asks: ReturnType<typeof asksBy>;
const { signal } = new AbortController();
const retry = { ...jobNamed('any').retry, initialBackoffMs: 0 };
const again = { retry: { ...retry, budgets: { ...retry.budgets, WORKLOAD: 2 } } };
const graph = definitionOf(
  jobNamed('build', again),
  jobNamed('test', { needs: ['build'] }),
  jobNamed('deploy', { needs: ['test'] }),
  jobNamed('lint'),
);

beforeAll(async () => {
  ledger = await openTestLedger();
  history = createRunHistory(ledger);
  runs = createRunQueries(ledger);
  asks = asksBy(await ledger.connect('shell', 'i-1'), 'i-1');
});
afterAll(() => ledger[Symbol.asyncDispose]());

/** Jobs without needs. */
function jobsOf(count: number) {
  return definitionOf(...Array.from({ length: count }, (_, i) => jobNamed(`job-${i}`, again)));
}

async function allOf<T>(
  fetchPage: (after: { after?: string }) => Promise<Page<T>>,
): Promise<{ items: T[]; pages: number }> {
  const items: T[] = [];
  let after: string | undefined;
  let pages = 0;
  do {
    const page = await fetchPage(after === undefined ? {} : { after });
    items.push(...page.items);
    after = page.next;
    pages++;
  } while (after !== undefined);
  return { items, pages };
}

test('jobs are filtered and listed in pages, each once, and attempts too', async () => {
  const runId = await ledger.create(jobsOf(7));
  for (const attempt of [1, 2, 3]) {
    await ledger.submit(runId, asks.offer(5, 0));
    await ledger.submit(runId, asks.accept(5, attempt));
    await ledger.submit(runId, asks.fail(5, attempt));
  }
  await ledger.submit(runId, asks.cancel(2, 0));
  const { seq } = await runs.get('default', runId);
  const list = (states: readonly JobView['state'][], names: readonly string[], at = seq, size = 2) =>
    allOf((after) => history.jobs.listAt('default', runId, at, states, names, { size, ...after }, signal));
  const namesOf = ({ items }: { items: readonly JobView[] }) => items.map(({ name }) => name);
  const all = await list([], []);
  expect([namesOf(all), all.pages]).toEqual([[0, 1, 2, 3, 4, 5, 6].map((i) => `job-${i}`), 4]);
  expect(namesOf(await list(['FAILED', 'CANCELLED'], []))).toEqual(['job-2', 'job-5']);
  expect(namesOf(await list(['FAILED', 'CANCELLED'], [], 1))).toEqual([]);
  expect(namesOf(await list(['QUEUED'], ['job-6', 'job-2']))).toEqual(['job-6']);
  expect((await list([], ['job-1', 'job-2', 'job-3'], seq, 3)).pages).toBe(1);
  const attempts = (at: number) =>
    allOf((after) => history.jobs.listAttemptsAt('default', { runId, job: 5 }, at, { size: 2, ...after }, signal));
  const three = await attempts(seq);
  expect([three.items.map(({ attempt }) => attempt), three.pages]).toEqual([[1, 2, 3], 2]);
  expect((await attempts(3)).items).toMatchObject([{ attempt: 1, state: 'RUNNING', instance: 'i-1' }]);
  for (const after of ['x', '-1', '1.5']) {
    await expect(history.jobs.listAt('default', runId, 1, [], [], { size: 1, after }, signal)).rejects.toMatchObject({
      refusal: { refused: 'INVALID_CURSOR' },
    });
  }
});

test('a difference tells of each job that changed how it was before and is after', async () => {
  const runId = await ledger.create(graph);
  await ledger.submit(runId, asks.hold(1, 0));
  const from = (await runs.get('default', runId)).seq;
  await ledger.submit(runId, asks.offer(0, 0));
  await ledger.submit(runId, asks.accept(0, 1));
  await ledger.submit(runId, asks.fail(3, 1));
  await ledger.submit(runId, asks.hold(3, 0));
  // What comes back to what it was is no difference.
  await ledger.submit(runId, asks.hold(2, 0));
  await ledger.submit(runId, asks.release(2, 0));
  const diff = await history.runs.diff('default', runId, from, undefined, { size: 10 }, signal);
  expect(diff).toMatchObject({ before: { seq: from, state: 'PENDING' }, after: { state: 'RUNNING' }, changedJobs: 2 });
  expect(diff.after.seq).toBe((await runs.get('default', runId)).seq);
  expect(diff.jobs).toEqual({
    items: [
      {
        runId,
        job: 0,
        name: 'build',
        before: { state: 'QUEUED', attempt: 0 },
        after: { state: 'RUNNING', attempt: 1 },
        changedFields: ['state', 'attempt', 'start_time'],
      },
      {
        runId,
        job: 3,
        name: 'lint',
        before: { state: 'QUEUED', attempt: 0 },
        after: {
          state: 'WAITING',
          attempt: 0,
          hold: { ...asker, sinceMs: expect.any(Number) },
          wait: expect.objectContaining({ reason: 'HELD' }),
        },
        changedFields: ['state', 'wait', 'hold'],
      },
    ],
  });
  const none = await history.runs.diff('default', runId, from, from, { size: 10 }, signal);
  expect(none).toMatchObject({ changedJobs: 0, jobs: { items: [] } });
});

test('pages of a difference go on with the events of the first, however the run goes on', async () => {
  const runId = await ledger.create(jobsOf(5));
  for (const job of [0, 1, 2]) await ledger.submit(runId, asks.hold(job, 0));
  const first = await history.runs.diff('default', runId, 1, undefined, { size: 2 }, signal);
  await ledger.submit(runId, asks.hold(4, 0));
  const page = { size: 2, after: first.jobs.next ?? '' };
  const second = await history.runs.diff('default', runId, 1, undefined, page, signal);
  expect([...first.jobs.items, ...second.jobs.items].map(({ job }) => job)).toEqual([0, 1, 2]);
  expect([second.after.seq, second.changedJobs, second.jobs.next]).toEqual([first.after.seq, 3, undefined]);
  for (const after of ['x', '7', '1.', '.1', '1.2.3', '-1.2', '999999999.1']) {
    await expect(history.runs.diff('default', runId, 1, undefined, { size: 1, after }, signal)).rejects.toMatchObject({
      refusal: { refused: expect.stringMatching(/INVALID_(CURSOR|FIELD)/) },
    });
  }
});

test('a page of large outputs stays within its bytes and goes on with the next', async () => {
  const count = 60;
  const runId = await ledger.create(jobsOf(count));
  const outputs = { text: '\u{10348}'.repeat(16_000) };
  for (let job = 0; job < count; job++) {
    await ledger.submit(runId, asks.offer(job, 0));
    await ledger.submit(runId, asks.accept(job, 1));
    const row = { key: { runId, job, attempt: 1 }, logSize: 0, logCrc32c: 0, outputs };
    await withConnection(ledger.pool, (tx) =>
      moveLogHeads(tx, [{ ...row, progress: undefined, checkpoint: undefined }]),
    );
    await ledger.submit(runId, asks.succeed(job, 1));
  }
  const { seq } = await runs.get('default', runId);
  const sizes: number[] = [];
  const { items } = await allOf(async (after) => {
    const page = await history.jobs.listAt('default', runId, seq, [], [], { size: 1_000, ...after }, signal);
    sizes.push(Buffer.byteLength(JSON.stringify(page.items)));
    return page;
  });
  expect(items.map(({ job }) => job)).toEqual(Array.from({ length: count }, (_, job) => job));
  expect(items.every((job) => job.outputs !== undefined)).toBe(true);
  expect(sizes).toHaveLength(Math.ceil(count / Math.floor(LIMITS.pageBytes / 64_500)));
  expect(Math.max(...sizes)).toBeLessThan(LIMITS.pageBytes);
  expect(Math.max(...sizes)).toBeGreaterThan(LIMITS.pageBytes * 0.9);
});

test('a run of ten thousand jobs with a ledger of many pages is shown at any event, and its difference in pages', async () => {
  const runId = await ledger.create(jobsOf(10_000));
  await ledger.submit(runId, asks.cancelRun(0, 0));
  const { seq } = await runs.get('default', runId);
  expect(seq).toBe(10_003);
  const middle = await history.runs.getAt('default', runId, 5_002, signal);
  expect(middle).toMatchObject({ seq: 5_002, counts: { total: 10_000, cancelled: 5_000, open: 5_000 } });
  const { items, pages } = await allOf(
    async (after) =>
      (await history.runs.diff('default', runId, 5_002, undefined, { size: 1_000, ...after }, signal)).jobs,
  );
  expect(items).toHaveLength(5_000);
  // A page ends by its bytes before it has a thousand of them.
  expect(pages).toBe(7);
  const gone = AbortSignal.abort(new Error('called off'));
  await expect(createRunHistory(ledger).runs.getAt('default', runId, seq, gone)).rejects.toThrow('called off');
});
