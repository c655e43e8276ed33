// Jobs of many runs want the tokens of one bucket at the same moment, from two replicas on connections of their own. Whatever the order of
// their commits, no more are taken in any window than may be; what keeps it so is shown to be needed.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Command } from '../src/core/commands.ts';
import type { RunId } from '../src/core/ids.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import { randomFrom } from '../src/core/testing/random-from.ts';
import type { LedgerFixture } from '../src/engine/testing/ledger-fixture.ts';
import { openRacingReplica } from '../src/engine/testing/racing-replica.ts';
import { forgetFullBuckets } from '../src/store/rate-rows.ts';
import { withConnection } from '../src/store/pool.ts';
import type { Rewrites } from '../src/store/testing/rewriting-lane.ts';
import { openRaces, type Races } from './races.ts';

const PERIOD_MS = 1_000;
const LIMIT = 8;
const RUNS = 40;

let races: Races;
let ledger: LedgerFixture;
beforeAll(async () => {
  races = await openRaces();
  ({ ledger } = races);
});
afterAll(() => races[Symbol.asyncDispose]());

const CLAIM: Command = { type: 'ClaimPlace', job: 0 };

async function create(key: string, cost: number, limit = LIMIT, periodMs = PERIOD_MS): Promise<RunId> {
  return await ledger.create(definitionOf(jobNamed('call', { rateLimits: [{ key, limit, periodMs, cost }] })));
}

async function statesOf(runs: readonly RunId[]): Promise<readonly string[]> {
  const { rows } = await ledger.pool.query<{ run_id: RunId; state: string }>(
    'select run_id, state from jobs where run_id = any($1)',
    [runs],
  );
  return runs.map((runId) => rows.find((row) => row.run_id === runId)?.state ?? 'gone');
}

async function cancelAll(runs: readonly RunId[]): Promise<void> {
  const cancel: Command = { type: 'CancelRun', reason: 'over', force: true };
  await Promise.all(runs.map((runId) => ledger.submit(runId, cancel)));
}

/**
 * Takes all tokens in a transaction that is still open while another replica takes them, too. Whoever takes them first was held back until
 * then, so that nobody else knows yet that it is ahead in line.
 */
async function claimBehind(key: string, rewrites: Rewrites): Promise<readonly string[]> {
  await using replica = await openRacingReplica(races.database, rewrites);
  const runs = [await create(key, 1, 1, 3_600_000), await create(key, 1, 1, 3_600_000)] as const;
  const by = { job: 0, reason: 'not yet', actor: '' };
  await ledger.submit(runs[0], { type: 'HoldJob', ...by });
  let behind: Promise<unknown> | undefined;
  await ledger.inTransaction(async (submit) => {
    await submit(runs[0], { type: 'ReleaseJob', ...by });
    await submit(runs[0], CLAIM);
    behind = replica.submit(runs[1], CLAIM);
    await Promise.race([behind, waitsForLock()]);
  });
  await behind;
  const states = await statesOf(runs);
  await cancelAll(runs);
  return states;
}

async function waitsForLock(): Promise<void> {
  const waiting = `select count(*)::int as count from pg_stat_activity where wait_event_type = 'Lock' and query similar to '%(start_locks|into rate_buckets)%'`;
  await expect
    .poll(async () => (await ledger.pool.query<{ count: number }>(waiting)).rows[0]?.count, { interval: 5 })
    .toBeGreaterThan(0);
}

test('who takes tokens waits for others that are not committed yet, and then sees what they left', async () => {
  expect(await claimBehind('behind', {})).toEqual(['QUEUED', 'WAITING']);
});

describe('a rate is exceeded when its claims', () => {
  const mutations: Readonly<Record<string, Rewrites>> = {
    'lock nothing': {
      lock_starts: () => 'select 0 as no where $1::int[] is null',
      lock_free_starts: () => 'select no from unnest($1::int[]) u (no)',
    },
    'go on without the lock': {
      lock_free_starts: (text) =>
        `with free as (${text}) select no from unnest($1::int[]) u (no), (select count(*) from free) c`,
    },
    'find every bucket full': { load_rate_buckets: (text) => text.replace('key = u.key', "key = u.key || ' '") },
  };
  test.each(Object.entries(mutations))('%s', async (name, rewrites) => {
    expect(await claimBehind(`mutated ${name}`, rewrites)).toEqual(['QUEUED', 'QUEUED']);
  });
});

test('no more tokens are taken in any window than may be, and all have their turn', { timeout: 60_000 }, async () => {
  const random = randomFrom(3);
  const costs = new Map<RunId, number>();
  for (let n = 0; n < RUNS; n++) {
    const cost = 1 + Math.floor(random() * 3);
    costs.set(await create('storm', cost), cost);
  }
  const runs = [...costs.keys()];
  // Everybody claims all the time, whoever's turn it is.
  const worker = async (seed: number): Promise<void> => {
    const own = randomFrom(seed);
    while ((await statesOf(runs)).includes('WAITING')) {
      const waiting = runs[Math.floor(own() * runs.length)]!;
      const replica = races.replicas[own() < 0.5 ? 0 : 1];
      await Promise.all([replica.submit(waiting, CLAIM), ...runs.slice(0, 5).map((run) => replica.submit(run, CLAIM))]);
      // What is cleaned up behind must not fill a bucket.
      if (own() < 0.1) await withConnection(ledger.pool, (tx) => forgetFullBuckets(tx, Date.now(), 100));
    }
  };
  await Promise.all([1, 2, 3, 4].map(worker));
  const { rows } = await races.sql.query<{ run_id: RunId; time_ms: number }>(
    `select run_id, time_ms from events where type = 'JobQueued' and run_id = any($1) order by time_ms`,
    [runs],
  );
  expect(rows).toHaveLength(RUNS);
  for (const [from, { time_ms: beginMs }] of rows.entries()) {
    let sum = 0;
    for (const { run_id: runId, time_ms: endMs } of rows.slice(from)) {
      sum += costs.get(runId) ?? 0;
      expect(sum).toBeLessThanOrEqual(LIMIT * (1 + (endMs - beginMs) / PERIOD_MS) + 1e-6);
    }
  }
  // Nothing is left of what waited.
  expect((await races.sql.query('select run_id from rate_waiters')).rows).toEqual([]);
  await cancelAll(runs);
});
