import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { DatabaseAway } from '../store/outage.ts';
import { databaseError } from '../store/testing/database-error.ts';
import { createGroupCommit, type GroupCommitOptions } from './group-commit.ts';

/** A group whose items end as `committed`, or with why they failed. */
function open({ flush, patienceMs, ownerOf, onPutBack, maxItems = 100 }: Partial<GroupCommitOptions<string>>) {
  const outcomes = new Map<string, string>();
  const group = createGroupCommit<string>({
    maxItems,
    async flush(items, signal) {
      const later = (await flush?.(items, signal)) ?? [];
      for (const item of items) if (!later.includes(item)) outcomes.set(item, 'committed');
      return later;
    },
    fail: (item, error) => outcomes.set(item, String(error)),
    ...(ownerOf !== undefined && { ownerOf }),
    ...(onPutBack !== undefined && { onPutBack }),
    ...(patienceMs !== undefined && { patienceMs }),
  });
  return { group, outcomes };
}

/** Waits for a connection that never comes. */
async function neverConnected(_: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
  await delay(60_000, undefined, { signal }).catch(() => undefined);
  throw signal.reason;
}

test('a bad item fails alone', async () => {
  const { group, outcomes } = open({
    async flush(items) {
      if (items.includes('bad')) throw new Error('no good');
      return [];
    },
  });
  for (const item of ['a', 'b', 'bad', 'c', 'd']) group.add(item);
  await expect.poll(() => outcomes.size).toBe(5);
  expect(outcomes.get('bad')).toContain('no good');
  expect([...outcomes.values()].filter((outcome) => outcome === 'committed')).toHaveLength(4);
});

test('what waits for a database that is away fails after its patience, and not before', async () => {
  const { group, outcomes } = open({ flush: neverConnected, patienceMs: 1_500 });
  const beganMs = performance.now();
  group.add('a');
  await expect.poll(() => outcomes.get('a')).toContain('nothing was changed');
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(1_500);
  await group[Symbol.asyncDispose]();
});

test('an outage that ends in time costs nobody anything, and keeps the order', async () => {
  let isAway = true;
  const committed: string[] = [];
  const { group } = open({
    async flush(items) {
      if (isAway) throw new DatabaseAway('away');
      committed.push(...items);
      return [];
    },
  });
  group.add('a');
  await delay(150);
  group.add('b');
  await delay(150);
  isAway = false;
  await expect.poll(() => committed).toEqual(['a', 'b']);
});

test('everything that waited too long fails together, also what no flush has reached', async () => {
  const { group, outcomes } = open({ flush: neverConnected, patienceMs: 500, maxItems: 10 });
  for (let i = 0; i < 1_000; i++) group.add(`${i}`);
  // One round of waiting, not a hundred.
  await expect.poll(() => outcomes.size, { timeout: 3_000 }).toBe(1_000);
  expect(group.waiting()).toBe(0);
  await group[Symbol.asyncDispose]();
});

test('a database that is too slow is told as such, and the search for the bad item ends with patience', async () => {
  const { group, outcomes } = open({
    patienceMs: 300,
    async flush() {
      await delay(100);
      throw databaseError('55P03');
    },
  });
  for (let i = 0; i < 64; i++) group.add(`${i}`);
  await expect.poll(() => outcomes.size, { timeout: 3_000 }).toBe(64);
  for (const outcome of outcomes.values()) expect(outcome).toContain('in time');
});

test('a stop fails what waits for a connection at once', async () => {
  const { group, outcomes } = open({ flush: neverConnected });
  group.add('a');
  await delay(50);
  group.add('b');
  const beganMs = performance.now();
  await group[Symbol.asyncDispose]();
  expect(performance.now() - beganMs).toBeLessThan(900);
  expect([...outcomes.keys()]).toEqual(['a', 'b']);
  for (const outcome of outcomes.values()) expect(outcome).toContain('stopping');
});

test('owners have their turns, also when what one of them left for later fills every flush', async () => {
  const flushes: string[] = [];
  const { group, outcomes } = open({
    maxItems: 3,
    ownerOf: (item) => item.charAt(0),
    async flush(items) {
      flushes.push(items.join(' '));
      return items.filter((item) => item.startsWith('a') && item !== items.find((other) => other.startsWith('a')));
    },
  });
  for (const item of ['a1', 'a2', 'a3', 'a4', 'a5', 'b1', 'b2']) group.add(item);
  await expect.poll(() => outcomes.size).toBe(7);
  expect(flushes).toEqual(['a1 b1 a2', 'a2 b2 a3', 'a3 a4 a5', 'a4 a5', 'a5']);
});

test('who turns out to have another owner keeps its order, whatever comes while that is found out', async () => {
  const owners = new Map<string, string>();
  const flushes: string[] = [];
  let found = false;
  const { group, outcomes } = open({
    maxItems: 2,
    ownerOf: (item) => owners.get(item.charAt(0)) ?? '',
    async flush(items) {
      flushes.push(items.join(' '));
      if (found) return [];
      found = true;
      group.add('a4');
      return items;
    },
    onPutBack: () => void (found && owners.set('a', 'greedy')),
  });
  for (const item of ['a1', 'a2', 'a3', 'b1', 'b2']) group.add(item);
  await expect.poll(() => outcomes.size).toBe(6);
  expect(flushes).toEqual(['a1 a2', 'a1 b1', 'a2 b2', 'a3 a4']);
});
