// Drivers that die in the middle of their work: it goes on elsewhere once the lease has run out, or at once when a new process of the
// same instance comes for it.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { JobState, LogState } from '@conveyor/client';
import { HeldPhase, VerdictKind } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { AnnotationLevel } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf, outputsOf, storedLog, tailedLog } from './jobs.ts';
import { addressOf, crc32c, finishFrame, logFrame } from './raw-driver.ts';
import { shortTiming, startSystem, type System } from './system.ts';
import { digestOutput, sha256, type Step, writtenBy } from './workload.ts';

vi.setConfig({ testTimeout: 60_000 });

let system: System;
beforeAll(async () => {
  system = await startSystem({ timing: shortTiming });
});
afterAll(() => system[Symbol.asyncDispose]());

const retry = { initialBackoff: durationFromMs(10) };

/** Work that has written `bytes` bytes and noted where it is, and then waits. */
function heldWork(seed: string, bytes: number) {
  const gate = system.newGate();
  const before: Step[] = [{ do: 'write', seed, bytes }, { do: 'annotate', text: 'before' }, { do: 'checkpoint' }];
  const after: Step[] = [
    { do: 'wait', file: gate.file },
    { do: 'annotate', text: 'after' },
    { do: 'write', seed: `${seed} goes on`, bytes: 50_000 },
  ];
  return { gate, steps: [...before, ...after], before: writtenBy(before), whole: writtenBy([...before, ...after]) };
}

/** Waits until the attempt in hand has its checkpoint, its annotation and all of its log so far stored. */
async function stored(runId: string, bytes: number): Promise<void> {
  const position = () =>
    system.query(
      'select log_size, checkpoint is not null as noted, json_array_length(annotations) as annotations from attempts where run_id = $1',
      [runId],
    );
  await expect.poll(position).toEqual([{ log_size: bytes, noted: true, annotations: 1 }]);
}

async function instanceRow(instanceId: string): Promise<{ epoch: number; leased: boolean } | undefined> {
  const [row] = await system.query<{ epoch: number; leased: boolean }>(
    'select i.epoch, l.instance_no is not null as leased from instances i left join leases l on l.instance_no = i.no where instance = $1',
    [instanceId],
  );
  return row;
}

test('what a killed driver held is lost once its lease has run out, and another instance does it again', async () => {
  const [a, b] = system.replicas;
  const { gate, steps, before, whole } = heldWork('killed', 300_000);
  const first = await system.startDriver({ name: 'mortal', at: [a!] });
  const job = await createJob(b!.client, jobOf('mortal', { steps }, { retry }));
  await stored(job.runId, before.length);
  const tail = tailedLog(b!.client, job.jobId, { attempt: 1 });

  expect(await first.kill()).toBe('SIGKILL');
  const second = await system.startDriver({ name: 'mortal', at: [b!] });
  await gate.open();
  const { state, attempt, outputs } = await finishedJob(b!.client, job);

  expect([JobState[state], attempt]).toEqual(['SUCCEEDED', 2]);
  expect(await attemptsOf(b!.client, job.jobId)).toEqual([
    {
      instance: first.instanceId,
      state: 'LOST',
      failure: 'INFRASTRUCTURE',
      logState: 'TRUNCATED',
      logSize: before.length,
    },
    { instance: second.instanceId, state: 'SUCCEEDED', failure: undefined, logState: 'SEALED', logSize: whole.length },
  ]);
  expect(sha256(await tail)).toBe(sha256(before));
  expect(sha256(await storedLog(a!.client, job.jobId, { attempt: 1 }))).toBe(sha256(before));
  expect(sha256(await storedLog(a!.client, job.jobId, { attempt: 2 }))).toBe(sha256(whole));
  expect(outputsOf({ outputs })[digestOutput]).toBe(sha256(whole));
  // Its epoch was raised before anything was taken from it, and its lease is over.
  expect(await instanceRow(first.instanceId)).toEqual({ epoch: 2, leased: false });
  const [times] = await system.query<{ lost_after: number }>(
    `select lost.finished_ms - i.connected_ms as lost_after from attempts lost join instances i on i.no = lost.instance_no
     where run_id = $1 and attempt = 1`,
    [job.runId],
  );
  expect(times!.lost_after).toBeGreaterThan(shortTiming.leaseMs);
});

test('a restarted process of the same instance goes on with its attempt where it noted to be', async () => {
  const [a, b] = system.replicas;
  const { gate, steps, before, whole } = heldWork('adopted', 200_000);
  const driver = { name: 'adopter', instanceId: 'adopter-1', adopts: true };
  const first = await system.startDriver({ ...driver, at: [a!] });
  const job = await createJob(a!.client, jobOf('adopter', { steps }, { retry }));
  await stored(job.runId, before.length);
  const tail = tailedLog(a!.client, job.jobId);

  expect(await first.kill()).toBe('SIGKILL');
  await system.startDriver({ ...driver, at: [b!] });
  await gate.open();
  const { state, attempt, outputs } = await finishedJob(a!.client, job);

  expect([JobState[state], attempt]).toEqual(['SUCCEEDED', 1]);
  expect(outputsOf({ outputs })[digestOutput]).toBe(sha256(whole));
  expect(sha256(await tail)).toBe(sha256(whole));
  expect(await instanceRow('adopter-1')).toEqual({ epoch: 2, leased: true });
  const [row] = await system.query<{ annotations: unknown }>('select annotations from attempts where run_id = $1', [
    job.runId,
  ]);
  expect(row!.annotations).toMatchObject([{ text: 'before' }, { text: 'after' }]);
  const events = await system.query('select type from events where run_id = $1 order by seq', [job.runId]);
  expect(events.map(({ type }) => type)).toContain('AttemptAdopted');
});

