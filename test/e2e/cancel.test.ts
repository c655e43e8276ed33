// Cancelling: what runs is asked to stop, then told to, then ended without it; what is to run always still does.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { JobState, RunState } from '@conveyor/client';
import {
  CancelPhase,
  FinishOutcome,
  HeldPhase,
  VerdictKind,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { AttemptState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf, jobsByName, storedLog } from './jobs.ts';
import { addressOf, finishFrame, logFrame } from './raw-driver.ts';
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
  expect(await session.next('cancel')).toMatchObject({ ...told, phase: CancelPhase.KILL });
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
