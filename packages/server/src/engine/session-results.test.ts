// What a session does with a result: it comes after all that was said before it, and its outputs are looked at once.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AttemptKey } from '../core/ids.ts';
import type { RunningEngine } from './start-engine.ts';
import { beginAttempt, connectDriver } from './testing/driver-session.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';

const project = 'default';

let fixture: EngineFixture;
let engine: RunningEngine;

beforeAll(async () => {
  fixture = await openEngineFixture();
  ({ engine } = fixture);
});
afterAll(() => fixture[Symbol.asyncDispose]());

const succeeded = (key: AttemptKey) => ({
  type: 'Finish' as const,
  key,
  outcome: 'SUCCEEDED' as const,
  failureClass: 'WORKLOAD' as const,
  message: '',
  logSize: 0,
  logCrc32c: 0,
  logLost: false,
});

const jobOf = ({ runId }: AttemptKey) => engine.jobs.get(project, { runId, job: 0 });

test('a result waits for the changes of values that were said before it', async () => {
  const driver = await connectDriver(engine);
  const key = await beginAttempt(engine, driver);
  const sets = Array.from({ length: 20 }, (_, n) => ({
    type: 'SetValue' as const,
    key,
    number: n + 1,
    name: 'last',
    value: n,
    expected: undefined,
  }));
  driver.session.receive([...sets, succeeded(key)]);
  await expect.poll(() => driver.find('FinishAck')).toBeDefined();
  expect(await engine.values.get(project, key.runId, 'last')).toMatchObject({ value: 19, version: 20 });
  expect(driver.count('Revoke')).toBe(0);
});

test('outputs are held against their schema as they are when the result comes', async () => {
  const driver = await connectDriver(engine);
  const key = await beginAttempt(engine, driver, { outputsSchema: { properties: { n: { type: 'integer' } } } });
  driver.session.receive([
    { type: 'Output', key, name: 'n', value: 'one' },
    { type: 'Output', key, name: 'n', value: 1 },
    succeeded(key),
  ]);
  await expect.poll(() => driver.find('FinishAck')).toBeDefined();
  expect(await jobOf(key)).toMatchObject({ state: 'SUCCEEDED', outputs: { n: 1 } });
});

test('a result that is said many times has its outputs looked at once, however long that takes', async () => {
  const driver = await connectDriver(engine);
  const doubling = Object.fromEntries(
    Array.from({ length: 60 }, (_, n) => [
      `d${n}`,
      n === 59 ? { type: 'string' } : { anyOf: [{ $ref: `#/$defs/d${n + 1}` }, { $ref: `#/$defs/d${n + 1}` }] },
    ]),
  );
  const key = await beginAttempt(engine, driver, { outputsSchema: { $ref: '#/$defs/d0', $defs: doubling } });
  const beganMs = performance.now();
  driver.session.receive(Array.from({ length: 100 }, () => succeeded(key)));
  await expect.poll(() => driver.count('FinishAck'), { timeout: 15_000 }).toBe(100);
  // Each look takes 200 ms.
  expect(performance.now() - beganMs).toBeLessThan(5_000);
  expect(await jobOf(key)).toMatchObject({ state: 'FAILED', failure: { class: 'INVALID' } });
});

test('outputs that change behind the result fail the attempt, or come too late', async () => {
  const driver = await connectDriver(engine);
  const key = await beginAttempt(engine, driver, { outputsSchema: { properties: { n: { type: 'integer' } } } });
  driver.session.receive([
    { type: 'Output', key, name: 'n', value: 1 },
    succeeded(key),
    ...Array.from({ length: 200 }, (_, n) => ({ type: 'Output' as const, key, name: 'n', value: `late ${n}` })),
  ]);
  await expect.poll(async () => (await jobOf(key)).finishedMs, { timeout: 10_000 }).toBeDefined();
  const { state, outputs, failure } = await jobOf(key);
  if (state === 'SUCCEEDED') expect(outputs).toEqual({ n: 1 });
  else expect(failure).toMatchObject({ class: 'INVALID' });
});
