// The locks of concurrency groups and buckets of tokens, taken after those of runs, instances and attempts, and in one order.
import { createHash } from 'node:crypto';
import { execute, plain, rowsOf, statement, type Tx } from './sql.ts';

/** A group, or a bucket, by what its jobs share. */
export interface SharedKey {
  readonly project: string;
  readonly key: string;
}

const LOCK_STARTS = statement(
  'lock_starts',
  'select no from start_locks where no = any($1::int[]) order by no for update',
);
const LOCKS = 1_024;

const LOCK_FREE_STARTS = statement(
  'lock_free_starts',
  'select no from start_locks where no = any($1::int[]) order by no for update skip locked',
);

/** Which groups and buckets are locked. */
export interface StartLocks {
  group(key: SharedKey): boolean;
  rate(key: SharedKey): boolean;
}

/**
 * Locks groups and buckets until the transaction ends. What they are has to be read in a later statement.
 * @param wait False: those that somebody else holds are left out.
 */
export async function lockStarts(
  tx: Tx,
  groups: readonly SharedKey[],
  rates: readonly SharedKey[],
  wait: boolean,
): Promise<StartLocks> {
  const numbers = new Set([...groups.map((key) => lockOf('group', key)), ...rates.map((key) => lockOf('rate', key))]);
  const asked = [plain([...numbers], (no) => no)];
  if (wait) await execute(tx, LOCK_STARTS, asked);
  const rows = wait ? [] : await rowsOf<{ no: number }>(tx, LOCK_FREE_STARTS, asked);
  const locked = wait ? numbers : new Set(rows.map(({ no }) => no));
  return {
    group: (key) => locked.has(lockOf('group', key)),
    rate: (key) => locked.has(lockOf('rate', key)),
  };
}

function lockOf(kind: string, { project, key }: SharedKey): number {
  return createHash('sha256').update(`${kind}\n${project}\n${key}`).digest().readUInt32BE() % LOCKS;
}
