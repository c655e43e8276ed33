// What the control plane makes of log frames and results as a driver may send them: with gaps, overlaps and repetitions, in any bytes,
// counted right or wrong.
import { FailureClass, JobState, type LogPart } from '@conveyor/client';
import {
  FinishOutcome,
  type FinishSchema,
  HeldPhase,
  type Offer,
  VerdictKind,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { AttemptState, LogState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { LogChannel } from '@conveyor/protocol/conveyor/v1/log_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf, outputsOf, storedLog } from './jobs.ts';
import { addressOf, crc32c, finishFrame, logFrame, type RawSession } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';
import { linesOf, type Step } from './workload.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem({ maxLogBytes });
});
afterAll(() => system[Symbol.asyncDispose]());

const maxLogBytes = 10_000;
const log = linesOf('protocol', 1_000);

/** A job that a session has just started. */
async function begin(driver: string) {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver } });
  const job = await createJob(b!.client, jobOf(driver, { steps: [] }));
  return { session, job, offer: await session.startNext() };
}

async function finish(
  session: RawSession,
  offer: Offer,
  bytes: Uint8Array,
  result: MessageInitShape<typeof FinishSchema> = {},
): Promise<string> {
  session.say(finishFrame(offer, bytes, result));
  return LogState[(await session.next('finishAck')).logState];
}

test('bytes behind a gap are dropped, and the offset that is due is told', async () => {
  const { session, job, offer } = await begin('gap');
  session.say(logFrame(offer, 0, log.subarray(0, 100)));
  expect(await session.next('logAck')).toMatchObject({ offset: 100n, gap: false });
  session.say(logFrame(offer, 101, log.subarray(101, 200)));
  expect(await session.next('logAck')).toMatchObject({ offset: 100n, gap: true });
  expect((await storedLog(system.replicas[1]!.client, job.jobId)).length).toBe(100);
  session.say(logFrame(offer, 100, log.subarray(100)));
  expect(await session.next('logAck')).toMatchObject({ offset: 1_000n, gap: false });
  expect(await finish(session, offer, log)).toBe('SEALED');
  expect(await storedLog(system.replicas[1]!.client, job.jobId)).toEqual(log);
});

test('bytes that overlap what is stored are trimmed, within one message as well', async () => {
  const { session, job, offer } = await begin('overlap');
  session.say(logFrame(offer, 0, log.subarray(0, 400)));
  await session.next('logAck');
  session.say(
    logFrame(offer, 100, log.subarray(100, 300)),
    logFrame(offer, 0, log.subarray(0, 700)),
    logFrame(offer, 650, log.subarray(650, 800)),
    logFrame(offer, 0, log),
    logFrame(offer, 0, log),
  );
  expect(await finish(session, offer, log)).toBe('SEALED');
  expect(await storedLog(system.replicas[1]!.client, job.jobId)).toEqual(log);
});

test('a result that counts bytes which never came waits for them', async () => {
  const { session, job, offer } = await begin('missing');
  session.say(logFrame(offer, 0, log.subarray(0, 600)), finishFrame(offer, log));
  expect(await session.next('logMissing')).toMatchObject({ ...addressOf(offer), offset: 600n });
  expect(JobState[(await system.replicas[1]!.client.jobs.get(job.jobId)).state]).toBe('RUNNING');
  session.say(logFrame(offer, 600, log.subarray(600)));
  expect(await finish(session, offer, log)).toBe('SEALED');
  expect(JobState[(await finishedJob(system.replicas[1]!.client, job)).state]).toBe('SUCCEEDED');
  expect(await storedLog(system.replicas[1]!.client, job.jobId)).toEqual(log);
});

test.each<[string, string, MessageInitShape<typeof FinishSchema>]>([
  ['a wrong CRC', 'CORRUPT', { logCrc32c: crc32c(log.subarray(1)) }],
  ['fewer bytes than were stored', 'CORRUPT', { logSize: 999n, logCrc32c: crc32c(log.subarray(0, 999)) }],
  ['lost bytes', 'TRUNCATED', { logLost: true, logSize: 5_000n, logCrc32c: 1 }],
])('a result that counts %s stands, and its log is %s', async (name, expected, result) => {
  const { session, job, offer } = await begin(`sealed-${name.replaceAll(' ', '-').toLowerCase()}`);
  session.say(logFrame(offer, 0, log));
  expect(await finish(session, offer, log, result)).toBe(expected);
  expect(JobState[(await finishedJob(system.replicas[1]!.client, job)).state]).toBe('SUCCEEDED');
  expect(await attemptsOf(system.replicas[0]!.client, job.jobId)).toMatchObject([
    { state: 'SUCCEEDED', logState: expected, logSize: 1_000 },
  ]);
  expect(await storedLog(system.replicas[1]!.client, job.jobId)).toEqual(log);
});

