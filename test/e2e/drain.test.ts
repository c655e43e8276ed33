// Draining drivers by pattern: those that match and are connected get no more offers, at whichever replica they are, and what they hold
// ends, or is taken away.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { DriverState, JobState } from '@conveyor/client';
import { AttemptState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf } from './jobs.ts';
import { addressOf, finishFrame } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

test('a drain by pattern waits until what matches is idle, and leaves alone what does not or comes later', async () => {
  const [a, b] = system.replicas;
  const open = (at: typeof a, driver: string, instanceId: string) =>
    system.openSession({ at: at!, hello: { driver, instanceId } });
  const first = await open(a, 'pool-x', 'one');
  const second = await open(b, 'pool-y', 'two');
  const other = await open(b, 'pond-x', 'three');
  const jobs = await Promise.all(
    ['pool-x', 'pool-y'].map((driver) => createJob(b!.client, jobOf(driver, { steps: [] }))),
  );
  const running = await first.startNext();
  const offered = await second.next('offer');

  const short = await a!.client.drivers.drain('pool-*');
  expect(short).toMatchObject({ idle: false, evicted: 0 });
  const shown = short.drivers.map(({ name, instance, state, held }) => [name, instance, DriverState[state], held]);
  expect(shown).toEqual([
    ['pool-x', 'one', 'DRAINING', 1],
    ['pool-y', 'two', 'DRAINING', 1],
  ]);
  let isIdle = false;
  const idle = a!.client.drivers.drain('pool-*', { waitMs: 60_000 }).then((result) => {
    isIdle = true;
    return result;
  });
  // What they hold goes on: an offer may still be accepted.
  second.say({ case: 'accept', value: addressOf(offered) });
  await second.next('start');
  second.say(finishFrame(offered));
  await second.next('finishAck');
  expect(isIdle).toBe(false);
  first.say(finishFrame(running));
  await first.next('finishAck');
  expect(await idle).toMatchObject({ idle: true, evicted: 0 });
  for (const job of jobs) expect(JobState[(await finishedJob(b!.client, job)).state]).toBe('SUCCEEDED');

  // Who drains gets nothing; who comes later, or never matched, does.
  const waiting = await createJob(b!.client, jobOf('pool-x', { steps: [] }));
  const later = await open(b, 'pool-x', 'later');
  const taken = await later.startNext();
  expect(taken.jobId).toBe(waiting.jobId);
  later.say(finishFrame(taken));
  const aside = await createJob(a!.client, jobOf('pond-x', { steps: [] }));
  const asideOffer = await other.startNext();
  expect(asideOffer.jobId).toBe(aside.jobId);
  other.say(finishFrame(asideOffer));
  await finishedJob(b!.client, aside);
  expect(first.arrived('offer')).toEqual([]);

  const undone = await b!.client.drivers.drain('pool-x', { instance: 'o*', undo: true });
  expect(undone.drivers.map(({ instance, state }) => [instance, DriverState[state]])).toEqual([['one', 'READY']]);
  await b!.client.drivers.drain('pool-x', { instance: 'later' });
  const back = await createJob(b!.client, jobOf('pool-x', { steps: [] }));
  const again = await first.startNext();
  expect(again.jobId).toBe(back.jobId);
  first.say(finishFrame(again));
  await finishedJob(b!.client, back);
});

test('what is still held at the deadline is left, or taken away and tried elsewhere', async () => {
  const [a, b] = system.replicas;
  const stuck = await system.openSession({ at: a!, hello: { driver: 'stuck', instanceId: 'bad', slots: 2 } });
  const retry = { infrastructure: 1, initialBackoff: durationFromMs(1) };
  const job = await createJob(b!.client, jobOf('stuck', { steps: [] }, { retry }));
  const held = await stuck.startNext();
  const offered = await createJob(b!.client, jobOf('stuck', { steps: [] }, { retry }));
  const offer = await stuck.next('offer');

  const beganMs = performance.now();
  const left = await b!.client.drivers.drain('stuck', { waitMs: 500 });
  expect(left).toMatchObject({ idle: false, evicted: 0 });
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(500);
  expect((await attemptsOf(b!.client, job.jobId)).map(({ state }) => state)).toEqual(['RUNNING']);

  const good = await system.openSession({ at: b!, hello: { driver: 'stuck', instanceId: 'good', slots: 2 } });
  const gone = await b!.client.drivers.drain('stuck', { instance: 'b*', waitMs: 100, evict: true });
  expect(gone).toMatchObject({ idle: true, evicted: 2 });
  expect(gone.drivers).toMatchObject([{ instance: 'bad', held: 0 }]);
  expect(await stuck.next('revoke')).toMatchObject({});
  expect(await stuck.next('revoke')).toMatchObject({});
  for (const _ of [job, offered]) {
    const next = await good.startNext();
    expect([held.jobId, offer.jobId]).toContain(next.jobId);
    expect(next.fence).toBe(2);
    good.say(finishFrame(next));
    await good.next('finishAck');
  }
  for (const one of [job, offered]) expect(JobState[(await finishedJob(b!.client, one)).state]).toBe('SUCCEEDED');
  // Only what ran has spent a retry.
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([
    { instance: 'bad', state: 'LOST', failure: 'INFRASTRUCTURE' },
    { instance: 'good', state: 'SUCCEEDED' },
  ]);
  expect(await attemptsOf(b!.client, offered.jobId)).toMatchObject([
    { instance: 'bad', state: 'EXPIRED', failure: undefined },
    { instance: 'good', state: 'SUCCEEDED' },
  ]);
  // It cannot write any more.
  stuck.say(finishFrame(held));
  expect(await stuck.next('revoke')).toMatchObject({ ...addressOf(held), state: AttemptState.LOST });
});

test('a pattern that nobody who is connected matches is not found', async () => {
  const { client } = system.replicas[0]!;
  await expect(client.drivers.drain('nobody-*')).rejects.toMatchObject({ reason: 'DRIVER_NOT_FOUND' });
  await expect(client.drivers.drain('shell-?')).rejects.toMatchObject({
    reason: 'INVALID_FIELD',
    fieldViolations: [{ field: 'name' }],
  });
});
