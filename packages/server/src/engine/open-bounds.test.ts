// Limits that runs work out, from the definition to the rows by which places, tokens and cells are given, and to what readers are told.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JobDefinition } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { withConnection } from '../store/pool.ts';
import { auditGroups } from '../store/testing/check-groups.ts';
import type { RunningEngine } from './start-engine.ts';
import { connectDriver, type ConnectedDriver } from './testing/driver-session.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';

const project = 'default';
const trigger = { kind: 'api', actor: '', reference: '' };
const { signal } = new AbortController();

let fixture: EngineFixture;
let engine: RunningEngine;
beforeAll(async () => {
  fixture = await openEngineFixture();
  ({ engine } = fixture);
});
afterAll(() => fixture[Symbol.asyncDispose]());

async function create(job: Partial<JobDefinition>, params: JsonObject): Promise<RunId> {
  const definition = definitionOf(jobNamed('one', job));
  return (await engine.runs.create(project, { definition, params, labels: {}, trigger })).runId;
}

async function statesOf(runs: readonly RunId[]): Promise<readonly string[]> {
  const { rows } = await fixture.pools.pool.query<{ state: string }>(
    'select state from jobs where run_id = any($1) order by run_id, job',
    [runs],
  );
  return rows.map(({ state }) => state);
}

const countOf = async (state: string, runs: readonly RunId[]) =>
  (await statesOf(runs)).filter((one) => one === state).length;

async function expectVerified(runs: readonly RunId[]): Promise<void> {
  for (const runId of runs) {
    expect(await engine.runs.verify(project, runId, false, signal)).toMatchObject({ discrepancies: [] });
  }
}

/** Accepts what it is offered and ends it well, until the runs have finished. */
async function workOff({ session }: ConnectedDriver, runs: readonly RunId[]): Promise<void> {
  const offered = await fixture.pools.pool.query<{ run_id: RunId; job: number; attempt: number }>(
    `select run_id, job, attempt from jobs where run_id = any($1) and state = 'OFFERED'`,
    [runs],
  );
  for (const { run_id: runId, job, attempt } of offered.rows) {
    session.receive([{ type: 'Accept', key: { runId, job, attempt } }]);
  }
  const running = await fixture.pools.pool.query<{ run_id: RunId; job: number; attempt: number }>(
    `select run_id, job, attempt from jobs where run_id = any($1) and state = 'RUNNING'`,
    [runs],
  );
  for (const { run_id: runId, job, attempt } of running.rows) {
    const ended = { outcome: 'SUCCEEDED', failureClass: 'WORKLOAD', message: '' } as const;
    const log = { logSize: 0, logCrc32c: 0, logLost: false };
    session.receive([{ type: 'Finish', key: { runId, job, attempt }, ...ended, ...log }]);
  }
}

async function finishAll(driver: ConnectedDriver, runs: readonly RunId[]): Promise<void> {
  await expect
    .poll(
      async () => {
        await workOff(driver, runs);
        return (await statesOf(runs)).every((state) => state === 'SUCCEEDED');
      },
      { timeout: 10_000, interval: 20 },
    )
    .toBe(true);
}

test('a group holds as many jobs as their expression says, never more, and readers are told so', async () => {
  const driver = await connectDriver(engine, { slots: 8 });
  const concurrency = { key: 'open', limit: '${{ params.places }}', policy: 'QUEUE' } as const;
  const job = { driver: driver.driver, concurrency };
  const runs = await Promise.all(Array.from({ length: 5 }, () => create(job, { places: 2 })));
  await expect.poll(() => countOf('WAITING', runs)).toBe(3);
  await expect.poll(() => countOf('OFFERED', runs)).toBe(2);
  const [runId] = runs as [RunId];
  expect(await engine.jobs.get(project, { runId, job: 0 })).toMatchObject({ group: { key: 'open', limit: 2 } });
  const { items } = await engine.groups.list(project, { size: 10 });
  expect(items).toContainEqual({ key: 'open', holding: 2, waiting: 3, limit: 2 });
  await expectVerified(runs);
  await finishAll(driver, runs);
  const { most } = await withConnection(fixture.pools.pool, auditGroups);
  expect(most.get('default open')).toBe(2);
  // As of any moment since it was worked out.
  const past = await engine.jobs.getAt(project, { runId, job: 0 }, 3, signal);
  expect(past).toMatchObject({ group: { key: 'open', limit: 2 } });
  await fixture.pools.pool.query(
    `update jobs set details = jsonb_set(details::jsonb, '{groupLimit}', '3') where run_id = $1`,
    [runId],
  );
  expect(await engine.runs.verify(project, runId, false, signal)).toMatchObject({ discrepancies: [{ kind: 'JOB' }] });
});

test('when jobs of a group work out different limits, none gets a place beyond its own or that of one that holds one', async () => {
  const concurrency = { key: 'mixed', limit: '${{ params.places }}', policy: 'QUEUE' } as const;
  const wide = [await create({ concurrency }, { places: 3 }), await create({ concurrency }, { places: 3 })];
  await expect.poll(() => statesOf(wide)).toEqual(['QUEUED', 'QUEUED']);
  const narrow = [await create({ concurrency }, { places: 1 })];
  const behind = [await create({ concurrency: { ...concurrency, limit: 5 } }, {})];
  await expect.poll(() => statesOf([...narrow, ...behind])).toEqual(['WAITING', 'WAITING']);
  for (const runId of [...wide, ...narrow, ...behind]) {
    await engine.runs.cancel(project, runId, 'over', true);
  }
});

test('a rate gives as many tokens as its expression says', async () => {
  const rate = { key: 'calls', limit: '${{ params.calls }}', periodMs: 3_600_000, cost: 1 };
  const runs: RunId[] = [];
  for (let n = 0; n < 4; n++) runs.push(await create({ rateLimits: [rate] }, { calls: 3 }));
  await expect.poll(() => countOf('QUEUED', runs)).toBe(3);
  const [runId] = runs as [RunId];
  expect(await engine.jobs.get(project, { runId, job: 0 })).toMatchObject({ rates: [{ key: 'calls', limit: 3 }] });
  await expectVerified(runs);
});

test('a matrix keeps to what it worked out, also when one of its cells is run again', async () => {
  const driver = await connectDriver(engine, { slots: 8 });
  const matrix = { axes: { n: [1, 2, 3] }, maxParallel: '${{ params.width }}' };
  const runId = await create({ driver: driver.driver, matrix }, { width: 1 });
  await expect.poll(() => statesOf([runId])).toEqual(['WAITING', 'OFFERED', 'BLOCKED', 'BLOCKED']);
  expect(await engine.jobs.get(project, { runId, job: 0 })).toMatchObject({ maxParallel: 1 });
  await finishAll(driver, [runId]);
  await expectVerified([runId]);
  const { runId: again } = await engine.runs.rerun(project, runId, { from: ['one[2]', 'one[3]'] }, trigger, undefined);
  await expect.poll(() => statesOf([again])).toEqual(['WAITING', 'SUCCEEDED', 'OFFERED', 'BLOCKED']);
  await finishAll(driver, [again]);
  await expectVerified([again]);
});