test('a repeated result is acknowledged again and changes nothing; another result is refused', async () => {
  const { session, job, offer } = await begin('repeated');
  session.say(logFrame(offer, 0, log));
  const result = { outcome: FinishOutcome.FAILED, failureClass: FailureClass.WORKLOAD, message: 'once', exitCode: 9 };
  const events = async () => (await system.query('select seq from events where run_id = $1', [job.runId])).length;
  expect(await finish(session, offer, log, result)).toBe('SEALED');
  const before = await events();
  expect(await finish(session, offer, log, result)).toBe('SEALED');
  session.say(finishFrame(offer, log));
  expect(await session.next('revoke')).toMatchObject({ ...addressOf(offer), state: AttemptState.FAILED });
  expect(await events()).toBe(before);

  // Also to a process that only knows that it never heard the answer, at another replica.
  const held = [{ ...addressOf(offer), phase: HeldPhase.FINISHED, logOffset: 1_000n }];
  const next = await system.openSession({ at: system.replicas[1]!, hello: { driver: 'repeated', held } });
  expect(next.welcome.verdicts).toMatchObject([{ kind: VerdictKind.FINISHED, logState: LogState.SEALED }]);
  expect(await finish(next, offer, log, result)).toBe('SEALED');
  expect(await events()).toBe(before);
  expect(await attemptsOf(system.replicas[0]!.client, job.jobId)).toMatchObject([{ state: 'FAILED' }]);
});

test('a result that no FinishAck answered is given again by the next session', async () => {
  const { session, job, offer } = await begin('unanswered');
  const hello = { driver: 'unanswered', incarnation: Buffer.alloc(16, 1) };
  const held = [{ ...addressOf(offer), phase: HeldPhase.FINISHED, logOffset: 1_000n }];
  session[Symbol.dispose]();
  // The incarnation is another one, so the attempt is not an orphan only because it is named.
  const next = await system.openSession({ at: system.replicas[1]!, hello: { ...hello, held } });
  expect(next.welcome.verdicts).toMatchObject([{ kind: VerdictKind.KEEP, logOffset: 0n }]);
  next.say(logFrame(offer, 0, log));
  expect(await finish(next, offer, log)).toBe('SEALED');
  const { state, attempt } = await finishedJob(system.replicas[0]!.client, job);
  expect([JobState[state], attempt]).toEqual(['SUCCEEDED', 1]);
});

test('any bytes are kept, with their channels, their times and the sections around them', async () => {
  const { session, job, offer } = await begin('bytes');
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const part = (offset: number, channel: LogChannel, unixMs: bigint) => ({
    case: 'log' as const,
    value: { ...addressOf(offer), offset: BigInt(offset), data: bytes, channel, unixMs },
  });
  const section = (offset: bigint, end: boolean) => ({
    case: 'section' as const,
    value: { ...addressOf(offer), section: { name: 'all bytes', offset, end } },
  });
  session.say(section(0n, false), part(0, LogChannel.STDERR, 1_000n), part(256, LogChannel.DRIVER, 2_000n));
  session.say(section(512n, true), section(512n, true));
  expect(await finish(session, offer, Buffer.concat([bytes, bytes]))).toBe('SEALED');
  const parts: LogPart[] = [];
  for await (const read of system.replicas[1]!.client.jobs.readLog(job.jobId)) parts.push(read);
  const chunks = parts.flatMap((read) => read.chunks);
  expect(Buffer.concat(chunks.map(({ data }) => data))).toEqual(Buffer.concat([bytes, bytes]));
  expect(chunks.flatMap(({ spans }) => spans)).toMatchObject([
    { length: 256, channel: LogChannel.STDERR, unixMs: 1_000n },
    { length: 256, channel: LogChannel.DRIVER, unixMs: 2_000n },
  ]);
  expect(parts.flatMap((read) => read.sections)).toMatchObject([
    { name: 'all bytes', offset: 0n, end: false },
    { name: 'all bytes', offset: 512n, end: true },
  ]);
});

