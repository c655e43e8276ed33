import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPools, type Pools } from './connect.ts';
import type { Lane } from './lane.ts';
import type { Tx } from './sql.ts';
import { createTestDatabase, type TestDatabase } from './testing/database.ts';
import { type PostgresProxy, startPostgresProxy } from './testing/postgres-proxy.ts';
import { inTransaction } from './transaction.ts';

/** Held by a test, it keeps a transaction that wrote a slow note inside its COMMIT. */
const COMMIT_GATE = 4_711;

let database: TestDatabase;
let pools: Pools;
let proxy: PostgresProxy;
let throughProxy: Pools;
let lane: Lane;

beforeAll(async () => {
  database = await createTestDatabase();
  pools = await createPools(database.config);
  await pools.pool.query(`
    create table notes (text text primary key);
    create function wait_at_commit() returns trigger language plpgsql as
      $$ begin perform pg_advisory_xact_lock_shared(${COMMIT_GATE}); return null; end $$;
    create constraint trigger slow after insert on notes deferrable initially deferred
      for each row when (new.text like 'slow%') execute function wait_at_commit()`);
});
afterAll(async () => {
  await pools[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await pools.pool.query('truncate notes');
  proxy = await startPostgresProxy(database.config.connection);
  throughProxy = await createPools({ ...database.config, connection: proxy.connection });
  lane = throughProxy.openLane('test');
});
afterEach(async () => {
  await throughProxy[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
});

async function note(tx: Tx, text: string): Promise<string> {
  await tx.query('insert into notes values ($1)', [text]);
  return text;
}

async function notes(): Promise<string[]> {
  return (await pools.pool.query<{ text: string }>('select text from notes order by text')).rows.map(
    ({ text }) => text,
  );
}

/** Keeps slow notes from being committed until it is released. */
async function closeGate(): Promise<() => Promise<void>> {
  const holder = await pools.pool.connect();
  await holder.query(`select pg_advisory_lock(${COMMIT_GATE})`);
  return async () => {
    await holder.query(`select pg_advisory_unlock(${COMMIT_GATE})`);
    holder.release();
  };
}

/** Resolves with the session that waits inside its COMMIT. */
async function waitingAtGate(): Promise<number> {
  const pid = async () => {
    const { rows } = await pools.pool.query<{ pid: number }>(
      "select pid from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
    );
    return rows[0]?.pid;
  };
  await expect.poll(pid).toBeDefined();
  return (await pid())!;
}

test('what was committed is there, with what the work returned', async () => {
  expect(await inTransaction(lane, (tx) => note(tx, 'a'))).toBe('a');
  expect(await notes()).toEqual(['a']);
});

test('work that throws leaves nothing behind', async () => {
  const failing = inTransaction(lane, async (tx) => {
    await note(tx, 'a');
    throw new Error('on second thoughts');
  });
  await expect(failing).rejects.toThrow('on second thoughts');
  expect(await inTransaction(lane, (tx) => note(tx, 'b'))).toBe('b');
  expect(await notes()).toEqual(['b']);
});

test('a statement that fails fails the transaction, whatever else was under way', async () => {
  const failing = inTransaction(lane, async (tx, begun) => {
    await begun;
    await Promise.all([note(tx, 'a'), tx.query('select 1 / 0'), note(tx, 'b')]);
  });
  await expect(failing).rejects.toThrow('division by zero');
  expect(await inTransaction(lane, (tx) => note(tx, 'c'))).toBe('c');
  expect(await notes()).toEqual(['c']);
});

test('a commit whose reply is lost counts, and its work is not repeated', async () => {
  let times = 0;
  const broken = proxy.atCommit({ point: 'unanswered' });
  const result = await inTransaction(lane, async (tx) => {
    times++;
    return await note(tx, 'a');
  });
  await broken;
  expect([result, times]).toEqual(['a', 1]);
  expect(await notes()).toEqual(['a']);
});

test('a session that is ended before its commit took effect committed nothing', async () => {
  const open = await closeGate();
  const failing = inTransaction(lane, (tx) => note(tx, 'slow'));
  failing.catch(() => undefined);
  await pools.pool.query('select pg_terminate_backend($1)', [await waitingAtGate()]);
  await expect(failing).rejects.toThrow(/terminat/);
  await open();
  expect(await notes()).toEqual([]);
  expect(await inTransaction(lane, (tx) => note(tx, 'b'))).toBe('b');
});

test('a commit that goes on when its connection is gone is waited for', async () => {
  const open = await closeGate();
  const committing = inTransaction(lane, (tx) => note(tx, 'slow'));
  let settled = false;
  committing.finally(() => (settled = true)).catch(() => undefined);
  await waitingAtGate();
  await proxy.cut();
  await proxy.open();
  // It asks what became of the transaction, and is told that nothing did yet.
  const asks = async () => {
    const { rows } = await pools.pool.query(
      "select 1 from pg_stat_activity where application_name = 'conveyor test' and datname = current_database() and query like '%commit_marks as m%'",
    );
    return rows.length;
  };
  await expect.poll(asks).toBe(1);
  expect(settled).toBe(false);
  await open();
  expect(await committing).toBe('slow');
  expect(await notes()).toEqual(['slow']);
});

test('a lane takes another name from time to time, so that no row of it is written for ever', async () => {
  const names = Array.from({ length: 2_500 }, () => lane.name());
  expect(new Set(names).size).toBe(3);
  expect(names[0]).toBe(names[999]);
});

test('who sends statements together learns what failed first, not that the rest was for nothing', async () => {
  const failed = inTransaction(lane, async (tx) => {
    const first = tx.query('select 1 / 0').then(async () => undefined);
    // Passed on later than the failure of the next one, which says only that the transaction is aborted.
    const late = (async () => {
      try {
        await first;
      } catch (error) {
        for (let turn = 0; turn < 20; turn++) await Promise.resolve();
        throw error;
      }
    })();
    await Promise.all([late, tx.query('select 1')]);
  });
  await expect(failed).rejects.toThrow('division by zero');
});
