// Whatever a tree of calls does, it ends, it can be stopped, and it keeps nobody else waiting.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JobDefinition } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { RunningEngine } from './start-engine.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';

const project = 'default';
const trigger = { kind: 'api', actor: '', reference: '' };
const FORCE = true;

let fixture: EngineFixture;
let engine: RunningEngine;

beforeAll(async () => {
  fixture = await openEngineFixture();
  ({ engine } = fixture);
});
afterAll(() => fixture[Symbol.asyncDispose]());

const calling = (name: string, pipeline: string, change: Partial<JobDefinition> = {}) =>
  jobNamed(name, { driver: '', call: { pipeline, params: {} }, ...change });

async function query<T>(text: string, values: unknown[] = []): Promise<T[]> {
  return (await fixture.pools.pool.query(text, values)).rows as T[];
}

async function count(what: string, values: unknown[] = []): Promise<number> {
  return (await query<{ count: number }>(`select count(*)::int as count from ${what}`, values))[0]!.count;
}

async function runPipeline(name: string): Promise<RunId> {
  const { runId } = await engine.runs.create(project, { pipeline: { name }, params: {}, labels: {}, trigger });
  return runId;
}

/** Only its bound ends it. */
async function applyBomb(name: string): Promise<void> {
  const fuses = Array.from({ length: 4 }, (_, n) => calling(`me${n}`, name, { if: 'true' }));
  await engine.pipelines.apply(project, name, definitionOf(...fuses));
}

/** Has the calls of a run made as many runs already, short of some. */
async function leaveRoom(root: RunId, room: number): Promise<void> {
  await query(
    `insert into call_trees (run_id, project, runs) values ($1, $2, $3)
     on conflict (run_id) do update set runs = call_trees.runs + excluded.runs`,
    [root, project, LIMITS.callTreeRuns - room],
  );
}

const childrenOf = (pipeline: string) =>
  count(`runs where pipeline = $1 and trigger ->> 'kind' = 'pipeline'`, [pipeline]);

test('a tree of calls that has no end stops at its bound and says so', async () => {
  await applyBomb('bomb');
  const bomb = await runPipeline('bomb');
  await leaveRoom(bomb, 150);
  await expect.poll(() => count('runs where finished_ms is null'), { timeout: 15_000 }).toBe(0);
  expect(await childrenOf('bomb')).toBe(150);
  const bound = `the calls that its first run led to have made ${LIMITS.callTreeRuns} runs%`;
  const refusals = await count(`jobs where failure ->> 'class' = 'INVALID' and failure ->> 'message' like $1`, [bound]);
  // Of 151 runs of four calls each, 150 were made.
  expect(refusals).toBe(151 * 4 - 150);
  expect(await count('calls')).toBe(0);
}, 30_000);

test('somebody else is served beside a tree of calls that grows, and a cancel reaches all of it', async () => {
  await engine.pipelines.apply(project, 'plain', definitionOf(jobNamed('wait')));
  await engine.pipelines.apply(project, 'once', definitionOf(calling('call', 'plain')));
  await applyBomb('growing');
  const growing = await runPipeline('growing');
  await expect.poll(() => childrenOf('growing'), { timeout: 10_000 }).toBeGreaterThan(60);
  const startMs = performance.now();
  const once = await runPipeline('once');
  await expect
    .poll(() => count('calls where run_id = $1 and child_run is not null', [once]), { timeout: 5_000 })
    .toBe(1);
  expect(performance.now() - startMs).toBeLessThan(2_000);
  await engine.runs.cancel(project, growing, 'enough', FORCE);
  const open = () => count(`runs where pipeline = 'growing' and finished_ms is null`);
  await expect.poll(open, { timeout: 10_000 }).toBe(0);
  const made = await childrenOf('growing');
  expect(made).toBeLessThan(LIMITS.callTreeRuns);
  expect(await count(`runs where pipeline = 'growing' and state <> 'CANCELLED'`)).toBe(0);
  expect(await count('calls where run_id <> $1', [once])).toBe(0);
}, 30_000);

