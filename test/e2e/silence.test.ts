// The silence timeout: an attempt that nothing is heard of is stopped, and one that says anything at all is not.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { FailureClass, JobState } from '@conveyor/client';
import { CancelPhase, FinishOutcome } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf } from './jobs.ts';
import { addressOf, type DriverFrameInit, finishFrame, logFrame } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

async function timesOf(runId: string, type: string): Promise<number[]> {
  const rows = await system.query<{ time_ms: number }>(
    'select time_ms from events where run_id = $1 and type = $2 order by seq',
    [runId, type],
  );
  return rows.map(({ time_ms }) => time_ms);
}

test('work that says nothing is stopped, though its driver sends heartbeats, and fails by its limit', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'mute' } });
  const timeouts = { silenceTimeout: durationFromMs(2_500), cancelGracePeriod: durationFromMs(60_000) };
  const job = await createJob(b!.client, jobOf('mute', { steps: [] }, { timeouts }));
  const offer = await session.startNext();
  expect(offer.silenceTimeout).toEqual(durationFromMs(2_500));
  // Heartbeats went on meanwhile: a second apart, and every one was answered.
  const cancel = await session.next('cancel');
  expect(cancel).toMatchObject({ ...addressOf(offer), phase: CancelPhase.SOFT });
  expect(cancel.reason).toBe('nothing was heard of it for 2.5 s');
  expect(session.arrived('pulse').length).toBeGreaterThanOrEqual(2);
  session.say(finishFrame(offer, undefined, { outcome: FinishOutcome.CANCELLED }));
  await session.next('finishAck');
  const { state, failure } = await finishedJob(b!.client, job);
  expect([JobState[state], FailureClass[failure!.class], failure!.message]).toEqual([
    'FAILED',
    'TIMEOUT',
    'nothing was heard of it for 2.5 s',
  ]);
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([{ state: 'TIMED_OUT', failure: 'TIMEOUT' }]);
  const [started] = await timesOf(job.runId, 'AttemptStarted');
  const [timedOut] = await timesOf(job.runId, 'AttemptTimedOut');
  expect(timedOut! - started!).toBeGreaterThanOrEqual(2_500);
});

test('work of a real driver that falls silent is stopped by its process, and tried again within its budget', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'stalls', at: [a!] });
  const stall = {
    steps: [
      { do: 'say', text: 'here\n' },
      { do: 'wait', file: system.newGate().file },
    ],
  } as const;
  const limits = {
    timeouts: { silenceTimeout: durationFromMs(1_000) },
    retry: { timeout: 1, initialBackoff: durationFromMs(1) },
  };
  const job = await createJob(b!.client, jobOf('stalls', stall, limits));
  expect(JobState[(await finishedJob(b!.client, job)).state]).toBe('FAILED');
  const timedOut = { state: 'TIMED_OUT', failure: 'TIMEOUT', logState: 'SEALED' };
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([timedOut, timedOut]);
});

test('work that goes on saying something outlives the timeout, at the cost of one event in each', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'talker', at: [a!] });
  // About eight seconds, and never silent for longer than a busy machine makes it.
  const steps = [{ do: 'write', seed: 'talk', bytes: 80_000, pieceBytes: 1_000, pauseMs: 100 }] as const;
  const job = await createJob(
    b!.client,
    jobOf('talker', { steps }, { timeouts: { silenceTimeout: durationFromMs(3_000) } }),
  );
  const { state, attempt } = await finishedJob(b!.client, job);
  expect([JobState[state], attempt]).toEqual(['SUCCEEDED', 1]);
  const heard = await timesOf(job.runId, 'AttemptHeard');
  const [started] = await timesOf(job.runId, 'AttemptStarted');
  const [ended] = await timesOf(job.runId, 'AttemptEnded');
  expect(heard.length).toBeGreaterThan(0);
  expect(heard.length).toBeLessThanOrEqual((ended! - started!) / 2_900);
});

test('whatever a driver says of an attempt counts, once it is stored', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'chatty' } });
  const job = await createJob(b!.client, jobOf('chatty', { steps: [] }));
  const offer = await session.startNext();
  const about = addressOf(offer);
  const heardMs = async () =>
    (
      await system.query<{ heard_ms: number | null }>('select heard_ms from attempts where run_id = $1', [job.runId])
    )[0]!.heard_ms ?? 0;
  expect(await heardMs()).toBe(0);
  const frames: DriverFrameInit[] = [
    logFrame(offer, 0, Buffer.from('abc')),
    { case: 'section', value: { ...about, section: { offset: 3n, name: 'part' } } },
    { case: 'output', value: { ...about, key: 'a', value: { kind: { case: 'numberValue', value: 1 } } } },
    { case: 'progress', value: { ...about, progress: { message: 'half' } } },
    { case: 'annotation', value: { ...about, number: 1, annotation: { text: 'noted' } } },
    { case: 'checkpoint', value: { ...about, handle: Buffer.from('here') } },
    { case: 'declareArtifact', value: { ...about, number: 1, artifact: { name: 'app', digest: 'crc32c:00ff00ff' } } },
    { case: 'setValue', value: { ...about, number: 1, key: 'a', value: { kind: { case: 'boolValue', value: true } } } },
    { case: 'deleteValue', value: { ...about, number: 2, key: 'a' } },
  ];
  for (const frame of frames) {
    const before = await heardMs();
    session.say(frame);
    await expect.poll(heardMs, { message: String(frame.case) }).toBeGreaterThan(before);
  }
  // Bytes that are stored already are nothing new.
  const before = await heardMs();
  session.say(logFrame(offer, 0, Buffer.from('abc')));
  await session.next('logAck');
  expect(await heardMs()).toBe(before);
  session.say(finishFrame(offer, Buffer.from('abc')));
  await session.next('finishAck');
  await finishedJob(b!.client, job);
});
