import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createPools, type Pools } from './connect.ts';
import {
  type DefinitionDigest,
  definitionWrite,
  digestOf,
  insertDefinitions,
  removeUnusedDefinitions,
} from './definition-rows.ts';
import { withConnection, withTransaction } from './pool.ts';
import { createTestDatabase, type TestDatabase } from './testing/database.ts';
import { storeRun } from './testing/stored-run.ts';
import { inTurns } from './turns.ts';

const DAY_MS = 86_400_000;

let database: TestDatabase;
let pools: Pools;
let nowMs: number;

beforeAll(async () => {
  database = await createTestDatabase();
  pools = await createPools(database.config);
});
beforeEach(async () => {
  await pools.pool.query('truncate definitions, pipeline_revisions, runs');
  nowMs = Date.now();
});
afterAll(async () => {
  await pools[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** Stores a definition that was last made sure of so many days ago. */
async function store(name: string, daysAgo: number): Promise<DefinitionDigest> {
  const definition = definitionOf(jobNamed(name));
  const written = await inTurns(definitionWrite(definition));
  await withConnection(pools.pool, (tx) => insertDefinitions(tx, [written], nowMs - daysAgo * DAY_MS));
  return written.digest;
}

async function stored(): Promise<DefinitionDigest[]> {
  const { rows } = await pools.pool.query<{ digest: string }>(
    `select encode(digest, 'hex') as digest from definitions order by digest`,
  );
  return rows.map(({ digest }) => digest);
}

const pass = (after?: DefinitionDigest, limit = 100) =>
  withConnection(pools.pool, (tx) => removeUnusedDefinitions(tx, after, nowMs, limit));

test('a definition goes once no run, no revision and, for a day, nobody who stores it needs it', async () => {
  const inRun = await store('run', 2);
  const runId = await storeRun(pools.pool, { digest: inRun });
  const inPipeline = await store('pipeline', 2);
  await pools.pool.query(`insert into pipeline_revisions values ('default', 'ci', 1, decode($1, 'hex'), 1)`, [
    inPipeline,
  ]);
  const young = await store('young', 0.9);
  await store('unused', 2);
  expect(await pass()).toEqual({ removed: 1, next: undefined });
  expect(await stored()).toEqual([inRun, inPipeline, young].toSorted());
  await pools.pool.query('delete from runs where run_id = $1', [runId]);
  await pools.pool.query('delete from pipeline_revisions');
  expect(await pass()).toEqual({ removed: 2, next: undefined });
  expect(await stored()).toEqual([young]);
});

test('a pass looks at so many definitions, and the next goes on behind them', async () => {
  for (let i = 0; i < 5; i++) await store(`unused-${i}`, 2);
  const first = await pass(undefined, 2);
  const second = await pass(first.next, 2);
  expect([first, second]).toEqual([
    { removed: 2, next: expect.any(String) },
    { removed: 2, next: expect.any(String) },
  ]);
  expect(await pass(second.next, 2)).toEqual({ removed: 1, next: undefined });
});

test('a definition that is made sure of while it is about to go stays', async () => {
  const digest = await store('again', 2);
  const removing = await withTransaction(pools.pool, async (tx) => {
    await insertDefinitions(tx, [await inTurns(definitionWrite(definitionOf(jobNamed('again'))))], nowMs);
    const removing = pass();
    const waiting = `select from pg_stat_activity where wait_event_type = 'Lock' and query like 'delete from definitions%'`;
    await expect.poll(async () => (await pools.pool.query(waiting)).rowCount).toBe(1);
    return { removing };
  });
  expect(await removing.removing).toEqual({ removed: 0, next: undefined });
  expect(await stored()).toEqual([digest]);
});

test('the digest of a large definition, and what is stored of it, come in slices', () => {
  const large = definitionOf(...Array.from({ length: 10_000 }, (_, n) => jobNamed(`job-${n}`)));
  expect(Array.from(digestOf(large)).length).toBeGreaterThan(30);
  expect(Array.from(definitionWrite(large)).length).toBeGreaterThan(30);
});
