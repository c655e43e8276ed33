import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createPools, type Pools } from '../store/connect.ts';
import type { RunChanges, RunFilter } from './engine.ts';
import { createFeedWatch } from './feed-watch.ts';
import { createTestDatabase } from '../store/testing/database.ts';
import { type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';
import { createWakeUps } from './wake-ups.ts';

let ledger: LedgerFixture;
let stop: AbortController;
let count = 0;
let project: string;
const one = definitionOf(jobNamed('build'));
const all: RunFilter = { states: [], labels: {} };

beforeAll(async () => {
  ledger = await openTestLedger();
});
afterAll(() => ledger[Symbol.asyncDispose]());
beforeEach(() => {
  stop = new AbortController();
  project = `project-${count++}`;
});
afterEach(() => stop.abort(new Error('the test is over')));

/** Reads a watch message by message. */
function watch(filter: Partial<RunFilter> = {}, cursor?: string, wakeUps = ledger.wakeUps) {
  const feed = createFeedWatch({ pool: ledger.pool, wakeUps });
  const messages = feed.watchAll(project, { ...all, ...filter }, cursor, stop.signal)[Symbol.asyncIterator]();
  const seen: RunChanges[] = [];
  async function next(): Promise<RunChanges> {
    const { value, done } = await messages.next();
    if (done === true) throw new Error('the watch ended by itself');
    seen.push(value);
    return value;
  }
  return {
    next,
    seen,
    /** Reads up to the message with which the condition holds, and returns it. */
    async until(holds: (message: RunChanges) => boolean): Promise<RunChanges> {
      for (;;) {
        const message = await next();
        if (holds(message)) return message;
      }
    },
    async shows(...runIds: RunId[]): Promise<RunChanges> {
      const missing = new Set(runIds);
      return await this.until((message) => {
        for (const { run } of message.changes) missing.delete(run.runId);
        return missing.size === 0;
      });
    },
  };
}

const cancel = { type: 'CancelRun', reason: '', force: false } as const;

test('a snapshot of what matches comes first, then each run that changes', async () => {
  const [older, newer] = [await ledger.create(one, { project }), await ledger.create(one, { project })];
  const reader = watch();
  const snapshot = await reader.next();
  expect(snapshot.changes.map(({ run }) => run.runId).toSorted()).toEqual([older, newer].toSorted());
  expect(snapshot).toMatchObject({ snapshotComplete: true, cursor: expect.any(String) });
  await ledger.submit(older, cancel);
  const change = await reader.shows(older);
  expect(change.changes).toMatchObject([{ run: { runId: older, state: 'CANCELLED' }, left: false }]);
  expect(change).toMatchObject({ snapshotComplete: false, cursor: expect.any(String) });
  const created = await ledger.create(one, { project });
  await reader.shows(created);
});

test('a project without runs has an empty snapshot, at once', async () => {
  expect(await watch().next()).toMatchObject({ changes: [], snapshotComplete: true, cursor: expect.any(String) });
});

test('runs of another project are never shown', async () => {
  const reader = watch();
  await reader.next();
  await ledger.create(one, { project: `${project}-other` });
  const mine = await ledger.create(one, { project });
  await reader.shows(mine);
  expect(reader.seen.flatMap(({ changes }) => changes.map(({ run }) => run.runId))).toEqual([mine]);
});

test('a transaction that began early and commits late is not missed, and nobody waits for it', async () => {
  const [late, prompt] = [await ledger.create(one, { project }), await ledger.create(one, { project })];
  const reader = watch();
  const [before, between] = await ledger.inTransaction(async (submit) => {
    await submit(late, cancel);
    const { cursor: first } = await reader.next();
    await ledger.submit(prompt, cancel);
    const { cursor: second } = await reader.shows(prompt);
    expect(reader.seen.slice(1).flatMap(({ changes }) => changes.map(({ run }) => run.runId))).toEqual([prompt]);
    return [first, second];
  });
  expect((await reader.shows(late)).changes).toMatchObject([{ run: { runId: late, state: 'CANCELLED' } }]);
  await watch({}, before).shows(late, prompt);
  const resumed = watch({}, between);
  await resumed.shows(late);
  expect(resumed.seen.flatMap(({ changes }) => changes.map(({ run }) => run.runId))).toEqual([late]);
});

test('a writing transaction that never ends, in another database, neither delays nor repeats changes', async () => {
  await using other = await createTestDatabase();
  const pools: Pools = await createPools(other.config);
  const idle = await pools.pool.connect();
  try {
    await idle.query('begin');
    await idle.query('select pg_current_xact_id()');
    const reader = watch();
    await reader.next();
    for (let i = 0; i < 3; i++) await reader.shows(await ledger.create(one, { project }));
    expect(reader.seen.flatMap(({ changes }) => changes)).toHaveLength(3);
    await idle.query('rollback');
  } finally {
    idle.release();
    await pools[Symbol.asyncDispose]();
  }
});

test('another replica, which hears of nothing, goes on from a cursor and misses nothing', async () => {
  const reader = watch();
  const { cursor } = await reader.next();
  const missed = [await ledger.create(one, { project }), await ledger.create(one, { project })];
  const elsewhere = watch({}, cursor, createWakeUps());
  expect(await elsewhere.next()).toEqual({ changes: [], cursor, snapshotComplete: false });
  await elsewhere.shows(...missed);
  const later = await ledger.create(one, { project });
  await elsewhere.shows(later);
});

test('a run that no longer matches is sent once more as left; one that never could is not sent', async () => {
  const mine = await ledger.create(one, { project, pipeline: 'ci', labels: { repo: 'a' } });
  const reader = watch({ pipeline: 'ci', labels: { repo: 'a' }, states: ['PENDING'] });
  expect((await reader.next()).changes).toMatchObject([{ run: { runId: mine }, left: false }]);
  const foreign = await ledger.create(one, { project, pipeline: 'cd', labels: { repo: 'a' } });
  const unlabelled = await ledger.create(one, { project, pipeline: 'ci' });
  await ledger.submit(foreign, cancel);
  await ledger.submit(unlabelled, cancel);
  await ledger.submit(mine, cancel);
  expect((await reader.shows(mine)).changes).toMatchObject([{ run: { runId: mine, state: 'CANCELLED' }, left: true }]);
  expect(reader.seen.flatMap(({ changes }) => changes)).toHaveLength(2);
});

test('more changes than fit into a message come in several, and any of their cursors misses nothing', async () => {
  const { cursor } = await watch().next();
  const created = new Set(await Promise.all(Array.from({ length: 1_600 }, () => ledger.create(one, { project }))));
  const reader = watch({}, cursor);
  await reader.shows(...created);
  expect(reader.seen.flatMap(({ changes }) => changes)).toHaveLength(1_600);
  const filled = reader.seen.filter(({ changes }) => changes.length > 0);
  expect(filled.length).toBeGreaterThan(1);
  const shown = new Set<RunId>();
  for (const message of filled.slice(0, -1)) {
    for (const { run } of message.changes) shown.add(run.runId);
    await watch({}, message.cursor).shows(...created.difference(shown));
  }
});

test('a snapshot of many runs comes in pages, with a cursor on the last only', async () => {
  const created = await Promise.all(Array.from({ length: 1_100 }, () => ledger.create(one, { project })));
  const reader = watch();
  await reader.until((message) => message.snapshotComplete);
  expect(reader.seen.map(({ cursor, snapshotComplete }) => [typeof cursor, snapshotComplete])).toEqual([
    ['undefined', false],
    ['string', true],
  ]);
  const listed = reader.seen.flatMap(({ changes }) => changes.map(({ run }) => run.runId));
  expect(listed).toEqual(created.toSorted().reverse());
});

test('while runs change fast, none goes back to a lower seq, and each ends up as it is', async () => {
  const created = await Promise.all(Array.from({ length: 40 }, () => ledger.create(one, { project })));
  const reader = watch();
  await reader.next();
  const work = Promise.all(created.map((runId) => ledger.succeed(runId, 0)));
  const done = new Set<RunId>();
  await reader.until(({ changes }) => {
    for (const { run } of changes) if (run.state === 'SUCCEEDED') done.add(run.runId);
    return done.size === created.length;
  });
  await work;
  const newest = new Map<RunId, number>();
  for (const { run } of reader.seen.flatMap(({ changes }) => changes)) {
    expect(run.seq).toBeGreaterThanOrEqual(newest.get(run.runId) ?? 0);
    newest.set(run.runId, run.seq);
  }
});

test.each([
  ['malformed', () => 'no cursor'],
  ['from a later point than the database has reached', (cursor: string) => `f${cursor.split('.')[0]}`],
])('a cursor that is %s is refused', async (_, change) => {
  const { cursor = '' } = await watch().next();
  await expect(watch({}, change(cursor)).next()).rejects.toMatchObject({ refusal: { refused: 'INVALID_CURSOR' } });
});

test('a watch that is called off throws why, so that nobody takes it for the end', async () => {
  const reader = watch();
  await reader.next();
  const pending = reader.next();
  stop.abort(new Error('called off'));
  await expect(pending).rejects.toThrow('called off');
});
