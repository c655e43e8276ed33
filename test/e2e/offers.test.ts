// Offers and what becomes of jobs over time: offers that are not answered or sent back, retries with their backoff, limits of time, and
// drivers that fall silent or leave.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { FailureClass, type Job, JobState } from '@conveyor/client';
import { FinishOutcome } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { AttemptState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf } from './jobs.ts';
import { addressOf, finishFrame } from './raw-driver.ts';
import { shortTiming, startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem({ timing: shortTiming });
});
afterAll(() => system[Symbol.asyncDispose]());

const noJitter = { initialBackoff: durationFromMs(200), backoffFactor: 2, jitter: 0 };

/** When each attempt of a job was offered and ended, by the database's clock. */
async function timesOf({ runId }: Job): Promise<{ offered: number; finished: number }[]> {
  return await system.query(
    'select offered_ms as offered, finished_ms as finished from attempts where run_id = $1 order by attempt',
    [runId],
  );
}

/** From the end of each attempt to the offer of the next one. */
async function pausesOf(job: Job): Promise<number[]> {
  const times = await timesOf(job);
  return times.slice(1).map(({ offered }, index) => offered - times[index]!.finished);
}

function outcome({ state, failure, attempt }: Job): unknown[] {
  return [JobState[state], failure && FailureClass[failure.class], attempt];
}

test('an offer that nobody answers is withdrawn, and the job is offered again', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'slow' } });
  const timeouts = { offerTimeout: durationFromMs(1_000) };
  const job = await createJob(b!.client, jobOf('slow', { steps: [] }, { timeouts, retry: noJitter }));
  const first = await session.next('offer');
  expect(await session.next('revoke')).toMatchObject({ ...addressOf(first), state: AttemptState.EXPIRED });
  const second = await session.startNext();
  expect(second).toMatchObject({ jobId: job.jobId, fence: 2 });
  // Too late: the first one is over.
  session.say({ case: 'accept', value: addressOf(first) });
  expect(await session.next('revoke')).toMatchObject(addressOf(first));
  session.say(finishFrame(second));
  await session.next('finishAck');
  expect(outcome(await finishedJob(b!.client, job))).toEqual(['SUCCEEDED', undefined, 2]);
  expect((await attemptsOf(b!.client, job.jobId)).map(({ state }) => state)).toEqual(['EXPIRED', 'SUCCEEDED']);
  const [expired] = await timesOf(job);
  expect(expired!.finished - expired!.offered).toBeGreaterThanOrEqual(1_000);
});

test('an offer that was declined comes back no sooner than its driver asks', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'picky' } });
  const job = await createJob(b!.client, jobOf('picky', { steps: [] }, { retry: noJitter }));
  const first = await session.next('offer');
  const retryAfter = durationFromMs(700);
  session.say({ case: 'reject', value: { ...addressOf(first), reason: 'not now', retryAfter } });
  session.say(finishFrame(await session.startNext()));
  await session.next('finishAck');
  expect(outcome(await finishedJob(b!.client, job))).toEqual(['SUCCEEDED', undefined, 2]);
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([{ state: 'REJECTED', failure: 'REJECTED' }, {}]);
  expect((await pausesOf(job))[0]).toBeGreaterThanOrEqual(700);
});

test('an offer that nobody could ever take fails its job at once', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'unable' } });
  const job = await createJob(b!.client, jobOf('unable', { steps: [] }));
  session.say({ case: 'reject', value: { ...addressOf(await session.next('offer')), invalid: true } });
  expect(outcome(await finishedJob(b!.client, job))).toEqual(['FAILED', 'INVALID', 1]);
});

test('an instance that sent a job back three times in a row is passed over for another one', async () => {
  const [a, b] = system.replicas;
  const hello = { driver: 'fussy', slots: 10 };
  const fussy = await system.openSession({ at: a!, hello: { ...hello, instanceId: 'fussy' } });
  const retry = { initialBackoff: durationFromMs(10) };
  const job = await createJob(b!.client, jobOf('fussy', { steps: [] }, { retry }));
  for (const fence of [1, 2, 3]) {
    const offer = await fussy.next('offer');
    expect(offer.fence).toBe(fence);
    fussy.say({ case: 'reject', value: addressOf(offer) });
  }
  // Of the two, the first has more room, and its own job is still offered to it.
  const willing = await system.openSession({ at: a!, hello: { ...hello, instanceId: 'willing', slots: 1 } });
  expect(await willing.startNext()).toMatchObject({ jobId: job.jobId, fence: 4 });
  willing.say(finishFrame({ attemptId: `${job.jobId}.4`, fence: 4 }));
  await willing.next('finishAck');
  expect(outcome(await finishedJob(b!.client, job))).toEqual(['SUCCEEDED', undefined, 4]);
});

