// Replicas that are killed, freeze or stop while drivers work: the drivers go on with the same attempts at another replica.
import { JobState, RunState } from '@conveyor/client';
import { HeldPhase } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf, outputsOf, storedLog, tailedLog } from './jobs.ts';
import { addressOf, finishFrame } from './raw-driver.ts';
import { type Replica, startSystem, type System } from './system.ts';
import { digestOutput, sha256, type Step, writtenBy } from './workload.ts';

vi.setConfig({ testTimeout: 60_000 });

let system: System;
beforeEach(async () => {
  system = await startSystem();
});
afterEach(() => system[Symbol.asyncDispose]());

/** Writes for about two seconds. */
const steps: Step[] = [{ do: 'write', seed: 'goes on', bytes: 3_000_000, pieceBytes: 30_000, pauseMs: 20 }];
const written = writtenBy(steps);

interface Session {
  readonly replica: string;
  readonly epoch: number;
}

async function sessionOf(instanceId: string): Promise<Session> {
  const [row] = await system.query<{ replica: string; epoch: number }>(
    'select replica, epoch from instances where instance = $1',
    [instanceId],
  );
  return row!;
}

/** Work under way at a driver, whose session is at `host`; a reader follows it at `other`. */
async function beginWork() {
  const driver = await system.startDriver({ name: 'wanderer' });
  const session = await sessionOf(driver.instanceId);
  const ids = new Map<string, Replica>();
  for (const replica of system.replicas) ids.set((await replica.client.server.info()).replica, replica);
  const host = ids.get(session.replica)!;
  const other = system.replicas.find((replica) => replica !== host)!;
  const job = await createJob(other.client, jobOf('wanderer', { steps }));
  const tail = tailedLog(other.client, job.jobId);
  const size = async () =>
    (await system.query<{ log_size: number }>('select log_size from attempts'))[0]?.log_size ?? 0;
  await expect.poll(size).toBeGreaterThan(300_000);
  expect(await size()).toBeLessThan(written.length);
  return { driver, host, other, job, tail, session };
}

/** Waits until the driver has a session at another replica. */
async function moved(instanceId: string, before: Session, withinMs: number): Promise<void> {
  const now = async () => (await sessionOf(instanceId)).replica;
  await expect.poll(now, { timeout: withinMs }).not.toBe(before.replica);
}

/** The work ended well in its first attempt, and no byte of it is lost, doubled or out of order. */
async function expectUnharmed({ driver, other, job, tail, session }: Awaited<ReturnType<typeof beginWork>>) {
  const { state, attempt, outputs } = await finishedJob(other.client, job);
  expect([JobState[state], attempt]).toEqual(['SUCCEEDED', 1]);
  expect(await attemptsOf(other.client, job.jobId)).toEqual([
    {
      instance: driver.instanceId,
      state: 'SUCCEEDED',
      failure: undefined,
      logState: 'SEALED',
      logSize: written.length,
    },
  ]);
  expect(outputsOf({ outputs })[digestOutput]).toBe(sha256(written));
  expect(sha256(await tail)).toBe(sha256(written));
  expect(sha256(await storedLog(other.client, job.jobId))).toBe(sha256(written));
  expect((await sessionOf(driver.instanceId)).epoch).toBe(session.epoch + 1);
}

test('a driver whose replica is killed goes on at another one', async () => {
  const work = await beginWork();
  expect(await work.host.kill()).toBe('SIGKILL');
  await moved(work.driver.instanceId, work.session, 5_000);
  await expectUnharmed(work);
});

test('a driver whose replica freezes goes on at another one, and the frozen one does no harm when it wakes', async () => {
  const work = await beginWork();
  work.host.freeze();
  await moved(work.driver.instanceId, work.session, 15_000);
  work.host.thaw();
  await expectUnharmed(work);
  expect(RunState[(await work.host.client.runs.get(work.job.runId)).state]).toBe('SUCCEEDED');
});

test('a replica that stops in order sends its drivers elsewhere with what they hold', async () => {
  const work = await beginWork();
  expect(await work.host.stop()).toBe(0);
  await moved(work.driver.instanceId, work.session, 5_000);
  await expectUnharmed(work);
});

test('a replica that stops asks drivers to leave, and ends the sessions of those that do not', async () => {
  const [host, other] = system.replicas;
  const hello = { driver: 'stayer', incarnation: Buffer.alloc(16, 5) };
  const session = await system.openSession({ at: host!, hello });
  const job = await createJob(other!.client, jobOf('stayer', { steps: [] }));
  const offer = await session.startNext();
  const stopped = host!.stop();
  await session.next('drain');
  expect(await session.ended).toMatchObject({ code: status.UNAVAILABLE });
  expect(await stopped).toBe(0);
  const held = [{ ...addressOf(offer), phase: HeldPhase.RUNNING, logOffset: 0n }];
  const next = await system.openSession({ at: other!, hello: { ...hello, held } });
  next.say(finishFrame(offer));
  await next.next('finishAck');
  const { state, attempt } = await finishedJob(other!.client, job);
  expect([JobState[state], attempt]).toEqual(['SUCCEEDED', 1]);
});

test('a run that was acknowledged outlives every replica', async () => {
  const [a, b] = system.replicas;
  const job = await createJob(a!.client, jobOf('phoenix', { steps: [{ do: 'say', text: 'risen\n' }] }));
  expect(await Promise.all([a!.kill(), b!.kill()])).toEqual(['SIGKILL', 'SIGKILL']);
  const c = await system.startReplica();
  await system.startDriver({ name: 'phoenix' });
  const { state } = await finishedJob(c.client, job);
  expect(JobState[state]).toBe('SUCCEEDED');
  expect((await storedLog(c.client, job.jobId)).toString()).toBe('risen\n');
});
