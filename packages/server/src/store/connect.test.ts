import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createPools, type Pools } from './connect.ts';
import type { ConnectionParts, DatabaseConfig } from './connection-options.ts';
import { createTestDatabase, type TestDatabase } from './testing/database.ts';
import { type PostgresProxy, startPostgresProxy } from './testing/postgres-proxy.ts';

let database: TestDatabase;
let proxy: PostgresProxy;
let pools: Pools;

beforeAll(async () => {
  database = await createTestDatabase();
  proxy = await startPostgresProxy(database.config.connection);
  pools = await createPools(database.config);
});
afterAll(async () => {
  await pools[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function refusalOf(connection: DatabaseConfig['connection'], schema = 'conveyor'): Promise<unknown> {
  return await createPools({ connection, schema }).then(
    () => 'connected',
    (error: unknown) => error,
  );
}

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe('a database that cannot be reached is refused with what to do, and without the password:', () => {
  const reason = 'DATABASE_UNREACHABLE';

  test('nobody listens', async () => {
    const port = await closedPort();
    const refusal = await refusalOf(`postgres://ci:s3cret@127.0.0.1:${port}/builds`);
    expect(refusal).toMatchObject({
      reason,
      message: expect.stringMatching(
        new RegExp(
          `PostgreSQL at 127.0.0.1:${port}, database builds, user ci: .*ECONNREFUSED.*Check that the server runs`,
        ),
      ),
    });
    expect(String(refusal)).not.toContain('s3cret');
  });

  test('the socket is not there', async () => {
    const parts: ConnectionParts = { host: '/nowhere', port: 5432, user: 'ci', password: 's3cret', database: 'builds' };
    expect(await refusalOf(parts)).toMatchObject({ reason, message: expect.stringContaining('/nowhere:5432') });
  });

  test('the password is wrong', async () => {
    const refusal = await refusalOf({ ...proxy.connection, password: 's3cret' });
    expect(refusal).toMatchObject({ reason, message: expect.stringContaining('password authentication failed') });
    expect(String(refusal)).not.toContain('s3cret');
  });

  test('the database does not exist', async () => {
    const refusal = await refusalOf({ ...proxy.connection, database: 'missing' });
    expect(refusal).toMatchObject({ reason, message: expect.stringContaining('database "missing" does not exist') });
  });

  test.each(['mysql://root:s3cret@localhost/x', 'not a url with s3cret', ''])('the URL is %j', async (url) => {
    const refusal = await refusalOf(url);
    expect(refusal).toMatchObject({ reason, message: expect.stringContaining('postgres://user:password@host') });
    expect(String(refusal)).not.toContain('s3cret');
  });
});

test('a schema name that needs quotes is refused before anything is sent', async () => {
  expect(await refusalOf(proxy.connection, 'x; drop')).toMatchObject({ reason: 'SCHEMA_NAME_INVALID' });
});

describe('every connection', () => {
  const settings = `SELECT current_setting('search_path') AS schema, current_setting('statement_timeout') AS statement,
    current_setting('lock_timeout') AS lock, current_setting('idle_in_transaction_session_timeout') AS idle,
    current_setting('application_name') AS name`;

  test('says what it is for, sees its schema alone, and is bounded', async () => {
    const { rows } = await pools.pool.query(settings);
    const lane = pools.openLane('lane');
    const bounds = { schema: 'conveyor', statement: '6s', lock: '3s', idle: '5s' };
    expect(rows).toEqual([{ ...bounds, name: 'conveyor pool' }]);
    const onLane = await lane.use(async (client) => (await client.query(settings)).rows);
    expect(onLane).toEqual([{ ...bounds, statement: '4s', name: 'conveyor lane' }]);
  });

  test('keeps to it whatever a URL says, and leaves the rest of the URL alone', async () => {
    const url = new URL(database.config.connection);
    url.searchParams.set('options', '-c search_path=public -c work_mem=5MB');
    const own = await createPools({
      connection: url.href,
      schema: 'conveyor',
      lockTimeoutMs: 70,
      statementTimeoutMs: 900,
    });
    const { rows } = await own.pool.query(`${settings}, current_setting('work_mem') AS memory`);
    await own[Symbol.asyncDispose]();
    expect(rows).toMatchObject([{ schema: 'conveyor', statement: '900ms', lock: '70ms', memory: '5MB' }]);
  });

  test('reads int8 as a number, and refuses one that a number cannot hold', async () => {
    const { rows } = await pools.pool.query('SELECT 9007199254740991::int8 AS one, ARRAY[1, 2]::int8[] AS many');
    expect(rows).toEqual([{ one: 9007199254740991, many: [1, 2] }]);
    await expect(pools.pool.query('SELECT 9007199254740993::int8')).rejects.toThrow('cannot be held by a number');
  });
});

test('idle connections that break are replaced, and told', async () => {
  const warn = vi.fn<(fields: object, message: string) => void>();
  const own = await createPools({ connection: proxy.connection, schema: 'conveyor' }, { warn });
  await own.pool.query('SELECT 1');
  await proxy.cut();
  const lost = 'idle database connection lost';
  await vi.waitFor(() => expect(warn).toHaveBeenCalledWith(expect.anything(), lost), { timeout: 10_000 });
  await proxy.open();
  expect((await own.pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  await own[Symbol.asyncDispose]();
});

test('a connection that did not answer in time is not lent again', async () => {
  const own = await createPools({ connection: proxy.connection, schema: 'conveyor', poolSize: 1 });
  const borrow = async (): Promise<number | undefined> =>
    (await own.pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid;
  const pid = await borrow();
  const client = await own.pool.connect();
  proxy.freeze();
  const late = { text: "SELECT 'late'", query_timeout: 100 } as { text: string };
  await expect(client.query(late)).rejects.toThrow('Query read timeout');
  client.release();
  proxy.thaw();
  const next = await borrow();
  await own[Symbol.asyncDispose]();
  expect(next).not.toBe(pid);
});

test('disposing closes every connection, lanes included, and may be repeated', async () => {
  const own = await createPools(database.config);
  const lane = own.openLane('short');
  await lane.use((client) => client.query('SELECT 1'));
  await own.pool.query('SELECT 1');
  await own[Symbol.asyncDispose]();
  await own[Symbol.asyncDispose]();
  await expect(lane.use((client) => client.query('SELECT 1'))).rejects.toThrow('the lane is closed');
  await vi.waitFor(
    async () => {
      const { rows } = await pools.pool.query("SELECT FROM pg_stat_activity WHERE application_name = 'conveyor short'");
      expect(rows).toEqual([]);
    },
    { timeout: 10_000 },
  );
});
