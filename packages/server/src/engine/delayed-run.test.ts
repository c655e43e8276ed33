// Runs that are to start later, over a real database and a running engine: the timers let them go when their time has come.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { JobDefinition } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import type { RefusedError } from '../core/refusal.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { RunningEngine } from './start-engine.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';

const project = 'default';
const DAY_MS = 86_400_000;

let fixture: EngineFixture;
let engine: RunningEngine;

beforeEach(async () => {
  fixture = await openEngineFixture();
  ({ engine } = fixture);
});
afterEach(() => fixture[Symbol.asyncDispose]());

async function createAt(
  startMs: number | undefined,
  requestId?: string,
  change: Partial<JobDefinition> = {},
): Promise<RunId> {
  const { runId } = await engine.runs.create(project, {
    definition: definitionOf(
      jobNamed('first', { driver: 'nobody', ...change }),
      jobNamed('then', { needs: ['first'] }),
    ),
    params: {},
    labels: {},
    trigger: { kind: 'api', actor: '', reference: '' },
    ...(startMs !== undefined && { startMs }),
    ...(requestId !== undefined && { requestId }),
  });
  return runId;
}

const firstJob = (runId: RunId) => engine.jobs.get(project, { runId, job: 0 });

test('a run waits until its time has come, and is then queued', async () => {
  const startMs = Date.now() + 700;
  const runId = await createAt(startMs);
  expect(await engine.runs.get(project, runId)).toMatchObject({ state: 'PENDING' });
  expect(await firstJob(runId)).toMatchObject({ state: 'WAITING', wait: { reason: 'DELAY', untilMs: startMs } });
  await vi.waitFor(async () => expect(await firstJob(runId)).toMatchObject({ state: 'QUEUED' }), 10_000);
  const events = engine.runs.watch(project, runId, 0, AbortSignal.timeout(5_000))[Symbol.asyncIterator]();
  await events.next();
  const { value } = await events.next();
  await events.return?.();
  expect(value).toMatchObject([{ event: { type: 'RunCreated', startMs } }, { event: { type: 'JobQueued', job: 0 } }]);
  expect(value![1]!.timeMs).toBeGreaterThanOrEqual(startMs);
});

test('a run is released before its time by hand', async () => {
  const runId = await createAt(Date.now() + 100 * DAY_MS);
  expect(await firstJob(runId)).toMatchObject({ state: 'WAITING' });
  const trigger = { kind: 'manual', actor: '', reference: '' };
  expect(await engine.jobs.retry(project, { runId, job: 0 }, trigger)).toMatchObject({ state: 'QUEUED' });
});

test('a run of more than a year ahead is refused, and one of the past starts at once', async () => {
  await expect(createAt(Date.now() + 366 * DAY_MS)).rejects.toMatchObject({
    refusal: { refused: 'INVALID_FIELD', violations: [{ field: 'run.start_time' }] },
  });
  expect(await firstJob(await createAt(1_000))).toMatchObject({ state: 'QUEUED' });
});

test('the start belongs to what a request id stands for', async () => {
  const startMs = Date.now() + DAY_MS;
  const runId = await createAt(startMs, 'r');
  expect(await createAt(startMs, 'r')).toBe(runId);
  await expect(createAt(startMs + 1, 'r')).rejects.toMatchObject({ refusal: { refused: 'REQUEST_ID_REUSED' } });
});

test('a run that starts later is refused while a replica serves that does not know such runs', async () => {
  await fixture.pools.pool.query(
    `insert into replicas (replica, version, started_ms, seen_ms, event_version)
     select 'older', '1.0.0', 0, floor(extract(epoch from clock_timestamp()) * 1000) + 60000, 2`,
  );
  const later = () => createAt(Date.now() + DAY_MS).then(String, (error: RefusedError) => error.refusal.refused);
  await expect.poll(later).toBe('REPLICA_TOO_OLD');
  const typed = createAt(undefined, undefined, { outputsSchema: {} });
  await expect(typed).rejects.toMatchObject({ refusal: { refused: 'REPLICA_TOO_OLD' } });
  // One that starts at once needs nothing new.
  await createAt(undefined);
});
