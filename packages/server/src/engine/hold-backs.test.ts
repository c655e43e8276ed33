// What older replicas would not understand is not written while one of them serves.
import pino from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEFAULT_TIMEOUTS } from '../core/definition.ts';
import { EVENT_VERSION } from '../core/event-versions.ts';
import type { RunId } from '../core/ids.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { withConnection } from '../store/pool.ts';
import { openTestPools, type TestPools } from '../store/testing/pools.ts';
import { createHoldBacks } from './hold-backs.ts';
import { joinReplicas, type Replica } from './replica.ts';
import { type LedgerFixture, openLedgerFixture } from './testing/ledger-fixture.ts';
import { createTimers } from './timers.ts';

const log = pino({ level: 'silent' });
const asker = { reason: 'maintenance', actor: 'ada' };
let ledger: LedgerFixture;
let pools: TestPools;

beforeAll(async () => {
  pools = await openTestPools();
  ledger = await openLedgerFixture(pools.database);
  await ledger.connect('shell', 'i-1');
});
afterAll(async () => {
  await ledger[Symbol.asyncDispose]();
  await pools[Symbol.asyncDispose]();
});

const join = (id: string): Promise<Replica> =>
  joinReplicas({ pool: pools.pool, lane: pools.openLane('presence'), id, version: '2.0.0', leaseMs: 30_000, log });

/** A replica whose build is older than this column, seen so long ago. */
async function seenOlder(agoMs: number): Promise<void> {
  const sql = `insert into replicas (replica, version, started_ms, seen_ms)
     select 'older', '1.0.0', 0, floor(extract(epoch from clock_timestamp()) * 1000) - $1
     on conflict (replica) do update set seen_ms = excluded.seen_ms`;
  await withConnection(ledger.pool, (tx) => tx.query(sql, [agoMs]));
}

async function eventsOf(runId: RunId): Promise<string[]> {
  const sql = 'select type, version from events where run_id = $1 order by seq';
  const { rows } = await withConnection(ledger.pool, (tx) => tx.query<{ type: string; version: number }>(sql, [runId]));
  return rows.map(({ type, version }) => `${type} ${version}`);
}

test('a pause is refused while an older replica serves, and names it', async () => {
  const runId = await ledger.create(definitionOf(jobNamed('one')));
  await using alone = await join('first');
  expect([alone.oldest(), alone.eventVersion()]).toEqual([undefined, EVENT_VERSION]);

  await seenOlder(29_000);
  await using beside = await join('second');
  expect(beside.oldest()).toEqual({ replica: 'older', version: '1.0.0', eventVersion: 1 });
  expect(beside.eventVersion()).toBe(1);
  const refused = createHoldBacks(ledger.ledger, beside);
  const refusal = { refused: 'REPLICA_TOO_OLD', metadata: { replica: 'older', version: '1.0.0', event_version: '1' } };
  await expect(refused.submit('default', runId, { type: 'PauseRun', ...asker })).rejects.toMatchObject({ refusal });
  const hold = { type: 'HoldJob', job: 0, ...asker } as const;
  await expect(refused.submit('default', runId, hold)).rejects.toMatchObject({ refusal });
  expect(await eventsOf(runId)).toEqual(['RunCreated 1']);

  await seenOlder(31_000);
  await using after = await join('third');
  await createHoldBacks(ledger.ledger, after).submit('default', runId, { type: 'PauseRun', ...asker });
  expect(await eventsOf(runId)).toEqual(['RunCreated 1', 'RunPaused 2', 'JobWaiting 2']);
});

test('silent attempts wait for the last older replica, and keep no other timer waiting', async () => {
  // More than are read at a time.
  const count = 501;
  const timeouts = { ...DEFAULT_TIMEOUTS, silenceMs: 1 };
  const silent = Array.from({ length: count }, (_, job) => jobNamed(`silent-${job}`, { timeouts }));
  const runId = await ledger.create(definitionOf(...silent));
  await Promise.all(
    silent.map(async (_, job) => {
      await ledger.submit(runId, { type: 'Offer', job, instance: 1, instanceId: 'i-1' });
      await ledger.submit(runId, { type: 'Accept', job, attempt: 1, instance: 1 });
    }),
  );
  const queue = { ...DEFAULT_TIMEOUTS, queueMs: 1 };
  const otherId = await ledger.create(definitionOf(jobNamed('late', { timeouts: queue })));
  let eventVersion = 1;
  const timers = createTimers({ pool: ledger.pool, ledger: ledger.ledger, eventVersion: () => eventVersion, log });
  const stop = new AbortController();
  const running = timers.run(stop.signal);
  await expect.poll(() => eventsOf(otherId)).toContain('JobFinished 1');
  expect(await eventsOf(runId)).not.toContain('AttemptTimedOut 2');
  eventVersion = EVENT_VERSION;
  const timedOut = async () => (await eventsOf(runId)).filter((event) => event === 'AttemptTimedOut 2').length;
  await expect.poll(timedOut).toBe(count);
  stop.abort();
  await running;
});
