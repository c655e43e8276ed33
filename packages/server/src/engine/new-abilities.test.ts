// What older replicas do not know, drivers are not told of while one of them serves, and may not use.
import pino from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEFAULT_TIMING } from '../core/limits.ts';
import type { ServerFrame } from '../core/frames.ts';
import type { RunId } from '../core/ids.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createPools, type Pools } from '../store/connect.ts';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import { type RunningEngine, startEngine } from './start-engine.ts';

const project = 'default';
const artifact = { name: 'app', digest: 'crc32c:00000000', sizeBytes: 1, uri: '', mediaType: '' };

let database: TestDatabase;
let pools: Pools;
let engine: RunningEngine;
let instances = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  pools = await createPools(database.config);
  const { schema } = database.config;
  const log = pino({ level: 'silent' });
  engine = await startEngine({ pools, schema, version: 'test', timing: DEFAULT_TIMING, log });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await pools[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** Says that a replica of some build serves, for the rest of the test. */
async function alsoServes(eventVersion: number): Promise<void> {
  await pools.pool.query(
    `insert into replicas (replica, version, started_ms, seen_ms, event_version)
     select 'older', '1.0.0', 0, floor(extract(epoch from clock_timestamp()) * 1000) + 60000, $1
     on conflict (replica) do update set event_version = excluded.event_version`,
    [eventVersion],
  );
}

/** A session of a driver of its own, and what it was told. */
async function connect() {
  const heard: ServerFrame[] = [];
  const driver = `driver-${++instances}`;
  const session = await engine.drivers.openSession(
    { role: 'driver', id: 'test' },
    {
      driver,
      instance: 'i-1',
      incarnation: Buffer.alloc(16, 1),
      capabilities: [],
      labels: {},
      slots: 1,
      held: [],
      version: '',
    },
    { send: (frame) => void heard.push(frame), queuedBytes: () => 0, end: () => undefined },
  );
  const find = <Type extends ServerFrame['type']>(type: Type) =>
    heard.find((frame): frame is Extract<ServerFrame, { type: Type }> => frame.type === type);
  return { driver, session, find };
}

/** An attempt in the hand of a session. */
async function begun({ driver, session, find }: Awaited<ReturnType<typeof connect>>) {
  const { runId } = await engine.runs.create(project, {
    definition: definitionOf(jobNamed('one', { driver })),
    params: {},
    labels: {},
    trigger: { kind: 'api', actor: '', reference: '' },
  });
  const key = { runId, job: 0, attempt: 1 };
  await expect.poll(() => find('Offer')).toBeDefined();
  session.receive([{ type: 'Accept', key }]);
  await expect.poll(() => find('Start')).toBeDefined();
  return key;
}

const failureOf = async (runId: RunId) => (await engine.jobs.get(project, { runId, job: 0 })).failure;

test('abilities are told of once every live replica has them', async () => {
  await alsoServes(3);
  await expect.poll(async () => (await connect()).find('Welcome')?.capabilities, { timeout: 5_000 }).toEqual([]);

  // What is used all the same would be written for a replica that does not know it.
  const hasty = await connect();
  const first = await begun(hasty);
  hasty.session.receive([{ type: 'SetValue', key: first, number: 1, name: 'gate', value: 1, expected: undefined }]);
  await expect.poll(() => hasty.find('ValueAnswer')?.refusal?.refused).toBe('REPLICA_TOO_OLD');
  hasty.session.receive([{ type: 'DeclareArtifact', key: first, number: 1, artifact }]);
  await expect.poll(() => failureOf(first.runId)).toMatchObject({ class: 'INVALID' });
  const { rows } = await pools.pool.query('select 1 from events where version > 3 union select 1 from run_values');
  expect(rows).toEqual([]);

  await alsoServes(4);
  await expect
    .poll(async () => (await connect()).find('Welcome')?.capabilities, { timeout: 5_000 })
    .toEqual(['values', 'artifacts']);
  const able = await connect();
  const second = await begun(able);
  able.session.receive([
    { type: 'SetValue', key: second, number: 1, name: 'gate', value: 1, expected: undefined },
    { type: 'DeclareArtifact', key: second, number: 1, artifact },
  ]);
  await expect.poll(() => able.find('ValueAnswer')).toMatchObject({ number: 1, version: 1 });
  const listed = () => engine.runs.artifacts(project, second.runId, undefined, { size: 9 });
  await expect.poll(listed).toMatchObject({ items: [{ artifact }] });
});

test('a result waits for the changes of values that were said before it', async () => {
  const held = await connect();
  const key = await begun(held);
  const result = {
    outcome: 'SUCCEEDED',
    failureClass: 'WORKLOAD',
    message: '',
    logSize: 0,
    logCrc32c: 0,
    logLost: false,
  } as const;
  const sets = Array.from({ length: 20 }, (_, n) => ({
    type: 'SetValue' as const,
    key,
    number: n + 1,
    name: 'last',
    value: n,
    expected: undefined,
  }));
  held.session.receive([...sets, { type: 'Finish', key, ...result }]);
  await expect.poll(() => held.find('FinishAck')).toBeDefined();
  expect(await engine.values.get(project, key.runId, 'last')).toMatchObject({ value: 19, version: 20 });
  expect(held.find('Revoke')).toBeUndefined();
});
