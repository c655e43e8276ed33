import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Definition } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import { RefusedError } from '../core/refusal.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createPools, type Pools } from '../store/connect.ts';
import { withConnection } from '../store/pool.ts';
import { forgetRequestIds } from '../store/run-rows.ts';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import { startPostgresProxy } from '../store/testing/postgres-proxy.ts';
import type { NewRun } from './engine.ts';
import { type RunningEngine, startEngine } from './start-engine.ts';

const DAY_MS = 86_400_000;
const trigger = { kind: 'api', actor: '', reference: '' };

let database: TestDatabase;
let pools: Pools;
let engine: RunningEngine;
let count = 0;
let requestId: string;
const definition = definitionOf(jobNamed('build'));
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

beforeAll(async () => {
  database = await createTestDatabase();
  pools = await createPools(database.config);
  engine = await start(pools);
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await pools[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(() => {
  requestId = `request-${count++}`;
});

function start(on: Pools): Promise<RunningEngine> {
  const timing = { leaseMs: 30_000, heartbeatMs: 5_000 };
  return startEngine({ pools: on, schema: database.config.schema, version: 'test', timing, log });
}

const inline = (of: Definition): NewRun => ({ definition: of, params: {}, labels: {}, trigger, requestId });
const ofPipeline = (name: string): NewRun => ({ pipeline: { name }, params: {}, labels: {}, trigger, requestId });

async function refusalOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: unknown) => (error instanceof RefusedError ? error.refusal.refused : String(error)),
  );
}

async function finish(runId: RunId): Promise<void> {
  await engine.runs.cancel('default', runId, '', false);
}

async function countRuns(): Promise<number> {
  return (await pools.pool.query('select from runs')).rowCount ?? 0;
}

test('a repetition has its answer although the pipeline changed, was deleted, or would not take it any more', async () => {
  await engine.pipelines.apply('default', 'ci', definition);
  const { runId } = await engine.runs.create('default', ofPipeline('ci'));
  const strict = { ...definition, paramsSchema: { type: 'object', required: ['sha'] } };
  await engine.pipelines.apply('default', 'ci', strict);
  expect(await refusalOf(engine.runs.create('default', { ...ofPipeline('ci'), requestId: 'new' }))).toBe(
    'INVALID_FIELD',
  );
  expect((await engine.runs.create('default', ofPipeline('ci'))).runId).toBe(runId);
  await engine.pipelines.delete('default', 'ci');
  expect((await engine.runs.create('default', ofPipeline('ci'))).runId).toBe(runId);
  expect(await engine.runs.createBatch('default', [ofPipeline('ci'), ofPipeline('cd')])).toEqual([
    runId,
    expect.objectContaining({ refused: 'REQUEST_ID_REUSED' }),
  ]);
  expect(await refusalOf(engine.runs.create('default', { ...ofPipeline('ci'), requestId: 'new' }))).toBe(
    'PIPELINE_NOT_FOUND',
  );
});

test('a repetition after its run was deleted makes no other: it learns that the run is gone', async () => {
  const { runId } = await engine.runs.create('default', inline(definition));
  await finish(runId);
  await engine.runs.delete('default', runId);
  const before = await countRuns();
  const again = engine.runs.create('default', inline(definition));
  await expect(again).rejects.toThrow(`run ${runId}, which this request has made, was deleted`);
  expect(await refusalOf(again)).toBe('RUN_NOT_FOUND');
  expect(await engine.runs.createBatch('default', [inline(definition)])).toEqual([runId]);
  expect(await countRuns()).toBe(before);
  const other = definitionOf(jobNamed('other'));
  expect(await refusalOf(engine.runs.create('default', inline(other)))).toBe('REQUEST_ID_REUSED');
});

test('a repeated rerun has its answer although what it repeats was deleted', async () => {
  const origin = await engine.runs.create('default', { ...inline(definition), requestId: `${requestId}-origin` });
  expect(await refusalOf(engine.runs.rerun('default', origin.runId, 'ALL', trigger, requestId))).toBe('NOT_FINISHED');
  await finish(origin.runId);
  const { runId } = await engine.runs.rerun('default', origin.runId, 'ALL', trigger, requestId);
  const job = { runId: origin.runId, job: 0 };
  const retried = await engine.jobs.retry('default', job, trigger, `${requestId}-job`);
  expect(await refusalOf(engine.jobs.retry('default', job, trigger, requestId))).toBe('REQUEST_ID_REUSED');
  await engine.runs.delete('default', origin.runId);
  expect((await engine.runs.rerun('default', origin.runId, 'ALL', trigger, requestId)).runId).toBe(runId);
  expect(await engine.jobs.retry('default', job, trigger, `${requestId}-job`)).toMatchObject({ runId: retried.runId });
  expect(await refusalOf(engine.runs.rerun('default', origin.runId, 'FAILED', trigger, requestId))).toBe(
    'REQUEST_ID_REUSED',
  );
  expect(await refusalOf(engine.runs.rerun('default', origin.runId, 'ALL', trigger))).toBe('RUN_NOT_FOUND');
  expect(await refusalOf(engine.jobs.retry('default', job, trigger))).toBe('JOB_NOT_FOUND');
});

