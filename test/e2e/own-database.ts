// A PostgreSQL of a test's own, which may be killed: whoever started it starts it again.
import { startEmbeddedPostgres } from '../../packages/server/src/store/embedded/embedded-postgres.ts';
import type { TestDatabase } from '../../packages/server/src/store/testing/database.ts';

/** Starts it in a directory. Its database is empty. */
export async function openOwnDatabase(dataDir: string): Promise<TestDatabase> {
  const postgres = await startEmbeddedPostgres({ dataDir });
  const { user, password, host, port, database } = postgres.connection;
  const connection = `postgres://${user}:${password}@${encodeURIComponent(host)}:${port}/${database}`;
  return {
    config: { connection, schema: 'conveyor' },
    [Symbol.asyncDispose]: () => postgres[Symbol.asyncDispose](),
  };
}