test('a driver is never offered more than it has slots for', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'bounded', slots: 2 } });
  const jobs = await Promise.all(
    Array.from({ length: 5 }, () => createJob(b!.client, jobOf('bounded', { steps: [] }))),
  );
  const held = async () => {
    const [row] = await system.query<{ held: number }>(
      `select count(*) as held from attempts a join instances i on i.no = a.instance_no
       where i.driver = 'bounded' and a.finished_ms is null`,
    );
    return row!.held;
  };
  let most = 0;
  const finished = Promise.all(jobs.map((job) => finishedJob(b!.client, job)));
  for (let taken = 0; taken < jobs.length; taken++) {
    const offer = await session.startNext();
    most = Math.max(most, await held());
    session.say(finishFrame(offer));
    await session.next('finishAck');
  }
  expect(most).toBe(2);
  for (const job of await finished) expect(JobState[job.state]).toBe('SUCCEEDED');
  // A changed total counts from now on.
  session.say({ case: 'slots', value: { total: 0 } });
  await createJob(b!.client, jobOf('bounded', { steps: [] }));
  session.say({ case: 'slots', value: { total: 1 } });
  session.say(finishFrame(await session.startNext()));
  await session.next('finishAck');
});

test('a failed job is tried again after a growing backoff, until it succeeds or its budget is spent', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'flaky', at: [a!] });
  const retry = { ...noJitter, workload: 2 };
  const fail = { do: 'fail', class: 'WORKLOAD', message: 'flaky', exitCode: 1 } as const;
  const [mended, hopeless] = await Promise.all([
    createJob(b!.client, jobOf('flaky', { steps: [{ ...fail, upToAttempt: 2 }] }, { retry })),
    createJob(b!.client, jobOf('flaky', { steps: [fail] }, { retry })),
  ]);
  expect(outcome(await finishedJob(b!.client, mended!))).toEqual(['SUCCEEDED', undefined, 3]);
  expect(outcome(await finishedJob(b!.client, hopeless!))).toEqual(['FAILED', 'WORKLOAD', 3]);
  for (const job of [mended!, hopeless!]) {
    const [first, second] = await pausesOf(job);
    expect(first).toBeGreaterThanOrEqual(200);
    expect(second).toBeGreaterThanOrEqual(400);
  }
});

test('a job that runs too long is stopped, and fails by its limit', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'endless', at: [a!] });
  const timeouts = { runTimeout: durationFromMs(500) };
  const work = jobOf('endless', { steps: [{ do: 'wait', file: system.newGate().file }] }, { timeouts });
  const job = await createJob(b!.client, work);
  expect(outcome(await finishedJob(b!.client, job))).toEqual(['FAILED', 'TIMEOUT', 1]);
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([{ state: 'TIMED_OUT', logState: 'SEALED' }]);
});

test('a job that nobody takes fails by its queue timeout', async () => {
  const [, b] = system.replicas;
  const timeouts = { queueTimeout: durationFromMs(300) };
  const job = await createJob(b!.client, jobOf('nobody-at-all', { steps: [] }, { timeouts }));
  expect(outcome(await finishedJob(b!.client, job))).toEqual(['FAILED', 'TIMEOUT', 0]);
});