test('what a driver sends beyond the largest log is dropped and makes it TRUNCATED, and harms nothing else', async () => {
  const { session, job, offer } = await begin('longest');
  expect(session.welcome.maxLogBytes).toBe(BigInt(maxLogBytes));
  const { limits } = await system.replicas[0]!.client.server.info();
  expect(limits?.maxLogBytes).toBe(BigInt(maxLogBytes));
  const long = linesOf('longest', 10_500);
  session.say(logFrame(offer, 0, long.subarray(0, 9_000)), logFrame(offer, 9_000, long.subarray(9_000, 10_400)));
  await expect.poll(async () => (await storedLog(system.replicas[1]!.client, job.jobId)).length).toBe(maxLogBytes);
  session.say(logFrame(offer, 10_400, long.subarray(10_400)));
  const acks: object[] = [];
  await expect.poll(() => acks.push(...session.arrived('logAck'))).toBeGreaterThan(1);
  const full = { offset: BigInt(maxLogBytes), windowEnd: BigInt(maxLogBytes), gap: false };
  expect(acks.at(-1)).toMatchObject(full);
  // Its driver does not know; repeated, its result is acknowledged again.
  for (const _ of [1, 2]) expect(await finish(session, offer, long)).toBe('TRUNCATED');
  expect(JobState[(await finishedJob(system.replicas[1]!.client, job)).state]).toBe('SUCCEEDED');
  expect(await storedLog(system.replicas[1]!.client, job.jobId)).toEqual(long.subarray(0, maxLogBytes));
});

test('a log of exactly the largest size is whole', async () => {
  const { session, job, offer } = await begin('exact');
  const exact = linesOf('exact', maxLogBytes);
  session.say(logFrame(offer, 0, exact));
  expect(await finish(session, offer, exact)).toBe('SEALED');
  expect(await storedLog(system.replicas[1]!.client, job.jobId)).toEqual(exact);
});

test('the driver runtime stops at the largest log, says so in it, and works on', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'talkative', at: [a!] });
  const steps: Step[] = [
    { do: 'write', seed: 'talkative', bytes: 3_000_000 },
    { do: 'output', key: 'after', value: true },
  ];
  const job = await createJob(b!.client, jobOf('talkative', { steps }));
  const { state, outputs } = await finishedJob(b!.client, job);
  expect([JobState[state], outputsOf({ outputs })['after']]).toEqual(['SUCCEEDED', true]);
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([{ logState: 'TRUNCATED', logSize: maxLogBytes }]);
  const stored = await storedLog(b!.client, job.jobId);
  const cut = Buffer.from('\nThe log is cut here: it has reached the 10000 bytes that it may have.\n');
  const kept = maxLogBytes - cut.length;
  expect(stored).toEqual(Buffer.concat([linesOf('talkative', 3_000_000).subarray(0, kept), cut]));
});

test('what is wrong about one attempt fails that attempt only', async () => {
  const driver = 'malformed';
  const [a] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver, slots: 2 } });
  const jobs = [
    await createJob(a!.client, jobOf(driver, { steps: [] })),
    await createJob(a!.client, jobOf(driver, { steps: [] })),
  ];
  const bad = await session.startNext();
  const good = await session.startNext();
  session.say({ case: 'checkpoint', value: { ...addressOf(bad), handle: Buffer.alloc(4_097) } });
  expect(await session.next('revoke')).toMatchObject(addressOf(bad));
  session.say(logFrame(good, 0, log));
  expect(await finish(session, good, log)).toBe('SEALED');
  const states = new Map<string, string>();
  for (const job of jobs) {
    const { jobId, state, failure } = await finishedJob(a!.client, job);
    states.set(jobId, failure === undefined ? JobState[state] : `${JobState[state]} ${FailureClass[failure.class]}`);
  }
  expect(states).toEqual(
    new Map([
      [bad.jobId, 'FAILED INVALID'],
      [good.jobId, 'SUCCEEDED'],
    ]),
  );
});
