// Demand as watchers of two replicas are told it, over one real database: what is queued by whomever, apart by what it asks, beside who is
// there; and that it is always what a recount says.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { JobDefinition } from '../src/core/definition.ts';
import { demandKey, type DemandView } from '../src/core/demand.ts';
import type { RunId } from '../src/core/ids.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import { randomFrom } from '../src/core/testing/random-from.ts';
import type { DemandChanges } from '../src/engine/driver-operations.ts';
import type { Engine } from '../src/engine/engine.ts';
import { beginAttempt, connectDriver } from '../src/engine/testing/driver-session.ts';
import { startTwoEngines, type TwoEngines } from './two-engines.ts';

let system: TwoEngines;
let one: Engine;
let other: Engine;
beforeAll(async () => {
  system = await startTwoEngines();
  [one, other] = system.engines;
});
afterAll(() => system[Symbol.asyncDispose]());

let stop = new AbortController();
afterEach(() => {
  stop.abort();
  stop = new AbortController();
});

let drivers = 0;
const newDriver = (): string => `wanted-${++drivers}`;

interface Watcher {
  /** What it was told, by key; what has ended is gone. */
  readonly known: ReadonlyMap<string, DemandView>;
  readonly messages: readonly DemandChanges[];
  /** Rejects with what ended the watch. */
  readonly over: Promise<void>;
  shows(expected: readonly Partial<DemandView>[]): Promise<void>;
}

function watch(engine: Engine, ...names: string[]): Watcher {
  const known = new Map<string, DemandView>();
  const messages: DemandChanges[] = [];
  const { signal } = stop;
  const read = async (): Promise<void> => {
    for await (const message of engine.drivers.watchDemand(names, signal)) {
      messages.push(message);
      for (const { demand, ended } of message.changes) {
        if (ended) known.delete(demandKey(demand));
        else known.set(demandKey(demand), demand);
      }
    }
  };
  const over = read();
  over.catch(() => undefined);
  return {
    known,
    messages,
    over,
    async shows(expected) {
      await expect.poll(() => [...known.values()]).toMatchObject(expected);
      // No more of them than these.
      expect(known.size).toBe(expected.length);
    },
  };
}

async function create(engine: Engine, pipeline: string | undefined, ...jobs: JobDefinition[]): Promise<RunId> {
  const definition = definitionOf(...jobs);
  if (pipeline !== undefined) await engine.pipelines.apply('default', pipeline, definition);
  const source = pipeline === undefined ? { definition } : { pipeline: { name: pipeline } };
  const { runId } = await engine.runs.create('default', {
    ...source,
    params: {},
    labels: {},
    trigger: { kind: 'api', actor: '', reference: '' },
  });
  return runId;
}

const os = (value: string) => ({
  selector: { required: [{ key: 'os', operator: 'EQUALS' as const, values: [value] }], preferred: [] },
});

test('what one replica queues, a watcher of the other is told, though no such driver ever connected; and its end once', async () => {
  const driver = newDriver();
  const watcher = watch(other, driver);
  await expect.poll(() => watcher.messages).toEqual([{ changes: [], snapshotComplete: true }]);
  const beganMs = Date.now();
  const runId = await create(one, undefined, jobNamed('a', { driver }), jobNamed('b', { driver, needs: ['a'] }));
  await watcher.shows([{ driver, required: [], queued: 1, paused: 0, more: false, instances: 0, slots: 0, held: 0 }]);
  const [{ oldestMs = 0 } = {}] = watcher.known.values();
  expect(oldestMs).toBeGreaterThanOrEqual(beganMs - 1_000);
  expect(oldestMs).toBeLessThanOrEqual(Date.now() + 1_000);
  await one.runs.cancel('default', runId, 'enough', false);
  await watcher.shows([]);
  expect(watcher.messages.at(-1)).toMatchObject({ changes: [{ ended: true, demand: { queued: 0 } }] });
  const told = watcher.messages.length;
  await create(one, undefined, jobNamed('a', { driver: newDriver() }));
  await watch(other).shows([{ driver: `wanted-${drivers}` }]);
  expect(watcher.messages).toHaveLength(told);
  expect(watcher.messages.filter(({ snapshotComplete }) => snapshotComplete)).toHaveLength(1);
});

