// Writes by those who may not write any more: a session that was superseded, an instance that does not hold the attempt, an attempt
// that is over. Each is told so, and none leaves a trace.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { FailureClass, JobState } from '@conveyor/client';
import { FinishOutcome, HeldPhase, type Offer, VerdictKind } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { AnnotationLevel, AttemptState, ProgressPhase } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf, storedLog } from './jobs.ts';
import { type Address, addressOf, type DriverFrameInit, finishFrame, logFrame, type RawSession } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const written = Buffer.from('written by who may\n');
const forged = Buffer.from('written by who may not\n');

/** Everything that a driver can write about an attempt, each in a form that would change something. */
const writes: Record<string, (attempt: Address) => DriverFrameInit> = {
  Log: (attempt) => logFrame(attempt, written.length, forged),
  Section: (attempt) => ({
    case: 'section',
    value: { ...addressOf(attempt), section: { name: 'forged', offset: 0n } },
  }),
  Output: (attempt) => ({
    case: 'output',
    value: { ...addressOf(attempt), key: 'forged', value: { kind: { case: 'boolValue', value: true } } },
  }),
  Progress: (attempt) => ({
    case: 'progress',
    value: { ...addressOf(attempt), progress: { phase: ProgressPhase.RUNNING, message: 'forged' } },
  }),
  Checkpoint: (attempt) => ({ case: 'checkpoint', value: { ...addressOf(attempt), handle: forged } }),
  Annotation: (attempt) => ({
    case: 'annotation',
    value: { ...addressOf(attempt), number: 1, annotation: { level: AnnotationLevel.INFO, text: 'forged' } },
  }),
  DeclareArtifact: (attempt) => ({
    case: 'declareArtifact',
    value: { ...addressOf(attempt), number: 1, artifact: { name: 'forged', digest: 'crc32c:00ff00ff' } },
  }),
  AppendJobs: (attempt) => ({
    case: 'appendJobs',
    value: { ...addressOf(attempt), number: 1, jobs: [{ name: 'forged', driver: 'nobody' }] },
  }),
  SetValue: (attempt) => ({
    case: 'setValue',
    value: { ...addressOf(attempt), number: 1, key: 'forged', value: { kind: { case: 'boolValue', value: true } } },
  }),
  DeleteValue: (attempt) => ({ case: 'deleteValue', value: { ...addressOf(attempt), number: 1, key: 'forged' } }),
  'Finish as a success': (attempt) => finishFrame(attempt, written),
  'Finish as a failure': (attempt) => finishFrame(attempt, written, { outcome: FinishOutcome.FAILED }),
};
const everyWrite = Object.entries(writes);

/** All that the tables hold of a run. */
async function rowsOf(runId: string): Promise<unknown> {
  const [rows] = await system.query(
    `select
       (select json_agg(r) from runs r where run_id = $1) as runs,
       (select json_agg(j order by job) from jobs j where run_id = $1) as jobs,
       (select json_agg(a order by job, attempt) from attempts a where run_id = $1) as attempts,
       (select json_agg(e order by seq) from events e where run_id = $1) as events,
       (select json_agg(c order by job, attempt, start_offset) from log_chunks c where run_id = $1) as chunks,
       (select json_agg(s) from log_sections s where run_id = $1) as sections,
       (select json_agg(v order by key) from run_values v where run_id = $1) as "values",
       (select json_agg(f order by job, attempt, number) from artifacts f where run_id = $1) as artifacts,
       (select json_agg(q) from queue q where run_id = $1) as queue`,
    [runId],
  );
  return rows;
}

/** A job that a session has started and written to. */
async function begin(session: RawSession, driver: string) {
  const job = await createJob(
    system.replicas[0]!.client,
    jobOf(driver, { steps: [] }, { retry: { initialBackoff: durationFromMs(0) } }),
  );
  const offer = await session.startNext();
  session.say(logFrame(offer, 0, written));
  await session.next('logAck');
  return { job, offer };
}

