import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import { type LedgerFixture, openLedgerFixture } from './testing/ledger-fixture.ts';

const HOUR_MS = 3_600_000;

let database: TestDatabase;
let ledger: LedgerFixture;

beforeAll(async () => {
  database = await createTestDatabase();
  ledger = await openLedgerFixture(database);
});
afterEach(() => vi.restoreAllMocks());
afterAll(async () => {
  await ledger[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function seenMs(): Promise<number[]> {
  const { rows } = await ledger.pool.query<{ seen_ms: number }>('select seen_ms from definitions');
  return rows.map((row) => row.seen_ms);
}

test('a definition is stored with the first run, relied on for an hour, and then made sure of again', async () => {
  const one = definitionOf(jobNamed('build'));
  const realNow = performance.now.bind(performance);
  await ledger.create(one);
  expect(await seenMs()).toHaveLength(1);
  await ledger.pool.query('update definitions set seen_ms = 1');
  vi.spyOn(performance, 'now').mockImplementation(() => realNow() + HOUR_MS - 60_000);
  await ledger.create(one);
  expect(await seenMs()).toEqual([1]);
  vi.spyOn(performance, 'now').mockImplementation(() => realNow() + HOUR_MS + 1);
  await ledger.create(one);
  expect((await seenMs())[0]).toBeGreaterThan(1);
  await ledger.pool.query('delete from definitions');
  vi.spyOn(performance, 'now').mockImplementation(() => realNow() + 2 * HOUR_MS + 2);
  await ledger.create(one);
  expect(await seenMs()).toHaveLength(1);
});

test('the size of a definition is measured once, however many of its runs wait', async () => {
  let measured = 0;
  const definition = definitionOf(jobNamed('build'));
  const toJSON = { value: () => (measured++, { ...definition }), enumerable: false };
  Object.defineProperty(definition, 'toJSON', toJSON);
  await Promise.all(Array.from({ length: 300 }, () => ledger.create(definition)));
  expect(measured).toBe(1);
});
