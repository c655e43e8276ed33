// Cancelling: what runs is asked to stop, then told to, then ended without it; what is to run always still does.
import { durationFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { JobState, RunState, StopCause, StopPhase } from '@conveyor/client';
import {
  type Cancel,
  CancelPhase,
  FinishOutcome,
  HeldPhase,
  VerdictKind,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { AttemptState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf, jobsByName, storedLog } from './jobs.ts';
import { addressOf, finishFrame, logFrame, type RawSession } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';
import type { Workload } from './workload.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const graceMs = 1_000;
const timeouts = { cancelGracePeriod: durationFromMs(graceMs) };

/** Work that says that it runs and then waits for ever. */
function endless(onStop: NonNullable<Workload['onStop']>): Workload {
  return {
    steps: [
      { do: 'say', text: 'running\n' },
      { do: 'wait', file: system.newGate().file },
    ],
    onStop,
  };
}

async function logged(jobId: string, text: string): Promise<void> {
  const log = async () => (await storedLog(system.replicas[0]!.client, jobId).catch(() => '')).toString();
  await expect.poll(log).toBe(text);
}

/** The cancel that tells to kill. The one before it may come twice: it is repeated until it is answered. */
async function killOf(session: RawSession): Promise<Cancel> {
  for (;;) {
    const cancel = await session.next('cancel');
    if (cancel.phase === CancelPhase.KILL) return cancel;
  }
}

/** The events of a run about stops and ends, with their times. */
async function stopsOf(runId: string): Promise<{ type: string; time_ms: number }[]> {
  return await system.query(
    `select type, time_ms from events where run_id = $1
       and type in ('RunCancelRequested', 'JobCancelRequested', 'JobKillRequested', 'AttemptEnded') order by seq`,
    [runId],
  );
}

test('a cancelled run stops its work, starts nothing more, and still runs what runs always', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'canceller', at: [a!] });
  const { runId } = await b!.client.runs.create({
    definition: {
      jobs: [
        jobOf('canceller', endless('end'), { name: 'work', timeouts: { cancelGracePeriod: durationFromMs(20_000) } }),
        jobOf('canceller', { steps: [] }, { name: 'next', needs: ['work'] }),
        jobOf(
          'canceller',
          { steps: [{ do: 'say', text: 'cleaned up\n' }] },
          { name: 'clean-up', needs: ['work', 'next'], when: RunCondition.ALWAYS },
        ),
      ],
    },
  });
  const work = (await jobsByName(b!.client, runId)).get('work')!;
  await logged(work.jobId, 'running\n');

  const cancelled = await b!.client.runs.cancel(runId, { reason: 'not needed any more' });
  expect(RunState[cancelled.state]).toBe('CANCELLING');
  const finished = await b!.client.runs.finished(runId);
  expect([RunState[finished.state], finished.cancelReason]).toEqual(['CANCELLED', 'not needed any more']);
  const jobs = await jobsByName(b!.client, runId);
  expect([...jobs.values()].map(({ name, state, attempt }) => [name, JobState[state], attempt])).toEqual([
    ['work', 'CANCELLED', 1],
    ['next', 'CANCELLED', 0],
    ['clean-up', 'SUCCEEDED', 1],
  ]);
  await logged(work.jobId, 'running\nstopped: cancelled\n');
  await logged(jobs.get('clean-up')!.jobId, 'cleaned up\n');
  const stops = await stopsOf(runId);
  expect(stops.map(({ type }) => type).slice(0, 3)).toEqual([
    'RunCancelRequested',
    'JobCancelRequested',
    'AttemptEnded',
  ]);
  // By its driver's own doing, long before the grace period ended.
  expect(stops[2]!.time_ms - stops[1]!.time_ms).toBeLessThan(10_000);
});

