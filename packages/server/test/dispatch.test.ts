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
    async next(): Promise<{ readonly job: JobKey; readonly tookMs: number }> {
      const before = one.started.length;
      const freedMs = performance.now();
      one.finish(one.started.at(-1)!, 'SUCCEEDED');
      await expect.poll(() => one.started.length, { interval: 1 }).toBe(before + 1);
      return { job: one.started.at(-1)!, tookMs: performance.now() - freedMs };
    },
  };
}

/** Rows as they stay behind when a claim holds them while their jobs are cancelled. */
async function queueStale(driver: string, project: string, count: number): Promise<void> {
  const { createOne } = { createOne: () => create(project, jobNamed('one', { driver })) };
  const runIds = await Promise.all(Array.from({ length: count }, createOne));
  await fixture.pools.pool.query('create table if not exists kept as select * from queue with no data');
  await fixture.pools.pool.query('insert into kept select * from queue where run_id = any($1)', [runIds]);
  for (const runId of runIds) await fixture.engine.runs.cancel(project, runId, '', false);
  await fixture.pools.pool.query('insert into queue overriding system value select * from kept');
  await fixture.pools.pool.query('drop table kept');
}

test('stale rows cost their line no turn, and the slot no time', async () => {
  const { createOne, next } = await busyDriver('stale');
  await queueStale('stale', 'b', 12);
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
  const plain: number[] = [];
  const empty: number[] = [];
  let last = '';
  for (let n = 0; n < 5; n++) {
    const { job, tookMs } = await next();
    last = project.get(job.runId)!;
    plain.push(tookMs);
  }
  for (let n = 0; n < 3; n++) {
    const other = last === 'a' ? 'b' : 'a';
    const text = 'delete from queue where driver = $1 and project = $2 returning *';
    await fixture.pools.pool.query(`create table kept as with gone as (${text}) select * from gone`, ['taken', other]);
    empty.push((await next()).tookMs);
    await fixture.pools.pool.query('insert into queue overriding system value select * from kept');
    await fixture.pools.pool.query('drop table kept');
    last = project.get((await next()).job.runId)!;
  }
  // A poll takes longer than 250 ms each time; two rounds little more than one.
  expect(Math.min(...empty)).toBeLessThan(Math.max(SHORTEST_POLL_MS - 50, 3 * Math.max(...plain)));
});