test.each([0, 1])('a new job is told soon, also when replica %i has created it', async (creator) => {
  const driver = newDriver();
  const watcher = watch(other, driver);
  await expect.poll(() => watcher.messages).toHaveLength(1);
  const tookMs: number[] = [];
  for (let queued = 1; queued <= 6; queued++) {
    await create(system.engines[creator]!, undefined, jobNamed('a', { driver }));
    const createdMs = performance.now();
    await watcher.shows([{ queued }]);
    tookMs.push(performance.now() - createdMs);
  }
  // Right after a reading the next one in turn is 600 ms away.
  expect(Math.min(...tookMs.slice(1))).toBeLessThan(500);
});

test('jobs are told apart by what they require and by their pool, and not by pipelines or preferences', async () => {
  const driver = newDriver();
  const [pipeline, second] = [`${driver}-x`, `${driver}-y`];
  await create(one, pipeline, jobNamed('a', { driver, ...os('linux') }), jobNamed('b', { driver, ...os('mac') }));
  const { selector } = os('linux');
  const preferring = { ...selector, preferred: [{ key: 'fast', operator: 'EXISTS' as const, values: [] }] };
  await create(other, second, jobNamed('a', { driver, selector: preferring }), jobNamed('b', { driver, pool: 'gpu' }));
  await create(other, undefined, jobNamed('a', { driver }));
  const linux = await connectDriver(one, {
    driver,
    instance: 'i-1',
    labels: { os: 'plan9' },
    slots: 3,
    pools: { gpu: 2 },
  });
  // It takes what it may: what asks for nothing, and what asks for its pool.
  await expect.poll(() => linux.count('Offer')).toBe(2);
  for (const engine of [one, other]) {
    const watcher = watch(engine, driver);
    await expect
      .poll(() =>
        [...watcher.known.values()]
          .map(({ required, pool, queued, slots, freeSlots, held }) => ({
            asks: pool ?? required[0]?.values[0],
            queued,
            supply: [slots, freeSlots, held],
          }))
          .toSorted((a, b) => String(a.asks).localeCompare(String(b.asks))),
      )
      .toEqual([
        { asks: 'linux', queued: 2, supply: [0, 0, 0] },
        { asks: 'mac', queued: 1, supply: [0, 0, 0] },
        { asks: undefined, queued: 0, supply: [3, 1, 2] },
      ]);
  }
});

test('of many kinds of jobs each is told', async () => {
  const driver = newDriver();
  const pools = Array.from({ length: 100 }, (_, i) => `pool-${i}`);
  await create(one, undefined, ...pools.map((pool) => jobNamed(pool, { driver, pool })));
  const watcher = watch(other, driver);
  await expect.poll(() => watcher.known.size).toBe(100);
  expect(new Set([...watcher.known.values()].map(({ pool, queued }) => `${pool} ${queued}`))).toEqual(
    new Set(pools.map((pool) => `${pool} 1`)),
  );
});

test('what a pause keeps back is told as paused, by driver and by pipeline', async () => {
  const driver = newDriver();
  const watcher = watch(other, driver);
  await create(one, `${driver}-x`, jobNamed('a', { driver }), jobNamed('b', { driver }));
  await create(one, undefined, jobNamed('a', { driver }));
  await watcher.shows([{ queued: 3, paused: 0 }]);
  const pause = { driver, project: 'default', pipeline: `${driver}-x`, actor: '', reason: '' };
  await one.drivers.pauseQueue(pause);
  await watcher.shows([{ queued: 1, paused: 2 }]);
  await one.drivers.pauseQueue({ ...pause, project: '', pipeline: '' });
  await watcher.shows([{ queued: 0, paused: 3, oldestMs: undefined }]);
  await one.drivers.resumeQueue(pause);
  await one.drivers.resumeQueue({ ...pause, project: '', pipeline: '' });
  await watcher.shows([{ queued: 3, paused: 0 }]);
});

