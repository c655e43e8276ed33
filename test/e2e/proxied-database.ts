// Owns the way of a test's replicas to their database: by a proxy that can be made as bad as networks are.
import {
  asAdministrator,
  createTestDatabase,
  type TestDatabase,
} from '../../packages/server/src/store/testing/database.ts';
import { type PostgresProxy, startPostgresProxy } from '../../packages/server/src/store/testing/postgres-proxy.ts';

export interface ProxiedDatabase extends TestDatabase {
  readonly proxy: PostgresProxy;
  /** Runs a statement on the server, past the proxy and outside of this database; `%` stands for the database's name. */
  administer(sql: string): Promise<void>;
}

/** A database of its own behind a proxy. Whoever disposes it finds the way open again. */
export async function openProxiedDatabase(): Promise<ProxiedDatabase> {
  const database = await createTestDatabase();
  const direct = new URL(database.config.connection);
  const proxy = await startPostgresProxy(direct.href);
  const name = direct.pathname.slice(1);
  direct.pathname = 'postgres';
  return {
    proxy,
    config: { ...database.config, connection: proxy.url },
    async administer(sql) {
      await asAdministrator(direct.href, (client) => client.query(sql.replaceAll('%', name)));
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}
