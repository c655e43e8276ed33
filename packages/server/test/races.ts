// Owns what a race takes place on: two replicas over one database, attempts to race for, and a look at what is stored. Once it is over
// the ledger must keep every promise.
import { Client } from 'pg';
import { connectionOptions } from '../src/store/connection-options.ts';
import { ensureLogPartitions } from '../src/store/log-partitions.ts';
import { checkLedger } from '../src/store/testing/check-ledger.ts';
import { createTestDatabase, type TestDatabase } from '../src/store/testing/database.ts';
import { type LedgerFixture, openLedgerFixture } from '../src/engine/testing/ledger-fixture.ts';
import { createRacedAttempts, type RacedAttempts } from '../src/engine/testing/raced-attempts.ts';
import { openRacingReplica, type RacingReplica } from '../src/engine/testing/racing-replica.ts';

export interface Races extends AsyncDisposable {
  readonly database: TestDatabase;
  /** Of neither replica. */
  readonly ledger: LedgerFixture;
  readonly replicas: readonly [RacingReplica, RacingReplica];
  readonly attempts: RacedAttempts;
  readonly sql: Client;
}

export async function openRaces(): Promise<Races> {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createTestDatabase());
  const ledger = stack.use(await openLedgerFixture(database));
  const replicas = [
    stack.use(await openRacingReplica(database)),
    stack.use(await openRacingReplica(database)),
  ] as const;
  const sql = new Client(connectionOptions(database.config, 'test'));
  await sql.connect();
  stack.defer(() => sql.end());
  await ensureLogPartitions(sql);
  stack.defer(async () => {
    await checkLedger(sql);
  });
  const moved = stack.move();
  return {
    database,
    ledger,
    replicas,
    attempts: createRacedAttempts(ledger),
    sql,
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}
