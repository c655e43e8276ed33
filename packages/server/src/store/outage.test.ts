// A database that is away without a word, or takes no writes: who waits is told in time, and who comes next is served.
import { setTimeout as delay } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPools, type Pools } from './connect.ts';
import { withConnection } from './pool.ts';
import type { Tx } from './sql.ts';
import { asAdministrator, createTestDatabase, serverVariable, type TestDatabase } from './testing/database.ts';
import { type PostgresProxy, startPostgresProxy } from './testing/postgres-proxy.ts';
import { inTransaction } from './transaction.ts';

const STATEMENT_MS = 300;
/** Until the client gives up on a silent server, and a little. */
const SILENCE_MS = STATEMENT_MS + 1_500;

let database: TestDatabase;
let proxy: PostgresProxy;
let pools: Pools;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());
beforeEach(async () => {
  proxy = await startPostgresProxy(database.config.connection);
  pools = await createPools({
    ...database.config,
    connection: proxy.connection,
    poolSize: 4,
    statementTimeoutMs: STATEMENT_MS,
  });
});
afterEach(async () => {
  await readOnly(false);
  await pools[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
});

const one = (tx: Tx) => tx.query('select 1');

/** Whether new sessions of this database may write. */
async function readOnly(on: boolean): Promise<void> {
  const name = new URL(database.config.connection).pathname.slice(1);
  await asAdministrator(process.env[serverVariable] ?? '', (client) =>
    client.query(`alter database ${name} ${on ? 'set default_transaction_read_only = on' : 'reset all'}`),
  );
}

/** How long it takes, however it ends. */
async function timed(work: PromiseLike<unknown>): Promise<number> {
  const beganMs = performance.now();
  await work.then(undefined, () => undefined);
  return performance.now() - beganMs;
}

const unavailable = { refusal: { refused: 'DATABASE_UNAVAILABLE' } };

test('a half-open connection of a lane is given up on in time, and replaced', async () => {
  const lane = pools.openLane('test');
  await lane.use(one);
  expect(proxy.dangle()).toBeGreaterThan(0);
  const asked = lane.use(one);
  expect(await timed(asked)).toBeLessThan(SILENCE_MS);
  await expect(asked).rejects.toThrow('Query read timeout');
  expect(await timed(lane.use(one))).toBeLessThan(1_000);
});

test('one half-open connection of the pool tells of the others, which nobody waits for any more', async () => {
  const clients: PoolClient[] = [];
  for (let i = 0; i < 4; i++) clients.push(await pools.pool.connect());
  for (const client of clients) client.release();
  expect(pools.pool.idleCount).toBe(4);
  expect(proxy.dangle()).toBe(4);
  const asked = withConnection(pools.pool, one);
  expect(await timed(asked)).toBeLessThan(SILENCE_MS);
  await expect(asked).rejects.toMatchObject(unavailable);
  for (let i = 0; i < 4; i++) expect(await timed(withConnection(pools.pool, one))).toBeLessThan(1_000);
});

test('a new connection to a silent server is given up on in time', async () => {
  proxy.freeze();
  const asked = withConnection(pools.pool, one);
  expect(await timed(asked)).toBeLessThan(5_500);
  await expect(asked).rejects.toMatchObject(unavailable);
});

test('a server that has become read-only is left, and the lane goes on elsewhere', async () => {
  const lane = pools.openLane('test');
  const write = () => inTransaction(lane, async (_, begun) => begun);
  await write();
  await lane.use((tx) => tx.query('set default_transaction_read_only = on'));
  await expect(write()).rejects.toMatchObject({ code: '25006' });
  await write();
});

test('a read-only server is not read from either: it may be behind', async () => {
  await readOnly(true);
  await expect(withConnection(pools.pool, one)).rejects.toMatchObject(unavailable);
  await expect(createPools({ ...database.config, connection: proxy.connection })).rejects.toMatchObject({
    reason: 'DATABASE_UNREACHABLE',
    message: expect.stringContaining('read-only'),
  });
  const lane = pools.openLane('test');
  const waiting = lane.use(one);
  const outcome = await Promise.race([waiting, delay(500, 'waits')]);
  expect(outcome).toBe('waits');
  await readOnly(false);
  await waiting;
  await withConnection(pools.pool, one);
});

test('a statement that takes too long is told as the trouble that it is', async () => {
  const slow = withConnection(pools.pool, (tx) => tx.query('select pg_sleep(5)'));
  await expect(slow).rejects.toMatchObject(unavailable);
  await expect(slow).rejects.toThrow('in time');
});

test('a server that has no connection left is told as such, and is used again when it has', async () => {
  const url = new URL(process.env[serverVariable] ?? '');
  await asAdministrator(url.href, (client) =>
    client.query(`create role crowded login password 'crowded' connection limit 1`),
  );
  const connection = { ...proxy.connection, user: 'crowded', password: 'crowded' };
  const crowded = await createPools({ ...database.config, connection });
  try {
    const lane = crowded.openLane('test');
    await lane.use(one);
    await expect(withConnection(crowded.pool, one)).rejects.toMatchObject(unavailable);
    await lane[Symbol.asyncDispose]();
    await expect.poll(() => withConnection(crowded.pool, one).then(() => 'served', String)).toBe('served');
  } finally {
    await crowded[Symbol.asyncDispose]();
    await asAdministrator(url.href, (client) => client.query('drop role crowded'));
  }
});

test('connections that lead nowhere are closed in time', async () => {
  const lane = pools.openLane('test');
  await lane.use(one);
  await withConnection(pools.pool, one);
  proxy.freeze();
  expect(await timed(pools[Symbol.asyncDispose]())).toBeLessThan(3_000);
});

test('severed, whoever waits for an answer or a connection is told at once', async () => {
  const lane = pools.openLane('test');
  await lane.use(one);
  const held = await Promise.all(Array.from({ length: 4 }, () => pools.pool.connect()));
  for (const client of held) client.on('error', () => undefined);
  proxy.freeze();
  const asked = [lane.use(one), pools.openLane('other').use(one), held[0]!.query('select 1')];
  for (const work of asked) work.catch(() => undefined);
  pools.sever();
  const outcomes = Promise.allSettled(asked);
  expect(await timed(outcomes)).toBeLessThan(3_000);
  expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  for (const client of held) client.release(true);
});

test('a connection that breaks while it is looked at first harms nobody', async () => {
  // Bytes go through for as long as the password takes, and no further.
  let broken = 0;
  for (let round = 0; round < 20 || broken <= 10; round++) {
    const asked = withConnection(pools.pool, one).catch(() => undefined);
    await delay((round % 20) * 3);
    broken += proxy.sever();
    await asked;
  }
  expect(broken).toBeGreaterThan(10);
  await expect.poll(() => withConnection(pools.pool, one).then(() => 'served', String)).toBe('served');
});

test('what waits for a connection is bounded', async () => {
  const held = await Promise.all(Array.from({ length: 4 }, () => pools.pool.connect()));
  const waiting = Array.from({ length: 10_000 }, () => withConnection(pools.pool, async () => undefined));
  await expect(withConnection(pools.pool, one)).rejects.toMatchObject(unavailable);
  for (const client of held) client.release();
  await Promise.all(waiting);
});