test('a restarted process stops what was cancelled while no process was there', async () => {
  const [a, b] = system.replicas;
  const { steps, before } = heldWork('stopped', 100_000);
  const driver = { name: 'stopper', instanceId: 'stopper-1', adopts: true };
  const first = await system.startDriver({ ...driver, at: [a!] });
  const job = await createJob(a!.client, jobOf('stopper', { steps }, { retry }));
  await stored(job.runId, before.length);

  expect(await first.kill()).toBe('SIGKILL');
  await b!.client.jobs.cancel(job.jobId);
  await system.startDriver({ ...driver, at: [b!] });
  const { state, attempt } = await finishedJob(a!.client, job);

  expect([JobState[state], attempt]).toEqual(['CANCELLED', 1]);
  const whole = Buffer.concat([before, Buffer.from('stopped: cancelled\n')]);
  expect(await attemptsOf(a!.client, job.jobId)).toMatchObject([
    { state: 'CANCELLED', logState: 'SEALED', logSize: whole.length },
  ]);
  expect(sha256(await storedLog(a!.client, job.jobId))).toBe(sha256(whole));
});

test('a restarted process that takes nothing over gives the work back at once', async () => {
  const [a, b] = system.replicas;
  const { gate, steps, before, whole } = heldWork('disowned', 100_000);
  const driver = { name: 'disowner', instanceId: 'disowner-1' };
  const first = await system.startDriver({ ...driver, at: [a!] });
  const job = await createJob(a!.client, jobOf('disowner', { steps }, { retry }));
  await stored(job.runId, before.length);

  expect(await first.kill()).toBe('SIGKILL');
  await system.startDriver({ ...driver, at: [b!] });
  const [row] = await system.query<{ connected_ms: number }>(
    `select connected_ms from instances where instance = 'disowner-1'`,
  );
  await gate.open();
  const { state, attempt } = await finishedJob(a!.client, job);

  expect([JobState[state], attempt]).toEqual(['SUCCEEDED', 2]);
  expect((await attemptsOf(a!.client, job.jobId)).map((one) => one.state)).toEqual(['LOST', 'SUCCEEDED']);
  expect(sha256(await storedLog(b!.client, job.jobId))).toBe(sha256(whole));
  const [lost] = await system.query<{ finished_ms: number }>(
    'select finished_ms from attempts where run_id = $1 and attempt = 1',
    [job.runId],
  );
  expect(lost!.finished_ms - row!.connected_ms).toBeLessThan(shortTiming.leaseMs);
});

test('who adopted an orphan and never got its Start is told in Welcome where the orphan goes on', async () => {
  const [a, b] = system.replicas;
  const log = Buffer.from('written before');
  const first = await system.openSession({ at: a!, hello: { driver: 'unanswered' } });
  const job = await createJob(b!.client, jobOf('unanswered', { steps: [] }));
  const orphan = await first.startNext();
  first.say(logFrame(orphan, 0, log));
  await first.next('logAck');
  first.say({
    case: 'annotation',
    value: { ...addressOf(orphan), number: 1, annotation: { level: AnnotationLevel.INFO, text: 'noted' } },
  });
  const rows = 'select json_array_length(annotations) as annotations from attempts where run_id = $1';
  await expect.poll(() => system.query(rows, [job.runId])).toEqual([{ annotations: 1 }]);
  first[Symbol.dispose]();
  const hello = { driver: 'unanswered', incarnation: Buffer.alloc(16, 9) };
  const second = await system.openSession({ at: b!, hello });
  second.say({ case: 'adopt', value: addressOf(orphan) });
  const adopted = `select from events where run_id = $1 and type = 'AttemptAdopted'`;
  await expect.poll(async () => (await system.query(adopted, [job.runId])).length).toBe(1);
  second[Symbol.dispose]();

  const held = [{ ...addressOf(orphan), phase: HeldPhase.ACCEPTED }];
  const third = await system.openSession({ at: a!, hello: { ...hello, held } });
  const start = { resumed: true, logOffset: BigInt(log.length), logCrc32c: crc32c(log), annotations: 1 };
  expect(third.welcome.verdicts).toMatchObject([{ ...addressOf(orphan), kind: VerdictKind.START, start }]);
  third.say(finishFrame(orphan, log));
  expect(LogState[(await third.next('finishAck')).logState]).toBe('SEALED');
});
