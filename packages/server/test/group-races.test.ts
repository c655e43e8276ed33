// Jobs of many runs want the places of few groups at the same moment, from two replicas on connections of their own, while others leave
// theirs. Whatever the order of their commits, no group is over its limit at any instant; what keeps it so is shown to be needed.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Command } from '../src/core/commands.ts';
import type { Concurrency, JobDefinition } from '../src/core/definition.ts';
import { DEFAULT_RETRY } from '../src/core/definition.ts';
import type { RunId } from '../src/core/ids.ts';
import type { JsonObject } from '../src/core/json.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import { timerOf } from '../src/core/testing/driver.ts';
import { randomFrom } from '../src/core/testing/random-from.ts';
import { finishWell, type LedgerFixture } from '../src/engine/testing/ledger-fixture.ts';
import { openRacingReplica, type RacingReplica } from '../src/engine/testing/racing-replica.ts';
import { withConnection } from '../src/store/pool.ts';
import { auditGroups } from '../src/store/testing/check-groups.ts';
import type { Rewrites } from '../src/store/testing/rewriting-lane.ts';
import { openRaces, type Races } from './races.ts';

const ROUNDS = 30;

let races: Races;
let ledger: LedgerFixture;
beforeAll(async () => {
  races = await openRaces();
  ({ ledger } = races);
});
afterAll(() => races[Symbol.asyncDispose]());

const CLAIM: Command = { type: 'ClaimPlace', job: 0, place: undefined };

function jobIn(key: string, change: Partial<Concurrency> = {}): JobDefinition {
  const retry = { ...DEFAULT_RETRY, budgets: { ...DEFAULT_RETRY.budgets, WORKLOAD: 1 }, initialBackoffMs: 1 };
  return jobNamed('deploy', { retry, concurrency: { key, limit: 1, policy: 'QUEUE', ...change } });
}

async function createIn(key: string, change: Partial<Concurrency> = {}, params: JsonObject = {}): Promise<RunId> {
  return await ledger.create(definitionOf(jobIn(key, change)), { params });
}

async function stateOf(runId: RunId): Promise<string> {
  return (await jobOf(runId)).state;
}

async function membersOf(key: string): Promise<readonly string[]> {
  const { rows } = await races.sql.query<{ state: string }>(
    'select state from group_members where key = $1 order by ready_ms, run_id',
    [key],
  );
  return rows.map(({ state }) => state);
}

async function succeed(runId: RunId, replica: RacingReplica): Promise<void> {
  await replica.submit(runId, { type: 'Offer', job: 0, instance: 1, instanceId: 'i-1' });
  await replica.submit(runId, { type: 'Accept', job: 0, attempt: 1, instance: 1 });
  await replica.submit(runId, finishWell(0, 1));
}

/**
 * Claims the only place of a group in a transaction that is still open while another replica claims it, too. Whoever claims first was held
 * back until then, so that nobody else knows yet that it is ahead in line.
 */
async function claimBehind(key: string, rewrites: Rewrites): Promise<readonly string[]> {
  await using replica = await openRacingReplica(races.database, rewrites);
  const [first, second] = [await createIn(key), await createIn(key)];
  const by = { job: 0, reason: 'not yet', actor: '' };
  await ledger.submit(first, { type: 'HoldJob', ...by });
  let behind: Promise<unknown> | undefined;
  await ledger.inTransaction(async (submit) => {
    await submit(first, { type: 'ReleaseJob', ...by });
    await submit(first, CLAIM);
    behind = replica.submit(second, CLAIM);
    // Either it comes to wait for the lock of the group, or it goes on and commits.
    await Promise.race([behind, waitsForLock()]);
  });
  await behind;
  const states = [await stateOf(first), await stateOf(second)];
  for (const runId of [first, second]) {
    await ledger.submit(runId, { type: 'CancelRun', reason: 'over', force: true });
  }
  return states;
}

async function waitsForLock(): Promise<void> {
  const waiting = `select count(*)::int as count from pg_stat_activity where wait_event_type = 'Lock' and query like '%start_locks%'`;
  await expect
    .poll(async () => (await ledger.pool.query<{ count: number }>(waiting)).rows[0]?.count, { interval: 5 })
    .toBeGreaterThan(0);
}

test('a claim waits for one that is not committed yet, and then sees what came of it', async () => {
  expect(await claimBehind('behind', {})).toEqual(['QUEUED', 'WAITING']);
  expect(await membersOf('behind')).toEqual([]);
});

describe('a group is over its limit when its claims', () => {
  const mutations: Readonly<Record<string, Rewrites>> = {
    'lock nothing': {
      lock_starts: () => 'select 0 as no where $1::int[] is null',
      lock_free_starts: () => 'select no from unnest($1::int[]) u (no)',
    },
    'go on without the lock': {
      lock_free_starts: (text) =>
        `with free as (${text}) select no from unnest($1::int[]) u (no), (select count(*) from free) c`,
    },
  };
  test.each(Object.entries(mutations))('%s', async (name, rewrites) => {
    expect(await claimBehind(`mutated ${name}`, rewrites)).toEqual(['QUEUED', 'QUEUED']);
  });
});

test('a job without a group or a rate costs no statement more', async () => {
  const ran: string[] = [];
  const noting = (name: string) => [name, (text: string) => (ran.push(name), text)] as const;
  const [forGroups, forRates] = [
    ['lock_free_starts', 'count_groups', 'group_fronts', 'put_group_members', 'drop_group_members'],
    ['load_rate_buckets', 'rate_fronts', 'put_rate_waiters', 'drop_rate_waiters', 'put_rate_buckets'],
  ];
  await using replica = await openRacingReplica(
    races.database,
    Object.fromEntries([...forGroups, ...forRates].map(noting)),
  );
  await succeed(await ledger.create(definitionOf(jobNamed('plain'))), replica);
  expect(ran).toEqual([]);
  const grouped = await createIn('costs');
  await replica.submit(grouped, CLAIM);
  await succeed(grouped, replica);
  expect(ran.toSorted()).toEqual(forGroups.toSorted());
});

