// What is read of the lines of rate limits, against the whole of them.
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { rateCandidates } from '../core/rate.ts';
import { lineOf } from '../core/testing/rate-line.ts';
import { createPools, type Pools } from './connect.ts';
import { withTransaction } from './pool.ts';
import { changeRateWaiters, loadRates, putBuckets, rateLines } from './rate-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/database.ts';

let database: TestDatabase;
let pools: Pools;

beforeAll(async () => {
  database = await createTestDatabase();
  pools = await createPools(database.config);
});
afterAll(async () => {
  await pools[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

interface Waiting {
  readonly costMs: number;
  readonly periodMs: number;
  readonly told: boolean;
}

/** Puts jobs into the line of a rate limit of its own. */
async function wait(line: readonly Waiting[], fullMs: number | undefined) {
  const rate = { project: 'default', key: randomUUID() };
  const jobs = line.map(({ told, ...waiting }, n) => ({
    job: { runId: randomUUID() as RunId, job: 0 },
    readyMs: n >> 1,
    told,
    waits: [{ rate, ...waiting }],
  }));
  await withTransaction(pools.pool, async (tx) => {
    await changeRateWaiters(tx, jobs);
    if (fullMs !== undefined) await putBuckets(tx, [{ ...rate, fullMs }]);
  });
  return rate;
}

const read = <T>(work: Parameters<typeof withTransaction<T>>[1]) => withTransaction(pools.pool, work);

test('who is to be decided on, and when the next one is, comes out as if the whole line were read', async () => {
  const waiting = fc.record({
    costMs: fc.double({ min: 0.1, max: 400, noNaN: true }),
    periodMs: fc.constantFrom(500, 1_000),
    told: fc.boolean(),
  });
  const bucket = fc.option(fc.double({ min: -1_000, max: 2_000, noNaN: true }), { nil: undefined });
  await fc.assert(
    fc.asyncProperty(fc.array(waiting, { maxLength: 12 }), bucket, async (line, fullMs) => {
      const rates = [await wait([{ costMs: 1, periodMs: 1, told: true }], 5), await wait(line, fullMs)];
      const [[, part], [, whole]] = await read(async (tx) => [
        await rateLines(tx, rates, 0),
        await loadRates(tx, rates),
      ]);
      expect(rateCandidates(part!, part!.line, 0)).toEqual(rateCandidates(whole!, lineOf(whole!.front), 0));
    }),
    { numRuns: 60 },
  );
});

test('of a long line no more is read than there are tokens for', async () => {
  const one = { costMs: 100, periodMs: 1_000, told: true };
  const rates = await Promise.all(
    [-200, 100].map((fullMs) => wait([...Array.from({ length: 900 }, () => one), { ...one, told: false }], fullMs)),
  );
  const lines = await read((tx) => rateLines(tx, rates, 0));
  expect(lines.map(({ line }) => line.map(({ aheadMs }) => aheadMs))).toEqual([
    [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000, 90_000],
    [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 90_000],
  ]);
});
