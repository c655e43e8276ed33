// Who gets which job, and when: by labels, pools of slots and sticky keys, by priority, and by what is paused.
import { LabelOperator } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createJob, jobOf } from './jobs.ts';
import { addressOf, finishFrame, type RawSession } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const open: RawSession[] = [];
afterEach(() => {
  for (const session of open.splice(0)) session[Symbol.dispose]();
});

interface Place {
  readonly labels?: Record<string, string>;
  readonly slots?: number;
  readonly pools?: Record<string, number>;
}

async function connect(driver: string, instanceId: string, place: Place = {}, replica = 0): Promise<RawSession> {
  const at = system.replicas[replica]!;
  const session = await system.openSession({ at, hello: { driver, instanceId, slots: 4, ...place } });
  open.push(session);
  return session;
}

type JobInit = Parameters<typeof createJob>[1];

async function create(driver: string, job: JobInit) {
  return await createJob(system.replicas[1]!.client, jobOf(driver, { steps: [] }, job));
}

async function finish(session: RawSession): Promise<string> {
  const offer = await session.startNext();
  session.say(finishFrame(offer));
  await session.next('finishAck');
  return offer.jobId;
}

/** Offers that have come once the system has had every occasion to make them. */
async function settled(session: RawSession, driver: string): Promise<number> {
  // A job that anybody may take: queued last, and taken behind whatever could be.
  const probe = await create(driver, { name: 'probe', priority: -100 });
  const offer = await session.next('offer');
  const others = [offer, ...session.arrived('offer')].filter(({ jobId }) => jobId !== probe.jobId);
  return others.length;
}

test('a job goes to an instance whose labels its selector requires, and past those that wait for others', async () => {
  const linux = await connect('picky', 'linux', { labels: { os: 'linux', cores: '8' } });
  const mac = await connect('picky', 'mac', { labels: { os: 'mac', cores: '12' } }, 1);
  const required = (key: string, operator: LabelOperator, ...values: string[]) => ({
    selector: { required: [{ key, operator, values }] },
  });
  const nobody = await create('picky', required('os', LabelOperator.IN, 'windows', 'plan9'));
  const onMac = await create('picky', required('os', LabelOperator.EQUALS, 'mac'));
  const onLarge = await create('picky', required('cores', LabelOperator.GREATER_THAN, '9'));
  const onLinux = await create('picky', required('os', LabelOperator.NOT_IN, 'mac'));
  expect(await finish(linux)).toBe(onLinux.jobId);
  expect([await finish(mac), await finish(mac)].toSorted()).toEqual([onMac.jobId, onLarge.jobId].toSorted());
  const windows = await connect('picky', 'windows', { labels: { os: 'windows' } });
  expect(await finish(windows)).toBe(nobody.jobId);
});

test("ten thousand jobs that nobody can take are in nobody's way", async () => {
  const session = await connect('crowded', 'one', { slots: 1 });
  const selector = { required: [{ key: 'os', values: ['plan9'] }] };
  const axes = { n: Array.from({ length: 1_000 }, (_, n) => n) };
  const jobs = ['a', 'b', 'c', 'd', 'e'].map((name) =>
    jobOf('crowded', { steps: [] }, { name, selector, matrix: { axes } }),
  );
  const { client } = system.replicas[0]!;
  const runs = await Promise.all([1, 2].map(() => client.runs.create({ definition: { jobs } })));
  const queued = await Array.fromAsync(client.drivers.queues());
  expect(queued.find(({ driver }) => driver === 'crowded')).toMatchObject({ queued: 10_000 });
  for (let i = 0; i < 20; i++) {
    const job = await create('crowded', { priority: -100 });
    expect(await finish(session)).toBe(job.jobId);
  }
  const [times] = await system.query<{ worst: number }>(
    `select max(a.offered_ms - j.ready_ms)::int as worst from attempts a join jobs j using (run_id, job)
     join instances i on i.no = a.instance_no where i.driver = 'crowded'`,
  );
  // The next poll alone would take 500 ms.
  expect(times!.worst).toBeLessThan(400);
  for (const { runId } of runs) {
    await client.runs.cancel(runId);
    await client.runs.finished(runId);
  }
});

test('of several instances with room the preferred one gets the job', async () => {
  await connect('fond', 'large', { slots: 100 });
  const ssd = await connect('fond', 'ssd', { slots: 2, labels: { disk: 'ssd' } });
  const job = await create('fond', { selector: { preferred: [{ key: 'disk', values: ['ssd'] }] } });
  expect(await finish(ssd)).toBe(job.jobId);
});

