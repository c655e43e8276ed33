// Owns an embedded PostgreSQL from lock to unlock. One process owns a data directory; only the owner stops its server,
// and a server whose owner was killed serves the next one.
import { mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { DatabaseStartError } from '../start-error.ts';
import { type Cluster, openCluster, superuser } from './cluster.ts';
import { lockDataDirectory } from './data-directory-lock.ts';
import { launch, type Postmaster, stop } from './postmaster.ts';
import { isRunning } from './process-identity.ts';
import { openServerLog, type ServerLog } from './server-log.ts';
import { aliasSocket } from './socket-alias.ts';

const connectPollMs = 15;
// A server that is stopped by a signal, or hangs, takes connections and never answers.
const connectTimeoutMs = 5_000;
const superviseMs = 1000;
// A server that does not start, mostly for want of room, is tried again in time for who waits for it.
const maxRestartDelayMs = 5_000;
// A server that is being killed may still be found, and then its sessions need a moment to notice; until they have, a new
// one refuses to start.
const startAttempts = 40;
const startRetryMs = 250;

/** Where the embedded server listens; understood by `pg` as it is. */
export interface EmbeddedConnection {
  /** The directory of a unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** A running embedded PostgreSQL. Disposing stops the server and gives the data directory free. */
export interface EmbeddedPostgres extends AsyncDisposable {
  readonly connection: EmbeddedConnection;
}

/** What the launcher tells; a pino logger fits. */
export interface EmbeddedLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface EmbeddedPostgresOptions {
  /** Made with mode 0700 if it does not exist. The database lies in its folder `postgres`. */
  readonly dataDir: string;
  readonly log?: EmbeddedLog;
}

/**
 * Starts the PostgreSQL of a data directory and returns once it accepts connections, making the database on first use.
 * A server that ends by itself is started again; its clients have to connect again.
 * Throws DatabaseStartError: PLATFORM_NOT_SUPPORTED, DATA_DIRECTORY_IN_USE, DATA_DIRECTORY_DAMAGED,
 * DATA_DIRECTORY_OTHER_VERSION or POSTGRES_DID_NOT_START.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  await mkdir(options.dataDir, { recursive: true, mode: 0o700 });
  const dataDir = await realpath(options.dataDir);
  const lock = await lockDataDirectory(join(dataDir, 'postgres.lock'));
  try {
    return await startLocked(dataDir, lock, options.log);
  } catch (error) {
    await lock[Symbol.asyncDispose]();
    throw error;
  }
}

async function startLocked(dataDir: string, lock: AsyncDisposable, log?: EmbeddedLog): Promise<EmbeddedPostgres> {
  const startedAt = performance.now();
  const cluster = await openCluster(dataDir);
  const serverLog = openServerLog(cluster.home);
  await serverLog.bound();
  const alias = await aliasSocket(cluster.directory);
  const connection: EmbeddedConnection = {
    host: alias.directory,
    port: 5432,
    user: superuser,
    password: cluster.password,
    database: 'postgres',
  };
  try {
    const server = await launchUntilReady(cluster, serverLog, connection);
    const tookMs = Math.round(performance.now() - startedAt);
    log?.info({ pid: server.process.pid, adopted: server.adopted, tookMs }, 'embedded database is ready');
    const stopped = new AbortController();
    const supervised = supervise(stopped.signal, server, cluster, serverLog, connection, log);
    return {
      connection,
      async [Symbol.asyncDispose]() {
        if (stopped.signal.aborted) return;
        stopped.abort();
        await stop((await supervised).process);
        await alias[Symbol.asyncDispose]();
        await lock[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await alias[Symbol.asyncDispose]();
    throw error;
  }
}

// Returns the server that runs, or starts, when the owner stops.
async function supervise(
  signal: AbortSignal,
  first: Postmaster,
  cluster: Cluster,
  serverLog: ServerLog,
  connection: EmbeddedConnection,
  log?: EmbeddedLog,
): Promise<Postmaster> {
  let server = first;
  let delayMs = superviseMs;
  for (;;) {
    await delay(delayMs, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return server;
    delayMs = superviseMs;
    try {
      await serverLog.bound();
      if (await isRunning(server.process)) continue;
      log?.warn({ pid: server.process.pid }, 'embedded database ended by itself, starting it again');
      server = await launchUntilReady(cluster, serverLog, connection, signal);
      if (signal.aborted) return server;
      log?.info({ pid: server.process.pid }, 'embedded database is ready again');
    } catch (error) {
      delayMs = maxRestartDelayMs;
      log?.warn({ err: error }, 'embedded database could not be checked');
    }
  }
}

async function launchUntilReady(
  cluster: Cluster,
  serverLog: ServerLog,
  connection: EmbeddedConnection,
  signal?: AbortSignal,
): Promise<Postmaster> {
  for (let attempt = 1; ; attempt++) {
    const server = await launch(cluster, serverLog.path);
    if ((await acceptsConnections(server, connection, signal)) || signal?.aborted === true) return server;
    const said = await serverLog.tail();
    const passes = server.adopted || said.includes('pre-existing shared memory block');
    if (attempt === startAttempts || !passes) {
      throw new DatabaseStartError(
        'POSTGRES_DID_NOT_START',
        `the embedded PostgreSQL ended while it started. The end of its log, ${serverLog.path}:\n${said}`,
      );
    }
    await delay(startRetryMs);
  }
}

// False if the server ends before, or the signal aborts. Recovery after a crash may take minutes, so nothing else bounds the wait.
async function acceptsConnections(
  server: Postmaster,
  connection: EmbeddedConnection,
  signal?: AbortSignal,
): Promise<boolean> {
  while (signal?.aborted !== true) {
    const client = new Client({ ...connection, connectionTimeoutMillis: connectTimeoutMs });
    // A connection that breaks after it was made has nothing to tell here.
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.end();
      return true;
    } catch (error) {
      if (!isNotReadyYet(error)) {
        await stop(server.process);
        throw new DatabaseStartError(
          'POSTGRES_DID_NOT_START',
          `the embedded PostgreSQL refuses its owner: ${String(error)}`,
        );
      }
    }
    if (!(await isRunning(server.process))) return false;
    await delay(connectPollMs);
  }
  return false;
}

function isNotReadyYet(error: unknown): boolean {
  const { code } = error as { code?: string };
  // No socket yet, nobody listens yet, closed while starting; 57P03: "the database system is starting up";
  // 53300: sessions of the earlier owner still fill an adopted server.
  return code === undefined || ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', '57P03', '53300'].includes(code);
}
