// Owns a pair of PostgreSQL servers: a primary, and a standby that streams from it and confirms each commit before it is acknowledged.
// When the primary is gone the standby can take its place.
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type EmbeddedConnection,
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../packages/server/src/store/embedded/embedded-postgres.ts';
import { asAdministrator } from '../../packages/server/src/store/testing/database.ts';
import { type Proxy, startProxy, type Target } from '../../packages/server/src/store/testing/proxy.ts';

export interface PrimaryAndStandby extends AsyncDisposable {
  /** Where both are found; each is the database that it says only as long as its server lives. */
  readonly primary: EmbeddedConnection;
  readonly standby: EmbeddedConnection;
  /** Kills the primary for good. */
  killPrimary(): Promise<void>;
  /** Makes the standby a primary. */
  promote(): Promise<void>;
}

/** Starts both in a directory. */
export async function startPrimaryAndStandby(directory: string): Promise<PrimaryAndStandby> {
  await using stack = new AsyncDisposableStack();
  const primaryDir = join(directory, 'primary');
  const standbyDir = join(directory, 'standby');
  const primary = stack.use(await startEmbeddedPostgres({ dataDir: primaryDir }));
  const url = urlOf(primary.connection);
  // A standby runs as another user, who may not enter the directory of the primary's socket.
  const way = stack.use(await startProxy(socketOf(primary.connection)));
  await copy(primaryDir, standbyDir, url, primary.connection, way);
  const standby = stack.use(await startEmbeddedPostgres({ dataDir: standbyDir }));
  await asAdministrator(url, async (client) => {
    await client.query(`alter system set synchronous_standby_names = '*'`);
    await client.query('select pg_reload_conf()');
    for (;;) {
      const { rows } = await client.query<{ sync_state: string }>('select sync_state from pg_stat_replication');
      if (rows[0]?.sync_state === 'sync') break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  const moved = stack.move();
  return {
    primary: primary.connection,
    standby: standby.connection,
    async killPrimary() {
      const pid = await postmasterPid(primaryDir);
      // Its owner would start it again.
      const disposed = killThenDispose(pid, primary);
      await way.cut();
      await disposed;
    },
    async promote() {
      await asAdministrator(urlOf(standby.connection), (client) => client.query('select pg_promote()'));
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

async function killThenDispose(pid: number, postgres: EmbeddedPostgres): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await postgres[Symbol.asyncDispose]();
}

/** Copies a running cluster as a base backup does, and has the copy stream from it. */
async function copy(
  from: string,
  to: string,
  url: string,
  { user, password }: EmbeddedConnection,
  way: Proxy,
): Promise<void> {
  await mkdir(to, { mode: 0o700 });
  const cluster = join(to, 'postgres', 'cluster');
  await asAdministrator(url, async (client) => {
    await client.query(`select pg_backup_start('standby', true)`);
    await cp(join(from, 'postgres'), join(to, 'postgres'), {
      recursive: true,
      preserveTimestamps: true,
      // Sockets and locks are the primary's own.
      filter: (path) => !/postmaster\.(pid|opts)$|\.s\.PGSQL/.test(path),
    });
    const { rows } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop()');
    await writeFile(join(cluster, 'backup_label'), rows[0]?.labelfile ?? '');
  });
  await writeFile(join(cluster, 'standby.signal'), '');
  const settings = await readFile(join(cluster, 'postgresql.auto.conf'), 'utf8');
  const source = `host=127.0.0.1 port=${way.port} user=${user} password=${password}`;
  await writeFile(join(cluster, 'postgresql.auto.conf'), `${settings}\nprimary_conninfo = '${source}'\n`);
  await rm(join(cluster, 'conveyor.conf'), { force: true });
}

async function postmasterPid(dataDir: string): Promise<number> {
  const [pid] = (await readFile(join(dataDir, 'postgres', 'cluster', 'postmaster.pid'), 'utf8')).split('\n');
  return Number(pid);
}

/** How a proxy finds a server. */
export function socketOf({ host, port }: EmbeddedConnection): Target {
  return { path: `${host}/.s.PGSQL.${port}` };
}

export function urlOf({ user, password, host, port, database }: EmbeddedConnection): string {
  return `postgres://${user}:${password}@${encodeURIComponent(host)}:${port}/${database}`;
}
