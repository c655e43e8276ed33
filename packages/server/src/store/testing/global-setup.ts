// Owns the PostgreSQL of a whole test run and the migrated template in it. Nothing of it outlives the run; what a
// killed run left behind is removed by the next one.
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPools } from '../connect.ts';
import { type EmbeddedConnection, startEmbeddedPostgres } from '../embedded/embedded-postgres.ts';
import { migrate } from '../migrate.ts';
import { asAdministrator, databaseUrl, serverVariable, templateVariable, testSchema } from './database.ts';

const directoryPrefix = 'conveyor-test-db-';
// Younger ones may belong to a run that is just starting and holds no lock yet.
const leftoverAgeMs = 60_000;

/** Starts PostgreSQL, unless the environment names one, and prepares the template. Returns what undoes both. */
export async function setup(): Promise<() => Promise<void>> {
  const given = process.env[serverVariable];
  if (given !== undefined) return await prepareTemplate(given);
  await removeLeftovers();
  const dataDir = await mkdtemp(join(tmpdir(), directoryPrefix));
  const postgres = await startEmbeddedPostgres({ dataDir }).catch(async (error: unknown) => {
    await rm(dataDir, { recursive: true });
    throw error;
  });
  const server = urlOf(postgres.connection);
  process.env[serverVariable] = server;
  const stop = async () => {
    Reflect.deleteProperty(process.env, serverVariable);
    await postgres[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  };
  try {
    await prepareTemplate(server);
    return stop;
  } catch (error) {
    await stop();
    throw error;
  }
}

async function prepareTemplate(server: string): Promise<() => Promise<void>> {
  const name = `conveyor_template_${randomBytes(6).toString('hex')}`;
  await asAdministrator(server, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE template0`));
  const remove = async () => {
    await asAdministrator(server, (client) => client.query(`DROP DATABASE ${name} WITH (FORCE)`));
  };
  try {
    const pools = await createPools({ connection: databaseUrl(server, name), schema: testSchema, poolSize: 1 });
    try {
      await migrate(pools.pool, testSchema);
    } finally {
      await pools[Symbol.asyncDispose]();
    }
  } catch (error) {
    await remove();
    throw error;
  }
  process.env[templateVariable] = name;
  return remove;
}

async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(directoryPrefix)) continue;
    const dataDir = join(tmpdir(), name);
    const { ctimeMs } = await stat(dataDir).catch(() => ({ ctimeMs: Date.now() }));
    if (Date.now() - ctimeMs < leftoverAgeMs) continue;
    // Adopts the server that a killed run left, to stop it. A run that still goes on owns its directory and keeps it.
    const postgres = await startEmbeddedPostgres({ dataDir }).catch(() => undefined);
    if (postgres === undefined) continue;
    await postgres[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true, force: true });
  }
}

function urlOf({ host, port, user, password, database }: EmbeddedConnection): string {
  return `postgres://${user}:${password}@${encodeURIComponent(host)}:${port}/${database}`;
}
