// Jobs that a driver appends to its run: what it is answered once they are committed, and what is then seen of them.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { JobDefinition } from '../core/definition.ts';
import type { DriverFrame } from '../core/frames.ts';
import { type AttemptKey, makeRunId } from '../core/ids.ts';
import { asWritten, jobNamed } from '../core/testing/definitions.ts';
import type { RunningEngine } from './start-engine.ts';
import { beginAttempt, type ConnectedDriver, connectDriver } from './testing/driver-session.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';

const project = 'default';

let fixture: EngineFixture;
let engine: RunningEngine;
let driver: ConnectedDriver;
let key: AttemptKey;

beforeAll(async () => {
  fixture = await openEngineFixture();
  ({ engine } = fixture);
});
afterAll(() => fixture[Symbol.asyncDispose]());
beforeEach(async () => {
  driver = await connectDriver(engine);
  key = await beginAttempt(engine, driver);
});

const appending = (number: number, jobs: JobDefinition[]): DriverFrame => ({
  type: 'AppendJobs',
  key,
  number,
  jobs: jobs.map(asWritten),
});

const finishing = (): DriverFrame => ({
  type: 'Finish',
  key,
  outcome: 'SUCCEEDED',
  failureClass: 'WORKLOAD',
  message: '',
  logSize: 0,
  logCrc32c: 0,
  logLost: false,
});

const runNow = () => engine.runs.get(project, key.runId);
const namesNow = async () => {
  const { items } = await engine.jobs.list(project, key.runId, [], [], { size: 100 });
  return items.map(({ name }) => name);
};
const answers = (count: number) => expect.poll(() => driver.count('AppendAnswer')).toBe(count);

test('jobs are answered once they are jobs of the run, and a result waits for them', async () => {
  driver.session.receive([
    appending(1, [jobNamed('pack', { driver: driver.driver }), jobNamed('push', { needs: ['pack'] })]),
    { type: 'SetValue', key, number: 1, name: 'said', value: 'after', expected: undefined },
    appending(2, [jobNamed('sign', { needs: ['push'] })]),
    finishing(),
  ]);
  await expect.poll(() => driver.find('FinishAck')).toBeDefined();
  expect(driver.count('AppendAnswer')).toBe(2);
  expect(driver.find('AppendAnswer')).toEqual({ type: 'AppendAnswer', key, number: 1 });
  expect(await namesNow()).toEqual(['one', 'pack', 'push', 'sign']);
  const run = await runNow();
  expect(run).toMatchObject({ state: 'RUNNING', counts: { total: 4, open: 3 } });
  expect(run.appended?.map(({ name, jobs }) => [name, jobs.map((job) => job.name)])).toEqual([
    ['one', ['pack', 'push']],
    ['one', ['sign']],
  ]);
  const before = await engine.runs.getAt(project, key.runId, 3, new AbortController().signal);
  expect(before.appended).toEqual([]);
  await expect.poll(() => driver.count('Offer')).toBe(2);
});

test('jobs that are asked for again are not appended twice, by whatever session', async () => {
  const jobs = [jobNamed('pack'), jobNamed('push', { needs: ['pack'] })];
  driver.session.receive([appending(1, jobs), appending(1, jobs)]);
  await answers(2);
  const other = await connectDriver(engine, {
    driver: driver.driver,
    held: [{ key, phase: 'RUNNING', logOffset: 0 }],
    incarnation: driver.incarnation,
  });
  other.session.receive([appending(1, jobs)]);
  await expect.poll(() => other.find('AppendAnswer')).toEqual({ type: 'AppendAnswer', key, number: 1 });
  expect(await namesNow()).toEqual(['one', 'pack', 'push']);
});

