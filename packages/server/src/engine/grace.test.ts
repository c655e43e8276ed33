import pino from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { expiredLeases } from '../store/instance-rows.ts';
import { readClock } from '../store/ledger-rows.ts';
import { withConnection } from '../store/pool.ts';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import { joinReplicas, type Replica } from './replica.ts';
import { type LedgerFixture, openLedgerFixture } from './testing/ledger-fixture.ts';

let database: TestDatabase;
let ledger: LedgerFixture;
const leaseMs = 30_000;

beforeAll(async () => {
  database = await createTestDatabase();
  ledger = await openLedgerFixture(database);
  // A driver that was there until the replicas left.
  await ledger.connect('shell', 'orphaned', { leaseMs: -1 });
});
afterAll(async () => {
  await ledger[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await ledger.pool.query('delete from replicas');
  await ledger.pool.query('update cluster set grace_until_ms = 0');
});

function join(id: string): Promise<Replica> {
  return joinReplicas({ pool: ledger.pool, id, version: '1', leaseMs, log: pino({ enabled: false }) });
}

/** Makes it as if a minute had passed since the replicas last touched their rows. */
async function passAMinute(): Promise<void> {
  await ledger.pool.query('update replicas set seen_ms = seen_ms - 60000');
}

/** How many leases would be taken away, so long from now. */
async function expiredIn(ms: number): Promise<number> {
  const expired = await withConnection(ledger.pool, async (tx) => expiredLeases(tx, (await readClock(tx)) + ms, 10));
  return expired.length;
}

async function rows(): Promise<string[]> {
  const { rows: found } = await ledger.pool.query<{ replica: string }>('select replica from replicas order by replica');
  return found.map(({ replica }) => replica);
}

test('after all replicas were stopped in order, nobody is declared lost for one lease', async () => {
  const [first, second] = [await join('a'), await join('b')];
  await first[Symbol.asyncDispose]();
  await second[Symbol.asyncDispose]();
  await passAMinute();
  expect(await expiredIn(0)).toBe(1);
  await using _ = await join('c');
  expect(await expiredIn(leaseMs - 1_000)).toBe(0);
  expect(await expiredIn(leaseMs + 1_000)).toBe(1);
});

test('a replica that joins others that live gives no grace', async () => {
  await using _ = await join('a');
  await using __ = await join('b');
  expect(await expiredIn(0)).toBe(1);
});

test('the newest row stays when its replica leaves, and goes a day later, once there is a newer one', async () => {
  const first = await join('a');
  await first[Symbol.asyncDispose]();
  expect(await rows()).toEqual(['a']);
  await passAMinute();
  const second = await join('b');
  await second[Symbol.asyncDispose]();
  expect(await rows()).toEqual(['a', 'b']);
  await ledger.pool.query(`update replicas set seen_ms = seen_ms - 86400000 where replica = 'a'`);
  const third = await join('c');
  await third[Symbol.asyncDispose]();
  expect(await rows()).toEqual(['b', 'c']);
});
