// A request that is repeated because its answer was lost has one effect, at whichever replica.
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { ConveyorError, type RunInput } from '@conveyor/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jobOf } from './jobs.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

function runNamed(name: string, requestId: string): RunInput {
  return { requestId, labels: { name }, definition: { jobs: [jobOf('nobody', { steps: [] })] } };
}

async function runsNamed(name: string): Promise<number> {
  return (await system.query(`select run_id from runs where labels ->> 'name' = $1`, [name])).length;
}

async function refusal(call: Promise<unknown>): Promise<unknown> {
  return await call.then(
    () => undefined,
    (error: unknown) => (error instanceof ConveyorError ? [error.code, error.reason] : error),
  );
}

test('the same request again, at another replica, is answered with the same run', async () => {
  const [a, b] = system.replicas;
  const { runId } = await a!.client.runs.create(runNamed('again', 'again-1'));
  expect((await b!.client.runs.create(runNamed('again', 'again-1'))).runId).toBe(runId);
  expect((await b!.httpClient.runs.create(runNamed('again', 'again-1'))).runId).toBe(runId);
  expect(await runsNamed('again')).toBe(1);
});

test('another request under the same id is refused and makes nothing', async () => {
  const [a, b] = system.replicas;
  const { runId } = await a!.client.runs.create(runNamed('first', 'taken'));
  expect(await refusal(b!.client.runs.create(runNamed('second', 'taken')))).toEqual([
    'already_exists',
    'REQUEST_ID_REUSED',
  ]);
  expect(await runsNamed('second')).toBe(0);
  expect((await a!.client.runs.create(runNamed('first', 'taken'))).runId).toBe(runId);
});

test('of the same requests at the same time at two replicas, one makes the run and all are told it', async () => {
  const clients = system.replicas.flatMap(({ client, httpClient }) => [client, httpClient]);
  for (let round = 0; round < 5; round++) {
    const name = `race-${round}`;
    const calls = Array.from({ length: 24 }, (_, index) =>
      clients[index % clients.length]!.runs.create(runNamed(name, name)),
    );
    const runs = await Promise.all(calls);
    expect(new Set(runs.map(({ runId }) => runId)).size).toBe(1);
    expect(await runsNamed(name)).toBe(1);
  }
});

test('of different requests under one id at the same time, exactly one stands', async () => {
  const clients = system.replicas.map(({ client }) => client);
  const calls = Array.from({ length: 16 }, (_, index) =>
    refusal(clients[index % clients.length]!.runs.create(runNamed(`rival-${index}`, 'rivals'))),
  );
  const refusals = (await Promise.all(calls)).filter((one) => one !== undefined);
  expect(refusals).toHaveLength(15);
  expect(new Set(refusals.map(String))).toEqual(new Set(['already_exists,REQUEST_ID_REUSED']));
  const made = await system.query(`select run_id from runs where labels ->> 'name' like 'rival-%'`);
  expect(made).toHaveLength(1);
});

test('in one batch a repeated item is the same run and a changed one is refused, without harm to the others', async () => {
  const [a] = system.replicas;
  const results = await a!.client.runs.createBatch([
    runNamed('batch', 'batch-1'),
    runNamed('batch', 'batch-1'),
    runNamed('batch-other', 'batch-1'),
    runNamed('batch', 'batch-2'),
  ]);
  const answers = results.map(({ outcome }) => (outcome.case === 'runId' ? outcome.value : outcome.case));
  expect(answers[1]).toBe(answers[0]);
  expect(answers[2]).toBe('error');
  expect(answers[3]).not.toBe(answers[0]);
  expect(await runsNamed('batch')).toBe(2);
  expect(await runsNamed('batch-other')).toBe(0);
});

test('a create whose answer was lost on its way is repeated at another replica without a second effect', async () => {
  const [a, b] = system.replicas;
  const token = await system.token('operator');
  let made = 0;
  for (let round = 0; round < 8; round++) {
    const name = `lost-${round}`;
    const definition = { jobs: [jobOf('nobody', { steps: [] })] };
    const body = { requestId: name, run: { labels: { name }, definition } };
    // Half of them hang up when the run is there, the others at any moment before or after.
    const isMade = () => expect.poll(() => runsNamed(name)).toBe(1);
    await createAndHangUp(a!.ready.httpAddress, token, body, round % 2 === 0 ? isMade : () => delay(2 * round));
    made += await runsNamed(name);
    const { runId } = await b!.client.runs.create(runNamed(name, name));
    expect((await a!.client.runs.create(runNamed(name, name))).runId).toBe(runId);
    expect(await runsNamed(name)).toBe(1);
  }
  // The fault did fire: some of them had been made when their caller hung up.
  expect(made).toBeGreaterThanOrEqual(4);
});

/** Sends a request and breaks the connection after the wait, whatever was answered. */
async function createAndHangUp(
  address: string,
  token: string,
  body: object,
  wait: () => Promise<unknown>,
): Promise<void> {
  const socket = connect(Number(address.split(':')[1]), '127.0.0.1');
  socket.on('error', () => undefined);
  const json = JSON.stringify(body);
  const head = [
    'POST /conveyor.v1.RunService/CreateRun HTTP/1.1',
    `Host: ${address}`,
    `Authorization: Bearer ${token}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(json)}`,
  ];
  await new Promise<void>((resolve) => socket.write(`${head.join('\r\n')}\r\n\r\n${json}`, () => resolve()));
  await wait();
  socket.destroy();
}
