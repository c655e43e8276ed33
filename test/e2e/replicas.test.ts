// Three equal replicas over one database: whatever happens at one is seen, and can be acted on, at every other.
import { toJsonString } from '@bufbuild/protobuf';
import { JobState, type Run, RunState } from '@conveyor/client';
import { EventSchema } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf, jobsByName, storedLog, tailedLog } from './jobs.ts';
import { type Replica, startSystem, type System } from './system.ts';
import { linesOf, sha256, type Step } from './workload.ts';

let system: System;
let a: Replica;
let b: Replica;
let c: Replica;

beforeAll(async () => {
  system = await startSystem({ replicas: 3 });
  [a, b, c] = system.replicas as [Replica, Replica, Replica];
});
afterAll(() => system[Symbol.asyncDispose]());

async function listed<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

test('a run is created at one replica, executed by a driver at another, followed at a third and cancelled at the first', async () => {
  const driver = await system.startDriver({ name: 'far', at: [b] });
  const gate = system.newGate();
  const seen = new AbortController();
  const feed: Run[] = [];
  const following = (async () => {
    for await (const update of c.client.runs.watchAll({}, { signal: seen.signal })) {
      if (update.kind === 'changes') for (const { run } of update.changes) if (run !== undefined) feed.push(run);
    }
  })().catch((error: unknown) => {
    if (!seen.signal.aborted) throw error;
  });

  const steps: Step[] = [
    { do: 'write', seed: 'far', bytes: 300_000 },
    { do: 'wait', file: gate.file },
  ];
  const job = await createJob(a.client, jobOf('far', { steps }));
  const events = listed(c.client.runs.watch(job.runId));
  const tail = tailedLog(c.client, job.jobId);
  await expect.poll(async () => (await storedLog(c.client, job.jobId)).length).toBe(300_000);
  expect((await attemptsOf(a.client, job.jobId))[0]?.instance).toBe(driver.instanceId);
  expect((await b.client.server.info()).replica).toBe(
    (await system.query<{ replica: string }>('select replica from instances'))[0]?.replica,
  );

  await a.client.runs.cancel(job.runId, { reason: 'seen enough' });
  const { state, attempt } = await finishedJob(b.client, job);
  expect([JobState[state], attempt]).toEqual(['CANCELLED', 1]);
  const log = Buffer.concat([linesOf('far', 300_000), Buffer.from('stopped: cancelled\n')]);
  expect(sha256(await tail)).toBe(sha256(log));
  const kinds = (await events).map(({ kind }) => kind.case);
  expect(kinds[0]).toBe('runCreated');
  expect(kinds.at(-1)).toBe('runFinished');
  await expect.poll(() => feed.filter(({ runId }) => runId === job.runId).at(-1)?.state).toBe(RunState.CANCELLED);
  seen.abort();
  await following;

  // Each replica tells the same story, also those that had no part in it.
  for (const { client, httpClient } of [a, b, c]) {
    const told = (await listed(client.runs.watch(job.runId))).map((event) => toJsonString(EventSchema, event));
    expect(told).toEqual((await events).map((event) => toJsonString(EventSchema, event)));
    expect(sha256(await storedLog(httpClient, job.jobId))).toBe(sha256(log));
  }
});

test('every replica answers every call about what happened elsewhere', async () => {
  await system.startDriver({ name: 'near', at: [a] });
  const definition = {
    jobs: [
      jobOf('near', { steps: [{ do: 'say', text: 'one' }] }, { name: 'one' }),
      jobOf('near', { steps: [{ do: 'fail', class: 'WORKLOAD', message: 'no' }] }, { name: 'two', needs: ['one'] }),
    ],
  };
  const name = 'shared';
  await a.client.pipelines.apply({ name, definition });
  for (const [index, { client }] of [b, c, a].entries()) {
    const before = system.replicas[index]!.client;
    const run = await before.runs.create({ pipeline: name });
    await before.runs.finished(run.runId);
    expect(RunState[(await client.runs.get(run.runId)).state]).toBe('FAILED');
    expect((await client.pipelines.get(name)).name).toBe(name);
    expect((await client.pipelines.apply({ name, definition })).changed).toBe(false);
    expect(await listed(client.pipelines.list())).toHaveLength(1);
    expect(await listed(client.pipelines.revisions(name))).toHaveLength(1);
    expect((await listed(client.runs.list({ pipeline: name }))).map(({ runId }) => runId)).toContain(run.runId);
    const jobs = await jobsByName(client, run.runId);
    const [one, two] = [jobs.get('one')!, jobs.get('two')!];
    expect(JobState[(await client.jobs.get(two.jobId)).state]).toBe('FAILED');
    expect(await attemptsOf(client, one.jobId)).toMatchObject([{ state: 'SUCCEEDED' }]);
    expect((await storedLog(client, one.jobId)).toString()).toBe('one');
    expect((await tailedLog(client, one.jobId)).toString()).toBe('one');
    const again = await client.runs.rerun(run.runId, { scope: 'failed' });
    expect(RunState[(await before.runs.finished(again.runId)).state]).toBe('FAILED');
    const retried = await client.jobs.retry(two.jobId);
    expect(JobState[(await finishedJob(before, retried)).state]).toBe('FAILED');
    const [batched] = await client.runs.createBatch([{ pipeline: name }]);
    expect(batched?.outcome.case).toBe('runId');
    const held = await createJob(before, jobOf('nobody', { steps: [] }));
    await client.jobs.cancel(held.jobId);
    expect(JobState[(await finishedJob(before, held)).state]).toBe('CANCELLED');
    const [driver] = await listed(client.drivers.list({ name: 'near' }));
    expect((await client.drivers.get('near', driver!.instance)).instance).toBe(driver!.instance);
    expect((await client.drivers.drain('near', { waitMs: 10_000 })).idle).toBe(true);
    await before.drivers.drain('near', { undo: true });
  }
  await c.client.pipelines.delete(name);
  await expect(b.client.pipelines.get(name)).rejects.toMatchObject({ reason: 'PIPELINE_NOT_FOUND' });
});
