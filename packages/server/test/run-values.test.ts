// Values of runs on PostgreSQL: what they promise to two who change them at once, to drivers by their fence, and when the run goes.
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AttemptKey, RunId } from '../src/core/ids.ts';
import { LIMITS } from '../src/core/limits.ts';
import { RefusedError } from '../src/core/refusal.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import { createPools, type Pools } from '../src/store/connect.ts';
import { connectionOptions } from '../src/store/connection-options.ts';
import { deleteFinishedRuns, sweepDeletedRuns } from '../src/store/deleted-runs.ts';
import { withTransaction } from '../src/store/pool.ts';
import { createTestDatabase, type TestDatabase } from '../src/store/testing/database.ts';
import { lockRunValues } from '../src/store/value-rows.ts';
import { createRunValues, type RunValues, type ValueChange } from '../src/engine/run-values.ts';
import type { Writer } from '../src/engine/run-work.ts';
import { finishWell, type LedgerFixture, openLedgerFixture } from '../src/engine/testing/ledger-fixture.ts';

const project = 'default';
const one = definitionOf(jobNamed('build'));
const page = { size: 100 };

let database: TestDatabase;
let ledger: LedgerFixture;
let otherPools: Pools;
let values: RunValues;
/** Of another replica, on connections of its own. */
let others: RunValues;
let sql: Client;
let instances = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  ledger = await openLedgerFixture(database);
  otherPools = await createPools(database.config);
  const replica = { oldest: () => undefined };
  values = createRunValues({ pool: ledger.pool, replica });
  others = createRunValues({ pool: otherPools.pool, replica });
  sql = new Client(connectionOptions(database.config, 'test'));
  await sql.connect();
});
afterAll(async () => {
  await sql.end();
  await otherPools[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const create = () => ledger.create(one);

/** Why it was refused, and what it told; undefined when it was not. */
async function refusalOf(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => undefined,
    (error: unknown) => {
      if (!(error instanceof RefusedError)) throw error;
      return error.refusal;
    },
  );
}

const refused = (reason: string) => expect.objectContaining({ refused: reason });

async function finish(runId: RunId): Promise<void> {
  await ledger.submit(runId, { type: 'CancelRun', reason: '', force: true });
}

/** A running attempt in the hand of a session. */
async function started(): Promise<{ key: AttemptKey; writer: Writer }> {
  const instanceId = `i-${++instances}`;
  const instance = await ledger.connect('shell', instanceId);
  const runId = await create();
  await ledger.submit(runId, { type: 'Offer', job: 0, instance, instanceId });
  await ledger.submit(runId, { type: 'Accept', job: 0, attempt: 1, instance });
  return { key: { runId, job: 0, attempt: 1 }, writer: { instance, epoch: 1 } };
}

const setting = (key: string, value: ValueChange['value'], expected?: number): ValueChange => ({
  key,
  value,
  expected,
});

describe('a value', () => {
  test('is what was set last, with a version that never comes back', async () => {
    const runId = await create();
    expect(await values.set(project, runId, 'gate', { open: [1, null, 'ä'] })).toBe(1);
    expect(await values.set(project, runId, 'other', null)).toBe(2);
    expect(await values.set(project, runId, 'gate', 'shut', 1)).toBe(3);
    expect(await values.get(project, runId, 'gate')).toMatchObject({ key: 'gate', value: 'shut', version: 3 });
    expect(await values.get(project, runId, 'other')).toMatchObject({ value: null, version: 2 });
    await values.delete(project, runId, 'gate', 3);
    expect(await refusalOf(values.get(project, runId, 'gate'))).toEqual(refused('VALUE_NOT_FOUND'));
    // Whoever knew the deleted one cannot take the new one for it.
    expect(await values.set(project, runId, 'gate', 'anew', 0)).toBe(4);
    expect(await refusalOf(values.delete(project, runId, 'gate', 3))).toMatchObject({
      refused: 'VERSION_MISMATCH',
      metadata: { current_version: '4' },
    });
  });

  test('that is not there, or of another project or run, is not found', async () => {
    const runId = await create();
    await values.set(project, runId, 'gate', 1);
    const nowhere = '00000000-0000-7000-8000-000000000000' as RunId;
    for (const [where, id] of [['other', runId] as const, [project, nowhere] as const]) {
      expect(await refusalOf(values.get(where, id, 'gate'))).toEqual(refused('RUN_NOT_FOUND'));
      expect(await refusalOf(values.list(where, id, '', page))).toEqual(refused('RUN_NOT_FOUND'));
      expect(await refusalOf(values.set(where, id, 'gate', 2))).toEqual(refused('RUN_NOT_FOUND'));
      expect(await refusalOf(values.delete(where, id, 'gate'))).toEqual(refused('RUN_NOT_FOUND'));
    }
    expect(await refusalOf(values.delete(project, runId, 'none'))).toEqual(refused('VALUE_NOT_FOUND'));
    expect(await refusalOf(values.get(project, await create(), 'gate'))).toEqual(refused('VALUE_NOT_FOUND'));
    expect(await values.get(project, runId, 'gate')).toMatchObject({ value: 1 });
  });

  test('is written until its run has finished, and read until that is deleted', async () => {
    const runId = await create();
    await values.set(project, runId, 'gate', 1);
    await finish(runId);
    expect(await refusalOf(values.set(project, runId, 'gate', 2))).toEqual(refused('ALREADY_FINISHED'));
    expect(await refusalOf(values.delete(project, runId, 'gate'))).toEqual(refused('ALREADY_FINISHED'));
    expect(await values.get(project, runId, 'gate')).toMatchObject({ value: 1, version: 1 });
    await withTransaction(ledger.pool, (tx) => deleteFinishedRuns(tx, [runId]));
    expect(await refusalOf(values.get(project, runId, 'gate'))).toEqual(refused('RUN_NOT_FOUND'));
    while ((await withTransaction(ledger.pool, (tx) => sweepDeletedRuns(tx, 10, 100))).rows > 0);
    const { rows } = await sql.query('select 1 from run_values where run_id = $1', [runId]);
    expect(rows).toEqual([]);
  });

  test('is not written while a replica serves that would not remove it', async () => {
    const runId = await create();
    const older = { replica: 'r-0', version: '0.0.9', eventVersion: 3 };
    const gated = createRunValues({ pool: ledger.pool, replica: { oldest: () => older } });
    expect(await refusalOf(gated.set(project, runId, 'gate', 1))).toEqual(refused('REPLICA_TOO_OLD'));
    expect(await refusalOf(values.get(project, runId, 'gate'))).toEqual(refused('VALUE_NOT_FOUND'));
  });
});

describe('a list', () => {
  test('is in the order of keys, by prefix and page by page', async () => {
    const runId = await create();
    for (const key of ['b-2', 'B', 'a', 'b-10', 'b_', 'b-1']) await values.set(project, runId, key, key);
    const keysOf = (items: readonly { key: string }[]) => items.map(({ key }) => key);
    const all = await values.list(project, runId, '', page);
    expect(keysOf(all.items)).toEqual(['B', 'a', 'b-1', 'b-10', 'b-2', 'b_']);
    expect(all.next).toBeUndefined();
    const first = await values.list(project, runId, 'b-', { size: 2 });
    expect(keysOf(first.items)).toEqual(['b-1', 'b-10']);
    const second = await values.list(project, runId, 'b-', { size: 2, after: first.next! });
    expect(keysOf(second.items)).toEqual(['b-2']);
    expect(second.next).toBeUndefined();
  });

  test('of large values is cut to what a message holds', async () => {
    const runId = await create();
    const large = 'x'.repeat(30_000);
    for (let n = 0; n < 10; n++) await values.set(project, runId, `k${n}`, large);
    const first = await values.list(project, runId, '', page);
    expect(first.items.length).toBeGreaterThan(1);
    expect(first.items.length).toBeLessThan(10);
    const rest = await values.list(project, runId, '', { ...page, after: first.next! });
    expect(rest.items[0]?.key).toBe(`k${first.items.length}`);
  });
});

test('the values of a run are bounded by count and by bytes, also when they are replaced', async () => {
  const runId = await create();
  const large = 'x'.repeat(65_000);
  for (let n = 0; n < 16; n++) await values.set(project, runId, `k${n}`, large);
  expect(await refusalOf(values.set(project, runId, 'more', large))).toMatchObject({
    refused: 'LIMIT_REACHED',
    metadata: { limit: 'run_value_bytes', max: String(LIMITS.valuesBytes) },
  });
  await values.set(project, runId, 'k0', 'small');
  await values.set(project, runId, 'more', large);

  const many = await create();
  await sql.query(
    `insert into run_values (run_id, key, project, value, bytes, version, updated_ms)
     select $1, 'k' || n, 'default', '1', 4, n, 1 from generate_series(1, $2) n`,
    [many, LIMITS.valueKeys],
  );
  expect(await refusalOf(values.set(project, many, 'more', 1))).toMatchObject({
    metadata: { limit: 'run_value_keys' },
  });
  await values.set(project, many, 'k1', 2);
});

test('many changes of a run that somebody holds leave connections to whoever asks for something else', async () => {
  const [held, other] = [await create(), await create()];
  await values.set(project, other, 'key', 1);
  let changes: Promise<unknown> | undefined;
  await withTransaction(otherPools.pool, async (tx) => {
    await lockRunValues(tx, held);
    changes = Promise.all(Array.from({ length: 20 }, (_, n) => values.set(project, held, `k${n}`, n)));
    const askedMs = performance.now();
    expect(await values.get(project, other, 'key')).toMatchObject({ value: 1 });
    expect(performance.now() - askedMs).toBeLessThan(1_000);
  });
  await changes;
  expect((await values.list(project, held, '', page)).items).toHaveLength(20);
});

test('a run that is held for longer than a lock is waited for is waited for once more', async () => {
  await using impatient = await createPools({ ...database.config, lockTimeoutMs: 300 });
  const changed = createRunValues({ pool: impatient.pool, replica: { oldest: () => undefined } });
  const held = await create();
  /** When those who wait for a lock began. */
  const waitingSince = async (): Promise<string | undefined> => {
    const { rows } = await sql.query<{ since: string }>(
      `select xact_start::text as since from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return rows[0]?.since;
  };
  let setting: Promise<unknown> | undefined;
  await withTransaction(otherPools.pool, async (tx) => {
    await lockRunValues(tx, held);
    setting = changed.set(project, held, 'key', 1);
    await expect.poll(waitingSince, { interval: 20 }).toBeDefined();
    const first = await waitingSince();
    await expect.poll(async () => (await waitingSince()) ?? first, { interval: 20 }).not.toBe(first);
  });
  expect(await setting).toBe(1);
  await withTransaction(otherPools.pool, async (tx) => {
    await lockRunValues(tx, held);
    expect(await refusalOf(changed.set(project, held, 'key', 2))).toMatchObject({ refused: 'DATABASE_UNAVAILABLE' });
  });
});

describe('of two who change a value at once, from two replicas', () => {
  test('each that expects what there is wins once: nothing is lost', async () => {
    const runId = await create();
    await values.set(project, runId, 'count', 0);
    let mismatches = 0;
    const add = async (from: RunValues): Promise<void> => {
      for (;;) {
        const { value, version } = await from.get(project, runId, 'count');
        const refusal = await refusalOf(from.set(project, runId, 'count', Number(value) + 1, version));
        if (refusal === undefined) return;
        expect(refusal).toEqual(refused('VERSION_MISMATCH'));
        mismatches++;
      }
    };
    await Promise.all(Array.from({ length: 40 }, (_, n) => add(n % 2 === 0 ? values : others)));
    expect(await values.get(project, runId, 'count')).toMatchObject({ value: 40, version: 41 });
    expect(mismatches).toBeGreaterThan(0);
  });

  test('one of all who want it to be theirs gets it', async () => {
    const runId = await create();
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        refusalOf((n % 2 === 0 ? values : others).set(project, runId, 'owner', n, 0)),
      ),
    );
    expect(outcomes.filter((refusal) => refusal === undefined)).toHaveLength(1);
  });

  test('the second waits for the first, and sees what it made', async () => {
    const runId = await create();
    await values.set(project, runId, 'gate', 1);
    let second: Promise<unknown> | undefined;
    await withTransaction(ledger.pool, async (tx) => {
      await lockRunValues(tx, runId);
      second = refusalOf(others.set(project, runId, 'gate', 3, 1));
      await expect
        .poll(async () => {
          const { rows } = await sql.query(
            `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%value_version%'`,
          );
          return rows.length;
        })
        .toBe(1);
      await tx.query(`update run_values set value = '2', version = 2 where run_id = $1`, [runId]);
    });
    expect(await second).toMatchObject({ refused: 'VERSION_MISMATCH', metadata: { current_version: '2' } });
  });

  test('the end of the run comes first or last, never between', async () => {
    const runId = await create();
    let writing: Promise<unknown> | undefined;
    await ledger.inTransaction(async (submit) => {
      await submit(runId, { type: 'CancelRun', reason: '', force: true });
      writing = refusalOf(others.set(project, runId, 'late', 1));
      await delay(20);
    });
    expect(await writing).toEqual(refused('ALREADY_FINISHED'));
  });
});