test('a cancel goes down all levels of calls at once, and their ends up again', async () => {
  await engine.pipelines.apply(project, 'level9', definitionOf(jobNamed('wait')));
  for (let level = 8; level >= 0; level--) {
    await engine.pipelines.apply(project, `level${level}`, definitionOf(calling('call', `level${level + 1}`)));
  }
  const top = await runPipeline('level0');
  await expect.poll(() => childrenOf('level9'), { timeout: 10_000 }).toBe(1);
  const startMs = performance.now();
  await engine.runs.cancel(project, top, 'enough', FORCE);
  await expect
    .poll(async () => (await engine.runs.get(project, top)).state, { timeout: 10_000, interval: 10 })
    .toBe('CANCELLED');
  expect(performance.now() - startMs).toBeLessThan(3_000);
}, 20_000);

test('the bound holds with several replicas, and through the end of one', async () => {
  await applyBomb('shared');
  const second = await fixture.startAnother();
  const root = await runPipeline('shared');
  await leaveRoom(root, 200);
  await expect.poll(() => childrenOf('shared'), { timeout: 10_000 }).toBeGreaterThan(50);
  second.pools.sever();
  await second[Symbol.asyncDispose]();
  const open = () => count(`runs where pipeline = 'shared' and finished_ms is null`);
  await expect.poll(open, { timeout: 20_000 }).toBe(0);
  expect(await childrenOf('shared')).toBe(200);
}, 40_000);

test('a call of a pipeline with nothing to do ends at once', async () => {
  await engine.pipelines.apply(project, 'nothing', definitionOf(jobNamed('never', { if: 'false' })));
  await engine.pipelines.apply(project, 'calls nothing', definitionOf(calling('call', 'nothing')));
  const runId = await runPipeline('calls nothing');
  const state = async () => (await engine.runs.get(project, runId)).state;
  await expect.poll(state, { timeout: 5_000 }).toBe('SUCCEEDED');
});

test('a run that was made for a call before its replica was lost is taken up by another one', async () => {
  const lost = await openEngineFixture();
  await using stack = new AsyncDisposableStack();
  stack.use(lost);
  const { pool } = lost.pools;
  await lost.engine.pipelines.apply(project, 'plain', definitionOf(jobNamed('wait')));
  const [tree, parent] = [await pool.connect(), await pool.connect()];
  for (const client of [tree, parent]) client.on('error', () => undefined);
  await tree.query('begin; lock table call_trees in exclusive mode');
  const definition = definitionOf(calling('call', 'plain'));
  const { runId } = await lost.engine.runs.create(project, { definition, params: {}, labels: {}, trigger });
  await parent.query(`begin; select from runs where run_id = '${runId}' for update`);
  await tree.query('rollback');
  const childOf = async () => (await pool.query('select child_run from calls')).rows[0].child_run as RunId | null;
  await expect.poll(childOf, { timeout: 5_000 }).not.toBeNull();
  const child = await childOf();
  lost.pools.sever();
  for (const client of [tree, parent]) client.release(true);
  await lost.engine[Symbol.asyncDispose]();
  const other = stack.use(await lost.startAnother());
  const told = async () => (await other.engine.jobs.get(project, { runId, job: 0 })).childRun;
  await expect.poll(told, { timeout: 5_000 }).toBe(child);
  expect((await other.pools.pool.query('select from runs')).rowCount).toBe(2);
}, 30_000);

test('what nobody noted of a call is noticed from time to time', async () => {
  await engine.pipelines.apply(project, 'plain', definitionOf(jobNamed('wait')));
  await engine.pipelines.apply(project, 'calls plain', definitionOf(calling('call', 'plain')));
  const runId = await runPipeline('calls plain');
  const childOf = async () => (await engine.jobs.get(project, { runId, job: 0 })).childRun as RunId;
  await expect.poll(childOf, { timeout: 5_000 }).toBeDefined();
  // As a replica of the version before.
  await query(`create function skip() returns trigger language plpgsql as 'begin return null; end'`);
  await query('create trigger skip before update of ended on calls for each row execute function skip()');
  await engine.runs.cancel(project, await childOf(), 'enough', FORCE);
  await query('drop trigger skip on calls');
  expect(await count('calls where run_id = $1 and not ended', [runId])).toBe(1);
  await using _ = await fixture.startAnother();
  const state = async () => (await engine.runs.get(project, runId)).state;
  await expect.poll(state, { timeout: 5_000 }).toBe('FAILED');
}, 20_000);
