// What who watches is told of readings, and when readings are made: by a reader that a test writes.
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { demandKey, demandKind, type DemandReading, type DemandView } from '../core/demand.ts';
import { createDemandWatch, type DemandWatch } from './demand-watch.ts';
import { createWakeUps } from './wake-ups.ts';

let stopped: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(stopped.map((stop) => stop()));
  stopped = [];
});

const NOBODY = { instances: 0, slots: 0, freeSlots: 0, held: 0 };

function demandFor(driver: string, queued: number, values: readonly string[] = []): DemandView {
  const required = values.length === 0 ? [] : [{ key: 'k', operator: 'IN' as const, values }];
  const kind = demandKind(driver, { selector: { required, preferred: [] } });
  return { ...kind, ...NOBODY, queued, paused: 0, more: false, oldestMs: 1 };
}

/** A loop over a reader that answers with what the test says at the time. */
function startWatch() {
  const wakeUps = createWakeUps();
  const stop = new AbortController();
  const reader = {
    reads: 0,
    demands: [demandFor('shell', 1)] as readonly DemandView[],
    error: undefined as Error | undefined,
  };
  const read = async (): Promise<DemandReading> => {
    reader.reads++;
    if (reader.error !== undefined) throw reader.error;
    return { demands: new Map(reader.demands.map((one) => [demandKey(one), one])), supply: new Map() };
  };
  const watch = createDemandWatch({ read, wakeUps });
  const running = watch.run(stop.signal);
  stopped.push(async () => {
    stop.abort();
    await running;
  });
  return { wakeUps, reader, watch, stop, running };
}

function open(watch: DemandWatch, ...drivers: string[]) {
  const abort = new AbortController();
  stopped.push(async () => abort.abort(new Error('the test is over')));
  return { messages: watch.watchDemand(drivers, abort.signal)[Symbol.asyncIterator](), abort };
}

type Messages = ReturnType<typeof open>['messages'];

async function next(messages: Messages) {
  const { value } = (await messages.next()) as IteratorYieldResult<Awaited<ReturnType<Messages['next']>>['value']>;
  const { changes, snapshotComplete } = value as {
    changes: { demand: DemandView; ended: boolean }[];
    snapshotComplete: boolean;
  };
  return { told: changes.map(({ demand, ended }) => `${demand.driver} ${demand.queued} ${ended}`), snapshotComplete };
}

test('nothing is read while nobody watches, and it is read once for all who do', async () => {
  const { reader, watch, wakeUps } = startWatch();
  wakeUps.ring('queues');
  await turn();
  expect(reader.reads).toBe(0);
  const watchers = Array.from({ length: 20 }, () => open(watch));
  const snapshots = await Promise.all(watchers.map(({ messages }) => next(messages)));
  expect(snapshots).toEqual(watchers.map(() => ({ told: ['shell 1 false'], snapshotComplete: true })));
  // Those that came when the first reading had begun are told of the second.
  expect(reader.reads).toBeLessThanOrEqual(2);
  for (const { messages, abort } of watchers) {
    const pending = messages.next();
    abort.abort(new Error('enough'));
    await expect(pending).rejects.toThrow('enough');
  }
  const { reads } = reader;
  wakeUps.ring('queues');
  await delay(250);
  expect(reader.reads).toBeLessThanOrEqual(reads + 1);
});

test('what is rung without end is read soon, ten times a second at most, and told together', async () => {
  const { reader, watch, wakeUps } = startWatch();
  const { messages } = open(watch);
  await next(messages);
  const beganMs = performance.now();
  const ringing = setInterval(() => {
    reader.demands = [demandFor('shell', reader.demands[0]!.queued + 1)];
    wakeUps.ring('queues');
  }, 1);
  const { reads } = reader;
  for (let n = 0; n < 4; n++) await next(messages);
  clearInterval(ringing);
  const tookMs = performance.now() - beganMs;
  expect(reader.reads - reads).toBeLessThanOrEqual(tookMs / 100 + 1);
  // Without the rings each would take half a second at least.
  expect(tookMs).toBeLessThan(2_000);
});

test('who comes while another one watches need not wait for the next reading in turn', async () => {
  const { watch } = startWatch();
  await next(open(watch).messages);
  const beganMs = performance.now();
  for (let n = 0; n < 3; n++) await next(open(watch).messages);
  // Each would wait half a second at least.
  expect(performance.now() - beganMs).toBeLessThan(1_400);
});

test('who does not read is told of the newest reading only, and holds up nobody', async () => {
  const { reader, watch, wakeUps } = startWatch();
  const [slow, quick] = [open(watch), open(watch)];
  await Promise.all([next(slow.messages), next(quick.messages)]);
  for (const queued of [2, 3]) {
    reader.demands = [demandFor('shell', queued)];
    wakeUps.ring('queues');
    expect(await next(quick.messages)).toEqual({ told: [`shell ${queued} false`], snapshotComplete: false });
  }
  reader.demands = [];
  wakeUps.ring('queues');
  expect((await next(quick.messages)).told).toEqual(['shell 0 true']);
  expect((await next(slow.messages)).told).toEqual(['shell 0 true']);
});

test('a reading that fails ends all who watch with its reason; who comes then is told of the next one', async () => {
  const { reader, watch, wakeUps } = startWatch();
  const watchers = [open(watch), open(watch)];
  await Promise.all(watchers.map(({ messages }) => next(messages)));
  reader.error = new Error('the database is away');
  const ends = watchers.map(({ messages }) => expect(messages.next()).rejects.toThrow('the database is away'));
  wakeUps.ring('queues');
  await Promise.all(ends);
  reader.error = undefined;
  expect((await next(open(watch).messages)).told).toEqual(['shell 1 false']);
});

test('much demand comes in several messages of bounded size, the last of which completes it', async () => {
  const { reader, watch } = startWatch();
  const values = Array.from({ length: 64 }, (_, i) => `${i}`.padEnd(256, 'x'));
  reader.demands = Array.from({ length: 100 }, (_, i) => demandFor(`d-${i}`, 1, values));
  const { messages } = open(watch);
  const parts: Awaited<ReturnType<typeof next>>[] = [];
  do parts.push(await next(messages));
  while (!parts.at(-1)!.snapshotComplete);
  expect(parts.length).toBeGreaterThan(2);
  expect(parts.flatMap(({ told }) => told)).toHaveLength(100);
});

test.each([true, false])('it stops with who watches: %s', async (watched) => {
  const { watch, stop, running } = startWatch();
  if (watched) await next(open(watch).messages);
  stop.abort();
  await running;
});
