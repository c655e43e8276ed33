import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPools, type Pools } from './connect.ts';
import { withConnection, withTransaction } from './pool.ts';
import type { Tx } from './sql.ts';
import { createTestDatabase, type TestDatabase } from './testing/database.ts';

let database: TestDatabase;
let pools: Pools;

beforeAll(async () => {
  database = await createTestDatabase();
  pools = await createPools({ ...database.config, poolSize: 2 });
  await pools.pool.query('create table notes (text text)');
});
afterAll(async () => {
  await pools[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const write = (text: string) => async (tx: Tx) => void (await tx.query('insert into notes values ($1)', [text]));

async function written(text: string): Promise<boolean> {
  return (await pools.pool.query('select from notes where text = $1', [text])).rowCount === 1;
}

async function breakConnection(tx: Tx): Promise<void> {
  const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid');
  await pools.pool.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid]);
}

const outage = { refusal: { refused: 'DATABASE_UNAVAILABLE' } };

test('a transaction is committed, unless its work throws', async () => {
  await withTransaction(pools.pool, write('kept'));
  await expect(
    withTransaction(pools.pool, async (tx) => {
      await write('dropped')(tx);
      throw new Error('changed my mind');
    }),
  ).rejects.toThrow('changed my mind');
  expect([await written('kept'), await written('dropped')]).toEqual([true, false]);
});

test('a transaction whose failure its work hid is not taken for committed', async () => {
  const hidden = withTransaction(pools.pool, async (tx) => {
    await write('hidden')(tx);
    await tx.query('select 1 / 0').catch(() => undefined);
  });
  await expect(hidden).rejects.toThrow('had failed');
  expect(await written('hidden')).toBe(false);
});

test('a transaction that failed leaves nothing open on its connection', async () => {
  for (let i = 0; i < 4; i++) {
    await expect(withTransaction(pools.pool, (tx) => tx.query('select 1 / 0'))).rejects.toThrow('division by zero');
  }
  await withConnection(pools.pool, write('after failures'));
  expect(await written('after failures')).toBe(true);
});

test('a broken connection is told as an outage, and is not lent again', async () => {
  const broken = withConnection(pools.pool, async (tx) => {
    await breakConnection(tx);
    await tx.query('select 1');
  });
  await expect(broken).rejects.toMatchObject(outage);
  for (let i = 0; i < 4; i++) await withConnection(pools.pool, (tx) => tx.query('select 1'));
});

test('a connection that broke before its commit was answered leaves the outcome open, and says so', async () => {
  const broken = withTransaction(pools.pool, async (tx) => {
    await write('unknown')(tx);
    await breakConnection(tx);
  });
  await expect(broken).rejects.toMatchObject(outage);
  await expect(broken).rejects.toThrow('whether the change was made is unknown');
});