describe('a driver', () => {
  test('changes and reads values of the run of an attempt that it holds', async () => {
    const { key, writer } = await started();
    expect(await values.changeFor(writer, key, 1, setting('gate', 'open', 0))).toEqual({ type: 'Done', version: 1 });
    expect(await others.readFor(writer, key, 'gate')).toEqual({ type: 'Done', value: 'open', version: 1 });
    expect(await values.get(project, key.runId, 'gate')).toMatchObject({ value: 'open' });
    expect(await values.changeFor(writer, key, 2, setting('gate', 'shut', 9))).toMatchObject({
      type: 'Refused',
      version: 1,
      refusal: { refused: 'VERSION_MISMATCH' },
    });
    expect(await values.changeFor(writer, key, 3, setting('gate', undefined, 1))).toEqual({ type: 'Done', version: 0 });
    expect(await values.changeFor(writer, key, 4, setting('gate', undefined))).toEqual({ type: 'Done', version: 0 });
    expect(await values.readFor(writer, key, 'gate')).toEqual({ type: 'Done', version: 0 });
  });

  test('that says a change again, at any replica, makes it once', async () => {
    const { key, writer } = await started();
    await values.changeFor(writer, key, 5, setting('gate', 'mine'));
    await values.set(project, key.runId, 'gate', 'of somebody else');
    expect(await others.changeFor(writer, key, 5, setting('gate', 'mine'))).toEqual({ type: 'Done', version: 1 });
    expect(await values.get(project, key.runId, 'gate')).toMatchObject({ value: 'of somebody else', version: 2 });
    expect(await values.changeFor(writer, key, 4, setting('gate', 'mine'))).toMatchObject({ type: 'Invalid' });
    expect(await values.get(project, key.runId, 'gate')).toMatchObject({ version: 2 });
  });

  test('is heard of by a change', async () => {
    const { key, writer } = await started();
    await values.changeFor(writer, key, 1, setting('gate', 1));
    const { rows } = await sql.query('select heard_ms is not null as heard from attempts where run_id = $1', [
      key.runId,
    ]);
    expect(rows).toEqual([{ heard: true }]);
  });

  test.each([
    ['of an older session', { epoch: 0 }, 'Superseded'],
    ['of another instance', { instance: 0 }, 'Superseded'],
  ])('with the writer %s changes and reads nothing', async (_, change, type) => {
    const { key, writer } = await started();
    const wrong = { ...writer, ...change };
    await values.set(project, key.runId, 'gate', 'secret');
    expect(await values.changeFor(wrong, key, 1, setting('gate', 1))).toEqual({ type });
    expect((await values.readFor(wrong, key, 'gate')).type).toMatch(/Superseded|Stale/);
    expect(await values.get(project, key.runId, 'gate')).toMatchObject({ version: 1 });
  });

  test('of one attempt has no access to the run of another', async () => {
    const [mine, foreign] = [await started(), await started()];
    const stale = { type: 'Stale', state: 'RUNNING' };
    expect(await values.changeFor(mine.writer, foreign.key, 1, setting('gate', 1))).toEqual(stale);
    expect(await values.readFor(mine.writer, foreign.key, 'gate')).toEqual(stale);
    const none = { ...mine.key, attempt: 2 };
    expect(await values.changeFor(mine.writer, none, 1, setting('gate', 1))).toEqual({ type: 'Stale' });
    expect(await values.readFor(mine.writer, none, 'gate')).toEqual({ type: 'Stale' });
  });

  test('whose attempt has ended changes and reads nothing', async () => {
    const { key, writer } = await started();
    await ledger.submit(key.runId, { ...finishWell(0, 1), instance: writer.instance }, writer);
    const stale = { type: 'Stale', state: 'SUCCEEDED' };
    expect(await values.changeFor(writer, key, 1, setting('gate', 1))).toEqual(stale);
    expect(await values.readFor(writer, key, 'gate')).toEqual(stale);
  });
});
