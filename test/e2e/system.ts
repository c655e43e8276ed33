// A whole system of a test: a database of its own, replicas of the control plane and drivers, each a process. When it is disposed the
// replicas stop in order, and what the database then holds must keep every promise of the ledger.
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, createClient } from '@conveyor/client';
import { createNodeClient } from '@conveyor/client/node';
import type { Retention, Timing } from '@conveyor/server';
import { Pool, type PoolClient, type QueryResultRow } from 'pg';
import { connectionOptions } from '../../packages/server/src/store/connection-options.ts';
import { checkLedger } from '../../packages/server/src/store/testing/check-ledger.ts';
import { createTestDatabase, type TestDatabase } from '../../packages/server/src/store/testing/database.ts';
import type { DriverSettings } from './driver-process.ts';
import { type Process, type ProcessOptions, startProcess } from './processes.ts';
import {
  openRawSession,
  openRawStream,
  type RawSession,
  type RawSessionOptions,
  type RawStream,
} from './raw-driver.ts';
import type { ServerAddresses, ServerSettings } from './server-process.ts';

/** Leases that do not run out by themselves in a test, with heartbeats that soon tell a replica that is gone. */
const steadyTiming: Timing = { leaseMs: 30_000, heartbeatMs: 1_000 };
/** Leases short enough to wait for their end, and long enough for a busy machine. */
export const shortTiming: Timing = { leaseMs: 5_000, heartbeatMs: 1_000 };

export interface Replica extends Process<ServerAddresses> {
  /** Calls it by native gRPC. */
  readonly client: Client;
  /** Calls it by Connect over HTTP. */
  readonly httpClient: Client;
}

export type DriverProcess = Process<object> & Pick<DriverSettings, 'instanceId'>;

export interface ReplicaOptions extends Partial<ServerSettings>, ProcessOptions {
  /** Another program than this checkout's server, which takes the same settings. */
  readonly program?: URL;
}

export interface DriverOptions extends Partial<DriverSettings>, ProcessOptions {
  readonly name: string;
  /** The replicas that it may connect to. Default: all that run. */
  readonly at?: readonly Replica[];
}

export interface RawOptions extends Pick<RawSessionOptions, 'hello' | 'silent'> {
  readonly at: Replica;
}

/** What a workload waits for until the test opens it. */
export interface Gate {
  readonly file: string;
  open(): Promise<void>;
}

export interface System extends AsyncDisposable {
  readonly database: TestDatabase['config'];
  readonly replicas: readonly Replica[];
  /** Starts one more replica. */
  startReplica(options?: ReplicaOptions): Promise<Replica>;
  /** Starts a driver and returns once it is connected. Default: 4 slots, a new instance, adopts nothing. */
  startDriver(options: DriverOptions): Promise<DriverProcess>;
  /** Opens the session of a raw driver: one slot, a new incarnation, and an instance of the driver's own name, unless Hello says otherwise. */
  openSession(options: RawOptions): Promise<RawSession>;
  /** Opens a stream of a raw driver, on which nothing was said. */
  openStream(at: Replica): Promise<RawStream>;
  newGate(): Gate;
  /** A token that all replicas know, once one has started. */
  token(role: 'operator' | 'driver'): Promise<string>;
  query<Row extends QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]>;
}

export interface SystemOptions {
  /** Default: 2. */
  readonly replicas?: number;
  /** Default: leases that do not run out by themselves. */
  readonly timing?: Timing;
  /** Default: 1 GiB. */
  readonly maxLogBytes?: number;
  /** Default: everything is kept. */
  readonly retention?: Retention;
  /** Default: a new database of the PostgreSQL that all tests share. */
  readonly openDatabase?: () => Promise<TestDatabase>;
  /** Reads what the database holds once every replica has stopped. Default: it must keep every promise of the ledger. */
  readonly verify?: (client: PoolClient) => Promise<unknown>;
}

export async function startSystem({
  replicas: count = 2,
  timing = steadyTiming,
  maxLogBytes,
  retention = {},
  openDatabase = createTestDatabase,
  verify = checkLedger,
}: SystemOptions = {}): Promise<System> {
  await using stack = new AsyncDisposableStack();
  const { config } = stack.use(await openDatabase());
  const directory = await mkdtemp(join(tmpdir(), 'conveyor-e2e-'));
  stack.defer(() => rm(directory, { recursive: true }));
  const pool = new Pool({ ...connectionOptions({ ...config, statementTimeoutMs: 60_000 }, 'test'), max: 1 });
  // A test may end the connection together with the database; the next query opens another one.
  pool.on('error', () => undefined);
  stack.defer(() => pool.end());
  stack.defer(async () => {
    const client = await pool.connect();
    await verify(client).finally(() => client.release());
  });
  const settings: ServerSettings = {
    databaseUrl: config.connection,
    schema: config.schema,
    dataDir: directory,
    timing,
    retention,
    ...(maxLogBytes !== undefined && { maxLogBytes }),
  };
  const replicas: Replica[] = [];
  stack.defer(async () => {
    await Promise.all(replicas.filter((replica) => replica.isRunning()).map((replica) => replica.stop()));
  });

  async function startReplica(options: ReplicaOptions = {}): Promise<Replica> {
    const { program = './server-process.ts', preload = [], env = {}, ...own } = options;
    const server = await startProcess<ServerAddresses>(program, { ...settings, ...own }, { preload, env });
    const { grpcAddress, httpAddress } = server.ready;
    const token = await readToken('operator');
    const replica = {
      ...server,
      client: createNodeClient({ address: grpcAddress, token }),
      httpClient: createClient({ address: `http://${httpAddress}`, token }),
    };
    replicas.push(replica);
    return replica;
  }

  const readToken = async (role: 'operator' | 'driver'): Promise<string> =>
    (await readFile(join(directory, `${role}.token`), 'utf8')).trim();

  await Promise.all(Array.from({ length: count }, () => startReplica()));
  // Stopped before the replicas: whatever the drivers of a test still hold stays unfinished.
  const guests = stack.use(new AsyncDisposableStack());
  const moved = stack.move();
  return {
    database: config,
    replicas,
    startReplica,
    async startDriver({ at, preload = [], env = {}, ...options }) {
      const running = at ?? replicas.filter((replica) => replica.isRunning());
      const driver: DriverSettings = {
        addresses: running.map(({ ready }) => ready.grpcAddress),
        token: await readToken('driver'),
        instanceId: `${options.name}-${randomBytes(4).toString('hex')}`,
        slots: 4,
        adopts: false,
        ...options,
      };
      const started = guests.use(await startProcess<object>('./driver-process.ts', driver, { preload, env }));
      return { ...started, instanceId: driver.instanceId };
    },
    async openSession({ at, hello, silent = false }) {
      const filled = { instanceId: hello.driver, ...hello };
      const token = await readToken('driver');
      return guests.use(await openRawSession({ address: at.ready.grpcAddress, token, hello: filled, silent }));
    },
    async openStream(at) {
      return guests.use(openRawStream({ address: at.ready.grpcAddress, token: await readToken('driver') }));
    },
    newGate() {
      const file = join(directory, `gate-${randomBytes(4).toString('hex')}`);
      return { file, open: () => writeFile(file, '') };
    },
    token: readToken,
    async query<Row extends QueryResultRow>(sql: string, values: unknown[] = []) {
      return (await pool.query<Row>(sql, values)).rows;
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}
