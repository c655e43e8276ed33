import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { EventView } from '../core/views.ts';
import { createRunWatch } from './run-watch.ts';
import { type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';
import { createPlans } from './plans.ts';
import { createWakeUps } from './wake-ups.ts';

let ledger: LedgerFixture;
let stop: AbortController;
const two = definitionOf(jobNamed('build'), jobNamed('test', { needs: ['build'] }));

beforeAll(async () => {
  ledger = await openTestLedger();
});
afterAll(() => ledger[Symbol.asyncDispose]());
beforeEach(() => {
  stop = new AbortController();
});
afterEach(() => stop.abort(new Error('the test is over')));

function watch(
  runId: RunId,
  afterSeq = 0,
  project = 'default',
  replica: Parameters<typeof createRunWatch>[0] = ledger,
) {
  return createRunWatch(replica).watch(project, runId, afterSeq, stop.signal);
}

async function toTheEnd(batches: AsyncIterable<readonly EventView[]>): Promise<EventView[]> {
  const events: EventView[] = [];
  for await (const batch of batches) events.push(...batch);
  return events;
}

test('history and what comes are one gapless sequence that ends with the run', async () => {
  const runId = await ledger.create(two);
  await ledger.succeed(runId, 0);
  const watched = toTheEnd(watch(runId));
  await ledger.succeed(runId, 1);
  const events = await watched;
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
  expect(events.map(({ event, jobName, jobState }) => [event.type, jobName, jobState])).toEqual([
    ['RunCreated', undefined, undefined],
    ['AttemptOffered', 'build', 'OFFERED'],
    ['AttemptStarted', 'build', 'RUNNING'],
    ['AttemptEnded', 'build', expect.any(String)],
    ['JobFinished', 'build', 'SUCCEEDED'],
    ['JobQueued', 'test', 'QUEUED'],
    ['AttemptOffered', 'test', 'OFFERED'],
    ['AttemptStarted', 'test', 'RUNNING'],
    ['AttemptEnded', 'test', expect.any(String)],
    ['JobFinished', 'test', 'SUCCEEDED'],
    ['RunFinished', undefined, undefined],
  ]);
  expect(events.at(-1)).toMatchObject({ runId, runState: 'SUCCEEDED' });
});

test('the first batch is empty and comes at once', async () => {
  const runId = await ledger.create(two);
  const { value } = await watch(runId)[Symbol.asyncIterator]().next();
  expect(value).toEqual([]);
});

test('a cursor in the middle continues with the next event', async () => {
  const runId = await ledger.create(two);
  await ledger.submit(runId, { type: 'CancelRun', reason: '', force: false });
  const whole = await toTheEnd(watch(runId));
  expect(await toTheEnd(watch(runId, 2))).toEqual(whole.slice(2));
  expect(await toTheEnd(watch(runId, whole.length))).toEqual([]);
});

test('a replica that hears of nothing and knows no plan follows the run all the same', async () => {
  const runId = await ledger.create(definitionOf(jobNamed('alone')));
  const replica = { pool: ledger.pool, plans: createPlans(), wakeUps: createWakeUps() };
  const watched = toTheEnd(watch(runId, 0, 'default', replica));
  await ledger.succeed(runId, 0);
  expect((await watched).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6]);
});

test('events of a large run come in bounded batches', async () => {
  const jobs = Array.from({ length: 1_500 }, (_, index) => jobNamed(`job-${index}`));
  const runId = await ledger.create(definitionOf(...jobs));
  await ledger.submit(runId, { type: 'CancelRun', reason: '', force: false });
  const sizes: number[] = [];
  for await (const batch of watch(runId)) sizes.push(batch.length);
  expect(sizes).toEqual([0, 1_000, 503]);
});

test.each([
  ['beyond the last event', 99, 'default', 'INVALID_CURSOR'],
  ['of another project', 0, 'other', 'RUN_NOT_FOUND'],
] as const)('a watch %s is refused', async (_, afterSeq, project, refused) => {
  const runId = await ledger.create(two);
  await expect(toTheEnd(watch(runId, afterSeq, project))).rejects.toMatchObject({ refusal: { refused } });
});

test('a watch that is called off throws why, so that nobody takes it for the end of the run', async () => {
  const watched = toTheEnd(watch(await ledger.create(two)));
  stop.abort(new Error('called off'));
  await expect(watched).rejects.toThrow('called off');
});
