// Jobs that a running job appends to its run: seen by everybody like those of its definition, once each whatever dies meanwhile, and
// taken over or appended again by a rerun.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Client, type Event, JobState, RunState } from '@conveyor/client';
import { HeldPhase, type Offer } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { ErrorReason } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import { RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { JobInit } from '@conveyor/driver';
import { createJob, finishedJob, jobOf, jobsByName, outputsOf } from './jobs.ts';
import { addressOf, type DriverFrameInit, finishFrame } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';
import type { Step } from './workload.ts';

vi.setConfig({ testTimeout: 60_000 });

let system: System;
let clients: readonly Client[];
beforeEach(async () => {
  system = await startSystem();
  clients = system.replicas.map(({ client }) => client);
});
afterEach(() => system[Symbol.asyncDispose]());

const work = (name: string, steps: readonly Step[] = [], job: JobInit = {}) =>
  jobOf('work', { steps }, { name, ...job });
const failing: Step = { do: 'fail', class: 'WORKLOAD', message: 'no good' };

async function endOf(client: Client, runId: string) {
  const { state } = await client.runs.finished(runId);
  const jobs = await jobsByName(client, runId);
  const states = Object.fromEntries([...jobs].map(([name, job]) => [name, JobState[job.state]]));
  return { state: RunState[state], jobs, states };
}

test('a chain and a matrix run like what was there from the start, and everybody sees them', async () => {
  await system.startDriver({ name: 'work' });
  const appended = [
    work('pack', [{ do: 'output', key: 'image', value: 'app:7' }]),
    work('push', [{ do: 'pass-on' }], { needs: ['pack', 'base'] }),
    work('test', [], { matrix: { axes: { n: [1, 2, 3] } }, needs: ['pack'] }),
  ];
  const run = await clients[0]!.runs.create({
    definition: {
      jobs: [
        work('base', [{ do: 'output', key: 'os', value: 'linux' }]),
        work('plan', [{ do: 'append', jobs: appended }], { needs: ['base'] }),
        work('clean', [{ do: 'pass-on' }], { when: RunCondition.FINALLY }),
      ],
    },
  });
  const events: Event[] = [];
  for await (const event of clients[1]!.runs.watch(run.runId)) events.push(event);
  const { state, jobs, states } = await endOf(clients[1]!, run.runId);
  expect(states).toEqual(
    Object.fromEntries(
      ['base', 'plan', 'clean', 'pack', 'push', 'test', 'test[1]', 'test[2]', 'test[3]'].map((name) => [
        name,
        'SUCCEEDED',
      ]),
    ),
  );
  expect(state).toBe('SUCCEEDED');
  expect(outputsOf(jobs.get('push')!)['needs']).toMatchObject({ pack: { image: 'app:7' }, base: { os: 'linux' } });
  const added = events.flatMap(({ kind, job }) =>
    kind.case === 'jobsAdded' ? [[job, kind.value.jobs.map(({ name, matrix }) => [name, matrix])]] : [],
  );
  expect(added).toEqual([
    ['plan', ['pack', 'push', 'test'].map((name) => [name, undefined])],
    ['test', [1, 2, 3].map((n) => [`test[${n}]`, { n }])],
  ]);
  const finished = events.flatMap(({ kind, job }) => (kind.case === 'jobFinished' ? [job] : []));
  expect(finished.at(-1)).toBe('clean');
  const shown = await clients[0]!.runs.get(run.runId);
  expect(shown.definition?.jobs.map(({ name }) => name)).toEqual(['base', 'plan', 'clean']);
  expect(shown.appendedJobs).toMatchObject([
    { job: 'plan', jobs: [{ name: 'pack' }, { name: 'push' }, { name: 'test' }] },
  ]);
  expect((await clients[1]!.jobs.get(jobs.get('push')!.jobId)).definition).toMatchObject({ needs: ['pack', 'base'] });
  expect((await clients[1]!.runs.verify(run.runId)).discrepancies).toEqual([]);
});

test('a rerun of what failed takes appended jobs over, one from what appended them has them appended again', async () => {
  await system.startDriver({ name: 'work' });
  const appended = [work('good'), work('flaky', [failing]), work('after', [], { needs: ['flaky'] })];
  const { runs } = clients[0]!;
  const { runId } = await runs.create({
    definition: { jobs: [work('plan', [{ do: 'append', jobs: appended }]), work('aside')] },
  });
  const states = { plan: 'SUCCEEDED', aside: 'SUCCEEDED', good: 'SUCCEEDED', flaky: 'FAILED', after: 'SKIPPED' };
  expect((await endOf(clients[1]!, runId)).states).toEqual(states);

  const inheritedBy = async (rerun: string) => {
    const end = await endOf(clients[1]!, rerun);
    expect(end.states).toEqual(states);
    return [...end.jobs.values()].filter((job) => job.inheritedFrom !== '').map(({ name }) => name);
  };
  const failed = await runs.rerun(runId, { scope: 'failed' });
  expect(await inheritedBy(failed.runId)).toEqual(['plan', 'aside', 'good']);
  expect((await runs.get(failed.runId)).appendedJobs).toMatchObject([{ job: 'plan', jobs: [{}, {}, {}] }]);
  const from = await runs.rerun(runId, { from: ['plan'] });
  expect(await inheritedBy(from.runId)).toEqual(['aside']);
  expect((await runs.get(from.runId)).appendedJobs).toMatchObject([{ job: 'plan', jobs: [{}, {}, {}] }]);
});

describe('nothing is appended twice', () => {
  const appending = (offer: Offer, number: number, jobs: JobInit[]): DriverFrameInit => ({
    case: 'appendJobs',
    value: { ...addressOf(offer), number, jobs },
  });

  test('although the replica is killed between the commit and the answer', async () => {
    const [host, other] = system.replicas;
    const hello = { driver: 'asker', incarnation: Buffer.alloc(16, 3) };
    const session = await system.openSession({ at: host!, hello });
    const job = await createJob(other!.client, jobOf('asker', { steps: [] }));
    const offer = await session.startNext();
    const chain = [
      jobOf('asker', { steps: [] }, { name: 'pack' }),
      jobOf('asker', { steps: [] }, { name: 'push', needs: ['pack'] }),
    ];
    session.stopReading();
    session.say(appending(offer, 1, chain));
    const names = async () => [...(await jobsByName(other!.client, job.runId)).keys()];
    await expect.poll(names).toEqual(['job', 'pack', 'push']);
    expect(await host!.kill()).toBe('SIGKILL');
    expect(session.arrived('appendAnswer')).toEqual([]);

    const held = [{ ...addressOf(offer), phase: HeldPhase.RUNNING, logOffset: 0n }];
    const next = await system.openSession({ at: other!, hello: { ...hello, held } });
    next.say(appending(offer, 1, chain));
    expect(await next.next('appendAnswer')).toMatchObject({ number: 1, error: ErrorReason.UNSPECIFIED });
    expect(await names()).toEqual(['job', 'pack', 'push']);
    next.say(finishFrame(offer));
    for (const name of ['pack', 'push']) {
      const more = await next.startNext();
      expect(more.job).toBe(name);
      next.say(finishFrame(more));
    }
    expect((await endOf(other!.client, job.runId)).state).toBe('SUCCEEDED');
  });

  test('by a driver of the runtime whose replica is killed while it appends', async () => {
    const driver = await system.startDriver({ name: 'work', slots: 8 });
    const steps = Array.from({ length: 40 }, (_, n): Step[] => [
      { do: 'append', jobs: [work(`a${n}`), work(`b${n}`, [], { needs: [`a${n}`] })] },
      { do: 'write', seed: `${n}`, bytes: 40, pieceBytes: 20, pauseMs: 20 },
    ]).flat();
    const { runId } = await createJob(clients[0]!, work('plan', steps));
    const total = async () => (await clients[0]!.runs.get(runId)).jobCounts!.total;
    await expect.poll(total).toBeGreaterThan(10);
    expect(await total()).toBeLessThan(81);
    const sessions = 'select replica, epoch from instances where instance = $1';
    const [before] = await system.query<{ replica: string; epoch: number }>(sessions, [driver.instanceId]);
    const ids = await Promise.all(clients.map(async ({ server }) => (await server.info()).replica));
    const host = ids.indexOf(before!.replica);
    await system.replicas[host]!.kill();
    const client = clients[1 - host]!;
    const { state, jobs } = await endOf(client, runId);
    expect([state, jobs.size, jobs.get('plan')!.attempt]).toEqual(['SUCCEEDED', 81, 1]);
    const shown = (await client.runs.get(runId)).appendedJobs.flatMap((appended) => appended.jobs);
    expect(shown.map(({ name }) => name)).toEqual(Array.from({ length: 40 }, (_, n) => [`a${n}`, `b${n}`]).flat());
    const [after] = await system.query<{ epoch: number }>(sessions, [driver.instanceId]);
    expect(after!.epoch).toBe(before!.epoch + 1);
  });
});

test('a driver that appends without end harms nobody but itself', async () => {
  const [at] = system.replicas;
  await system.startDriver({ name: 'work', at: [at!] });
  const liar = await system.openSession({ at: at!, hello: { driver: 'liar' } });
  const job = await createJob(at!.client, jobOf('liar', { steps: [] }));
  const offer = await liar.startNext();
  const victim = await at!.client.runs.create({ definition: { jobs: [{ name: 'wait', gate: {} }] } });
  const many = Array.from({ length: 10_000 }, (_, n) => ({ name: `job-${n}`, driver: 'liar' }));
  const large = Array.from({ length: 16 }, (_, n) => ({
    name: `l${n}`,
    driver: 'liar',
    spec: { x: 'x'.repeat(60_000) },
  }));
  const most = Array.from({ length: 2_500 }, (_, n) => ({ name: `m${n}`, driver: 'liar', needs: [`m${n + 1}`] }));
  const forged = `${victim.runId}.0.1`;
  for (let round = 0; round < 10; round++) {
    liar.say({ case: 'appendJobs', value: { ...addressOf(offer), number: 1, jobs: many } });
    liar.say({ case: 'appendJobs', value: { ...addressOf(offer), number: 2, jobs: large } });
    liar.say({ case: 'appendJobs', value: { ...addressOf(offer), number: 3, jobs: most } });
    liar.say({
      case: 'appendJobs',
      value: { attemptId: forged, fence: 1, number: 4, jobs: [{ name: 'a', gate: {} }] },
    });
  }
  const beganMs = performance.now();
  const honest = await createJob(clients[1]!, work('honest', [{ do: 'say', text: 'done' }]));
  expect(JobState[(await finishedJob(clients[1]!, honest)).state]).toBe('SUCCEEDED');
  expect(performance.now() - beganMs).toBeLessThan(10_000);

  expect(await liar.next('revoke')).toMatchObject({ attemptId: forged, fence: 1 });
  await expect.poll(() => liar.arrived('appendAnswer').length, { timeout: 30_000 }).toBeGreaterThan(0);
  const { violations } = await liar.next('appendAnswer');
  expect(violations.length).toBeGreaterThan(0);
  liar.say(finishFrame(offer));
  await liar.next('finishAck');
  const { jobCounts } = await at!.client.runs.get(job.runId);
  expect(jobCounts!.total).toBe(17);
  expect((await at!.client.runs.get(victim.runId)).jobCounts!.total).toBe(1);
});
