// Owns a test's own database with the connections of one process to it.
import { createPools, type Pools } from '../connect.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

export interface TestPools extends Pools {
  readonly database: TestDatabase;
}

/** Call it once a test file. Disposing closes the connections, then drops the database. */
export async function openTestPools(): Promise<TestPools> {
  const database = await createTestDatabase();
  const pools = await createPools(database.config);
  return {
    ...pools,
    database,
    async [Symbol.asyncDispose]() {
      await pools[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}
