// The locks of concurrency groups and buckets of tokens, taken after those of runs, instances and attempts, and in one order.
import { createHash } from 'node:crypto';
import { execute, plain, statement, type Tx } from './sql.ts';

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

/** Locks groups and buckets until the transaction ends. What they are has to be read in a later statement. */
export async function lockStarts(tx: Tx, groups: readonly SharedKey[], rates: readonly SharedKey[]): Promise<void> {
  const numbers = new Set([...groups.map((key) => lockOf('group', key)), ...rates.map((key) => lockOf('rate', key))]);
  await execute(tx, LOCK_STARTS, [plain([...numbers], (no) => no)]);
}

function lockOf(kind: string, { project, key }: SharedKey): number {
  return createHash('sha256').update(`${kind}\n${project}\n${key}`).digest().readUInt32BE() % LOCKS;
}
