import { afterAll, beforeAll, expect, test } from 'vitest';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { drainMatching } from '../store/instance-rows.ts';
import { withConnection } from '../store/pool.ts';
import { createDriverQueries } from './driver-queries.ts';
import { type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';

let ledger: LedgerFixture;
let drivers: ReturnType<typeof createDriverQueries>;
const specSchema = { type: 'object', required: ['script'] };

beforeAll(async () => {
  ledger = await openTestLedger();
  drivers = createDriverQueries(ledger);
  const no = await ledger.connect('shell', 'b', { labels: { zone: 'x' }, specSchema });
  await ledger.connect('shell', 'a', { leaseMs: -1 });
  await ledger.connect('builder', 'z');
  const runId = await ledger.create(definitionOf(jobNamed('one'), jobNamed('two')));
  await ledger.submit(runId, { type: 'Offer', job: 0, instance: no, instanceId: 'b' });
});
afterAll(() => ledger[Symbol.asyncDispose]());

test('a driver instance is read with its schema, its lease and how much it holds', async () => {
  expect(await drivers.get('shell', 'b')).toMatchObject({
    name: 'shell',
    instance: 'b',
    state: 'READY',
    labels: { zone: 'x' },
    slots: 4,
    held: 1,
    epoch: 1,
    version: '1.2.3',
    specSchema,
    heartbeatMs: expect.any(Number),
  });
  expect(await drivers.get('builder', 'z')).not.toHaveProperty('specSchema');
});

test('an instance whose lease ran out is gone, by the clock of the database', async () => {
  expect(await drivers.get('shell', 'a')).toMatchObject({ state: 'GONE', held: 0 });
});

test('a draining instance says so while its lease lives', async () => {
  await withConnection(ledger.pool, (tx) => drainMatching(tx, 'builder', 'z', true));
  expect(await drivers.get('builder', 'z')).toMatchObject({ state: 'DRAINING' });
});

test('instances are drained by patterns, those that are connected and no other; one that is named, whether it is or not', async () => {
  const drained = async (name: string, instance: string) =>
    await withConnection(ledger.pool, async (tx) => {
      await tx.query('update instances set draining = false');
      await drainMatching(tx, name, instance, true);
      const { rows } = await tx.query('select instance from instances where draining order by instance');
      await tx.query('update instances set draining = false');
      return rows.map((row) => row.instance).join(' ');
    });
  await ledger.connect('shell-x', 'a_1');
  await ledger.connect('shell-x', 'ab1');
  expect(await drained('*', '*')).toBe('a_1 ab1 b z');
  expect(await drained('shell', '*')).toBe('b');
  expect(await drained('shell*', 'a*')).toBe('a_1 ab1');
  expect(await drained('shell-x', 'a_*')).toBe('a_1');
  expect(await drained('*l', '*')).toBe('b');
  expect(await drained('shell', 'a')).toBe('a');
  expect(await drained('nobody*', '*')).toBe('');
  await withConnection(ledger.pool, (tx) => tx.query("delete from instances where driver = 'shell-x'"));
});

test('an offer to an instance that drains does not commit, whoever makes it', async () => {
  const instance = await ledger.connect('drained', 'd');
  const runId = await ledger.create(definitionOf(jobNamed('one', { driver: 'drained' })));
  const offer = { type: 'Offer', job: 0, instance, instanceId: 'd' } as const;
  await withConnection(ledger.pool, (tx) => drainMatching(tx, 'drained', '*', true));
  expect(await ledger.submit(runId, offer, { instance, epoch: 1 })).toEqual({ type: 'Superseded' });
  await withConnection(ledger.pool, (tx) => drainMatching(tx, 'drained', '*', false));
  expect(await ledger.submit(runId, offer, { instance, epoch: 1 })).toEqual({ type: 'Done' });
  await withConnection(ledger.pool, (tx) => tx.query("delete from instances where driver = 'drained'"));
});

test('instances are listed by name and instance; those that are gone only when asked for', async () => {
  const list = async (filter: Parameters<typeof drivers.list>[0]) =>
    (await drivers.list(filter, { size: 10 })).items.map(({ name, instance }) => `${name}/${instance}`);
  expect(await list({ includeGone: true })).toEqual(['builder/z', 'shell/a', 'shell/b']);
  expect(await list({ includeGone: false })).toEqual(['builder/z', 'shell/b']);
  expect(await list({ name: 'shell', includeGone: true })).toEqual(['shell/a', 'shell/b']);
  const first = await drivers.list({ includeGone: true }, { size: 2 });
  const rest = await drivers.list({ includeGone: true }, { size: 2, after: first.next ?? '' });
  expect(rest.items.map(({ instance }) => instance)).toEqual(['b']);
  expect(rest.next).toBeUndefined();
  expect(rest.items[0]).not.toHaveProperty('specSchema');
});

test('an instance that never connected is not found', async () => {
  await expect(drivers.get('shell', 'c')).rejects.toMatchObject({ refusal: { refused: 'DRIVER_NOT_FOUND' } });
});
