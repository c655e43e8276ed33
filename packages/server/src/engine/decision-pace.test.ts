import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPools, type Pools } from '../store/connect.ts';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import { createDecisionPace } from './decision-pace.ts';

let database: TestDatabase;
let pools: Pools;

beforeAll(async () => {
  database = await createTestDatabase();
  pools = await createPools(database.config);
});
afterAll(async () => {
  await pools[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

function* slices(count: number, ms: number): Generator<undefined, number> {
  for (let slice = 1; slice < count; slice++) {
    for (const untilMs = performance.now() + ms; performance.now() < untilMs; );
    yield;
  }
  return count;
}

test('the session of a decision that takes long is not ended as idle', async () => {
  const client = await pools.pool.connect();
  await client.query("set idle_in_transaction_session_timeout = '1300ms'");
  await client.query('begin');
  const pace = createDecisionPace(client, true);
  expect(await pace.make(slices(5, 550))).toEqual({ made: 5 });
  expect(pace.isLong()).toBe(true);
  expect((await client.query('rollback')).command).toBe('ROLLBACK');
  client.release(true);
});

test('where others wait, what is short is made, and what takes long is not', async () => {
  const client = await pools.pool.connect();
  const pace = createDecisionPace(client, false);
  expect(await pace.make(slices(2, 1))).toEqual({ made: 2 });
  expect(pace.isLong()).toBe(false);
  expect(await pace.make(slices(100, 20))).toBeUndefined();
  expect(pace.isLong()).toBe(true);
  expect(await pace.make(slices(1, 0))).toEqual({ made: 1 });
  expect(await pace.make(slices(3, 0))).toEqual({ made: 3 });
  client.release();
});
