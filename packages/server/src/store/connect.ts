// Owns the connections of one process to PostgreSQL: a general pool, and lanes of one connection each for the hot path.
import { Client, Pool } from 'pg';
import { connectionOptions, type DatabaseConfig } from './connection-options.ts';
import { close, type ConnectionLog, discardWhenUnanswered, type Lane, type LaneOptions, openLane } from './lane.ts';
import { DatabaseStartError } from './start-error.ts';

/** All connections of one process. Disposing closes them; work in flight on a lane fails, on the pool it is awaited. */
export interface Pools extends AsyncDisposable {
  /** For everything but the hot path. */
  readonly pool: Pool;
  /** Opens a connection of its own, shown to the server as `conveyor <name>`; it lives until disposed, or the pools are. */
  openLane(name: string, options?: LaneOptions): Lane;
}

/**
 * Connects to the database and prepares its pool.
 * Throws DatabaseStartError: DATABASE_UNREACHABLE or SCHEMA_NAME_INVALID.
 */
export async function createPools(config: DatabaseConfig, log?: ConnectionLog): Promise<Pools> {
  await assertReachable(config);
  const pool = new Pool({ ...connectionOptions(config, 'pool'), max: config.poolSize ?? 10 });
  pool.on('connect', (client: Client) => discardWhenUnanswered(client, () => void close(client)));
  // The pool has already dropped the connection; the error would bring the whole client into the log.
  pool.on('error', (error) => log?.warn({ reason: error.message }, 'idle database connection lost'));
  const lanes: Lane[] = [];
  return {
    pool,
    openLane(name, options) {
      // A lane sends what does not depend on an answer without waiting for it.
      const lane = openLane({ ...connectionOptions(config, name), pipeline: true }, options, log);
      lanes.push(lane);
      return lane;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(lanes.map((lane) => lane[Symbol.asyncDispose]()));
      if (!pool.ended) await pool.end();
    },
  };
}

async function assertReachable(config: DatabaseConfig): Promise<void> {
  const client = new Client(connectionOptions(config, 'start'));
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (cause) {
    const { code, message } = cause as { code?: string; message: string };
    throw new DatabaseStartError(
      'DATABASE_UNREACHABLE',
      `cannot connect to PostgreSQL at ${client.host}:${client.port}, database ${client.database}, user ${client.user}: ` +
        `${message || code}. Check that the server runs and is reachable from here, and that host, port, database, ` +
        'user and password are right',
      { cause },
    );
  } finally {
    await close(client);
  }
}
