// Work on the general pool: each piece borrows one connection. Callers are told of an outage as such, whatever form it took.
import type { Pool, PoolClient } from 'pg';
import { LIMITS } from '../core/limits.ts';
import { databaseUnavailable, overloaded, TOO_SLOW } from '../core/refusal.ts';
import { isOutage, isTooSlow } from './outage.ts';
import type { Tx } from './sql.ts';

export type { Pool } from 'pg';

/**
 * Runs statements of their own on a connection of the pool.
 * @throws RefusedError DATABASE_UNAVAILABLE in an outage, and when too many wait for a connection.
 */
export async function withConnection<T>(pool: Pool, work: (tx: Tx) => Promise<T>): Promise<T> {
  return await tellOutage(() => lend(pool, work), 'the database does not answer: try again later');
}

/**
 * Runs `work` in a transaction on a connection of the pool, and commits it unless `work` throws.
 * @throws RefusedError DATABASE_UNAVAILABLE in an outage.
 */
export async function withTransaction<T>(pool: Pool, work: (tx: Tx) => Promise<T>): Promise<T> {
  return await withConnection(pool, async (tx) => {
    await tx.query('BEGIN');
    const result = await work(tx);
    const unknown =
      'the database did not answer a commit: whether the change was made is unknown, so look before you repeat it';
    const { command } = await tellOutage(() => tx.query('COMMIT'), unknown);
    if (command !== 'COMMIT') throw new Error('a transaction that had failed was to be committed');
    return result;
  });
}

/**
 * Runs reads that all see the database as of one moment.
 * @throws RefusedError DATABASE_UNAVAILABLE in an outage.
 */
export async function withSnapshot<T>(pool: Pool, work: (tx: Tx) => Promise<T>): Promise<T> {
  return await withTransaction(pool, async (tx) => {
    await tx.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY');
    return await work(tx);
  });
}

async function lend<T>(pool: Pool, work: (tx: Tx) => Promise<T>): Promise<T> {
  if (pool.waitingCount >= LIMITS.pendingQueries) throw overloaded(`${LIMITS.pendingQueries} queries`);
  const client = await borrow(pool);
  let usable = true;
  try {
    return await work(client);
  } finally {
    if (client.getTransactionStatus() !== 'I') {
      await client.query('ROLLBACK').catch(() => {
        usable = false;
      });
    }
    client.release(!usable);
  }
}

/** Takes a connection of the pool, which learns of one that was cut off a moment later than its socket. */
async function borrow(pool: Pool): Promise<PoolClient> {
  for (;;) {
    const client = await pool.connect();
    if (!client.connection.stream.destroyed) return client;
    client.release(true);
  }
}

async function tellOutage<T>(work: () => Promise<T>, message: string): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isOutage(error)) throw databaseUnavailable(message);
    if (isTooSlow(error)) throw databaseUnavailable(TOO_SLOW);
    throw error;
  }
}