test('of many that claim the only place at once, from two replicas, one gets it, and each in its turn', {
  timeout: 60_000,
}, async () => {
  const [a, b] = races.replicas;
  for (let round = 0; round < ROUNDS; round++) {
    const key = `race ${round}`;
    const runs = await Promise.all([createIn(key), createIn(key), createIn(key)]);
    const claims = runs.flatMap((runId) => [a.submit(runId, CLAIM), b.submit(runId, CLAIM)]);
    await Promise.all(claims);
    expect((await membersOf(key)).toSorted()).toEqual(['HOLDING', 'WAITING', 'WAITING']);
    const states = await Promise.all(runs.map(stateOf));
    const holder = runs[states.indexOf('QUEUED')]!;
    // It leaves while the others claim: whoever sees that may have the place, and nobody else.
    const others = runs.filter((runId) => runId !== holder);
    await Promise.all([
      succeed(holder, a),
      ...others.flatMap((runId) => [a.submit(runId, CLAIM), b.submit(runId, CLAIM)]),
    ]);
    expect((await membersOf(key)).filter((state) => state === 'HOLDING').length).toBeLessThanOrEqual(1);
    for (const runId of others) await a.submit(runId, CLAIM);
    expect((await membersOf(key)).toSorted()).toEqual(['HOLDING', 'WAITING']);
    for (const runId of others) await a.submit(runId, { type: 'CancelRun', reason: 'over', force: true });
    expect(await membersOf(key)).toEqual([]);
  }
});

test('groups with every policy keep their limits in a storm of claims, ends and cancels from two replicas', {
  timeout: 60_000,
}, async () => {
  const random = randomFrom(7);
  const below = (limit: number): number => Math.floor(random() * limit);
  const keys = ['storm one', 'storm two', 'storm three'];
  const policies = ['QUEUE', 'QUEUE', 'REPLACE_PENDING', 'CANCEL_RUNNING', 'REJECT'] as const;
  const limits = new Map(keys.map((key, index) => [key, index + 1]));
  const runs: RunId[] = [];
  for (let n = 0; n < 60; n++) {
    const key = keys[below(keys.length)]!;
    const places = limits.get(key) ?? 1;
    // Some have it as a number, others leave it to their run.
    const limit = n % 2 === 0 ? places : '${{ params.places }}';
    runs.push(await createIn(key, { limit, policy: policies[below(policies.length)] ?? 'QUEUE' }, { places }));
  }
  let over = false;
  let going = true;
  const watching = withConnection(ledger.pool, async (tx) => {
    while (going) {
      const { rows } = await tx.query(
        `select key from group_members where state <> 'WAITING' group by key having count(*) > min(max_holders)`,
      );
      over ||= rows.length > 0;
    }
  });
  const worker = async (seed: number): Promise<void> => {
    const own = randomFrom(seed);
    for (let n = 0; n < 250; n++) {
      const runId = runs[Math.floor(own() * runs.length)]!;
      const replica = races.replicas[own() < 0.5 ? 0 : 1];
      const { state, attempt } = await jobOf(runId);
      await replica.submit(runId, nextCommand(state, attempt, own));
    }
  };
  await Promise.all([1, 2, 3, 4, 5, 6].map(worker));
  going = false;
  await watching;
  expect(over).toBe(false);
  for (const runId of runs) await ledger.submit(runId, { type: 'CancelRun', reason: 'over', force: true });
  for (const runId of runs) {
    const { state, attempt } = await jobOf(runId);
    if (state === 'CANCELLING') await ledger.submit(runId, { ...finishWell(0, attempt), outcome: 'CANCELLED' });
  }
  for (const key of keys) expect(await membersOf(key)).toEqual([]);
  const { most, taken, exceeded } = await auditGroups(races.sql);
  // Of the mutated claims before, and of nobody else.
  expect(exceeded.filter((place) => !place.startsWith('default mutated'))).toEqual([]);
  for (const [key, limit] of limits) expect(most.get(`default ${key}`)).toBeLessThanOrEqual(limit);
  expect(most.get('default storm three')).toBeGreaterThan(1);
  expect(taken).toBeGreaterThan(60);
});

async function jobOf(runId: RunId): Promise<{ readonly state: string; readonly attempt: number }> {
  return await withConnection(ledger.pool, async (tx) => {
    const { rows } = await tx.query<{ state: string; attempt: number }>(
      'select state, attempt from jobs where run_id = $1',
      [runId],
    );
    return rows[0]!;
  });
}

function nextCommand(state: string, attempt: number, random: () => number): Command {
  if (random() < 0.02) return { type: 'CancelJob', job: 0, reason: 'stormy' };
  const log = { outcome: random() < 0.5 ? 'SUCCEEDED' : 'FAILED' } as const;
  switch (state) {
    case 'QUEUED':
      return { type: 'Offer', job: 0, instance: 1, instanceId: 'i-1' };
    case 'OFFERED':
      return { type: 'Accept', job: 0, attempt, instance: 1 };
    case 'RUNNING':
    case 'CANCELLING':
      return { ...finishWell(0, attempt), ...log };
    default:
      return random() < 0.2 ? timerOf(0) : CLAIM;
  }
}
