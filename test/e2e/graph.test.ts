// A graph of jobs through real driver processes on two replicas, its logs read byte for byte while they are written and afterwards.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { randomBytes } from 'node:crypto';
import { JobState, RunState } from '@conveyor/client';
import { RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { createJob, finishedJob, jobOf, jobsByName, outputsOf, storedLog, tailedLog } from './jobs.ts';
import { startSystem, type System } from './system.ts';
import { digestOutput, sha256, type Step, writtenBy } from './workload.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

test('a run goes through its graph, and its jobs are given the outputs of those that they need', async () => {
  const [a, b] = system.replicas;
  await Promise.all([system.startDriver({ name: 'graph', at: [b!] }), system.startDriver({ name: 'graph', at: [b!] })]);
  const run = await a!.client.runs.create({
    definition: {
      jobs: [
        jobOf('graph', { steps: [{ do: 'output', key: 'version', value: '1.2.3' }] }, { name: 'build' }),
        jobOf('graph', { steps: [{ do: 'pass-on' }] }, { name: 'test', needs: ['build'] }),
        jobOf(
          'graph',
          { steps: [{ do: 'fail', class: 'WORKLOAD', message: 'no good', exitCode: 3 }] },
          { name: 'lint', needs: ['build'] },
        ),
        jobOf('graph', { steps: [] }, { name: 'release', needs: ['test', 'lint'] }),
        jobOf(
          'graph',
          { steps: [{ do: 'pass-on' }] },
          { name: 'report', needs: ['test', 'lint', 'release'], when: RunCondition.ALWAYS },
        ),
      ],
    },
  });
  const seqs: bigint[] = [];
  for await (const event of a!.client.runs.watch(run.runId)) seqs.push(event.seq);
  const finished = await a!.client.runs.get(run.runId);
  expect(RunState[finished.state]).toBe('FAILED');
  expect(seqs).toEqual(Array.from({ length: Number(finished.seq) }, (_, index) => BigInt(index + 1)));

  const jobs = await jobsByName(a!.client, run.runId);
  const states = [...jobs].map(([name, { state }]) => [name, JobState[state]]);
  expect(Object.fromEntries(states)).toEqual({
    build: 'SUCCEEDED',
    test: 'SUCCEEDED',
    lint: 'FAILED',
    release: 'SKIPPED',
    report: 'SUCCEEDED',
  });
  expect(jobs.get('lint')!.failure).toMatchObject({ message: 'no good', exitCode: 3 });
  const build = outputsOf(jobs.get('build')!);
  expect(build['version']).toBe('1.2.3');
  expect(outputsOf(jobs.get('test')!)['needs']).toEqual({ build });
  expect(outputsOf(jobs.get('report')!)['needs']).toMatchObject({ test: outputsOf(jobs.get('test')!), lint: {} });
});

test('what a workload writes is what is stored and what every reader is told, from any offset', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'writer', at: [b!] });
  const gates = [system.newGate(), system.newGate()];
  const steps: Step[] = [
    { do: 'write', seed: 'history', bytes: 700_001, pieceBytes: 30_000 },
    { do: 'wait', file: gates[0]!.file },
    { do: 'write', seed: 'live', bytes: 900_123, pieceBytes: 7_001, pauseMs: 2 },
    { do: 'wait', file: gates[1]!.file },
    { do: 'say', text: 'the end, without a line end' },
  ];
  const written = writtenBy(steps);
  const job = await createJob(a!.client, jobOf('writer', { steps }));
  await expect.poll(async () => (await storedLog(a!.client, job.jobId)).length).toBe(700_001);
  // Some begin in what is stored, some in what comes, at the replica of the driver and at the other one, by either door.
  const offsets = [0, 1, 262_144, 700_000, 700_001, 1_000_000];
  const clients = [a!.client, b!.client, a!.httpClient];
  const tails = offsets.map(async (offset, index) => ({
    offset,
    tailed: await tailedLog(clients[index % clients.length]!, job.jobId, { offset: BigInt(offset) }),
  }));
  await gates[0]!.open();
  await expect.poll(async () => (await storedLog(b!.client, job.jobId)).length).toBe(1_600_124);
  const late = tailedLog(b!.httpClient, job.jobId, { offset: 1_600_124n });
  await gates[1]!.open();

  const { state, outputs } = await finishedJob(a!.client, job);
  expect(JobState[state]).toBe('SUCCEEDED');
  expect(outputsOf({ outputs })[digestOutput]).toBe(sha256(written));
  for (const { client } of [a!, b!]) expect(sha256(await storedLog(client, job.jobId))).toBe(sha256(written));
  for (const { offset, tailed } of await Promise.all(tails)) {
    expect(sha256(tailed), `from ${offset}`).toBe(sha256(written.subarray(offset)));
  }
  expect((await late).toString()).toBe('the end, without a line end');
});

test('a nonce goes from the spec to the driver, the log and an output, and is found by its hash', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'nonce', at: [a!] });
  const nonce = randomBytes(32).toString('hex');
  const job = await createJob(b!.client, jobOf('nonce', { steps: [{ do: 'say', text: nonce }] }));
  const { outputs } = await finishedJob(b!.client, job);
  expect(outputsOf({ outputs })[digestOutput]).toBe(sha256(Buffer.from(nonce)));
  const found = await system.query(
    `select a.attempt from attempts a join log_chunks c using (run_id, job, attempt)
     where a.run_id = $1 and encode(sha256(c.data), 'hex') = $2 and a.outputs ->> 'sha256' = $2`,
    [job.runId, sha256(Buffer.from(nonce))],
  );
  expect(found).toEqual([{ attempt: 1 }]);
  expect(sha256(await storedLog(b!.client, job.jobId))).toBe(sha256(Buffer.from(nonce)));
});
