// What older replicas do not know, drivers are not told of while one of them serves, and may not use.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { asWritten, definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { RunningEngine } from './start-engine.ts';
import { beginAttempt, connectDriver } from './testing/driver-session.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';

const project = 'default';
const artifact = { name: 'app', digest: 'crc32c:00000000', sizeBytes: 1, uri: '', mediaType: '' };

let fixture: EngineFixture;
let engine: RunningEngine;

beforeAll(async () => {
  fixture = await openEngineFixture();
  ({ engine } = fixture);
});
afterAll(() => fixture[Symbol.asyncDispose]());

/** Says that a replica of some build serves, for the rest of the test. */
async function alsoServes(eventVersion: number): Promise<void> {
  await fixture.pools.pool.query(
    `insert into replicas (replica, version, started_ms, seen_ms, event_version)
     select 'older', '1.0.0', 0, floor(extract(epoch from clock_timestamp()) * 1000) + 60000, $1
     on conflict (replica) do update set event_version = excluded.event_version`,
    [eventVersion],
  );
}

const failureOf = async (runId: RunId) => (await engine.jobs.get(project, { runId, job: 0 })).failure;

test('abilities are told of once every live replica has them', async () => {
  await alsoServes(3);
  await expect
    .poll(async () => (await connectDriver(engine)).find('Welcome')?.capabilities, { timeout: 5_000 })
    .toEqual([]);

  // What is used all the same would be written for a replica that does not know it.
  const hasty = await connectDriver(engine);
  const first = await beginAttempt(engine, hasty);
  hasty.session.receive([{ type: 'SetValue', key: first, number: 1, name: 'gate', value: 1, expected: undefined }]);
  await expect.poll(() => hasty.find('ValueAnswer')?.refusal?.refused).toBe('REPLICA_TOO_OLD');
  hasty.session.receive([{ type: 'AppendJobs', key: first, number: 1, jobs: [asWritten(jobNamed('more'))] }]);
  await expect.poll(() => hasty.find('AppendAnswer')?.refusal?.refused).toBe('REPLICA_TOO_OLD');
  hasty.session.receive([{ type: 'DeclareArtifact', key: first, number: 1, artifact }]);
  await expect.poll(() => failureOf(first.runId)).toMatchObject({ class: 'INVALID' });
  const { rows } = await fixture.pools.pool.query(
    'select 1 from events where version > 3 union select 1 from run_values',
  );
  expect(rows).toEqual([]);

  await alsoServes(4);
  await expect
    .poll(async () => (await connectDriver(engine)).find('Welcome')?.capabilities, { timeout: 5_000 })
    .toEqual(['values', 'artifacts', 'append_jobs']);
  const able = await connectDriver(engine);
  const second = await beginAttempt(engine, able);
  able.session.receive([
    { type: 'SetValue', key: second, number: 1, name: 'gate', value: 1, expected: undefined },
    { type: 'DeclareArtifact', key: second, number: 1, artifact },
    { type: 'AppendJobs', key: second, number: 2, jobs: [asWritten(jobNamed('more'))] },
  ]);
  await expect.poll(() => able.find('AppendAnswer')).toEqual({ type: 'AppendAnswer', key: second, number: 2 });
  await expect.poll(() => able.find('ValueAnswer')).toMatchObject({ number: 1, version: 1 });
  const listed = () => engine.runs.artifacts(project, second.runId, undefined, { size: 9 });
  await expect.poll(listed).toMatchObject({ items: [{ artifact }] });

  // A limit that an older replica would take for a number.
  const concurrency = { key: 'k', limit: '${{ 1 }}', policy: 'QUEUE' } as const;
  const definition = definitionOf(jobNamed('open', { concurrency }));
  const tooOld = { refusal: { refused: 'REPLICA_TOO_OLD', metadata: { event_version: '4' } } };
  await expect(engine.pipelines.apply(project, 'open', definition, undefined)).rejects.toMatchObject(tooOld);
  const run = { definition, params: {}, labels: {}, trigger: { kind: 'api', actor: '', reference: '' } };
  await expect(engine.runs.create(project, run)).rejects.toMatchObject(tooOld);
  const written = { ...asWritten(jobNamed('open')), concurrency: { key: 'k', limit: 0, limitExpression: '${{ 1 }}' } };
  able.session.receive([{ type: 'AppendJobs', key: second, number: 3, jobs: [written] }]);
  await expect.poll(() => able.count('AppendAnswer')).toBe(2);

  // Why a job was cancelled, at the creation of its run and later: it is cancelled all the same.
  const reasons = async (): Promise<readonly (string | undefined)[]> => {
    const jobs = [jobNamed('bad', { if: 'params.none' }), jobNamed('other'), jobNamed('on', { when: 'ALWAYS' })];
    const stopping = { definition: { ...definitionOf(...jobs), failFast: true as const }, params: {}, labels: {} };
    const { runId } = await engine.runs.create(project, { ...stopping, trigger: run.trigger });
    await engine.jobs.cancel(project, { runId, job: 2 }, 'a typo');
    const ended = await Promise.all([1, 2].map((job) => engine.jobs.get(project, { runId, job })));
    expect(ended.map(({ state }) => state)).toEqual(['CANCELLED', 'CANCELLED']);
    const { signal } = new AbortController();
    expect(await engine.runs.verify(project, runId, true, signal)).toMatchObject({ discrepancies: [] });
    return ended.map(({ cancelReason }) => cancelReason);
  };
  expect(await reasons()).toEqual([undefined, undefined]);
  await alsoServes(5);
  await expect.poll(() => engine.runs.create(project, run).catch(() => undefined), { timeout: 5_000 }).toBeDefined();
  expect(await reasons()).toEqual(['bad failed', 'a typo']);
});
