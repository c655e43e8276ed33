import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { type LedgerFixture, openLedgerFixture } from './testing/ledger-fixture.ts';

let database: TestDatabase;
let ledger: LedgerFixture;

beforeAll(async () => {
  database = await createTestDatabase();
  ledger = await openLedgerFixture({ ...database, config: { ...database.config, lockTimeoutMs: 1_000 } });
});
afterAll(async () => {
  await ledger[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const cancel = { type: 'CancelRun', reason: 'enough', force: false } as const;

test('a run that somebody holds for long holds up nobody else, and who asks for it is told', async () => {
  const held = await ledger.create(definitionOf(jobNamed('held')));
  const holder = await ledger.pool.connect();
  await holder.query('begin');
  await holder.query('select from runs where run_id = $1 for update', [held]);

  const beganMs = performance.now();
  const refused = expect(ledger.submit(held, cancel)).rejects.toMatchObject({
    refusal: { refused: 'DATABASE_UNAVAILABLE' },
  });
  let isTold = false;
  const told = refused.then(() => (isTold = true));
  let others = 0;
  while (!isTold) {
    const other = await ledger.create(definitionOf(jobNamed('other')));
    const askedMs = performance.now();
    expect(await ledger.submit(other, cancel)).toMatchObject({ type: 'Done' });
    expect(performance.now() - askedMs).toBeLessThan(700);
    others++;
  }
  await told;
  // The holder was waited for, and others went by meanwhile.
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(1_000);
  expect(others).toBeGreaterThan(5);

  await holder.query('rollback');
  holder.release();
  expect(await ledger.submit(held, cancel)).toMatchObject({ type: 'Done' });
});
