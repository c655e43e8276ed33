// This replica among its equals: it touches its row every second. A touch that comes late tells of an outage, or of a time without any
// replica, after which nobody is declared lost for one lease; the others alive say whether hints are worth sending.
import { type Pool, withConnection } from '../store/pool.ts';
import { forgetReplicas, giveGrace, touchReplica } from '../store/replica-rows.ts';
import type { Log } from './log.ts';
import { repeat } from './repeat.ts';

const TOUCH_MS = 1_000;
/** A longer gap is an outage. */
const GAP_MS = 5_000;
/** Rows of replicas that died are kept so long. */
const KEEP_MS = 24 * 3_600_000;

export interface Replica extends AsyncDisposable {
  readonly id: string;
  /** Whether other replicas were alive at the last touch. */
  hasPeers(): boolean;
  /** Whether the last touch was committed and is recent. */
  isConnected(): boolean;
  run(signal: AbortSignal): Promise<void>;
}

export interface ReplicaOptions {
  readonly pool: Pool;
  readonly id: string;
  readonly version: string;
  readonly leaseMs: number;
  readonly log: Log;
}

/** Touches for the first time; disposing removes the row, unless it is the newest. */
export async function joinReplicas({ pool, id, version, leaseMs, log }: ReplicaOptions): Promise<Replica> {
  let others = 0;
  let touchedMs = 0;
  let first = true;

  async function touch(): Promise<void> {
    await withConnection(pool, async (tx) => {
      const seen = await touchReplica(tx, id, version);
      if (seen.lastMs !== undefined && seen.nowMs - seen.lastMs > GAP_MS) {
        await giveGrace(tx, seen.nowMs + leaseMs);
        if (!first) log.warn({ gapMs: seen.nowMs - seen.lastMs }, 'the database was away: leases are extended');
      }
      others = seen.others;
    });
    first = false;
    touchedMs = performance.now();
  }

  await touch();
  return {
    id,
    hasPeers: () => others > 0,
    isConnected: () => performance.now() - touchedMs < GAP_MS,
    run: (signal) => repeat(signal, TOUCH_MS, touch, log),
    async [Symbol.asyncDispose]() {
      await withConnection(pool, (tx) => forgetReplicas(tx, id, KEEP_MS)).catch(() => undefined);
    },
  };
}
