// The control plane inside another program: one with its own HTTP server, its own users and its own tables in the same database.
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@connectrpc/connect';
import { LogState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { FinishOutcome } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { RunState } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import { RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { type Conveyor, type ConveyorOptions, DoorError, startConveyor } from '@conveyor/server';
import { pino } from 'pino';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { HELLO, openDriver } from '../src/api/testing/test-driver.ts';
import { createTestDatabase, type TestDatabase } from '../src/store/testing/database.ts';

const schema = 'other';
const logger = pino({ level: 'silent' });
const signals = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGUSR2',
  'exit',
  'beforeExit',
  'uncaughtException',
  'unhandledRejection',
];

let database: TestDatabase;
let sql: Client;
let before: { readonly tables: unknown; readonly listeners: readonly number[]; readonly handles: readonly string[] };
let conveyor: Conveyor;
let server: Server;
let url: string;

beforeAll(async () => {
  database = await createTestDatabase();
  sql = new Client({ connectionString: database.config.connection, application_name: 'the platform' });
  await sql.connect();
});
afterAll(async () => {
  await sql.end();
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  before = { tables: await outsideOf(schema), listeners: listenerCounts(), handles: openHandles() };
  conveyor = await startConveyor(options());
  server = createServer(platform).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  await conveyor[Symbol.asyncDispose]();
  await closePlatform();
});

async function closePlatform(): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

function options(): ConveyorOptions {
  return {
    database: { url: database.config.connection },
    schema,
    grpc: { address: '127.0.0.1:0' },
    http: false,
    // The platform knows its users by a cookie, and its builders by a key.
    async authenticate(headers) {
      const user = /user=(\w+)/.exec(headers.get('cookie') ?? '')?.[1];
      if (user !== undefined) return { role: 'operator', id: user };
      return headers.get('authorization') === 'Bearer builder-key' ? { role: 'driver', id: 'builders' } : undefined;
    },
    resolveSecrets: async ({ names }) => Object.fromEntries(names.map((name) => [name, `value of ${name}`])),
    logger,
  };
}

/** The platform's own server: a page of its own, and everything else is the control plane's. */
function platform(
  request: IncomingMessage,
  response: Parameters<Conveyor['httpHandler']>[1] & { end(text: string): void },
) {
  if (request.url === '/own') response.end('the platform');
  else conveyor.httpHandler(request, response);
}

/** What the database holds outside of a schema, beside what PostgreSQL keeps for itself about its tables. */
async function outsideOf(inside: string): Promise<unknown> {
  const { rows } = await sql.query(
    `select 'relation' as kind, nspname || '.' || relname as name from pg_class c join pg_namespace n on n.oid = relnamespace
       where nspname <> $1 and nspname !~ '^pg_(toast|temp)'
     union all select 'type', nspname || '.' || typname from pg_type join pg_namespace n on n.oid = typnamespace
       where nspname <> $1 and nspname !~ '^pg_(toast|temp)'
     union all select 'function', nspname || '.' || proname from pg_proc join pg_namespace n on n.oid = pronamespace where nspname <> $1
     union all select 'schema', nspname from pg_namespace where nspname <> $1 and nspname !~ '^pg_(toast|temp)'
     union all select 'extension', extname from pg_extension
     union all select 'role', rolname from pg_roles
     order by 1, 2`,
    [inside],
  );
  return rows;
}

function listenerCounts(): number[] {
  return signals.map((name) => process.listenerCount(name));
}

/** What is left of a list when each item of another one has taken one away. */
function without(list: readonly string[], taken: readonly string[]): string[] {
  const left = [...list];
  for (const item of taken) {
    const index = left.indexOf(item);
    if (index >= 0) left.splice(index, 1);
  }
  return left;
}

/** What keeps this process alive, but for its timers, which come and go. */
function openHandles(): string[] {
  return process
    .getActiveResourcesInfo()
    .filter((kind) => kind !== 'Timeout' && kind !== 'Immediate')
    .toSorted();
}

async function post(method: string, body: object, headers: Record<string, string> = {}) {
  const answer = await fetch(`${url}/conveyor.v1.${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

const definition = { jobs: [{ name: 'build', driver: 'nobody' }] };

test("the control plane answers on the program's own server, to the program's own users", async () => {
  expect(await (await fetch(`${url}/own`)).text()).toBe('the platform');
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  const request = { run: { definition } };
  expect(await post('RunService/CreateRun', request)).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
  expect(await post('RunService/CreateRun', request, { authorization: 'Bearer builder-key' })).toMatchObject({
    status: 403,
    body: { code: 'permission_denied' },
  });
  const created = await post('RunService/CreateRun', request, { cookie: 'user=ada' });
  expect(created).toMatchObject({ status: 200, body: { run: { state: 'RUN_STATE_PENDING' } } });
});

test('the program calls it without a network, and runs go through drivers that the program admits', async () => {
  const runs = createClient(RunService, conveyor.transport);
  const jobs = createClient(JobService, conveyor.transport);
  const value = { jobs: [{ name: 'build', driver: 'builder', secrets: ['KEY'] }] };
  const { run } = await runs.createRun({ run: { source: { case: 'definition', value } } });
  const driver = openDriver(conveyor.grpcAddress!, 'builder-key');
  const heard = async (kind: string) => {
    const find = () => driver.heard.find((frame) => frame.case === kind)?.value;
    await expect.poll(find).toBeDefined();
    return find() as { attemptId: string; fence: number; secrets?: Record<string, string> };
  };
  driver.say({ case: 'hello', value: { ...HELLO, driver: 'builder' } });
  const { attemptId, fence } = await heard('offer');
  driver.say({ case: 'accept', value: { attemptId, fence } });
  expect((await heard('start')).secrets).toEqual({ KEY: 'value of KEY' });
  driver.say({ case: 'finish', value: { attemptId, fence, outcome: FinishOutcome.SUCCEEDED } });
  expect(await heard('finishAck')).toMatchObject({ attemptId, logState: LogState.SEALED });
  driver.say({ case: 'goodbye', value: {} });
  expect((await driver.ended).code).toBe(0);
  driver.close();

  let last: RunState | undefined;
  for await (const { events } of runs.watchRun({ runId: run!.runId })) last = events.at(-1)?.runState ?? last;
  expect(last).toBe(RunState.SUCCEEDED);
  const { jobs: listed } = await jobs.listJobs({ runId: run!.runId });
  expect(listed).toMatchObject([{ name: 'build', attempt: 1 }]);
});

test('a driver that the program does not know opens no session', async () => {
  const driver = openDriver(conveyor.grpcAddress!, 'another-key');
  expect(await driver.ended).toMatchObject({ code: 16, reason: 'TOKEN_INVALID' });
  driver.close();
});

test('it adds nothing to the database outside of its schema, and writes no row there', async () => {
  await post('RunService/CreateRun', { run: { definition } }, { cookie: 'user=ada' });
  expect(await outsideOf(schema)).toEqual(before.tables);
  const { rows: neighbours } = await sql.query('select count(*)::int as runs from conveyor.runs');
  expect(neighbours).toEqual([{ runs: 0 }]);
  const { rows: own } = await sql.query(`select count(*)::int as runs from ${schema}.runs`);
  expect(own[0].runs).toBeGreaterThan(0);
});

test('it handles no signals, and once disposed it leaves nothing behind', async () => {
  expect(listenerCounts()).toEqual(before.listeners);
  await post('RunService/CreateRun', { run: { definition } }, { cookie: 'user=ada' });
  await conveyor[Symbol.asyncDispose]();
  await closePlatform();
  const connections = async () => {
    const { rows } = await sql.query(
      `select application_name from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    );
    return rows;
  };
  await expect.poll(connections).toEqual([]);
  // The other end of a connection of the test before may have gone meanwhile.
  await expect.poll(() => without(openHandles(), before.handles)).toEqual([]);
  expect(listenerCounts()).toEqual(before.listeners);
});

