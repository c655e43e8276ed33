import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { deleteFinishedRuns, forgetDeletedRuns, sweepDeletedRuns } from './deleted-runs.ts';
import { readFeed, readFeedBounds } from './event-views.ts';
import { withConnection, withTransaction } from './pool.ts';
import { openTestPools, type TestPools } from './testing/pools.ts';
import { storeRun, type StoredRunInput } from './testing/stored-run.ts';

let pools: TestPools;

beforeAll(async () => {
  pools = await openTestPools();
});
afterEach(async () => {
  await pools.pool.query(
    'truncate runs, events, jobs, attempts, log_sections, queue, run_values, artifacts, deleted_runs',
  );
  await pools.pool.query(`update cluster set feed_from = '0'`);
});
afterAll(() => pools[Symbol.asyncDispose]());

const store = (jobs: number, input: StoredRunInput = {}) => storeRun(pools.pool, { ...input, jobs });
const remove = (...runIds: RunId[]) => withTransaction(pools.pool, (tx) => deleteFinishedRuns(tx, runIds));
const sweep = (runs: number, rows: number) => withTransaction(pools.pool, (tx) => sweepDeletedRuns(tx, runs, rows));

async function rowsLeft(): Promise<number> {
  const { rows } = await pools.pool.query<{ count: number }>(
    `select (select count(*) from events) + (select count(*) from jobs) + (select count(*) from attempts)
       + (select count(*) from log_sections) + (select count(*) from queue) + (select count(*) from run_values)
       + (select count(*) from artifacts) as count`,
  );
  return rows[0]!.count;
}

test('a deleted run leaves a tombstone without params; one that goes on stays', async () => {
  const [done, running] = [await store(1), await store(1, { finishedMs: undefined })];
  expect(await remove(done, running)).toEqual([done]);
  expect(await remove(done)).toEqual([]);
  const { rows } = await pools.pool.query<{ run_id: string }>('select run_id from runs');
  expect(rows).toEqual([{ run_id: running }]);
  const { rows: tombstones } = await pools.pool.query<{ run: object }>('select run from deleted_runs');
  expect(tombstones).toMatchObject([{ run: { run_id: done, state: 'SUCCEEDED' } }]);
  expect(JSON.stringify(tombstones)).not.toContain('of a caller');
});

test('a pass removes no more rows of a table than it may, and the last one settles the run', async () => {
  const runId = await store(70);
  await remove(runId);
  const passes = [];
  for (let settled = 0; settled === 0; ) {
    const before = await rowsLeft();
    const pass = await sweep(10, 50);
    expect(before - (await rowsLeft())).toBe(pass.rows);
    passes.push(pass.rows);
    settled = pass.settled;
  }
  // Of events, jobs, attempts, sections, values, artifacts and the queue.
  expect(passes).toEqual([50 + 50 + 50 + 50 + 50 + 50 + 1, 50 + 20 + 20 + 20 + 20 + 20, 40]);
  expect(await rowsLeft()).toBe(0);
  expect(await sweep(10, 50)).toEqual({ rows: 0, settled: 0 });
});

test('a pass takes no more runs than it may, and leaves those that are not deleted alone', async () => {
  const kept = await store(3);
  await remove(...(await Promise.all(Array.from({ length: 5 }, () => store(1)))));
  expect(await sweep(3, 100)).toEqual({ rows: 3 * 8, settled: 3 });
  expect(await sweep(3, 100)).toEqual({ rows: 2 * 8, settled: 2 });
  const { rows } = await pools.pool.query<{ run_id: string }>('select distinct run_id from events');
  expect(rows).toEqual([{ run_id: kept }]);
});

test('a pass that dies leaves its work to the next', async () => {
  await remove(await store(5));
  const before = await rowsLeft();
  await expect(
    withTransaction(pools.pool, async (tx) => {
      expect((await sweepDeletedRuns(tx, 10, 100)).rows).toBeGreaterThan(0);
      throw new Error('killed');
    }),
  ).rejects.toThrow('killed');
  expect(await rowsLeft()).toBe(before);
  expect(await sweep(10, 100)).toEqual({ rows: before, settled: 1 });
});

test('two replicas that sweep at once take different runs and neither waits', async () => {
  await remove(...(await Promise.all(Array.from({ length: 4 }, () => store(2)))));
  await withTransaction(pools.pool, async (tx) => {
    expect((await sweepDeletedRuns(tx, 2, 100)).settled).toBe(2);
    expect((await sweep(10, 100)).settled).toBe(2);
  });
  expect(await rowsLeft()).toBe(0);
});

test('two replicas that delete the same runs at once delete each once', async () => {
  const runIds = await Promise.all(Array.from({ length: 40 }, () => store(1)));
  const deleted = await Promise.all([1, 2, 3, 4].map(() => remove(...runIds)));
  expect(deleted.flat().toSorted()).toEqual(runIds.toSorted());
});

test('a deletion is in the feed once, and is forgotten with the cursors that may lie before it', async () => {
  const before = await withConnection(pools.pool, readFeedBounds);
  const runId = await store(1);
  await remove(runId);
  const found = await withConnection(pools.pool, (tx) => readFeed(tx, 'default', before.now));
  expect(found.runIds).toEqual([runId]);
  const { runIds } = await withConnection(pools.pool, (tx) => readFeed(tx, 'default', found.now));
  expect(runIds).toEqual([]);

  const forget = (beforeMs: number) => withConnection(pools.pool, (tx) => forgetDeletedRuns(tx, beforeMs, 10));
  expect(await forget(Date.now() + 60_000)).toBe(0);
  await sweep(10, 100);
  expect(await forget(Date.now() - 3_600_000)).toBe(0);
  expect(await forget(Date.now() + 60_000)).toBe(1);
  const bounds = await withConnection(pools.pool, readFeedBounds);
  expect(before.now.end).toBeLessThanOrEqual(bounds.from);
  expect(bounds.now.end).toBeGreaterThan(bounds.from);
});
