import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { logPosition, readChunks } from './log-views.ts';
import { withConnection } from './pool.ts';
import { openTestPools, type TestPools } from './testing/pools.ts';
import { storeRun } from './testing/stored-run.ts';

const DAYS = 30;
const DAY_MS = 86_400_000;
const firstMs = Date.UTC(2024, 1, 10);

let pools: TestPools;

beforeAll(async () => {
  pools = await openTestPools();
  for (let day = 0; day < DAYS; day++) {
    await pools.pool.query(
      `create table log_chunks_past_${day} partition of log_chunks for values from ('${dayOf(day)}') to ('${dayOf(day + 1)}')`,
    );
  }
});
afterAll(() => pools[Symbol.asyncDispose]());

function dayOf(day: number): string {
  return new Date(firstMs + day * DAY_MS).toISOString().slice(0, 10);
}

/** Stores an attempt that wrote ten bytes on each of some days. */
async function store(firstDay: number, days: number): Promise<{ runId: RunId; job: number; attempt: number }> {
  const runId = await storeRun(pools.pool);
  const startedMs = firstMs + firstDay * DAY_MS + 1_000;
  await pools.pool.query(
    `insert into attempts (run_id, job, attempt, project, instance_no, state, offered_ms, started_ms, finished_ms, log_size, log_state)
     values ($1, 0, 1, 'default', 1, 'SUCCEEDED', $2, $2, $3, $4, 'SEALED')`,
    [runId, startedMs, startedMs + (days - 1) * DAY_MS, days * 10],
  );
  for (let i = 0; i < days; i++) {
    await pools.pool.query(
      `insert into log_chunks (day, run_id, job, attempt, start_offset, data, spans) values ($1, $2, 0, 1, $3, $4, '[[10,0,1]]')`,
      [dayOf(firstDay + i), runId, i * 10, Buffer.from(`day ${i}`.padEnd(10, '.'))],
    );
  }
  return { runId, job: 0, attempt: 1 };
}

test('a log that was written over days is read as one', async () => {
  const key = await store(9, 12);
  const chunks = await withConnection(pools.pool, async (tx) => {
    const position = await logPosition(tx, key, undefined);
    return await readChunks(tx, position!, 15, 105);
  });
  expect(Buffer.concat(chunks.map(({ data }) => data)).toString()).toBe(
    Array.from({ length: 12 }, (_, i) => `day ${i}`.padEnd(10, '.'))
      .join('')
      .slice(15, 105),
  );
  expect(chunks.map(({ offset }) => offset)).toEqual([15, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
});

test('only the partitions of the days on which an attempt may have written are looked at', async () => {
  const key = await store(20, 2);
  const plan = await withConnection(pools.pool, async (tx) => {
    const position = await logPosition(tx, key, 1);
    expect(position?.days).toEqual([dayOf(19), dayOf(22)]);
    expect(await readChunks(tx, position!, 0, 20)).toHaveLength(2);
    const [first, last] = position!.days;
    const call = `read_log_chunks('${key.runId}', 0, 1, '${first}', '${last}', 0, 20, 10)`;
    return (await tx.query<{ 'QUERY PLAN': string }>(`explain (costs off) execute ${call}`)).rows.map(
      (row) => row['QUERY PLAN'],
    );
  });
  const touched = new Set(plan.join('\n').match(/log_chunks_past_\d+(?= )/g));
  expect([...touched].sort()).toEqual([19, 20, 21, 22].map((day) => `log_chunks_past_${day}`));
});