test('a driver that falls silent loses what it holds, though its connection stands', async () => {
  const [a, b] = system.replicas;
  const silent = await system.openSession({ at: a!, silent: true, hello: { driver: 'silent', instanceId: 'silent' } });
  const retry = { initialBackoff: durationFromMs(10) };
  const job = await createJob(b!.client, jobOf('silent', { steps: [] }, { retry }));
  const lost = await silent.startNext();
  const other = await system.openSession({ at: b!, hello: { driver: 'silent', instanceId: 'other' } });
  const offer = await other.startNext();
  expect(offer).toMatchObject({ jobId: lost.jobId, fence: 2 });
  expect(await silent.next('revoke')).toMatchObject(addressOf(lost));
  const before = await attemptsOf(b!.client, job.jobId);
  silent.say(finishFrame(lost));
  expect(await silent.ended).toMatchObject({ code: status.ABORTED });
  expect(await attemptsOf(b!.client, job.jobId)).toEqual(before);
  expect(before).toMatchObject([
    { instance: 'silent', state: 'LOST', failure: 'INFRASTRUCTURE' },
    { state: 'RUNNING' },
  ]);
  other.say(finishFrame(offer));
  await other.next('finishAck');
  expect(outcome(await finishedJob(b!.client, job))).toEqual(['SUCCEEDED', undefined, 2]);
  const [times] = await timesOf(job);
  expect(times!.finished - times!.offered).toBeGreaterThan(shortTiming.leaseMs - shortTiming.heartbeatMs);
});

test('orphans that the next process does not answer for are lost after the offer timeout', async () => {
  const [a, b] = system.replicas;
  const first = await system.openSession({ at: a!, hello: { driver: 'forgetful' } });
  const timeouts = { offerTimeout: durationFromMs(1_000) };
  const retry = { initialBackoff: durationFromMs(10) };
  const job = await createJob(b!.client, jobOf('forgetful', { steps: [] }, { timeouts, retry }));
  const lost = await first.startNext();
  first.say({ case: 'checkpoint', value: { ...addressOf(lost), handle: Buffer.from('here') } });
  const noted = async () => (await system.query('select checkpoint from attempts where run_id = $1', [job.runId]))[0];
  await expect.poll(noted).toEqual({ checkpoint: Buffer.from('here') });
  first[Symbol.dispose]();
  const next = await system.openSession({ at: b!, hello: { driver: 'forgetful' } });
  expect(next.welcome.orphans).toMatchObject([{ offer: addressOf(lost), checkpoint: Buffer.from('here') }]);
  // The orphan takes up the only slot until it is settled.
  const offer = await next.startNext();
  expect(offer).toMatchObject({ jobId: lost.jobId, fence: 2 });
  next.say({ case: 'adopt', value: addressOf(lost) });
  expect(await next.next('revoke')).toMatchObject(addressOf(lost));
  next.say(finishFrame(offer));
  await next.next('finishAck');
  expect((await attemptsOf(b!.client, job.jobId)).map(({ state }) => state)).toEqual(['LOST', 'SUCCEEDED']);
});

test('what a driver that says Goodbye still holds goes back at once', async () => {
  const [a, b] = system.replicas;
  const leaving = await system.openSession({ at: a!, hello: { driver: 'leaver', slots: 2 } });
  const retry = { initialBackoff: durationFromMs(10) };
  const jobs = [
    await createJob(b!.client, jobOf('leaver', { steps: [] }, { retry })),
    await createJob(b!.client, jobOf('leaver', { steps: [] }, { retry })),
  ];
  const running = await leaving.startNext();
  const offered = await leaving.next('offer');
  leaving.say({ case: 'goodbye', value: { reason: 'done for today' } });
  expect(await leaving.ended).toMatchObject({ code: status.OK });
  const next = await system.openSession({ at: b!, hello: { driver: 'leaver', instanceId: 'next', slots: 2 } });
  for (const _ of jobs) {
    next.say(finishFrame(await next.startNext()));
    await next.next('finishAck');
  }
  for (const job of jobs) expect(outcome(await finishedJob(b!.client, job))).toEqual(['SUCCEEDED', undefined, 2]);
  expect(await attemptsOf(b!.client, running.jobId)).toMatchObject([{ state: 'LOST' }, { state: 'SUCCEEDED' }]);
  // Nobody declined it and nothing ran, so no retry is spent.
  expect(await attemptsOf(b!.client, offered.jobId)).toMatchObject([
    { state: 'EXPIRED', failure: undefined },
    { state: 'SUCCEEDED' },
  ]);
});

test('a result that says CANCELLED although nobody asked is a failure of the driver', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'quitter' } });
  const job = await createJob(b!.client, jobOf('quitter', { steps: [] }, { retry: { driver: 0 } }));
  session.say(finishFrame(await session.startNext(), undefined, { outcome: FinishOutcome.CANCELLED }));
  await session.next('finishAck');
  expect(outcome(await finishedJob(b!.client, job))).toEqual(['FAILED', 'DRIVER', 1]);
});
