// Owns a test's own database: a copy of the template that the run prepared, dropped afterwards. A test that leaves a
// connection open fails.
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import type { DatabaseConfig } from '../connection-options.ts';

/** The environment in which a run tells its tests where to find PostgreSQL. */
export const serverVariable = 'CONVEYOR_TEST_DATABASE_URL';
export const templateVariable = 'CONVEYOR_TEST_DATABASE_TEMPLATE';

/** The schema that the template holds. */
export const testSchema = 'conveyor';

/** A migrated, empty database that no other test uses. Disposing drops it. */
export interface TestDatabase extends AsyncDisposable {
  /** For createPools, or for a server process by `--database-url`. */
  readonly config: DatabaseConfig & { readonly connection: string };
}

/** Copies the template; about 50 ms. Call it once a test file. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const server = required(serverVariable);
  const template = required(templateVariable);
  const name = `conveyor_test_${randomBytes(6).toString('hex')}`;
  await asAdministrator(server, async (client) => {
    await client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  });
  return {
    config: { connection: databaseUrl(server, name), schema: testSchema },
    async [Symbol.asyncDispose]() {
      await asAdministrator(server, (client) => drop(client, name));
    },
  };
}

/** The same server, another database. */
export function databaseUrl(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}

/** Runs `work` on a connection to the server's own database. */
export async function asAdministrator<T>(server: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: server, application_name: 'conveyor tests' });
  // A test that stops the server for good has this connection break, which then fails what waits for it.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function drop(client: Client, name: string): Promise<void> {
  try {
    // Waits some seconds for sessions that are about to end.
    await client.query(`DROP DATABASE ${name}`);
  } catch (cause) {
    const { rows } = await client.query<{ application_name: string; query: string }>(
      'SELECT application_name, query FROM pg_stat_activity WHERE datname = $1',
      [name],
    );
    await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
    throw new Error(`the test left connections open: ${JSON.stringify(rows)}`, { cause });
  }
}

function required(variable: string): string {
  const value = process.env[variable];
  if (value === undefined) throw new Error(`${variable} is not set: is global-setup.ts part of this run?`);
  return value;
}