/** The attempt ends well, and only by the word of who holds it. */
async function finishWell(session: RawSession, { job, offer }: Awaited<ReturnType<typeof begin>>): Promise<void> {
  session.say(finishFrame(offer, written));
  await session.next('finishAck');
  const { state } = await finishedJob(system.replicas[0]!.client, job);
  expect(JobState[state]).toBe('SUCCEEDED');
  expect((await storedLog(system.replicas[1]!.client, job.jobId)).toString()).toBe(written.toString());
}

describe('a session that was superseded at another replica is ended by its next write, which changes nothing:', () => {
  test.each(everyWrite)('%s', async (name, write) => {
    const [a, b] = system.replicas;
    const driver = `superseded-${name.toLowerCase().replaceAll(' ', '-')}`;
    const hello = { driver, incarnation: Buffer.alloc(16, 7) };
    // It sends no heartbeats, of which the next one would end it.
    const zombie = await system.openSession({ at: a!, silent: true, hello });
    const begun = await begin(zombie, driver);
    const held = [{ ...addressOf(begun.offer), phase: HeldPhase.RUNNING, logOffset: BigInt(written.length) }];
    const successor = await system.openSession({ at: b!, hello: { ...hello, held } });
    expect(successor.welcome.epoch).toBe(zombie.welcome.epoch + 1n);
    expect(successor.welcome.verdicts).toMatchObject([{ kind: VerdictKind.KEEP, logOffset: BigInt(written.length) }]);
    const before = await rowsOf(begun.job.runId);

    zombie.say(write(begun.offer));
    expect(await zombie.ended).toMatchObject({ code: status.ABORTED });
    expect(await rowsOf(begun.job.runId)).toEqual(before);
    await finishWell(successor, begun);
  });
});

test('a session that was superseded at its own replica ends at once', async () => {
  const [a] = system.replicas;
  const hello = { driver: 'superseded-here', incarnation: Buffer.alloc(16, 7) };
  const first = await system.openSession({ at: a!, silent: true, hello });
  const second = await system.openSession({ at: a!, hello });
  expect(await first.ended).toMatchObject({ code: status.ABORTED });
  expect(second.welcome.epoch).toBe(first.welcome.epoch + 1n);
});

test('an offer that a superseded session accepts does not start', async () => {
  const [a, b] = system.replicas;
  const hello = { driver: 'superseded-accept', incarnation: Buffer.alloc(16, 7) };
  const zombie = await system.openSession({ at: a!, silent: true, hello });
  const job = await createJob(a!.client, jobOf(hello.driver, { steps: [] }));
  const offer = await zombie.next('offer');
  // Within one incarnation, an offer that Hello does not name is withdrawn.
  const successor = await system.openSession({ at: b!, hello });
  const again = await successor.startNext();
  expect(again.fence).toBe(offer.fence + 1);
  const before = await rowsOf(job.runId);
  zombie.say({ case: 'accept', value: addressOf(offer) });
  expect(await zombie.ended).toMatchObject({ code: status.ABORTED });
  expect(await rowsOf(job.runId)).toEqual(before);
  successor.say(finishFrame(again));
  await successor.next('finishAck');
});

describe('an instance that does not hold the attempt is told so, and changes nothing:', () => {
  const more: Record<string, (attempt: Address) => DriverFrameInit> = {
    ...writes,
    Accept: (attempt) => ({ case: 'accept', value: addressOf(attempt) }),
    Reject: (attempt) => ({ case: 'reject', value: addressOf(attempt) }),
    Adopt: (attempt) => ({ case: 'adopt', value: addressOf(attempt) }),
    Disown: (attempt) => ({ case: 'disown', value: addressOf(attempt) }),
  };

  test.each(Object.entries(more))('%s', async (name, write) => {
    const [a, b] = system.replicas;
    const driver = `stranger-${name.toLowerCase().replaceAll(' ', '-')}`;
    const holder = await system.openSession({ at: a!, hello: { driver, instanceId: 'holder' } });
    const begun = await begin(holder, driver);
    const stranger = await system.openSession({ at: b!, hello: { driver, instanceId: 'stranger' } });
    const before = await rowsOf(begun.job.runId);

    stranger.say(write(begun.offer));
    expect(await stranger.next('revoke')).toMatchObject(addressOf(begun.offer));
    expect(await rowsOf(begun.job.runId)).toEqual(before);
    await finishWell(holder, begun);
    expect(holder.arrived('revoke')).toEqual([]);
  });
});

