// One transaction on a lane, whose outcome is known even when the reply to COMMIT is lost: it leaves a mark, and whether the mark is
// there is asked afterwards. The transaction's id would not do: PostgreSQL gives it out again when it crashed before it had written
// it down, and then another transaction's commit would pass for this one's.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { firstFailure, forgetFailures } from './connection.ts';
import type { Lane } from './lane.ts';
import { isAborted, isConnectionLost, isOutage, isTooSlow } from './outage.ts';
import { execute, rowsOf, statement, type Tx } from './sql.ts';

/** Of a lane that has not committed anything. */
const NO_TOKEN = '00000000-0000-0000-0000-000000000000';

const ASK_AGAIN_MS = 100;

/** The reply to COMMIT was lost: whether it took effect is to be asked. */
class CommitUnanswered extends Error {}

/**
 * Runs `work` in a transaction and resolves with its result once that is committed. Rejects when it is known not to be: with what
 * `work` threw, or with the failure of the connection.
 * @param signal Ends the wait for a connection; what has begun goes on.
 * @param work May send statements at once, so that they share a round trip with the beginning; awaits `begun` before it writes.
 */
export async function inTransaction<T>(
  lane: Lane,
  work: (tx: Tx, begun: Promise<unknown>) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const token = randomUUID();
  const name = lane.name();
  let result: { readonly value: T } | undefined;
  try {
    await lane.use(async (tx) => {
      forgetFailures(tx);
      const begun = begin(tx, name, token);
      try {
        const [, value] = await Promise.all([begun, work(tx, begun)]);
        result = { value };
      } catch (error) {
        throw isAborted(error) ? (firstFailure(tx) ?? error) : error;
      }
      await commit(tx);
    }, signal);
  } catch (error) {
    if (!(error instanceof CommitUnanswered)) throw error;
    if (!(await tookEffect(lane, name, token))) throw error.cause;
  }
  if (result === undefined) throw new Error('a transaction committed without its work');
  return result.value;
}

const MARK = statement(
  'mark_commit',
  `insert into commit_marks (lane, token, marked_ms) values ($1, $2, floor(extract(epoch from clock_timestamp()) * 1000))
   on conflict (lane) do update set token = excluded.token, marked_ms = excluded.marked_ms`,
);

async function begin(tx: Tx, name: string, token: string): Promise<void> {
  // Named, and so sent by the protocol of the statements after it, together with them.
  await Promise.all([tx.query({ name: 'begin', text: 'begin' }), execute(tx, MARK, [name, token])]);
}

async function commit(tx: Tx): Promise<void> {
  try {
    const { command } = await tx.query('commit');
    if (command !== 'COMMIT') throw new Error('the transaction had failed and was rolled back');
  } catch (cause) {
    throw isConnectionLost(cause) ? new CommitUnanswered('the reply to COMMIT was lost', { cause }) : cause;
  }
}

// Waits for a transaction that still commits, because it holds the row; one that leaves no row leaves room for it. What is asked
// here need not outlive a crash, which also ends whoever could still commit: so it does not wait for a disk that may be what is slow.
const FIND_MARK = statement(
  'find_commit_mark',
  `with asked as materialized (select set_config('synchronous_commit', 'off', true))
   insert into commit_marks as m (lane, token, marked_ms)
   select $1, '${NO_TOKEN}', floor(extract(epoch from clock_timestamp()) * 1000) from asked
   on conflict (lane) do update set marked_ms = m.marked_ms returning token`,
);

async function tookEffect(lane: Lane, name: string, token: string): Promise<boolean> {
  for (;;) {
    try {
      const rows = await lane.use((tx) => rowsOf<{ token: string }>(tx, FIND_MARK, [name]));
      return rows[0]?.token === token;
    } catch (error) {
      // The old session has not noticed yet that it is alone, or the database went away again.
      if (!isOutage(error) && !isTooSlow(error)) throw error;
      await delay(ASK_AGAIN_MS);
    }
  }
}

const FORGET_MARKS = statement('forget_commit_marks', 'delete from commit_marks where marked_ms < $1');

/** Forgets the marks of lanes that have not committed since. A lane that goes on makes a new one. */
export async function forgetCommitMarks(tx: Tx, beforeMs: number): Promise<void> {
  await execute(tx, FORGET_MARKS, [beforeMs]);
}
