import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import { withTransaction } from '../store/pool.ts';
import { lockStarts } from '../store/start-locks.ts';
import type { RunId } from '../core/ids.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { Writer } from './run-work.ts';
import { finishWell, type LedgerFixture, openLedgerFixture } from './testing/ledger-fixture.ts';

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
  const holder = await hold(held);

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
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(2_000);
  expect(others).toBeGreaterThan(5);

  await holder.release();
  expect(await ledger.submit(held, cancel)).toMatchObject({ type: 'Done' });
});

test('a run that somebody holds for longer than a lock is waited for is waited for once more, behind others', async () => {
  const [held, other] = [
    await ledger.create(definitionOf(jobNamed('held'))),
    await ledger.create(definitionOf(jobNamed('other')), { project: 'other' }),
  ];
  const [holder, holderOfOther] = await Promise.all([hold(held), hold(other)]);
  let isTold = false;
  const first = ledger.submit(held, cancel).finally(() => (isTold = true));
  await letTimePass();
  const second = ledger.submit(other, cancel);
  await letTimePass();
  await holderOfOther.release();
  expect(await second).toMatchObject({ type: 'Done' });
  expect(isTold).toBe(false);
  await holder.release();
  expect(await first).toMatchObject({ type: 'Done' });
});

test('a group that somebody holds holds up those alone who claim a place of it', async () => {
  const concurrency = { key: 'held', limit: 1, policy: 'QUEUE' } as const;
  const claiming = await ledger.create(definitionOf(jobNamed('claims', { concurrency })));
  const other = await ledger.create(definitionOf(jobNamed('other')));
  const { claimed } = await withTransaction(ledger.pool, async (tx) => {
    await lockStarts(tx, [{ project: 'default', key: 'held' }], [], true);
    const claim = ledger.submit(claiming, { type: 'ClaimPlace', job: 0 });
    const askedMs = performance.now();
    expect(await ledger.submit(other, cancel)).toMatchObject({ type: 'Done' });
    expect(performance.now() - askedMs).toBeLessThan(700);
    return { claimed: claim };
  });
  expect(await claimed).toMatchObject({ type: 'Done' });
  const { rows } = await ledger.pool.query('select state from jobs where run_id = $1', [claiming]);
  expect(rows).toEqual([{ state: 'QUEUED' }]);
});

test('what is asked of a run later does not overtake what waits for it', async () => {
  const [busy, run] = [
    await ledger.create(definitionOf(jobNamed('a'))),
    await ledger.create(definitionOf(jobNamed('b'))),
  ];
  const attempt = { job: 0, attempt: 1, instance: 1 } as const;
  await ledger.submit(run, { type: 'Offer', job: 0, instance: 1, instanceId: 'i-1' });
  await ledger.submit(run, { type: 'Accept', ...attempt });

  const [holderOfBusy, holderOfRun] = await Promise.all([hold(busy), hold(run)]);
  const first = ledger.submit(busy, cancel);
  await letTimePass();
  const declared = ledger.submit(run, {
    type: 'Declare',
    ...attempt,
    number: 1,
    artifact: ARTIFACT,
    content: undefined,
  });
  await letTimePass();
  await holderOfRun.release();
  const finished = ledger.submit(run, finishWell(0, 1));
  await letTimePass();
  await holderOfBusy.release();

  expect(await Promise.all([first, declared, finished])).toMatchObject([
    { type: 'Done' },
    { type: 'Done' },
    { type: 'Finished' },
  ]);
  const { rows } = await ledger.pool.query('select artifact from artifacts where run_id = $1', [run]);
  expect(rows).toEqual([{ artifact: ARTIFACT }]);
});

test('a result does not go on when what its driver said before it had to fail', async () => {
  const run = await ledger.create(definitionOf(jobNamed('a')));
  const session: Writer = { instance: await ledger.connect('shell', 'i-1'), epoch: 1 };
  const attempt = { job: 0, attempt: 1, instance: session.instance } as const;
  await ledger.submit(run, { type: 'Offer', job: 0, instance: session.instance, instanceId: 'i-1' });
  await ledger.submit(run, { type: 'Accept', ...attempt });
  const holder = await hold(run);
  const refused = { refusal: { refused: 'DATABASE_UNAVAILABLE' } };
  const declared = ledger.submit(
    run,
    { type: 'Declare', ...attempt, number: 1, artifact: ARTIFACT, content: undefined },
    session,
  );
  const declares = expect(declared).rejects.toMatchObject(refused);
  // By then it is waited for, so that what comes now waits behind it.
  await letTimePass();
  const finishes = expect(
    ledger.submit(run, { ...finishWell(0, 1), instance: session.instance }, session),
  ).rejects.toMatchObject(refused);
  const cancelled = ledger.submit(run, cancel);
  await declares;
  await holder.release();
  await finishes;
  // What others ask goes on.
  expect(await cancelled).toMatchObject({ type: 'Done' });
  // Said again, both are taken in order.
  await ledger.submit(run, { type: 'Declare', ...attempt, number: 1, artifact: ARTIFACT, content: undefined }, session);
  await ledger.submit(run, { ...finishWell(0, 1), instance: session.instance }, session);
  const { rows } = await ledger.pool.query('select artifact from artifacts where run_id = $1', [run]);
  expect(rows).toEqual([{ artifact: ARTIFACT }]);
});

/** So many flushes of others go by that what misses a run is waited for. */
async function letTimePass(): Promise<void> {
  const other = await ledger.create(definitionOf(jobNamed('other')));
  for (let i = 0; i < 4; i++) {
    await ledger.submit(other, { type: 'HoldJob', job: 0, actor: 'test', reason: `${i}` });
  }
}

const ARTIFACT = { name: 'a.txt', digest: 'sha256:00', sizeBytes: 1, uri: '', mediaType: '' };

async function hold(runId: RunId): Promise<{ release(): Promise<void> }> {
  const client = await ledger.pool.connect();
  await client.query('begin');
  await client.query('select from runs where run_id = $1 for update', [runId]);
  return {
    async release() {
      await client.query('rollback');
      client.release();
    },
  };
}