test.each(['accept', 'reject'] as const)('an offer to another instance cannot be answered: %s', async (answer) => {
  const [a, b] = system.replicas;
  const driver = `other-offer-${answer}`;
  const holder = await system.openSession({ at: a!, hello: { driver, instanceId: 'holder' } });
  const job = await createJob(a!.client, jobOf(driver, { steps: [] }));
  const offer = await holder.next('offer');
  const stranger = await system.openSession({ at: b!, hello: { driver, instanceId: 'stranger' } });
  const before = await rowsOf(job.runId);

  stranger.say({ case: answer, value: addressOf(offer) });
  expect(await stranger.next('revoke')).toMatchObject(addressOf(offer));
  expect(await rowsOf(job.runId)).toEqual(before);
  holder.say({ case: 'accept', value: addressOf(offer) });
  await holder.next('start');
  holder.say(finishFrame(offer));
  await holder.next('finishAck');
});

describe('the fence of an earlier attempt is stale, although the same instance holds the next one:', () => {
  test.each(everyWrite)('%s', async (name, write) => {
    const [a] = system.replicas;
    const driver = `earlier-${name.toLowerCase().replaceAll(' ', '-')}`;
    const session = await system.openSession({ at: a!, hello: { driver } });
    const { job, offer: earlier } = await begin(session, driver);
    session.say(finishFrame(earlier, written, { outcome: FinishOutcome.FAILED, failureClass: FailureClass.DRIVER }));
    await session.next('finishAck');
    const later = await session.startNext();
    expect(later).toMatchObject({ jobId: earlier.jobId, fence: 2 });
    session.say(logFrame(later, 0, written));
    await session.next('logAck');
    const before = await rowsOf(job.runId);

    session.say(write(earlier));
    expect(await session.next('revoke')).toMatchObject({ ...addressOf(earlier), state: AttemptState.FAILED });
    expect(await rowsOf(job.runId)).toEqual(before);
    await finishWell(session, { job, offer: later });
    expect((await attemptsOf(a!.client, job.jobId)).map((one) => one.state)).toEqual(['FAILED', 'SUCCEEDED']);
  });
});

describe('what names no attempt is answered by Revoke:', () => {
  const cases: Record<string, (held: Offer) => Address> = {
    'a fence that is not the one of the attempt id': ({ attemptId }) => ({ attemptId, fence: 2 }),
    'an attempt that was never offered': ({ jobId }) => ({ attemptId: `${jobId}.7`, fence: 7 }),
    'a job that its run does not have': ({ runId }) => ({ attemptId: `${runId}.9.1`, fence: 1 }),
    'a run that does not exist': () => ({ attemptId: '01890000-0000-7000-8000-000000000000.0.1', fence: 1 }),
    'no id at all': () => ({ attemptId: 'nonsense', fence: 1 }),
  };

  test.each(Object.entries(cases))('%s', async (name, addressIn) => {
    const [a] = system.replicas;
    const driver = `nothing-${name.replaceAll(' ', '-')}`;
    const session = await system.openSession({ at: a!, hello: { driver } });
    const begun = await begin(session, driver);
    const before = await rowsOf(begun.job.runId);
    for (const [, write] of everyWrite) {
      const address = addressIn(begun.offer);
      session.say(write(address));
      expect(await session.next('revoke')).toMatchObject(address);
    }
    expect(await rowsOf(begun.job.runId)).toEqual(before);
    await finishWell(session, begun);
  });
});
