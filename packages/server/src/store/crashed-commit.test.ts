// A database that crashes before it has written a transaction down gives its id to another one. What that one commits must not pass
// for the commit of the first.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createPools } from './connect.ts';
import { startEmbeddedPostgres } from './embedded/embedded-postgres.ts';
import { migrate } from './migrate.ts';
import { inTransaction } from './transaction.ts';

test('a transaction that a crash undid is not taken for one that got its id afterwards', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'conveyor-crash-'));
  const postgres = await startEmbeddedPostgres({ dataDir });
  const pools = await createPools({ connection: postgres.connection, schema: 'conveyor', poolSize: 1 });
  try {
    await migrate(pools.pool, 'conveyor');
    // What is not committed stays in memory.
    await pools.pool.query("alter system set wal_writer_delay = '10s'");
    await pools.pool.query('select pg_reload_conf()');
    const lane = pools.openLane('crash');
    const other = pools.openLane('other');
    let lostPid = 0;
    const lost = inTransaction(lane, async (tx, begun) => {
      await begun;
      const { rows } = await tx.query<{ id: string; pid: number }>(
        'select pg_current_xact_id()::text as id, pg_backend_pid() as pid',
      );
      for (const { pid } of rows) {
        lostPid = pid;
        // One dead process takes the whole server down: it recovers from what was written to disk.
        process.kill(pid, 'SIGKILL');
      }
    });
    const outcome = lost.then(
      () => 'committed',
      () => 'not committed',
    );
    // Another goes on as soon as it can, and takes ids that the crash left free.
    await expect
      .poll(() =>
        inTransaction(other, async (_, begun) => begun).then(
          () => true,
          () => false,
        ),
      )
      .toBe(true);
    expect(await outcome).toBe('not committed');
    // The fault did fire: the process that held the transaction is gone.
    expect(() => process.kill(lostPid, 0)).toThrow('ESRCH');
  } finally {
    await pools[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  }
}, 60_000);
