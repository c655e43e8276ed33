import type { ClientBase } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { connectionOptions } from './connection-options.ts';
import { type Lane, type LaneOptions, openLane } from './lane.ts';
import { createTestDatabase, type TestDatabase } from './testing/database.ts';
import { type PostgresProxy, startPostgresProxy } from './testing/postgres-proxy.ts';

let database: TestDatabase;
let proxy: PostgresProxy;
let lanes: Lane[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  proxy = await startPostgresProxy(database.config.connection);
});
afterEach(async () => {
  for (const lane of lanes) await lane[Symbol.asyncDispose]();
  lanes = [];
  await proxy[Symbol.asyncDispose]();
});

const failed = vi.fn<(fields: object, message: string) => void>();

function open(options: LaneOptions & { readonly queryTimeoutMs?: number } = {}): Lane {
  const config = connectionOptions({ ...database.config, connection: proxy.connection }, 'test');
  const pipelined = { ...config, pipeline: true, query_timeout: options.queryTimeoutMs ?? 10_000 };
  const lane = openLane(pipelined, options, { warn: failed });
  lanes.push(lane);
  return lane;
}

/** Resolves once a lane has tried in vain to connect from now on. */
async function connectionFailed(): Promise<void> {
  failed.mockClear();
  await eventually(() => expect(failed).toHaveBeenCalled());
}

async function eventually<T>(check: () => T): Promise<Awaited<T>> {
  return (await vi.waitFor(check, { timeout: 10_000 })) as Awaited<T>;
}

async function pidOf(client: ClientBase): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  return rows[0]!.pid;
}

/** Ends the session of a lane from another one, and waits until it has ended. */
async function terminate(pid: number): Promise<void> {
  await open().use((client) => client.query('SELECT pg_terminate_backend($1, 10000)', [pid]));
}

test('a lane is one connection', async () => {
  const lane = open();
  expect(await lane.use(pidOf)).toBe(await lane.use(pidOf));
});

test('a lane whose session was ended connects again', async () => {
  const lane = open();
  const pid = await lane.use(pidOf);
  await terminate(pid);
  await eventually(async () => expect(await lane.use(pidOf)).not.toBe(pid));
});

test('work under which the connection breaks fails and is not repeated', async () => {
  const lane = open();
  let times = 0;
  const work = lane.use(async (client) => {
    times++;
    await terminate(await pidOf(client));
    await client.query('SELECT 1');
  });
  await expect(work).rejects.toThrow(/terminat|not queryable/);
  expect(await lane.use(async (client) => (await client.query<{ one: number }>('SELECT 1 AS one')).rows)).toEqual([
    { one: 1 },
  ]);
  expect(times).toBe(1);
});

test('work waits while the database is away', async () => {
  await proxy.cut();
  const lane = open();
  const waiting = lane.use(pidOf);
  await connectionFailed();
  await proxy.open();
  expect(await waiting).toBeGreaterThan(0);
});

test('work waits through an outage that comes later', async () => {
  const lane = open();
  await lane.use(pidOf);
  await proxy.cut();
  await connectionFailed();
  const waiting = lane.use(pidOf);
  await connectionFailed();
  await proxy.open();
  expect(await waiting).toBeGreaterThan(0);
});

test('a wait ends with the signal, and leaves the lane to others', async () => {
  await proxy.cut();
  const lane = open();
  const reason = new Error('enough');
  const abort = new AbortController();
  const waiting = lane.use(pidOf, abort.signal);
  abort.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  await expect(lane.use(pidOf, abort.signal)).rejects.toBe(reason);
  await proxy.open();
  expect(await lane.use(pidOf)).toBeGreaterThan(0);
});

test('a closed lane refuses work, also work that waits', async () => {
  await proxy.cut();
  const lane = open();
  const waiting = expect(lane.use(pidOf)).rejects.toThrow('the lane is closed');
  await lane[Symbol.asyncDispose]();
  await waiting;
  await expect(lane.use(pidOf)).rejects.toThrow('the lane is closed');
});

test('an error of a statement leaves the connection in use, and no transaction open', async () => {
  const lane = open();
  const pid = await lane.use(pidOf);
  const failing = lane.use(async (client) => {
    await client.query('BEGIN');
    await client.query('SELECT 1 / 0');
  });
  await expect(failing).rejects.toThrow('division by zero');
  const status = await lane.use(async (client) => [await pidOf(client), client.getTransactionStatus()]);
  expect(status).toEqual([pid, 'I']);
});

test('work that fails by itself leaves the connection in use, and no transaction open, whatever it has under way', async () => {
  const lane = open();
  const pid = await lane.use(pidOf);
  const failing = lane.use(async (client) => {
    client.query('BEGIN').catch(() => undefined);
    throw new Error('a fault of the work');
  });
  await expect(failing).rejects.toThrow('a fault of the work');
  const status = await lane.use(async (client) => [await pidOf(client), client.getTransactionStatus()]);
  expect(status).toEqual([pid, 'I']);
});

test('a connection that did not answer in time is never used again', async () => {
  const lane = open({ queryTimeoutMs: 200 });
  const pid = await lane.use(pidOf);
  proxy.freeze();
  await expect(lane.use((client) => client.query("SELECT 'too late'"))).rejects.toThrow('Query read timeout');
  proxy.thaw();
  expect(await lane.use(pidOf)).not.toBe(pid);
});

test('each new connection is prepared before it is used', async () => {
  const prepared: number[] = [];
  const lane = open({
    async prepare(client) {
      prepared.push(await pidOf(client));
    },
  });
  const first = await lane.use(pidOf);
  await terminate(first);
  const next = await eventually(async () => {
    const pid = await lane.use(pidOf);
    expect(pid).not.toBe(first);
    return pid;
  });
  expect(prepared).toEqual([first, next]);
});

test('a connection that cannot be prepared is tried again', async () => {
  let failures = 0;
  const lane = open({
    async prepare(client) {
      if (failures++ < 2) await client.query('SELECT 1 / 0');
    },
  });
  expect(await lane.use(pidOf)).toBeGreaterThan(0);
});
