// What runs work out that takes long: whoever waits for none of it gets turns in between, and answers meanwhile.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JobDefinition } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { lockRuns } from '../store/ledger-rows.ts';
import { withTransaction } from '../store/pool.ts';
import { finishWell, type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';

const RUNS = 16;
const COSTLY = ['zz', 'yy', 'xx', 'ww'].map((end) => `params.list.all(x, !x.endsWith("${end}"))`).join(' && ');
const params = { list: Array.from({ length: 5_000 }, (_, n) => `entry${n}`) };

let ledger: LedgerFixture;

beforeAll(async () => {
  ledger = await openTestLedger();
});
afterAll(() => ledger[Symbol.asyncDispose]());

/** How long the work takes, and how long others waited for it at worst. */
async function longestWait(work: () => Promise<unknown>): Promise<{ tookMs: number; waitedMs: number }> {
  const beganMs = performance.now();
  let lastMs = beganMs;
  let waitedMs = 0;
  const timer = setInterval(() => {
    waitedMs = Math.max(waitedMs, performance.now() - lastMs);
    lastMs = performance.now();
  }, 1);
  await work();
  clearInterval(timer);
  return { tookMs: performance.now() - beganMs, waitedMs: Math.max(waitedMs, performance.now() - lastMs) };
}

const each = (work: (n: number) => Promise<unknown>) => Promise.all(Array.from({ length: RUNS }, (_, n) => work(n)));

test('the conditions of many new runs, costly each, leave turns to others', async () => {
  const definition = definitionOf(jobNamed('first', { if: COSTLY }));
  await ledger.create(definition, { params });
  const { tookMs, waitedMs } = await longestWait(() => each(() => ledger.create(definition, { params })));
  expect(tookMs).toBeGreaterThan(RUNS * 10);
  expect(waitedMs).toBeLessThan(tookMs / 4);
});

test('so do those of runs that go on at the same time', async () => {
  const definition = definitionOf(jobNamed('first'), jobNamed('second', { needs: ['first'], if: COSTLY }));
  const runIds = await Promise.all(Array.from({ length: RUNS }, () => ledger.create(definition, { params })));
  await Promise.all(
    runIds.map(async (runId) => {
      await ledger.submit(runId, { type: 'Offer', job: 0, instance: 1, instanceId: 'i-1' });
      await ledger.submit(runId, { type: 'Accept', job: 0, attempt: 1, instance: 1 });
    }),
  );
  const { tookMs, waitedMs } = await longestWait(() =>
    Promise.all(runIds.map((runId) => ledger.submit(runId, finishWell(0, 1)))),
  );
  expect(tookMs).toBeGreaterThan(RUNS * 10);
  expect(waitedMs).toBeLessThan(tookMs / 4);
});

const JOBS = 30;
const many = (change: Partial<JobDefinition>) =>
  Array.from({ length: JOBS }, (_, n) => jobNamed(`job-${n}`, { if: COSTLY, ...change }));

/** Does something of others again and again while costly work is under way. Returns how long that took at worst. */
async function longestAnswer(work: Promise<unknown>, other: () => Promise<unknown>): Promise<number> {
  let isDone = false;
  const done = work.then(() => (isDone = true));
  let longestMs = 0;
  while (!isDone) {
    const askedMs = performance.now();
    await other();
    longestMs = Math.max(longestMs, performance.now() - askedMs);
  }
  await done;
  return longestMs;
}

test('one costly decision leaves turns to others, and what is asked of other runs is answered meanwhile', async () => {
  const runId = await ledger.create(definitionOf(jobNamed('first'), ...many({ needs: ['first'] })), { params });
  await ledger.submit(runId, { type: 'Offer', job: 0, instance: 1, instanceId: 'i-1' });
  await ledger.submit(runId, { type: 'Accept', job: 0, attempt: 1, instance: 1 });
  const other = await ledger.create(definitionOf(jobNamed('other')));
  let longestMs = Number.POSITIVE_INFINITY;
  const { tookMs, waitedMs } = await longestWait(async () => {
    longestMs = await longestAnswer(ledger.submit(runId, finishWell(0, 1)), () =>
      ledger.submit(other, { type: 'HoldJob', job: 0, actor: 'test', reason: '' }),
    );
  });
  expect(tookMs).toBeGreaterThan(JOBS * 10);
  expect(waitedMs).toBeLessThan(tookMs / 6);
  expect(longestMs).toBeLessThan(tookMs / 2);
});

test('what is asked of a run of another project has its turn between those of many runs that are costly each', async () => {
  const definition = definitionOf(jobNamed('first'), jobNamed('second', { needs: ['first'], if: COSTLY }));
  const runIds: RunId[] = [];
  await each(async () => {
    const runId = await ledger.create(definition, { params });
    runIds.push(runId);
    await ledger.submit(runId, { type: 'Offer', job: 0, instance: 1, instanceId: 'i-1' });
    await ledger.submit(runId, { type: 'Accept', job: 0, attempt: 1, instance: 1 });
  });
  const other = await ledger.create(definitionOf(jobNamed('other')), { project: 'other' });
  let longestMs = Number.POSITIVE_INFINITY;
  const { tookMs } = await longestWait(async () => {
    const finished = Promise.all(runIds.map((runId) => ledger.submit(runId, finishWell(0, 1))));
    longestMs = await longestAnswer(finished, () =>
      ledger.submit(other, { type: 'HoldJob', job: 0, actor: 'test', reason: '' }),
    );
    expect(new Set((await finished).map(({ type }) => type))).toEqual(new Set(['Finished']));
  });
  expect(tookMs).toBeGreaterThan(RUNS * 10);
  expect(longestMs).toBeLessThan(tookMs / 2);
});

test('so does one costly creation, meanwhile others are made', async () => {
  const other = definitionOf(jobNamed('other'));
  let longestMs = Number.POSITIVE_INFINITY;
  const { tookMs, waitedMs } = await longestWait(async () => {
    longestMs = await longestAnswer(ledger.create(definitionOf(...many({})), { params }), () => ledger.create(other));
  });
  expect(tookMs).toBeGreaterThan(JOBS * 10);
  expect(waitedMs).toBeLessThan(tookMs / 6);
  expect(longestMs).toBeLessThan(tookMs / 2);
});

test('a new run of another project has its turn between many of which each takes long', async () => {
  const definition = definitionOf(jobNamed('first', { if: COSTLY }));
  const other = definitionOf(jobNamed('other'));
  let longestMs = Number.POSITIVE_INFINITY;
  const { tookMs } = await longestWait(async () => {
    const costly = Promise.all(
      Array.from({ length: 3 * RUNS }, async (_, n) => {
        // Some of them are repetitions.
        const request = { id: `costly ${n % 40}`, bodyDigest: Buffer.alloc(32, 1) };
        const runId = await ledger.create(definition, { params, request });
        expect((await ledger.pool.query('select from runs where run_id = $1', [runId])).rowCount).toBe(1);
        return runId;
      }),
    );
    longestMs = await longestAnswer(costly, () => ledger.create(other, { project: 'other' }));
    expect(new Set(await costly).size).toBe(40);
  });
  expect(tookMs).toBeGreaterThan(40 * 10);
  expect(longestMs).toBeLessThan(tookMs / 4);
});

test('the repetition of a large and costly creation is answered without deciding on it again', async () => {
  const definition = definitionOf(...many({}), ...Array.from({ length: 500 }, (_, n) => jobNamed(`more-${n}`)));
  const request = { id: 'large', bodyDigest: Buffer.alloc(32, 1) };
  let made: RunId | undefined;
  let again: RunId | undefined;
  const first = await longestWait(async () => (made = await ledger.create(definition, { params, request })));
  const second = await longestWait(async () => (again = await ledger.create(definition, { params, request })));
  expect(again).toBe(made);
  expect(first.tookMs).toBeGreaterThan(JOBS * 10);
  expect(second.tookMs).toBeLessThan(first.tookMs / 3);
});

test('a run with a small matrix does not wait for a costly creation', async () => {
  const large = Array.from({ length: 500 }, (_, n) => jobNamed(`more-${n}`));
  let isDone = false;
  const costly = ledger.create(definitionOf(...many({}), ...large), { params }).then(() => (isDone = true));
  const begun = `select from pg_stat_activity where datname = current_database() and application_name = 'conveyor large creates'
    and xact_start is not null`;
  await expect.poll(async () => (await ledger.pool.query(begun)).rowCount).toBe(1);
  await ledger.create(definitionOf(jobNamed('cell', { matrix: { axes: { n: [1, 2] } } })));
  expect(isDone).toBe(false);
  await costly;
});

test('neither several costly creations nor the repetition of one keep others waiting', async () => {
  const other = definitionOf(jobNamed('other', { if: 'params.list.size() > 1' }));
  const request = { id: 'again', bodyDigest: Buffer.alloc(32, 1) };
  const costly = () => ledger.create(definitionOf(...many({})), { params, request });
  const beganMs = performance.now();
  const { tookMs } = await longestWait(async () => {
    const first = costly();
    const longestMs = await longestAnswer(
      Promise.all([first, ledger.create(definitionOf(...many({})), { params }), costly()]).then(([made, , again]) => {
        expect(again).toBe(made);
      }),
      () => ledger.create(other, { params }),
    );
    expect(longestMs).toBeLessThan((performance.now() - beganMs) / 2);
  });
  expect(tookMs).toBeGreaterThan(JOBS * 10);
});

test('many commands for a large run leave turns to others', async () => {
  const runId = await ledger.create(definitionOf(...Array.from({ length: 5_000 }, (_, n) => jobNamed(`job-${n}`))));
  const { tookMs, waitedMs } = await longestWait(() =>
    Promise.all([
      ledger.submit(runId, { type: 'PauseRun', reason: '', actor: 'test' }),
      ...Array.from({ length: 500 }, (_, job) =>
        ledger.submit(runId, { type: 'ReleaseJob', job, reason: '', actor: 'test' }),
      ),
    ]),
  );
  expect(waitedMs).toBeLessThan(tookMs / 2);
});

test('a run that somebody held waits for one costly decision, and not for all that were asked for before', async () => {
  const definition = definitionOf(jobNamed('first'), ...many({ needs: ['first'] }).slice(0, 8));
  const runIds = await Promise.all(Array.from({ length: 4 }, () => ledger.create(definition, { params })));
  for (const runId of runIds) {
    await ledger.submit(runId, { type: 'Offer', job: 0, instance: 1, instanceId: 'i-1' });
    await ledger.submit(runId, { type: 'Accept', job: 0, attempt: 1, instance: 1 });
  }
  const create = () => ledger.create(definitionOf(jobNamed('one')), { project: 'other' });
  const [busy, held, other] = [await create(), await create(), await create()];
  const hold = (runId: RunId) => ledger.submit(runId, { type: 'HoldJob', job: 0, actor: 'test', reason: '' });
  const flushes = async (count: number) => {
    for (let flush = 0; flush < count; flush++) await hold(other);
  };
  let decided = 0;
  const asked = await withTransaction(ledger.pool, async (tx) => {
    await lockRuns(tx, [busy, held], true);
    const first = hold(busy);
    await flushes(4);
    const costly = runIds.map((runId) => ledger.submit(runId, finishWell(0, 1)).then(() => decided++));
    await flushes(runIds.length + 1);
    const last = hold(held).then(() => decided);
    await flushes(4);
    expect(decided).toBe(0);
    return { first, costly, last };
  });
  expect(await asked.last).toBeLessThan(2);
  await Promise.all([asked.first, ...asked.costly]);
});

test('decisions that take long are made in turns of projects', async () => {
  const definition = definitionOf(jobNamed('first'), ...many({ needs: ['first'] }).slice(0, 8));
  const begin = async (project: string) => {
    const runId = await ledger.create(definition, { params, project });
    await ledger.submit(runId, { type: 'Offer', job: 0, instance: 1, instanceId: 'i-1' });
    await ledger.submit(runId, { type: 'Accept', job: 0, attempt: 1, instance: 1 });
    return runId;
  };
  const greedy = [await begin('greedy'), await begin('greedy'), await begin('greedy'), await begin('greedy')];
  const modest = await begin('modest');
  const create = () => ledger.create(definitionOf(jobNamed('one')), { project: 'other' });
  const [busy, other] = [await create(), await create()];
  const hold = (runId: RunId) => ledger.submit(runId, { type: 'HoldJob', job: 0, actor: 'test', reason: '' });
  const flushes = async (count: number) => {
    for (let flush = 0; flush < count; flush++) await hold(other);
  };
  let decided = 0;
  const asked = await withTransaction(ledger.pool, async (tx) => {
    await lockRuns(tx, [busy], true);
    const first = hold(busy);
    await flushes(4);
    const costly = greedy.map((runId) => ledger.submit(runId, finishWell(0, 1)).then(() => decided++));
    await flushes(greedy.length + 1);
    const last = ledger.submit(modest, finishWell(0, 1)).then(() => decided);
    await flushes(2);
    return { first, costly, last };
  });
  expect(await asked.last).toBeLessThan(2);
  await Promise.all([asked.first, ...asked.costly]);
});

test('what is asked of a run of another project has its turn, also behind more than one flush takes', async () => {
  const own = await openTestLedger();
  const costly = Array.from({ length: 7 }, (_, n) => `params.list.all(x, x != "${n}")`).join(' && ');
  const definition = definitionOf(jobNamed('first'), jobNamed('second', { needs: ['first'], if: costly }));
  const few = { list: Array.from({ length: 1_000 }, () => 'x') };
  const runIds = await Promise.all(
    Array.from({ length: 1_600 }, () => own.create(definition, { params: few, project: 'greedy' })),
  );
  const other = await own.create(definitionOf(jobNamed('other')), { project: 'modest' });
  await Promise.all(
    runIds.map(async (runId) => {
      await own.submit(runId, { type: 'Offer', job: 0, instance: 1, instanceId: 'i-1' });
      await own.submit(runId, { type: 'Accept', job: 0, attempt: 1, instance: 1 });
    }),
  );
  let decided = 0;
  const asked = runIds.map((runId) => own.submit(runId, finishWell(0, 1)).then(() => decided++));
  // The rest is left undone at the end.
  const settled = Promise.allSettled(asked);
  await own.submit(other, { type: 'HoldJob', job: 0, actor: 'test', reason: '' });
  expect(decided).toBeLessThan(300);
  await own[Symbol.asyncDispose]();
  await settled;
});
