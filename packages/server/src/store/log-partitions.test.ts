import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createPools, type Pools } from './connect.ts';
import { ensureLogPartitions } from './log-partitions.ts';
import { withConnection } from './pool.ts';
import { createTestDatabase, type TestDatabase } from './testing/database.ts';

let database: TestDatabase;
let pools: Pools;

beforeEach(async () => {
  database = await createTestDatabase();
  pools = await createPools({ ...database.config, lockTimeoutMs: 1_000 });
});
afterEach(async () => {
  await pools[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const ensure = () => withConnection(pools.pool, ensureLogPartitions);

async function partitions(): Promise<string[]> {
  const { rows } = await pools.pool.query<{ name: string }>(
    "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'log_chunks'::regclass order by 1",
  );
  return rows.map(({ name }) => name);
}

/** Adds a chunk of a log of its own. @param day Days from today. */
const INSERT = `insert into log_chunks (day, run_id, job, attempt, start_offset, data, spans)
  select (clock_timestamp() at time zone 'UTC')::date + $1::int, $2, 0, 1, 0, 'abc', '[[3,0,1]]'`;

test('there is a partition for today and for each of three days ahead', async () => {
  await ensure();
  expect((await partitions()).length).toBe(4);
  for (const day of [0, 1, 2, 3]) await pools.pool.query(INSERT, [day, randomUUID()]);
  for (const day of [-1, 4]) {
    await expect(pools.pool.query(INSERT, [day, randomUUID()])).rejects.toThrow('no partition');
  }
});

test('what is there already stays, with what is in it', async () => {
  await ensure();
  await pools.pool.query(INSERT, [0, randomUUID()]);
  const before = await partitions();
  await ensure();
  expect(await partitions()).toEqual(before);
  expect((await pools.pool.query('select data from log_chunks')).rowCount).toBe(1);
});

test('replicas that start together do not fail each other', async () => {
  await Promise.all(Array.from({ length: 6 }, ensure));
  expect((await partitions()).length).toBe(4);
});

test('a partition is as the table is', async () => {
  await ensure();
  const { rows } = await pools.pool.query<{ storage: string; keys: number }>(
    `select a.attstorage as storage, (select count(*)::int from pg_index i where i.indrelid = a.attrelid and i.indisprimary) as keys
     from pg_attribute a join pg_inherits h on h.inhrelid = a.attrelid
     where h.inhparent = 'log_chunks'::regclass and a.attname = 'data'`,
  );
  expect(rows).toEqual(Array.from({ length: 4 }, () => ({ storage: 'e', keys: 1 })));
});

test('a partition is made while logs are read and written', async () => {
  await ensure();
  const [last] = (await partitions()).slice(-1);
  await pools.pool.query(`drop table ${last}`);
  const busy = await pools.pool.connect();
  await busy.query('begin');
  await busy.query(INSERT, [0, randomUUID()]);
  await busy.query('select count(*) from log_chunks');
  await ensure();
  await busy.query('commit');
  busy.release();
  expect((await partitions()).at(-1)).toBe(last);
});