test('a job that is cancelled before it starts says why', async () => {
  const [a, b] = system.replicas;
  const definition = {
    jobs: [
      jobOf('nobody', { steps: [] }, { name: 'queued' }),
      jobOf('nobody', { steps: [] }, { name: 'blocked', needs: ['queued'] }),
      jobOf('nobody', { steps: [] }, { name: 'other' }),
    ],
  };
  const { runId } = await a!.client.runs.create({ definition });
  const jobs = await jobsByName(a!.client, runId);
  await a!.client.jobs.cancel(jobs.get('blocked')!.jobId, { reason: 'not needed' });
  await b!.client.jobs.cancel(jobs.get('queued')!.jobId, { reason: 'a typo' });
  await b!.client.runs.cancel(runId, { reason: 'enough' });
  const ended = await jobsByName(b!.client, runId);
  expect([...ended.values()].map(({ state, cancelReason }) => [JobState[state], cancelReason])).toEqual([
    ['CANCELLED', 'a typo'],
    ['CANCELLED', 'not needed'],
    ['CANCELLED', 'enough'],
  ]);
  expect((await a!.client.runs.get(runId)).cancelReason).toBe('enough');
  expect((await a!.client.runs.verify(runId)).discrepancies).toEqual([]);
});

test('work that does not stop when it is asked to is killed after the grace period', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'ignorer', at: [a!] });
  const job = await createJob(b!.client, jobOf('ignorer', endless('ignore'), { timeouts }));
  await logged(job.jobId, 'running\n');
  await b!.client.jobs.cancel(job.jobId);
  expect(JobState[(await finishedJob(b!.client, job)).state]).toBe('CANCELLED');
  await logged(job.jobId, 'running\nstopped: cancelled\n');
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([{ state: 'CANCELLED', logState: 'SEALED' }]);
  const [, asked, killed, ended] = await stopsOf(job.runId);
  expect([asked!.type, killed!.type, ended!.type]).toEqual(['JobCancelRequested', 'JobKillRequested', 'AttemptEnded']);
  expect(killed!.time_ms - asked!.time_ms).toBeGreaterThanOrEqual(graceMs);
  expect(ended!.time_ms - killed!.time_ms).toBeLessThan(graceMs);
});

test('work that cannot be stopped is ended without its word, and its driver is told so', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'survivor' } });
  const job = await createJob(b!.client, jobOf('survivor', { steps: [] }, { timeouts }));
  const offer = await session.startNext();
  session.say(logFrame(offer, 0, Buffer.from('unstoppable')));
  await session.next('logAck');
  await b!.client.jobs.cancel(job.jobId, { reason: 'enough' });
  const told = { ...addressOf(offer), reason: 'enough' };
  expect(await session.next('cancel')).toMatchObject({ ...told, phase: CancelPhase.SOFT });
  expect(await killOf(session)).toMatchObject(told);
  expect(await session.next('revoke')).toMatchObject({ ...addressOf(offer), state: AttemptState.CANCELLED });
  expect(JobState[(await finishedJob(b!.client, job)).state]).toBe('CANCELLED');
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([
    { state: 'CANCELLED', logState: 'TRUNCATED', logSize: 11 },
  ]);
});

test('a result that was committed before the cancel stands, and one that comes after it is kept as it is', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'racer' } });
  const job = await createJob(b!.client, jobOf('racer', { steps: [] }));
  const offer = await session.startNext();
  await b!.client.jobs.cancel(job.jobId);
  await session.next('cancel');
  session.say(finishFrame(offer));
  await session.next('finishAck');
  expect(JobState[(await finishedJob(b!.client, job)).state]).toBe('CANCELLED');
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([{ state: 'SUCCEEDED' }]);

  const second = await createJob(b!.client, jobOf('racer', { steps: [] }));
  const first = await session.startNext();
  session.say(finishFrame(first));
  await session.next('finishAck');
  await expect(b!.client.jobs.cancel(second.jobId)).rejects.toMatchObject({ reason: 'ALREADY_FINISHED' });
});