test('no more jobs of a pool are offered than it has slots, and others pass them by', async () => {
  const session = await connect('pooled', 'one', { slots: 10, pools: { gpu: 2 } });
  const jobs = await Promise.all(['a', 'b', 'c'].map((name) => create('pooled', { name, pool: 'gpu' })));
  const unknown = await create('pooled', { pool: 'tpu' });
  const first = await session.startNext();
  const second = await session.startNext();
  expect(first.pool).toBe('gpu');
  expect(await settled(session, 'pooled')).toBe(0);
  // What it still holds counts in its next session, too.
  session.say(finishFrame(first));
  await session.next('finishAck');
  const third = await session.startNext();
  expect([first, second, third].map(({ jobId }) => jobId).toSorted()).toEqual(
    jobs.map(({ jobId }) => jobId).toSorted(),
  );
  for (const offer of [second, third]) session.say(finishFrame(offer));
  const tpu = await connect('pooled', 'two', { pools: { tpu: 1 } });
  expect(await finish(tpu)).toBe(unknown.jobId);
});

test('jobs with a sticky key follow the last one, wait a little for its instance, and then go elsewhere', async () => {
  const a = await connect('sticky', 'a', { slots: 1 });
  const first = await create('sticky', { stickyKey: 'repo' });
  const held = await a.startNext();
  expect(held.jobId).toBe(first.jobId);
  const b = await connect('sticky', 'b', { slots: 3 });
  const second = await create('sticky', { stickyKey: 'repo' });
  // One that has no key does not wait behind it.
  const free = await create('sticky', {});
  expect(await finish(b)).toBe(free.jobId);
  expect(b.arrived('offer')).toEqual([]);
  a.say(finishFrame(held));
  expect(await finish(a)).toBe(second.jobId);
  const busy = await create('sticky', { stickyKey: 'other' });
  const holder = await b.startNext();
  expect(holder.jobId).toBe(busy.jobId);
  b.say({ case: 'slots', value: { total: 0 } });
  const late = await create('sticky', { stickyKey: 'other' });
  const offer = await a.next('offer');
  expect(offer.jobId).toBe(late.jobId);
  const [{ waited } = { waited: 0 }] = await system.query<{ waited: number }>(
    'select (a.offered_ms - j.ready_ms)::int as waited from attempts a join jobs j using (run_id, job) where run_id = $1',
    [late.runId],
  );
  expect(waited).toBeGreaterThanOrEqual(1_500);
  a.say({ case: 'accept', value: addressOf(offer) }, finishFrame(offer));
});

test('of queued jobs that with the higher priority is offered first', async () => {
  const names = ['low', 'none', 'high', 'also-none'];
  for (const name of names) {
    const priority = name === 'low' ? -5 : name === 'high' ? 5 : 0;
    await create('ranked', { name, priority });
  }
  const session = await connect('ranked', 'one', { slots: 1 });
  const order: string[] = [];
  for (const _ of names) {
    const offer = await session.startNext();
    order.push(offer.job);
    session.say(finishFrame(offer));
  }
  expect(order).toEqual(['high', 'none', 'also-none', 'low']);
});

test('nothing is offered of a queue while it is paused, at any replica', async () => {
  const [a, b] = system.replicas;
  const { drivers, pipelines, runs } = a!.client;
  await pipelines.apply({ name: 'held', definition: { jobs: [jobOf('paused', { steps: [] })] } });
  await drivers.pauseQueue('paused', { pipeline: 'held' });
  const pause = await drivers.pauseQueue('paused', { pipeline: 'held', actor: 'ana', reason: 'broken image' });
  expect(pause).toMatchObject({ driver: 'paused', project: 'default', pipeline: 'held', reason: 'broken image' });
  const session = await connect('paused', 'one', {}, 1);
  const { runId } = await runs.create({ pipeline: 'held' });
  const queues = await Array.fromAsync(b!.client.drivers.queues());
  expect(queues.find(({ driver }) => driver === 'paused')).toMatchObject({ queued: 1, pauses: [{ actor: 'ana' }] });
  // What is queued later, and not paused, is offered.
  const others = [await create('paused', {}), await create('paused', {})];
  for (const job of others) expect(await finish(session)).toBe(job.jobId);
  expect(session.arrived('offer')).toEqual([]);
  expect(await drivers.resumeQueue('paused')).toBe(false);
  expect(await drivers.resumeQueue('paused', { pipeline: 'held' })).toBe(true);
  await finish(session);
  await b!.client.runs.finished(runId);

  await drivers.pauseQueue('paused');
  const job = await create('paused', {});
  const free = await connect('free', 'one', {}, 1);
  const other = await create('free', {});
  expect(await finish(free)).toBe(other.jobId);
  expect(session.arrived('offer')).toEqual([]);
  await drivers.resumeQueue('paused');
  expect(await finish(session)).toBe(job.jobId);
});
