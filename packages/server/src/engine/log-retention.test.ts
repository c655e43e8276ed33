import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AttemptKey } from '../core/ids.ts';
import { dropLogPartition, isHeld, logPartitions, oldestRunMs } from '../store/log-partitions.ts';
import { withConnection } from '../store/pool.ts';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import { verifyRun } from '../store/verify-run.ts';
import { createJobQueries } from './job-queries.ts';
import { dropOldLogs } from './log-retention.ts';
import { joinParts, logFrame, type LogFixture, openLogFixture, readAll } from './testing/log-fixture.ts';

const DAY_MS = 86_400_000;

let database: TestDatabase;
let logs: LogFixture;

beforeEach(async () => {
  database = await createTestDatabase();
  logs = await openLogFixture(database);
});
afterEach(async () => {
  await logs[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** Days before today. */
function dayOf(daysAgo: number): string {
  return new Date(Date.now() - daysAgo * DAY_MS).toISOString().slice(0, 10);
}

function nameOf(daysAgo: number): string {
  return `log_chunks_${dayOf(daysAgo).replaceAll('-', '')}`;
}

async function addPartition(daysAgo: number): Promise<void> {
  await logs.pools.pool.query(
    `create table if not exists ${nameOf(daysAgo)} partition of log_chunks for values from ('${dayOf(daysAgo)}') to ('${dayOf(daysAgo - 1)}')`,
  );
}

/**
 * An attempt whose run is as old as its log, which it wrote a few bytes a day, from so many days ago to so many.
 * @param ends False: it still runs.
 */
async function logFrom(from: number, to: number, { ends = true } = {}): Promise<AttemptKey> {
  const key = await logs.start(await logs.create());
  const pieces = Array.from({ length: from - to + 1 }, (_, i) => `day ${i}\n`);
  let offset = 0;
  for (const [i, piece] of pieces.entries()) {
    await addPartition(from - i);
    await logs.write(logFrame(key, offset, piece));
    // As a chunk of its day: what today's partition took moves to the other.
    await logs.pools.pool.query('update log_chunks set day = $2 where run_id = $1 and start_offset = $3', [
      key.runId,
      dayOf(from - i),
      offset,
    ]);
    offset += piece.length;
  }
  if (ends) await logs.finish(key, Buffer.from(pieces.join('')));
  const [startMs, endMs] = [Date.now() - from * DAY_MS, ends ? Date.now() - to * DAY_MS : null];
  await logs.pools.pool.query(
    'update attempts set offered_ms = $2, started_ms = $2, finished_ms = $3 where run_id = $1',
    [key.runId, startMs, endMs],
  );
  await logs.pools.pool.query('update runs set created_ms = $2 where run_id = $1', [key.runId, startMs]);
  return key;
}

const drop = (maxLogAgeDays?: number) =>
  dropOldLogs(logs.pools.pool, maxLogAgeDays === undefined ? {} : { maxLogAgeMs: maxLogAgeDays * DAY_MS });

async function partitions(): Promise<string[]> {
  return (await withConnection(logs.pools.pool, logPartitions)).map(({ name }) => name);
}

async function stateOf(key: AttemptKey): Promise<string | undefined> {
  const queries = createJobQueries({ pool: logs.pools.pool, plans: logs.ledger.plans });
  return (await queries.listAttempts('default', key, { size: 10 })).items[0]?.logState;
}

const readLog = (key: AttemptKey, offset = 0) => logs.reader.readLog('default', key, key.attempt, offset, 1_000);

async function tail(key: AttemptKey): Promise<string> {
  const parts = [];
  const { signal } = new AbortController();
  for await (const part of logs.reader.tailLog('default', key, key.attempt, 0, signal)) parts.push(part);
  return `${joinParts(parts, 0).toString()}${parts.at(-1)?.logState}`;
}

test('days that are too old are dropped, and the logs that began on them are expired', async () => {
  const [old, across, young] = [await logFrom(9, 9), await logFrom(8, 6), await logFrom(6, 5)];
  expect(await drop(7)).toEqual([nameOf(9), nameOf(8)]);
  for (const key of [old, across]) {
    const size = key === old ? 6 : 18;
    expect(await readLog(key)).toMatchObject({ chunks: [], sections: [], logSize: size, logState: 'EXPIRED' });
    expect(await readLog(key, 10)).toMatchObject({ chunks: [], nextOffset: 10, logState: 'EXPIRED' });
    expect(await tail(key)).toBe('EXPIRED');
    expect(await stateOf(key)).toBe('EXPIRED');
  }
  expect((await readAll(logs, young)).toString()).toBe('day 0\nday 1\n');
  expect(await tail(young)).toBe('day 0\nday 1\nSEALED');
  expect(await stateOf(young)).toBe('SEALED');
  expect(await drop(7)).toEqual([]);
});

test('an expired log is no discrepancy, and is counted as such', async () => {
  const [old, across] = [await logFrom(9, 9), await logFrom(8, 6)];
  await drop(7);
  for (const { runId } of [old, across]) {
    const verification = await withConnection(logs.pools.pool, (tx) => verifyRun(tx, runId, { skipLogs: false }));
    expect(verification?.verified).toMatchObject({ logs: 0, logBytes: 0, expiredLogs: 1 });
    expect(verification?.discrepancies.filter(({ kind }) => kind === 'LOG')).toEqual([]);
  }
});

test('an empty log does not expire', async () => {
  const key = await logs.start(await logs.create());
  await logs.finish(key, Buffer.alloc(0));
  await logs.pools.pool.query('update attempts set offered_ms = 1, started_ms = 1, finished_ms = 2');
  await addPartition(9);
  expect(await drop(7)).toEqual([nameOf(9)]);
  expect(await readLog(key)).toMatchObject({ logSize: 0, logState: 'SEALED' });
  expect(await stateOf(key)).toBe('SEALED');
});

test('a day on which a running attempt wrote is kept with all that follow, until the attempt ends', async () => {
  await logFrom(11, 11);
  const running = await logFrom(10, 8, { ends: false });
  await logFrom(9, 9);
  expect(await drop(7)).toEqual([nameOf(11)]);
  expect((await readAll(logs, running)).toString()).toBe('day 0\nday 1\nday 2\n');
  await logs.write(logFrame(running, 18, 'today\n'));
  const whole = Buffer.from('day 0\nday 1\nday 2\ntoday\n');
  expect(await readAll(logs, running)).toEqual(whole);
  expect(await logs.finish(running, whole)).toMatchObject({ type: 'Finished', logState: 'SEALED' });
  expect(await drop(7)).toEqual([nameOf(10), nameOf(9), nameOf(8)]);
  expect(await readLog(running)).toMatchObject({ logSize: whole.length, logState: 'EXPIRED' });
});

test('a running attempt that wrote nothing on a day does not hold it', async () => {
  await logFrom(10, 10);
  await logFrom(9, 9, { ends: false });
  const [oldest, next] = await withConnection(logs.pools.pool, logPartitions);
  const held = (partition = oldest!) => withConnection(logs.pools.pool, (tx) => isHeld(tx, partition));
  expect([await held(), await held(next)]).toEqual([false, true]);
});

test('without a limit only days from before the oldest run are dropped', async () => {
  const [oldest, other] = [await logFrom(9, 9), await logFrom(5, 5)];
  await addPartition(20);
  expect(await drop()).toEqual([nameOf(20)]);
  expect(await stateOf(oldest)).toBe('SEALED');
  await logs.pools.pool.query('delete from runs where run_id = $1', [oldest.runId]);
  expect(await withConnection(logs.pools.pool, oldestRunMs)).toBeLessThan(Date.now() - 4 * DAY_MS);
  expect(await drop()).toEqual([nameOf(9)]);
  expect(await tail(other)).toBe('day 0\nSEALED');
  await logs.pools.pool.query('delete from runs');
  // Today and yesterday stay, whoever is there.
  expect(await drop()).toEqual([nameOf(5)]);
  expect(await partitions()).toEqual([0, -1, -2, -3].map(nameOf));
});

test('a pass drops a bounded number of days', async () => {
  for (let day = 30; day > 15; day--) await addPartition(day);
  expect(await drop(7)).toHaveLength(10);
  expect(await drop(7)).toHaveLength(5);
});

test('of two replicas at once one drops, and the other goes on', async () => {
  for (let day = 20; day > 15; day--) await addPartition(day);
  const dropped = await Promise.all([drop(7), drop(7), drop(7), drop(7)]);
  expect(dropped.flat().toSorted()).toEqual([20, 19, 18, 17, 16].map(nameOf));
  expect(dropped.filter((names) => names.length > 0)).toHaveLength(1);
});

test('logs are read and written while a day is dropped', async () => {
  const key = await logs.start(await logs.create());
  await logFrom(9, 9);
  const dropping = drop(7);
  let size = 0;
  for (let i = 0; i < 20; i++) {
    expect(await logs.write(logFrame(key, size, 'line\n'))).toEqual({ type: 'Stored', offset: (size += 5) });
    expect((await readLog(key)).logSize).toBe(size);
  }
  expect(await dropping).toEqual([nameOf(9)]);
  expect(await readAll(logs, key)).toEqual(Buffer.from('line\n'.repeat(20)));
});

describe('a drop that was broken off is completed', () => {
  test('when a transaction that may still read the day went on for too long', async () => {
    const key = await logFrom(9, 9);
    const reader = await logs.pools.pool.connect();
    await reader.query('begin isolation level repeatable read');
    await reader.query('select count(*) from log_chunks');
    await withConnection(logs.pools.pool, async (tx) => {
      await tx.query(`set lock_timeout = '100ms'`);
      const [oldest] = await logPartitions(tx);
      await expect(dropLogPartition(tx, oldest!)).rejects.toThrow('lock timeout');
      await tx.query('reset lock_timeout');
    });
    // It has begun: whoever looks now does not see the day any more, but the one who looked before does.
    expect((await withConnection(logs.pools.pool, logPartitions))[0]).toMatchObject({ state: 'PENDING' });
    expect((await reader.query<{ data: Buffer }>('select data from log_chunks')).rows).toHaveLength(1);
    expect(await readLog(key)).toMatchObject({ chunks: [], logState: 'EXPIRED' });
    await reader.query('commit');
    reader.release();
    expect(await drop(7)).toEqual([nameOf(9)]);
    expect(await partitions()).not.toContain(nameOf(9));
  });

  test('when its replica died between the two steps', async () => {
    await logFrom(9, 9);
    await logs.pools.pool.query(`alter table log_chunks detach partition ${nameOf(9)} concurrently`);
    expect((await withConnection(logs.pools.pool, logPartitions))[0]).toMatchObject({ state: 'DETACHED' });
    expect(await drop()).toEqual([nameOf(9)]);
    expect(await partitions()).not.toContain(nameOf(9));
  });
});

test('a log whose bytes go while it is read is expired, not short', async () => {
  const key = await logFrom(9, 9);
  const { pool } = logs.pools;
  // The position is read, and then the day is dropped before the bytes are.
  const lock = await pool.connect();
  await lock.query('begin');
  await lock.query('lock table log_chunks in access exclusive mode');
  const reading = readLog(key);
  const waiting = `select from pg_stat_activity where wait_event_type = 'Lock' and query like '%from log_chunks%'`;
  await expect.poll(async () => (await pool.query(waiting)).rowCount).toBe(1);
  await lock.query('update cluster set logs_from_ms = $1', [Date.now()]);
  await lock.query(`drop table ${nameOf(9)}`);
  await lock.query('commit');
  lock.release();
  expect(await reading).toMatchObject({ chunks: [], nextOffset: 0, logSize: 6, logState: 'EXPIRED' });
});
