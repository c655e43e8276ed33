// This replica among its equals: it touches its row every second. When nobody has for long there was an outage, after which nobody is
// declared lost for one lease; the others alive say whether hints are worth sending.
import type { Lane } from '../store/lane.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { forgetReplicas, touchReplica } from '../store/replica-rows.ts';
import { OUTAGE_MS } from '../core/limits.ts';
import type { Log } from './log.ts';
import { repeat } from './repeat.ts';

const TOUCH_MS = 1_000;
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
  /** Of its own, so that a touch is late only when the database is. */
  readonly lane: Lane;
  readonly id: string;
  readonly version: string;
  readonly leaseMs: number;
  readonly log: Log;
}

/** Touches for the first time; disposing removes the row. */
export async function joinReplicas({ pool, lane, id, version, leaseMs, log }: ReplicaOptions): Promise<Replica> {
  let others = 0;
  let touchedMs = 0;

  async function touch(signal?: AbortSignal): Promise<void> {
    const seen = await lane.use((tx) => touchReplica(tx, id, version, leaseMs), signal);
    if (seen.gapMs !== undefined) log.warn({ gapMs: seen.gapMs }, 'the database was away: leases are extended');
    others = seen.others;
    touchedMs = performance.now();
  }

  await touch();
  return {
    id,
    hasPeers: () => others > 0,
    isConnected: () => performance.now() - touchedMs < OUTAGE_MS,
    run: (signal) => repeat(signal, TOUCH_MS, () => touch(signal), log),
    async [Symbol.asyncDispose]() {
      await withConnection(pool, (tx) => forgetReplicas(tx, id, Date.now() - KEEP_MS)).catch(() => undefined);
    },
  };
}