test('while a connected instance works, the demand of its driver is there with nothing queued, until it is idle', async () => {
  const connected = await connectDriver(one, { slots: 2 });
  const watcher = watch(other, connected.driver);
  const key = await beginAttempt(one, connected);
  await watcher.shows([{ queued: 0, oldestMs: undefined, instances: 1, slots: 2, freeSlots: 1, held: 1 }]);
  connected.session.receive([
    {
      type: 'Finish',
      key,
      outcome: 'SUCCEEDED',
      failureClass: 'WORKLOAD',
      message: '',
      logSize: 0,
      logCrc32c: 0,
      logLost: false,
    },
  ]);
  await watcher.shows([]);
  expect(watcher.messages.at(-1)?.changes).toMatchObject([
    { ended: true, demand: { held: 0, instances: 1, slots: 2 } },
  ]);
});

test('a job that is held leaves the queue; let go, it has the place of one that was queued for as long', async () => {
  const driver = newDriver();
  const watcher = watch(other, driver);
  const held = { runId: await create(one, undefined, jobNamed('first', { driver })), job: 0 };
  await watcher.shows([{ queued: 1 }]);
  // By the time that it had waited when it was held.
  await system.sql.query('update jobs set queued_ms = queued_ms - 60000 where run_id = $1', [held.runId]);
  await other.jobs.hold('default', held, { actor: '', reason: '' });
  const queued = async (): Promise<string[]> => {
    const { rows } = await system.sql.query<{ run_id: string }>(
      'select run_id from queue where driver = $1 order by rank',
      [driver],
    );
    return rows.map(({ run_id: runId }) => runId);
  };
  expect(await queued()).toEqual([]);
  await watcher.shows([]);
  const second = await create(one, undefined, jobNamed('second', { driver }));
  await other.jobs.release('default', held, { actor: '', reason: '' });
  expect(await queued()).toEqual([held.runId, second]);
  await watcher.shows([{ queued: 2 }]);
  expect([...watcher.known.values()][0]?.oldestMs).toBeLessThan(Date.now() - 59_000);
});

test('after random steps of both replicas, demand is what a recount says', async () => {
  const random = randomFrom(17);
  const names = [newDriver(), newDriver()];
  const watchers = [watch(one, ...names), watch(other, ...names)];
  const runs: RunId[] = [];
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const asks = [{}, os('linux'), os('mac'), { pool: 'gpu' }, { ...os('mac'), pool: 'gpu' }];
  for (let step = 0; step < 60; step++) {
    const engine = pick(system.engines);
    const runId = pick(runs);
    const nth = Math.floor(random() * 6);
    if (nth < 3 || runId === undefined) {
      const jobs = ['a', 'b', 'c'].map((name) => jobNamed(name, { driver: pick(names), ...pick(asks) }));
      runs.push(await create(engine, undefined, ...jobs));
    } else if (nth === 3) {
      await engine.runs.cancel('default', runId, '', false).catch(() => undefined);
    } else if (nth === 4) {
      await engine.runs.pause('default', runId, { actor: '', reason: '' }).catch(() => undefined);
    } else {
      await engine.runs.resume('default', runId, { actor: '', reason: '' }).catch(() => undefined);
    }
  }
  const { rows } = await system.sql.query<{ asks: string; count: number }>(
    `select concat_ws(' ', b.job->>'driver', b.job->>'pool', b.job->'selector'->'required'->0->'values'->>0) as asks, count(*)::int as count
     from jobs j join runs r using (run_id) join definitions d on d.digest = r.digest
     cross join lateral (select d.body->'jobs'->j.job as job) b
     where j.state = 'QUEUED' and b.job->>'driver' = any($1) group by 1 order by 1`,
    [names],
  );
  expect(rows.length).toBeGreaterThan(5);
  for (const { known } of watchers) {
    await expect
      .poll(() =>
        [...known.values()]
          .map(({ driver, pool, required, queued: count }) => ({
            asks: [driver, pool, required[0]?.values[0]].filter((part) => part !== undefined).join(' '),
            count,
          }))
          .toSorted((a, b) => (a.asks < b.asks ? -1 : 1)),
      )
      .toEqual(rows);
  }
});

test('who begins to watch is told how things stand then, not what was read before', async () => {
  const driver = newDriver();
  const first = watch(one, driver);
  await expect.poll(() => first.messages).toHaveLength(1);
  stop.abort();
  await expect(first.over).rejects.toThrow();
  stop = new AbortController();
  await create(one, undefined, jobNamed('a', { driver }));
  const later = watch(one, driver);
  await later.shows([{ queued: 1 }]);
  expect(later.messages).toHaveLength(1);
});
