// Rescues the attempts of instances whose lease ran out. The epoch is raised first, so that the old session cannot write any more;
// then each attempt is lost or withdrawn like by any other command; then the lease is dropped. A replica that dies in between leaves
// the lease to be seized again.
import { type LiveAttemptRow, liveAttempts } from '../store/attempt-rows.ts';
import { dropLeases, expiredLeases, type LeaseRef, seizeLeases } from '../store/instance-rows.ts';
import { readClock } from '../store/ledger-rows.ts';
import { type Pool, withConnection, withTransaction } from '../store/pool.ts';
import type { Ledger } from './ledger.ts';
import type { Log } from './log.ts';
import { repeat } from './repeat.ts';
import { loseCommand } from './verdicts.ts';
import { allOf, createUnderWay, type UnderWay } from './under-way.ts';

const LOOK_MS = 1_000;
const MAX_BATCH = 100;
/** Instances whose attempts are given up at once. */
const MAX_UNDER_WAY = 200;
/** How long a replica may take over one batch before another one tries. */
const HOLD_MS = 10_000;

export interface RescueOptions {
  readonly pool: Pool;
  readonly ledger: Ledger;
  readonly leaseMs: number;
  readonly log: Log;
}

export async function runRescue(options: RescueOptions, signal: AbortSignal): Promise<void> {
  const underWay = createUnderWay({
    maxKeys: MAX_UNDER_WAY,
    maxParts: 1,
    failed: 'attempts could not be rescued, trying again',
    log: options.log,
  });
  await repeat(signal, LOOK_MS, () => rescueExpired(options, underWay), options.log);
  await underWay.settled();
}

async function rescueExpired(
  { pool, ledger, leaseMs, log }: RescueOptions,
  underWay: UnderWay,
): Promise<number | void> {
  const seized = await withTransaction(pool, async (tx) => {
    const nowMs = await readClock(tx);
    const expired = await expiredLeases(tx, nowMs, MAX_BATCH);
    return expired.length === 0 ? [] : await seizeLeases(tx, expired, nowMs, HOLD_MS);
  });
  if (seized.length === 0) return;
  const attempts = await withConnection(pool, (tx) =>
    liveAttempts(
      tx,
      seized.map(({ instance }) => instance),
    ),
  );
  log.warn({ instances: seized.length, attempts: attempts.length }, 'leases ran out');
  const message = `its driver was not heard of for ${leaseMs / 1_000} s`;
  const byInstance = Map.groupBy(attempts, (row) => row.instance);
  // Each by itself: a run that somebody has locked keeps no other driver's attempts, nor its lease, waiting.
  await underWay.begin(
    seized.map((lease) => ({
      key: String(lease.instance),
      part: 0,
      async work() {
        await giveUp(ledger, byInstance.get(lease.instance) ?? [], lease, message);
        await withConnection(pool, (tx) => dropLeases(tx, [lease]));
      },
    })),
  );
  return 0;
}

/** Withdraws offers and loses running attempts, in the name of whoever holds the instance now. */
export async function giveUp(
  ledger: Ledger,
  attempts: readonly LiveAttemptRow[],
  writer: LeaseRef,
  message: string,
): Promise<void> {
  await allOf(
    attempts.map(({ key }) =>
      ledger.submit(key.runId, loseCommand(key, writer, 'INFRASTRUCTURE', message), { writer }),
    ),
  );
}
