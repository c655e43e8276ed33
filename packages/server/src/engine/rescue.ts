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
import { loseCommand } from './takeover.ts';

const LOOK_MS = 1_000;
const MAX_BATCH = 100;
/** How long a replica may take over one batch before another one tries. */
const HOLD_MS = 10_000;

export interface RescueOptions {
  readonly pool: Pool;
  readonly ledger: Ledger;
  readonly leaseMs: number;
  readonly log: Log;
}

export async function runRescue(options: RescueOptions, signal: AbortSignal): Promise<void> {
  await repeat(signal, LOOK_MS, () => rescueExpired(options), options.log);
}

async function rescueExpired({ pool, ledger, leaseMs, log }: RescueOptions): Promise<number | void> {
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
  const epochs = new Map(seized.map((lease) => [lease.instance, lease]));
  const message = `its driver was not heard of for ${leaseMs / 1_000} s`;
  await giveUp(ledger, attempts, (row) => epochs.get(row.instance), message);
  await withConnection(pool, (tx) => dropLeases(tx, seized));
  return 0;
}

/** Withdraws offers and loses running attempts, in the name of whoever holds the instance now. */
export async function giveUp(
  ledger: Ledger,
  attempts: readonly LiveAttemptRow[],
  leaseOf: (row: LiveAttemptRow) => LeaseRef | undefined,
  message: string,
): Promise<void> {
  await Promise.all(
    attempts.map(async (row) => {
      const writer = leaseOf(row);
      if (writer === undefined) return;
      await ledger.submit(row.key.runId, loseCommand(row.key, writer, 'INFRASTRUCTURE', message), { writer });
    }),
  );
}