test('a cancel while the driver is away is told when it comes back, to its process or to the next one', async () => {
  const [a, b] = system.replicas;
  const hello = { driver: 'absent', incarnation: Buffer.alloc(16, 3) };
  const session = await system.openSession({ at: a!, hello });
  const job = await createJob(b!.client, jobOf('absent', { steps: [] }));
  const offer = await session.startNext();
  session[Symbol.dispose]();
  await session.ended;
  await b!.client.runs.cancel(job.runId);

  const held = [{ ...addressOf(offer), phase: HeldPhase.RUNNING, logOffset: 0n }];
  const back = await system.openSession({ at: b!, hello: { ...hello, held } });
  expect(back.welcome.verdicts).toMatchObject([{ kind: VerdictKind.KEEP, cancel: CancelPhase.SOFT }]);
  back[Symbol.dispose]();
  const restarted = await system.openSession({ at: a!, hello: { driver: 'absent' } });
  expect(restarted.welcome.orphans).toMatchObject([{ offer: addressOf(offer), cancel: CancelPhase.SOFT }]);
  restarted.say({ case: 'adopt', value: addressOf(offer) });
  expect(await restarted.next('start')).toMatchObject({ resumed: true });
  expect(await restarted.next('cancel')).toMatchObject({ ...addressOf(offer), phase: CancelPhase.SOFT });
  restarted.say(finishFrame(offer, undefined, { outcome: FinishOutcome.CANCELLED }));
  await restarted.next('finishAck');
  const { state, attempt } = await finishedJob(b!.client, job);
  expect([JobState[state], attempt]).toEqual(['CANCELLED', 1]);
});

test('a cancel is told to a driver that was away, whatever of the attempt it had heard', async () => {
  const [a, b] = system.replicas;
  const hello = { driver: 'late', incarnation: Buffer.alloc(16, 7), slots: 2 };
  const session = await system.openSession({ at: a!, hello });
  // One offer that it accepted just as the connection broke, and one attempt whose Start never came to it.
  const offered = await createJob(b!.client, jobOf('late', { steps: [] }));
  const unanswered = await session.next('offer');
  const started = await createJob(b!.client, jobOf('late', { steps: [] }));
  const unheard = await session.startNext();
  session[Symbol.dispose]();
  await session.ended;
  for (const job of [offered, started]) await b!.client.runs.cancel(job.runId, { reason: 'enough' });

  const held = [unanswered, unheard].map((offer) => ({ ...addressOf(offer), phase: HeldPhase.ACCEPTED }));
  const back = await system.openSession({ at: b!, hello: { ...hello, held } });
  expect(back.welcome.verdicts).toMatchObject([
    { ...addressOf(unanswered), kind: VerdictKind.STOP },
    { ...addressOf(unheard), kind: VerdictKind.START },
  ]);
  const told = { ...addressOf(unheard), phase: CancelPhase.SOFT, reason: 'enough' };
  expect(await back.next('cancel')).toMatchObject(told);
  back.say(finishFrame(unheard, undefined, { outcome: FinishOutcome.CANCELLED }));
  await back.next('finishAck');
  for (const job of [offered, started]) {
    expect(JobState[(await finishedJob(b!.client, job)).state]).toBe('CANCELLED');
    expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([{ state: 'CANCELLED' }]);
  }
});

test('a cancel while the replica of a driver is gone stops the work as soon as the driver is at another one', async () => {
  const pair = [await system.startReplica(), await system.startReplica()];
  const driver = await system.startDriver({ name: 'mover', at: pair });
  const [session] = await system.query('select replica from instances where instance = $1', [driver.instanceId]);
  const ids = await Promise.all(pair.map(async ({ client }) => (await client.server.info()).replica));
  const host = pair[ids.indexOf(String(session!['replica']))]!;
  const other = pair.find((replica) => replica !== host)!;
  const job = await createJob(other.client, jobOf('mover', endless('end')));
  await logged(job.jobId, 'running\n');
  driver.freeze();
  expect(await host.kill()).toBe('SIGKILL');
  await other.client.runs.cancel(job.runId);
  driver.thaw();
  expect(JobState[(await finishedJob(other.client, job)).state]).toBe('CANCELLED');
  await logged(job.jobId, 'running\nstopped: cancelled\n');
  expect(await attemptsOf(other.client, job.jobId)).toMatchObject([{ state: 'CANCELLED', logState: 'SEALED' }]);
});