test('a repeated release of a backoff releases no later one', async () => {
  const { runId } = await engine.runs.create('default', { ...inline(definition), requestId: `${requestId}-run` });
  const key = { runId, job: 0 };
  const wait = async () => {
    await pools.pool.query(
      `update jobs set state = 'WAITING', wait = '{"reason":"BACKOFF","untilMs":9999999999999}', due_ms = 9999999999999 where run_id = $1`,
      [runId],
    );
    // What a replica has cached is of another seq now.
    await pools.pool.query('update runs set seq = seq + 1 where run_id = $1', [runId]);
  };
  await wait();
  expect(await engine.jobs.retry('default', key, trigger, requestId)).toMatchObject({ runId, state: 'QUEUED' });
  await wait();
  expect(await engine.jobs.retry('default', key, trigger, requestId)).toMatchObject({ runId, state: 'WAITING' });
  expect(await engine.jobs.retry('default', key, trigger, `${requestId}-2`)).toMatchObject({ state: 'QUEUED' });
  // The run goes on, so another request could not retry it; the repetition is answered all the same.
  expect(await refusalOf(engine.jobs.retry('default', key, trigger, `${requestId}-3`))).toBe('NOT_FINISHED');
  expect(await engine.jobs.retry('default', key, trigger, requestId)).toMatchObject({ runId });
});

test('an id is forgotten after a day by the clock of the database, and not before', async () => {
  const { runId } = await engine.runs.create('default', inline(definition));
  const age = (ms: number) =>
    pools.pool.query('update request_ids set created_ms = created_ms - $2 where request_id = $1', [requestId, ms]);
  const forget = () =>
    withConnection(pools.pool, async (tx) => {
      const { rows } = await tx.query<{ now: number }>(
        'select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now',
      );
      return await forgetRequestIds(tx, rows[0]!.now - DAY_MS, 10);
    });
  await age(DAY_MS - 60_000);
  expect(await forget()).toBe(0);
  expect((await engine.runs.create('default', inline(definition))).runId).toBe(runId);
  await age(60_001);
  expect(await forget()).toBe(1);
  expect((await engine.runs.create('default', inline(definition))).runId).not.toBe(runId);
});

test('an id that is forgotten just when it is used again makes one run', async () => {
  const first = await engine.runs.create('default', inline(definition));
  const forgetting = await pools.pool.connect();
  await forgetting.query('begin');
  await forgetting.query('delete from request_ids where request_id = $1', [requestId]);
  const again = Promise.all(Array.from({ length: 8 }, () => engine.runs.create('default', inline(definition))));
  const waiting = `select from pg_stat_activity where wait_event_type = 'Lock' and query like '%insert into request_ids%'`;
  await expect.poll(async () => (await pools.pool.query(waiting)).rowCount).toBe(1);
  await forgetting.query('commit');
  forgetting.release();
  const runIds = new Set((await again).map(({ runId }) => runId));
  expect(runIds.size).toBe(1);
  expect(runIds).not.toContain(first.runId);
});

test.each(['before', 'unanswered'] as const)(
  'a create whose commit broke %s is made once, and its caller is told which',
  async (point) => {
    await using proxy = await startPostgresProxy(database.config.connection);
    const lossy = await createPools({ ...database.config, connection: proxy.connection });
    const replica = await start(lossy);
    const before = await countRuns();
    const caught = proxy.atCommit({ point, lane: 'creates' });
    const { runId } = await replica.runs.create('default', inline(definition));
    await caught;
    expect((await engine.runs.create('default', inline(definition))).runId).toBe(runId);
    expect(await countRuns()).toBe(before + 1);
    await replica[Symbol.asyncDispose]();
    await lossy[Symbol.asyncDispose]();
  },
);
