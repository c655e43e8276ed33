import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import type { Retention } from '../core/retention.ts';
import { withConnection } from '../store/pool.ts';
import { runBehindNewest } from '../store/retention-rows.ts';
import { openTestPools, type TestPools } from '../store/testing/pools.ts';
import { storeRun, type StoredRunInput } from '../store/testing/stored-run.ts';
import { createRunRetention } from './retention.ts';
import { createRunDeletion } from './run-deletion.ts';

const HOUR_MS = 3_600_000;

let pools: TestPools;
let nowMs: number;

beforeAll(async () => {
  pools = await openTestPools();
});
beforeEach(async () => {
  await pools.pool.query('truncate runs, deleted_runs');
  nowMs = Date.now();
});
afterAll(() => pools[Symbol.asyncDispose]());

/** A replica's retention, and what it deleted in each transaction. */
function replica(retention: Retention) {
  const deleted: RunId[][] = [];
  const deletion = createRunDeletion({ pool: pools.pool, onDeleted: (runIds) => void deleted.push([...runIds]) });
  return { deleted, ...createRunRetention({ pool: pools.pool, retention, deletion }) };
}

/** Passes until everything was looked at. */
async function deleteAll(retention: Retention): Promise<RunId[]> {
  const one = replica(retention);
  while (await one.deleteExpired());
  return one.deleted.flat();
}

/** @param hours How long ago it was created and, unless it goes on, finished. */
function store(hours: number, input: StoredRunInput = {}): Promise<RunId> {
  return storeRun(pools.pool, { createdMs: nowMs - hours * HOUR_MS, ...input });
}

async function storeMany(count: number, input?: StoredRunInput): Promise<RunId[]> {
  const runIds = [];
  for (let i = 0; i < count; i++) runIds.push(await store(1_000 - i, input));
  return runIds;
}

async function kept(): Promise<RunId[]> {
  const { rows } = await pools.pool.query<{ run_id: RunId }>('select run_id from runs order by run_id');
  return rows.map((row) => row.run_id);
}

test('without limits nothing is deleted, however old', async () => {
  const runIds = await storeMany(3);
  expect(await deleteAll({})).toEqual([]);
  expect(await kept()).toEqual(runIds);
});

test('runs are deleted by the time since their end, whenever they began', async () => {
  const old = await store(30);
  const long = await store(30, { finishedMs: nowMs - 2 * HOUR_MS });
  const running = await store(40, { finishedMs: undefined });
  const young = await store(23);
  expect(await deleteAll({ maxAgeMs: 24 * HOUR_MS })).toEqual([old]);
  expect(await kept()).toEqual([running, long, young].toSorted());
});

test('of each project so many of the newest are kept; what is older goes once it has finished', async () => {
  const mine = await storeMany(5, { project: 'mine' });
  const theirs = await storeMany(2, { project: 'theirs' });
  const running = await store(2_000, { project: 'mine', finishedMs: undefined });
  expect(await deleteAll({ maxRuns: 3 })).toEqual(mine.slice(0, 2));
  expect(await kept()).toEqual([running, ...mine.slice(2), ...theirs].toSorted());
  await pools.pool.query(`update runs set state = 'FAILED', open = 0, failed = 1, finished_ms = 1 where run_id = $1`, [
    running,
  ]);
  expect(await deleteAll({ maxRuns: 3 })).toEqual([running]);
});

test('either limit is enough', async () => {
  const [surplus] = await storeMany(1);
  const old = await store(100);
  const young = await store(1);
  expect(await deleteAll({ maxRuns: 2, maxAgeMs: 24 * HOUR_MS })).toEqual([surplus, old]);
  expect(await kept()).toEqual([young]);
});

test('a pass looks at a bounded number of runs, and the next one goes on behind them', async () => {
  // Half of them go on, so that they are met again by each walk.
  await pools.pool.query(
    `insert into runs (run_id, project, digest, state, seq, last_ms, total, open, succeeded, failed, failure_allowed, skipped, cancelled,
       params, labels, trigger, traceparent, created_ms, finished_ms)
     select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'default', '', case when n % 2 = 0 then 'FAILED' else 'RUNNING' end,
       1, 1, 1, n % 2, 0, 1 - n % 2, 0, 0, 0, '{}', '{}', '{}', '', 1, case when n % 2 = 0 then 1 end
     from generate_series(1, 25000) n`,
  );
  const one = replica({ maxAgeMs: HOUR_MS });
  expect(await one.deleteExpired()).toBe(true);
  expect(one.deleted.map((runIds) => runIds.length)).toEqual(Array.from({ length: 20 }, () => 250));
  while (await one.deleteExpired());
  expect(one.deleted.flat()).toHaveLength(12_500);
  expect(await deleteAll({ maxAgeMs: HOUR_MS })).toEqual([]);
  expect(await kept()).toHaveLength(12_500);
});

test('the newest runs are counted in steps, whatever the number', async () => {
  await pools.pool.query(
    `insert into runs (run_id, project, digest, state, seq, last_ms, total, open, succeeded, failed, failure_allowed, skipped, cancelled,
       params, labels, trigger, traceparent, created_ms, finished_ms)
     select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'default', '', 'FAILED', 1, 1, 1, 0, 0, 1, 0, 0, 0, '{}', '{}',
       '{}', '', 1, 1
     from generate_series(1, 25000) n`,
  );
  const behind = (count: number) => withConnection(pools.pool, (tx) => runBehindNewest(tx, 'default', count));
  for (const count of [1, 9_998, 9_999, 10_000, 10_001, 19_999, 20_000, 24_999]) {
    expect(await behind(count), String(count)).toBe(
      `00000000-0000-7000-8000-${String(25_000 - count).padStart(12, '0')}`,
    );
  }
  expect(await behind(25_000)).toBeUndefined();
  expect(await behind(1_000_000)).toBeUndefined();
});

test('two replicas at once delete each run once, and neither waits for the other', async () => {
  const runIds = await storeMany(60);
  const replicas = [replica({ maxRuns: 10 }), replica({ maxRuns: 10 })];
  await Promise.all(replicas.map((one) => one.deleteExpired()));
  const deleted = replicas.flatMap((one) => one.deleted.flat());
  expect(deleted.toSorted()).toEqual(runIds.slice(0, 50));
  expect(await kept()).toEqual(runIds.slice(50));
});

test('a run that somebody holds is left for a later pass', async () => {
  const [held, free] = await storeMany(2);
  const busy = await pools.pool.connect();
  await busy.query('begin');
  await busy.query('select from runs where run_id = $1 for no key update', [held]);
  expect(await deleteAll({ maxAgeMs: HOUR_MS })).toEqual([free]);
  await busy.query('rollback');
  busy.release();
  expect(await deleteAll({ maxAgeMs: HOUR_MS })).toEqual([held]);
});
