// One transaction on a lane, whose outcome is known even when the reply to COMMIT is lost: its id was learnt at the start, and
// PostgreSQL keeps what became of it.
import { setTimeout as delay } from 'node:timers/promises';
import type { QueryResult } from 'pg';
import { isConnectionLost, type Lane } from './lane.ts';
import type { Tx } from './sql.ts';

const STATUS_POLL_MS = 50;

/** The reply to COMMIT was lost: whether it took effect is to be asked. */
class CommitUnanswered extends Error {
  readonly xid: string;
  constructor(xid: string, cause: unknown) {
    super('the reply to COMMIT was lost', { cause });
    this.xid = xid;
  }
}

/**
 * Runs `work` in a transaction and resolves with its result once that is committed. Rejects when it is known not to be: with what
 * `work` threw, or with the failure of the connection.
 * @param work May send statements at once, so that they share a round trip with the beginning; awaits `begun` before it writes.
 */
export async function inTransaction<T>(lane: Lane, work: (tx: Tx, begun: Promise<unknown>) => Promise<T>): Promise<T> {
  let result: { readonly value: T } | undefined;
  try {
    await lane.use(async (tx) => {
      const begun = begin(tx);
      const [xid, value] = await Promise.all([begun, work(tx, begun)]);
      result = { value };
      await commit(tx, xid);
    });
  } catch (error) {
    if (!(error instanceof CommitUnanswered) || !(await tookEffect(lane, error.xid))) throw causeOf(error);
  }
  if (result === undefined) throw new Error('a transaction committed without its work');
  return result.value;
}

/** Both statements are one message, so the id costs no round trip. */
async function begin(tx: Tx): Promise<string> {
  const results = (await tx.query('begin; select pg_current_xact_id()::text as xid')) as unknown as QueryResult<{
    xid: string;
  }>[];
  const xid = results[1]?.rows[0]?.xid;
  if (xid === undefined) throw new Error('a transaction without an id');
  return xid;
}

async function commit(tx: Tx, xid: string): Promise<void> {
  try {
    const { command } = await tx.query('commit');
    if (command !== 'COMMIT') throw new Error('the transaction had failed and was rolled back');
  } catch (error) {
    throw isConnectionLost(error) ? new CommitUnanswered(xid, error) : error;
  }
}

async function tookEffect(lane: Lane, xid: string): Promise<boolean> {
  for (;;) {
    const status = await lane.use(async (tx) => {
      const { rows } = await tx.query<{ status: string | null }>('select pg_xact_status($1::text::xid8) as status', [
        xid,
      ]);
      return rows[0]?.status;
    });
    if (status !== 'in progress') return status === 'committed';
    // The old session has not noticed yet that it is alone.
    await delay(STATUS_POLL_MS);
  }
}

function causeOf(error: unknown): unknown {
  return error instanceof CommitUnanswered ? error.cause : error;
}
