// What has to be made ahead and cleaned up behind, by any replica: partitions of logs, runs and logs that are kept no longer, what
// deleted runs and pipelines leave, and what is remembered for a time only. Each pass does a bounded amount, and the next goes on.
import type { Retention } from '../core/retention.ts';
import { type DefinitionDigest, removeUnusedDefinitions } from '../store/definition-rows.ts';
import { forgetDeletedRuns, sweepDeletedRuns } from '../store/deleted-runs.ts';
import { readClock } from '../store/ledger-rows.ts';
import { ensureLogPartitions } from '../store/log-partitions.ts';
import { forgetOccurrences } from '../store/occurrence-rows.ts';
import { prunePipelines } from '../store/pipelines.ts';
import { type Pool, withConnection, withTransaction } from '../store/pool.ts';
import { forgetFullBuckets } from '../store/rate-rows.ts';
import { forgetRequestIds } from '../store/run-rows.ts';
import { forgetScheduleRequests } from '../store/schedule-requests.ts';
import { forgetCommitMarks } from '../store/transaction.ts';
import type { Log } from './log.ts';
import { dropOldLogs } from './log-retention.ts';
import { repeat } from './repeat.ts';
import { createRunRetention } from './retention.ts';
import type { RunDeletion } from './run-deletion.ts';

const PREPARE_MS = 600_000;
const SWEEP_MS = 2_000;
const RETAIN_MS = 10_000;
const DROP_LOGS_MS = 60_000;
const FORGET_MS = 60_000;
/** Between passes while there is more to do. */
const GO_ON_MS = 10;

const RUNS_A_SWEEP = 100;
const ROWS_A_SWEEP = 5_000;
const DEFINITIONS_A_PASS = 1_000;
const REVISIONS_A_PASS = 1_000;
const FORGOTTEN_A_PASS = 10_000;

const DAY_MS = 24 * 3_600_000;
const REQUEST_ID_KEEP_MS = DAY_MS;
const COMMIT_MARK_KEEP_MS = DAY_MS;
/** How long it is told what became of an occurrence. */
const OCCURRENCE_KEEP_MS = 90 * DAY_MS;
/** How long a bucket is kept that is full, and as good as none. */
const BUCKET_KEEP_MS = 60_000;
/** How long a cursor of the feed is good for at least. */
const DELETED_RUN_KEEP_MS = 7 * DAY_MS;

export interface UpkeepOptions {
  readonly pool: Pool;
  readonly retention: Retention;
  readonly deletion: Pick<RunDeletion, 'deleteFinished'>;
  readonly log: Log;
}

/** Runs every loop until the abort. */
export async function runUpkeep({ pool, retention, deletion, log }: UpkeepOptions, signal: AbortSignal): Promise<void> {
  const runs = createRunRetention({ pool, retention, deletion });
  const goOn = (hasMore: boolean): number | void => (hasMore ? GO_ON_MS : undefined);
  let definition: DefinitionDigest | undefined;

  async function dropLogs(): Promise<void> {
    const partitions = await dropOldLogs(pool, retention);
    if (partitions.length > 0) log.info({ partitions }, 'old logs were dropped');
  }

  async function forget(): Promise<boolean> {
    return await withConnection(pool, async (tx) => {
      const nowMs = await readClock(tx);
      const requests = await forgetRequestIds(tx, nowMs - REQUEST_ID_KEEP_MS, FORGOTTEN_A_PASS);
      const asked = await forgetScheduleRequests(tx, nowMs - REQUEST_ID_KEEP_MS, FORGOTTEN_A_PASS);
      const occurrences = await forgetOccurrences(tx, nowMs - OCCURRENCE_KEEP_MS, FORGOTTEN_A_PASS);
      const deletions = await forgetDeletedRuns(tx, nowMs - DELETED_RUN_KEEP_MS, FORGOTTEN_A_PASS);
      await forgetCommitMarks(tx, nowMs - COMMIT_MARK_KEEP_MS);
      const buckets = await forgetFullBuckets(tx, nowMs - BUCKET_KEEP_MS, FORGOTTEN_A_PASS);
      const revisions = await prunePipelines(tx, REVISIONS_A_PASS);
      const definitions = await removeUnusedDefinitions(tx, definition, nowMs, DEFINITIONS_A_PASS);
      definition = definitions.next;
      const isFull = [requests, asked, occurrences, deletions, buckets].includes(FORGOTTEN_A_PASS);
      return isFull || revisions > 0 || definitions.removed > 0;
    });
  }

  await Promise.all([
    repeat(signal, PREPARE_MS, () => withConnection(pool, ensureLogPartitions), log),
    repeat(signal, SWEEP_MS, async () => goOn((await sweep(pool)) > 0), log),
    repeat(signal, RETAIN_MS, async () => goOn(await runs.deleteExpired()), log),
    repeat(signal, DROP_LOGS_MS, dropLogs, log),
    repeat(signal, FORGET_MS, async () => goOn(await forget()), log),
  ]);
}

/** One pass over what deleted runs leave. Returns how many runs and rows it was about. */
async function sweep(pool: Pool): Promise<number> {
  const { rows, settled } = await withTransaction(pool, (tx) => sweepDeletedRuns(tx, RUNS_A_SWEEP, ROWS_A_SWEEP));
  return rows + settled;
}