test('two of them in one process, each in its schema, know nothing of each other', async () => {
  const second = await startConveyor({ ...options(), schema: 'another', grpc: false });
  try {
    const [mine, theirs] = [conveyor, second].map(({ transport }) => createClient(RunService, transport));
    const { run } = await mine!.createRun({ run: { source: { case: 'definition', value: definition } } });
    await expect(theirs!.getRun({ runId: run!.runId })).rejects.toThrow(/does not exist/);
    expect(await mine!.getRun({ runId: run!.runId })).toMatchObject({ run: { runId: run!.runId } });
    expect(second.grpcAddress).toBeUndefined();
  } finally {
    await second[Symbol.asyncDispose]();
  }
});

test.each([0, 1.5, Number.NaN])('it refuses a largest log of %d bytes', async (maxLogBytes) => {
  await expect(startConveyor({ ...options(), maxLogBytes })).rejects.toThrow(`maxLogBytes is ${maxLogBytes}: give a`);
});

test('it makes no database when its doors could not be opened', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'conveyor-doors-'));
  const dataDir = join(parent, 'data');
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  try {
    const doors = [{ grpc: { address: '0.0.0.0:0' } }, { http: { address: `127.0.0.1:${port}` } }];
    for (const door of doors) {
      const starting = startConveyor({ database: { dataDir }, grpc: false, http: false, ...door });
      await expect(starting).rejects.toBeInstanceOf(DoorError);
    }
    expect(await readdir(parent)).toEqual([]);
  } finally {
    other.close();
    await rm(parent, { recursive: true });
  }
});
