// Slots that become free beside rows of the queue that lead to no offer: of jobs that have left it, of runs that somebody holds, of specs that
// nobody connected takes, and those that another replica was quicker to take. None of these keeps a slot from the jobs behind it.
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JobDefinition } from '../src/core/definition.ts';
import { formatJobId, type JobKey, type RunId } from '../src/core/ids.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import { type EngineFixture, openEngineFixture } from '../src/engine/testing/engine-fixture.ts';
import { connectObedient } from './obedient-driver.ts';

let fixture: EngineFixture;
beforeAll(async () => {
  fixture = await openEngineFixture();
});
afterAll(() => fixture[Symbol.asyncDispose]());

const trigger = { kind: 'api', actor: '', reference: '' };
/** What the poll of a dispatcher would make one wait, at least. */
const SHORTEST_POLL_MS = 250;

async function create(project: string, ...jobs: readonly JobDefinition[]): Promise<RunId> {
  const definition = definitionOf(...jobs);
  return (await fixture.engine.runs.create(project, { definition, params: {}, labels: {}, trigger })).runId;
}

/** A driver of a name of its own, with one slot that a first job has taken. */
async function busyDriver(driver: string) {
  const one = await connectObedient(fixture.engine, { driver, instance: `${driver}-1` });
  const createOne = (project: string) => create(project, jobNamed('one', { driver }));
  await createOne('first');
  await expect.poll(() => one.started).toHaveLength(1);
  return {
    createOne,
    /** Lets the slot become free, and tells which job got it, and how long that took. */
    next: async (): Promise<{ readonly job: JobKey; readonly tookMs: number }> => {
      const before = one.started.length;
      const freedMs = performance.now();
      one.finish(one.started.at(-1)!, 'SUCCEEDED');
      await expect.poll(() => one.started.length, { interval: 1 }).toBe(before + 1);
      return { job: one.started.at(-1)!, tookMs: performance.now() - freedMs };
    },
  };
}

async function rowsOf(driver: string, project: string): Promise<readonly object[]> {
  const text = 'select * from queue where driver = $1 and project = $2';
  return (await fixture.pools.pool.query<object>(text, [driver, project])).rows;
}

async function putBack(rows: readonly object[]): Promise<void> {
  const text = 'insert into queue overriding system value select * from json_populate_recordset(null::queue, $1)';
  await fixture.pools.pool.query(text, [JSON.stringify(rows)]);
}

test('stale rows cost their line no turn, and the slot no time', async () => {
  const { createOne, next } = await busyDriver('stale');
  // Rows as they stay behind when a claim holds them while their jobs are cancelled.
  const cancelled = await Promise.all(Array.from({ length: 12 }, () => createOne('b')));
  const stale = await rowsOf('stale', 'b');
  for (const runId of cancelled) await fixture.engine.runs.cancel('b', runId, '', false);
  await putBack(stale);
  const project = new Map<RunId, string>();
  for (let n = 0; n < 6; n++) for (const name of ['a', 'b']) project.set(await createOne(name), name);
  const taken: string[] = [];
  const times: number[] = [];
  for (let n = 0; n < 12; n++) {
    const { job, tookMs } = await next();
    taken.push(project.get(job.runId)!);
    times.push(tookMs);
  }
  for (let n = 2; n <= 12; n++) {
    const ofA = taken.slice(0, n).filter((name) => name === 'a').length;
    expect(Math.abs(2 * ofA - n), taken.join('')).toBeLessThanOrEqual(2);
  }
  // With polls in between, there would be one for each stale row: of all together none is needed.
  expect(Math.max(...times)).toBeLessThan(12 * SHORTEST_POLL_MS);
  const { rows } = await fixture.pools.pool.query("select from queue where driver = 'stale'");
  expect(rows).toHaveLength(0);
});

test('a line whose rows another replica took leaves its turn to the next at once', async () => {
  const { createOne, next } = await busyDriver('taken');
  const project = new Map<RunId, string>();
  for (let n = 0; n < 12; n++) for (const name of ['a', 'b']) project.set(await createOne(name), name);
  const emptyMs: number[] = [];
  const plainMs: number[] = [];
  let last = project.get((await next()).job.runId)!;
  for (let n = 0; n < 8; n++) {
    const turn = last === 'a' ? 'b' : 'a';
    const rows = await rowsOf('taken', turn);
    await fixture.pools.pool.query('delete from queue where driver = $1 and project = $2', ['taken', turn]);
    const empty = await next();
    expect(project.get(empty.job.runId)).toBe(last);
    await putBack(rows);
    const plain = await next();
    last = project.get(plain.job.runId)!;
    emptyMs.push(empty.tookMs);
    plainMs.push(plain.tookMs);
  }
  const sum = (times: readonly number[]): number => times.reduce((all, one) => all + one, 0);
  // The poll would come after some 200 ms each time.
  expect(sum(emptyMs)).toBeLessThan(Math.max(8 * 100, 2 * sum(plainMs)));
});

test('a run that somebody holds keeps no slot from the jobs behind it, and is offered once it is free', async () => {
  const { createOne, next } = await busyDriver('locked');
  const locked = await createOne('p');
  const behind = await createOne('p');
  const client = await fixture.pools.pool.connect();
  try {
    await client.query('begin');
    await client.query('select from runs where run_id = $1 for no key update', [locked]);
    expect((await next()).job.runId).toBe(behind);
    const freed = next();
    // It is tried, and looked past for longer and longer, before it is let go.
    await delay(300);
    await client.query('rollback');
    expect((await freed).job.runId).toBe(locked);
  } finally {
    client.release();
  }
});

test('however many jobs nobody connected takes, those behind them are offered, and they are once somebody does', async () => {
  const driver = 'refused';
  const schemaOf = (name: string) => ({ specSchema: { type: 'object', required: [name] } });
  const connect = (instance: string, name: string, slots: number) =>
    connectObedient(fixture.engine, { driver, instance, slots, ...schemaOf(name) });
  // An instance of the next version, that is full.
  const next = await connect('next', 'x', 0);
  const jobs = Array.from({ length: 2_500 }, (_, n) => jobNamed(`j${n}`, { driver, spec: { x: 1 } }));
  const refused = await create('p', ...jobs);
  const present = await connect('present', 'y', 1);
  const createWanted = (priority?: number) =>
    create('p', jobNamed('one', { driver, spec: { y: 1 }, ...(priority && { priority }) }));
  let wanted: RunId | undefined;
  // Once it is known here that somebody takes it.
  await expect.poll(async () => (wanted = await createWanted().catch(() => undefined))).toBeDefined();
  await expect.poll(() => present.started.map(({ runId }) => runId)).toEqual([wanted]);
  // One of a higher priority comes before those that are refused, and is found there, too.
  const first = await createWanted(5);
  present.finish(present.started[0]!, 'SUCCEEDED');
  await expect.poll(() => present.started.map(({ runId }) => runId)).toEqual([wanted, first]);
  present.finish(present.started[1]!, 'SUCCEEDED');
  const able = await connect('able', 'x', 3);
  await expect.poll(() => able.started.length).toBe(3);
  expect(able.started.map(formatJobId)).toEqual([0, 1, 2].map((job) => formatJobId({ runId: refused, job })));
  for (const one of [next, present, able]) one.leave();
});
