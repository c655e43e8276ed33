// Owns the connections of one process to PostgreSQL: a general pool, and lanes of one connection each for the hot path. A
// connection that is not answered tells of the others, which most likely lead to the same nowhere.
import { Client, Pool, type PoolClient } from 'pg';
import { connectionOptions, type DatabaseConfig } from './connection-options.ts';
import { assertWritable, close, cutOff, type QueryWatch, watchQueries } from './connection.ts';
import { type ConnectionLog, type Lane, type LaneOptions, openLane } from './lane.ts';
import { isSilence } from './outage.ts';
import { DatabaseStartError } from './start-error.ts';

/** What is on the hot path takes milliseconds, and whoever waits there for a silent server waits for all. */
const LANE_STATEMENT_MS = 4_000;

export interface PoolLaneOptions extends Pick<LaneOptions, 'prepare'> {
  /** How long one of its statements may take. Default: as the configuration says, else 4 s. */
  readonly statementTimeoutMs?: number;
}

/** All connections of one process. Disposing closes them; work in flight on a lane fails, on the pool it is awaited. */
export interface Pools extends AsyncDisposable {
  /** For everything but the hot path. */
  readonly pool: Pool;
  /** Opens a connection of its own, shown to the server as `conveyor <name>`; it lives until disposed, or the pools are. */
  openLane(name: string, options?: PoolLaneOptions): Lane;
  /** Cuts every connection and makes no new one: whatever waits for the database fails now. */
  sever(): void;
}

/**
 * Connects to the database and prepares its pool.
 * Throws DatabaseStartError: DATABASE_UNREACHABLE or SCHEMA_NAME_INVALID.
 */
export async function createPools(config: DatabaseConfig, log?: ConnectionLog): Promise<Pools> {
  await assertReachable(config);
  const connected = new Map<Client, QueryWatch>();
  const idle = new Set<Client>();
  const lanes: Lane[] = [];

  function doubtAll(): void {
    for (const [client, queries] of connected) {
      if (idle.has(client)) cutOff(client);
      else queries.doubt();
    }
    for (const lane of lanes) lane.doubt();
  }

  const pool = new Pool({
    ...connectionOptions(config, 'pool'),
    max: config.poolSize ?? 10,
    verify(client, done) {
      assertWritable(client).then(() => done(), done);
    },
  });
  pool.on('connect', (client: PoolClient) => {
    const queries = watchQueries(client, (error) => {
      void close(client);
      if (isSilence(error)) doubtAll();
    });
    connected.set(client, queries);
    // The pool listens to idle connections only, and one that breaks unheard ends the process. Its next query fails anyway.
    client.on('error', () => undefined);
    client.once('end', () => {
      connected.delete(client);
      idle.delete(client);
    });
  });
  pool.on('acquire', (client) => idle.delete(client));
  pool.on('release', (_, client) => idle.add(client));
  // The pool has already dropped the connection; the error would bring the whole client into the log.
  pool.on('error', (error) => log?.warn({ reason: error.message }, 'idle database connection lost'));

  let ended: Promise<void> | undefined;

  async function endPool(): Promise<void> {
    await pool.end();
    await Promise.all([...connected.keys()].map(close));
  }

  return {
    pool,
    openLane(name, { statementTimeoutMs = config.statementTimeoutMs ?? LANE_STATEMENT_MS, ...options } = {}) {
      const own = { ...config, statementTimeoutMs };
      // A lane sends what does not depend on an answer without waiting for it.
      const lane = openLane(
        { ...connectionOptions(own, name), pipeline: true },
        { ...options, onSilence: doubtAll },
        log,
      );
      lanes.push(lane);
      return lane;
    },
    sever() {
      for (const lane of lanes) void lane[Symbol.asyncDispose]();
      ended ??= endPool();
      for (const client of connected.keys()) cutOff(client);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...lanes.map((lane) => lane[Symbol.asyncDispose]()), (ended ??= endPool())]);
    },
  };
}

async function assertReachable(config: DatabaseConfig): Promise<void> {
  const client = new Client(connectionOptions(config, 'start'));
  client.on('error', () => undefined);
  try {
    await client.connect();
    await assertWritable(client);
  } catch (cause) {
    const { code, message } = cause as { code?: string; message: string };
    throw new DatabaseStartError(
      'DATABASE_UNREACHABLE',
      `cannot connect to PostgreSQL at ${client.host}:${client.port}, database ${client.database}, user ${client.user}: ` +
        `${message || code}. Check that the server runs and is reachable from here, that host, port, database, user and ` +
        'password are right, and that it is the primary',
      { cause },
    );
  } finally {
    await close(client);
  }
}