test('all that is wrong with jobs is answered at once, and the attempt goes on', async () => {
  const strict = await connectDriver(engine, {
    specSchema: { type: 'object', required: ['script'], properties: { script: { type: 'string' } } },
  });
  const jobs = [
    jobNamed('pack', { driver: strict.driver, spec: { script: 1 } }),
    jobNamed('push', { needs: ['nobody'] }),
    jobNamed('sign', { driver: strict.driver, spec: { script: 'sign' }, if: '1 +' }),
  ];
  driver.session.receive([appending(1, jobs)]);
  await answers(1);
  const refusal = driver.find('AppendAnswer')?.refusal;
  expect(refusal?.refused).toBe('INVALID_FIELD');
  expect(refusal?.violations?.map(({ field }) => field)).toEqual([
    'jobs[2].if',
    'jobs[0].spec.script',
    'jobs[1].needs[0]',
  ]);
  expect(await namesNow()).toEqual(['one']);
  driver.session.receive([appending(2, [jobNamed('pack')]), finishing()]);
  await expect.poll(() => driver.find('FinishAck')).toBeDefined();
  expect(await namesNow()).toEqual(['one', 'pack']);
});

test('jobs are held against the definition of their run', async () => {
  const paramsSchema = { type: 'object', properties: { target: {} }, additionalProperties: false };
  const own = await connectDriver(engine);
  key = await beginAttempt(engine, own, {}, { paramsSchema });
  own.session.receive([appending(1, [jobNamed('pack', { spec: { to: '${{ params.taget }}' } })])]);
  await expect
    .poll(() => own.find('AppendAnswer')?.refusal?.violations)
    .toMatchObject([{ field: 'jobs[0].spec.to', description: expect.stringContaining('did you mean "target"?') }]);
  expect(await namesNow()).toEqual(['one']);
});

test('an appended job whose expressions come to what its driver does not take fails by itself', async () => {
  const strict = await connectDriver(engine, { specSchema: { properties: { script: { type: 'string' } } } });
  const spec = { script: '${{ 1 + 1 }}' };
  driver.session.receive([appending(1, [jobNamed('pack', { driver: strict.driver, spec })])]);
  await answers(1);
  expect(driver.find('AppendAnswer')?.refusal).toBeUndefined();
  expect(await engine.jobs.get(project, { ...key, job: 1 })).toMatchObject({
    state: 'FAILED',
    failure: { class: 'INVALID' },
  });
});

test('who does not hold the attempt is told to stop, whatever the jobs are', async () => {
  const other = await connectDriver(engine);
  other.session.receive([appending(1, [jobNamed('pack')])]);
  await expect.poll(() => other.count('Revoke')).toBe(1);
  other.session.receive([appending(2, [])]);
  await expect.poll(() => other.count('Revoke')).toBe(2);
  driver.session.receive([{ ...appending(1, [jobNamed('pack')]), key: { ...key, attempt: 2 } } as DriverFrame]);
  await expect.poll(() => driver.find('Revoke')).toMatchObject({ fence: 2 });
  const runId = makeRunId(0, new Uint8Array(10));
  other.session.receive([{ ...appending(3, [jobNamed('pack')]), key: { ...key, runId } } as DriverFrame]);
  await expect.poll(() => other.count('Revoke')).toBe(3);
  expect([driver, other].map(({ count }) => count('AppendAnswer'))).toEqual([0, 0]);
  expect(await namesNow()).toEqual(['one']);
});

test('a job that is being stopped appends nothing more', async () => {
  await engine.runs.cancel(project, key.runId, 'enough', false);
  driver.session.receive([appending(1, [jobNamed('pack')])]);
  await expect.poll(() => driver.find('AppendAnswer')?.refusal?.refused).toBe('CANCEL_REQUESTED');
});

test('what appends was heard of', async () => {
  driver.session.receive([appending(1, [jobNamed('pack')])]);
  await answers(1);
  const { rows } = await fixture.pools.pool.query('select heard_ms from attempts where run_id = $1', [key.runId]);
  expect(rows).toEqual([{ heard_ms: expect.anything() }]);
});
