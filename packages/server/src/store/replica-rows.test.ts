import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { OUTAGE_MS } from '../core/limits.ts';
import { expiredLeases, grantLease, takeOver } from './instance-rows.ts';
import { readClock } from './ledger-rows.ts';
import { withConnection } from './pool.ts';
import { touchReplica } from './replica-rows.ts';
import { openTestPools, type TestPools } from './testing/pools.ts';

const LEASE_MS = 30_000;

let pools: TestPools;
let instance: number;

beforeAll(async () => {
  pools = await openTestPools();
  const row = { driver: 'shell', instance: 'a', owner: 'test', incarnation: Buffer.alloc(32), replica: 'a' };
  const rest = { labels: {}, slots: 1, pools: {}, version: '', schemaDigest: undefined, nowMs: 0 };
  ({ no: instance } = await withConnection(pools.pool, (tx) => takeOver(tx, { ...row, ...rest })));
});
afterAll(() => pools[Symbol.asyncDispose]());
beforeEach(async () => {
  await pools.pool.query('truncate replicas, leases');
  await pools.pool.query('update cluster set grace_until_ms = 0');
});

const touch = (replica: string) => withConnection(pools.pool, (tx) => touchReplica(tx, replica, '1', LEASE_MS));

/** Instances whose lease would be taken now, or in a while. */
async function expired(inMs = 0): Promise<number[]> {
  return await withConnection(pools.pool, async (tx) => expiredLeases(tx, (await readClock(tx)) + inMs, 10));
}

/** A lease that ran out long ago, and a time in which nobody was there. */
async function outage(ms: number): Promise<void> {
  await withConnection(pools.pool, async (tx) => {
    await grantLease(tx, instance, 1, (await readClock(tx)) - 2 * LEASE_MS, LEASE_MS);
  });
  await pools.pool.query('update replicas set seen_ms = seen_ms - $1', [ms]);
}

test('a lease that ran out while replicas were there is taken', async () => {
  await touch('a');
  await pools.pool.query('update cluster set grace_until_ms = 0');
  await outage(0);
  expect(await expired()).toEqual([instance]);
});

test('after an outage nobody is declared lost before a replica has been there, and then for one lease', async () => {
  await touch('a');
  await touch('b');
  await pools.pool.query('update cluster set grace_until_ms = 0');
  await outage(2 * LEASE_MS);
  expect(await expired()).toEqual([]);
  const { gapMs } = await touch('b');
  expect(gapMs).toBeGreaterThanOrEqual(2 * LEASE_MS);
  expect(await expired()).toEqual([]);
  expect(await expired(OUTAGE_MS - 1_000)).toEqual([]);
  // Whoever comes second sees no outage any more, and takes nothing back.
  expect((await touch('a')).gapMs).toBeUndefined();
  expect(await expired()).toEqual([]);
});

test('one replica that was away alone extends no lease', async () => {
  await touch('a');
  await touch('b');
  await pools.pool.query("update replicas set seen_ms = seen_ms - 60000 where replica = 'a'");
  await pools.pool.query('update cluster set grace_until_ms = 0');
  expect((await touch('a')).gapMs).toBeUndefined();
  await outage(0);
  expect(await expired()).toEqual([instance]);
});

test('when every replica had left in order, nobody knows for how long, and leases are extended', async () => {
  await outage(0);
  await touch('a');
  expect(await expired()).toEqual([]);
});