test('a cancel wins over a retry: what fails after it is not tried again', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'retrier', slots: 2 } });
  const retry = { workload: 5, initialBackoff: durationFromMs(1) };
  const job = await createJob(b!.client, jobOf('retrier', { steps: [] }, { retry }));
  const offer = await session.startNext();
  await b!.client.jobs.cancel(job.jobId);
  await session.next('cancel');
  session.say(finishFrame(offer, undefined, { outcome: FinishOutcome.FAILED, message: 'broken' }));
  await session.next('finishAck');
  const { state, attempt } = await finishedJob(b!.client, job);
  expect([JobState[state], attempt]).toEqual(['CANCELLED', 1]);
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([{ state: 'FAILED', failure: 'WORKLOAD' }]);
  // Whatever is offered next is another job.
  const next = await createJob(b!.client, jobOf('retrier', { steps: [] }));
  const other = await session.startNext();
  expect(other.jobId).toBe(next.jobId);
  session.say(finishFrame(other));
  await session.next('finishAck');
});

test.each([
  ['a cancel', 'CANCEL', {}, 'enough'],
  ['a time limit', 'TIMEOUT', { runTimeout: durationFromMs(100) }, 'its run timeout of 0.1 s ran out'],
] as const)('each phase of a stop by %s is shown while it lasts', async (_, cause, limits, reason) => {
  const [a, b] = system.replicas;
  const driver = `shown-${cause.toLowerCase()}`;
  const session = await system.openSession({ at: a!, hello: { driver } });
  const job = await createJob(b!.client, jobOf(driver, { steps: [] }, { timeouts: { ...timeouts, ...limits } }));
  expect(job.stop).toBeUndefined();
  const offer = await session.startNext();
  if (cause === 'CANCEL') await b!.client.jobs.cancel(job.jobId, { reason });
  const shown = async () => {
    const { stop } = await b!.client.jobs.get(job.jobId);
    return stop && { cause: StopCause[stop.cause], phase: StopPhase[stop.phase], reason: stop.reason };
  };
  await session.next('cancel');
  expect(await shown()).toEqual({ cause, phase: 'SOFT', reason });
  expect(await killOf(session)).toMatchObject(addressOf(offer));
  expect(await shown()).toEqual({ cause, phase: 'KILL', reason });
  const since = (await b!.client.jobs.get(job.jobId)).stop?.time;
  const killed = await system.query<{ time_ms: number }>(
    "select time_ms from events where run_id = $1 and type = 'JobKillRequested'",
    [job.runId],
  );
  expect(timestampMs(since!)).toBe(killed[0]!.time_ms);
  await session.next('revoke');
  expect((await finishedJob(b!.client, job)).stop).toBeUndefined();
});

test('a cancelled offer is withdrawn, and nothing starts', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'offered' } });
  const job = await createJob(b!.client, jobOf('offered', { steps: [] }));
  const offer = await session.next('offer');
  await b!.client.runs.cancel(job.runId);
  expect(RunState[(await b!.client.runs.get(job.runId)).state]).toBe('CANCELLED');
  session.say({ case: 'accept', value: addressOf(offer) });
  expect(await session.next('revoke')).toMatchObject(addressOf(offer));
  expect(session.arrived('start')).toEqual([]);
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([{ state: 'CANCELLED' }]);
});

test('an offer that another replica cancelled is taken back, and its driver is told what it became', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'elsewhere' } });
  const job = await createJob(b!.client, jobOf('elsewhere', { steps: [] }));
  const offer = await session.next('offer');
  await b!.client.jobs.cancel(job.jobId);
  expect(await session.next('revoke')).toMatchObject({ ...addressOf(offer), state: AttemptState.CANCELLED });
});

test('a forced cancel stops what runs always, too', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'forced', at: [a!] });
  const { runId } = await b!.client.runs.create({
    definition: { jobs: [jobOf('forced', endless('end'), { when: RunCondition.ALWAYS })] },
  });
  const job = (await jobsByName(b!.client, runId)).get('job')!;
  await logged(job.jobId, 'running\n');
  await b!.client.runs.cancel(runId);
  expect(JobState[(await b!.client.jobs.get(job.jobId)).state]).toBe('RUNNING');
  await b!.client.runs.cancel(runId, { force: true });
  expect(RunState[(await b!.client.runs.finished(runId)).state]).toBe('CANCELLED');
  expect(JobState[(await b!.client.jobs.get(job.jobId)).state]).toBe('CANCELLED');
});
