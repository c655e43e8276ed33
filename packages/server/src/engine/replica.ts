// This replica among its equals: it touches its row every second. When nobody has for long there was an outage, after which nobody is
// declared lost for one lease; the others alive say whether hints are worth sending, and which events all of them understand.
import { EVENT_VERSION } from '../core/event-versions.ts';
import { OUTAGE_MS } from '../core/limits.ts';
import type { Lane } from '../store/lane.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { forgetReplicas, type OlderReplica, oldestReplica, touchReplica } from '../store/replica-rows.ts';
import type { Log } from './log.ts';
import { repeat } from './repeat.ts';

const TOUCH_MS = 1_000;
/** A replica that was not seen for so long does not read what is written now: its sessions and its lease on them are gone. */
const ALIVE_MS = 30_000;
/** Rows of replicas that died are kept so long. */
const KEEP_MS = 24 * 3_600_000;

export interface Replica extends AsyncDisposable {
  readonly id: string;
  /** Whether other replicas were alive at the last touch, or may be. */
  hasPeers(): boolean;
  /** Whether the last touch was committed and is recent. */
  isConnected(): boolean;
  /** The replica that understands the least of what this build writes, as of the last touch; undefined: all understand everything. */
  oldest(): OlderReplica | undefined;
  /** The newest version of events that every live replica knows. */
  eventVersion(): number;
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
  let oldest: OlderReplica | undefined;
  const joinedMs = performance.now();

  async function touch(signal?: AbortSignal): Promise<void> {
    const seen = await lane.use(async (tx) => {
      const touched = await touchReplica(tx, id, version, leaseMs);
      return { ...touched, oldest: await oldestReplica(tx, ALIVE_MS) };
    }, signal);
    if (seen.gapMs !== undefined) log.warn({ gapMs: seen.gapMs }, 'the database was away: leases are extended');
    others = seen.others;
    oldest = seen.oldest;
    touchedMs = performance.now();
  }

  await touch();
  return {
    id,
    // Who starts with others may have touched before they did.
    hasPeers: () => others > 0 || performance.now() - joinedMs < 2 * TOUCH_MS,
    isConnected: () => performance.now() - touchedMs < OUTAGE_MS,
    oldest: () => oldest,
    eventVersion: () => oldest?.eventVersion ?? EVENT_VERSION,
    run: (signal) => repeat(signal, TOUCH_MS, () => touch(signal), log),
    async [Symbol.asyncDispose]() {
      await withConnection(pool, (tx) => forgetReplicas(tx, id, Date.now() - KEEP_MS)).catch(() => undefined);
    },
  };
}
