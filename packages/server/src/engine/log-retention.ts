// Drops partitions of log bytes, the oldest first and a few a pass: those that are too old, unless an attempt that has not ended wrote
// on their day, and those from before the oldest run, of which nobody can read anything any more.
import type { Retention } from '../core/retention.ts';
import { readClock } from '../store/ledger-rows.ts';
import {
  DAY_MS,
  dropLogPartition,
  isHeld,
  type LogPartition,
  logPartitions,
  oldestRunMs,
  whileDroppingAlone,
} from '../store/log-partitions.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { Tx } from '../store/sql.ts';

const PARTITIONS_A_PASS = 10;

/** One pass. Returns the names of the partitions that it dropped. */
export async function dropOldLogs(pool: Pool, { maxLogAgeMs }: Pick<Retention, 'maxLogAgeMs'>): Promise<string[]> {
  const dropped: string[] = [];
  await withConnection(pool, async (tx) => {
    await whileDroppingAlone(tx, async () => {
      for (const partition of (await logPartitions(tx)).slice(0, PARTITIONS_A_PASS)) {
        if (!(await mayGo(tx, partition, maxLogAgeMs))) return;
        await dropLogPartition(tx, partition);
        dropped.push(partition.name);
      }
    });
  });
  return dropped;
}

async function mayGo(tx: Tx, partition: LogPartition, maxLogAgeMs: number | undefined): Promise<boolean> {
  // Dropping it has begun, and cannot be undone.
  if (partition.state !== 'ATTACHED') return true;
  const nowMs = await readClock(tx);
  // Run ids are made by the clocks of replicas, which may be off by less than a day.
  const nobodyMs = Math.min((await oldestRunMs(tx)) ?? nowMs, nowMs) - DAY_MS;
  if (partition.endMs <= nobodyMs) return true;
  return maxLogAgeMs !== undefined && partition.endMs <= nowMs - maxLogAgeMs && !(await isHeld(tx, partition));
}
