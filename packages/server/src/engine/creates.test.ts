import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';

const HOUR_MS = 3_600_000;

let ledger: LedgerFixture;

beforeAll(async () => {
  ledger = await openTestLedger();
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => ledger[Symbol.asyncDispose]());

/** In which transactions the runs of a project were made. */
async function madeIn(project: string): Promise<string[]> {
  const { rows } = await ledger.pool.query<{ made: string }>(
    'select xmin::text as made from runs where project = $1 order by total',
    [project],
  );
  return rows.map(({ made }) => made);
}

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

const cells = (count: number) =>
  definitionOf(jobNamed('cell', { matrix: { axes: { n: Array.from({ length: count }, (_, n) => n) } } }));

test('runs with small matrices are made together, up to so many cells', async () => {
  await Promise.all(Array.from({ length: 20 }, () => ledger.create(cells(300), { project: 'cells' })));
  const made = new Set(await madeIn('cells'));
  expect(made.size).toBeGreaterThan(2);
  expect(made.size).toBeLessThan(10);
});

test('a run of many cells is made alone', async () => {
  await Promise.all([2, 2, 2, 600].map((count) => ledger.create(cells(count), { project: 'large' })));
  const made = await madeIn('large');
  expect(made.indexOf(made.at(-1) ?? '')).toBe(3);
});

test('large runs of one project leave turns to those of others', async () => {
  const large = definitionOf(...Array.from({ length: 600 }, (_, n) => jobNamed(`job-${n}`)));
  const order: string[] = [];
  const create = async (project: string) => {
    await ledger.create(large, { project });
    order.push(project);
  };
  await Promise.all([...Array.from({ length: 6 }, () => create('greedy')), create('modest')]);
  expect(order.indexOf('modest')).toBeLessThan(3);
});
