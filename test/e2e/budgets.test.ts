// Each class of failure has a budget of its own, and what is run again by hand keeps what is not.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { FailureClass, type Job, JobState, RunState } from '@conveyor/client';
import { FinishOutcome } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf, jobsByName, outputsOf } from './jobs.ts';
import { addressOf, finishFrame } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';
import type { Workload } from './workload.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const initialBackoff = durationFromMs(1);

async function ending(job: Job): Promise<unknown[]> {
  const { client } = system.replicas[1]!;
  const { state, failure } = await finishedJob(client, job);
  const attempts = (await attemptsOf(client, job.jobId)).map((attempt) => `${attempt.state} ${attempt.failure}`);
  return [JobState[state], failure && FailureClass[failure.class], ...attempts];
}

test('failures of the workload and of the driver are counted apart, and what is invalid is not tried again', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'failing' } });
  const retry = { workload: 1, driver: 1, initialBackoff };
  const job = await createJob(b!.client, jobOf('failing', { steps: [] }, { retry }));
  for (const failureClass of [FailureClass.WORKLOAD, FailureClass.DRIVER, FailureClass.DRIVER]) {
    session.say(finishFrame(await session.startNext(), undefined, { outcome: FinishOutcome.FAILED, failureClass }));
    await session.next('finishAck');
  }
  expect(await ending(job)).toEqual(['FAILED', 'DRIVER', 'FAILED WORKLOAD', 'FAILED DRIVER', 'FAILED DRIVER']);

  const generous = { workload: 9, driver: 9, infrastructure: 9, timeout: 9, rejected: 9, initialBackoff };
  const invalid = await createJob(b!.client, jobOf('failing', { steps: [] }, { retry: generous }));
  const result = { outcome: FinishOutcome.FAILED, failureClass: FailureClass.INVALID };
  session.say(finishFrame(await session.startNext(), undefined, result));
  await session.next('finishAck');
  expect(await ending(invalid)).toEqual(['FAILED', 'INVALID', 'FAILED INVALID']);
});

test('time limits, lost drivers and rejected offers each have a budget', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'sleeper', at: [a!] });
  const sleep: Workload = { steps: [{ do: 'wait', file: system.newGate().file }] };
  const timeouts = { runTimeout: durationFromMs(300) };
  const slow = await createJob(b!.client, jobOf('sleeper', sleep, { timeouts, retry: { timeout: 1, initialBackoff } }));
  const rejecting = await system.openSession({ at: a!, hello: { driver: 'rejecting' } });
  const rejected = await createJob(
    b!.client,
    jobOf('rejecting', { steps: [] }, { retry: { rejected: 2, initialBackoff } }),
  );
  for (let offers = 0; offers < 3; offers++) {
    rejecting.say({ case: 'reject', value: { ...addressOf(await rejecting.next('offer')), reason: 'busy' } });
  }
  const lost = await createJob(
    b!.client,
    jobOf('leaving', { steps: [] }, { retry: { infrastructure: 1, initialBackoff } }),
  );
  for (const instanceId of ['one', 'two']) {
    const leaving = await system.openSession({ at: b!, hello: { driver: 'leaving', instanceId } });
    await leaving.startNext();
    leaving.say({ case: 'goodbye', value: {} });
    await leaving.ended;
  }
  expect(await ending(rejected)).toEqual([
    'FAILED',
    'REJECTED',
    'REJECTED REJECTED',
    'REJECTED REJECTED',
    'REJECTED REJECTED',
  ]);
  expect(await ending(lost)).toEqual(['FAILED', 'INFRASTRUCTURE', 'LOST INFRASTRUCTURE', 'LOST INFRASTRUCTURE']);
  expect(await ending(slow)).toEqual(['FAILED', 'TIMEOUT', 'TIMED_OUT TIMEOUT', 'TIMED_OUT TIMEOUT']);
});

test('a driver that failed says when it may be tried again, and a hand may be quicker', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'busy' } });
  const job = await createJob(b!.client, jobOf('busy', { steps: [] }, { retry: { initialBackoff } }));
  const fail = async (retryAfterMs: number): Promise<void> => {
    const result = { outcome: FinishOutcome.FAILED, failureClass: FailureClass.DRIVER };
    const offer = await session.startNext();
    session.say(finishFrame(offer, undefined, { ...result, retryAfter: durationFromMs(retryAfterMs) }));
    await session.next('finishAck');
  };
  await fail(700);
  await fail(3_600_000);
  const [pause] = await system.query<{ ms: number }>(
    `select b.offered_ms - a.finished_ms as ms from attempts a join attempts b on b.run_id = a.run_id and b.attempt = a.attempt + 1
     where a.run_id = $1`,
    [job.runId],
  );
  expect(pause!.ms).toBeGreaterThanOrEqual(700);
  expect(JobState[(await b!.client.jobs.get(job.jobId)).state]).toBe('WAITING');
  const released = await b!.client.jobs.retry(job.jobId);
  expect([released.jobId, released.attempt]).toEqual([job.jobId, 2]);
  session.say(finishFrame(await session.startNext()));
  await session.next('finishAck');
  expect(await ending(job)).toEqual(['SUCCEEDED', undefined, 'FAILED DRIVER', 'FAILED DRIVER', 'SUCCEEDED undefined']);
});

test('a rerun of all, of what failed or from a job on keeps the outputs of what is not run again', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'chain', at: [a!] });
  const says = (value: string): Workload => ({ steps: [{ do: 'output', key: 'said', value }, { do: 'pass-on' }] });
  const fails: Workload = { steps: [{ do: 'fail', class: 'WORKLOAD', message: 'never' }] };
  const { runId } = await b!.client.runs.create({
    definition: {
      jobs: [
        jobOf('chain', says('first'), { name: 'first' }),
        jobOf('chain', says('second'), { name: 'second', needs: ['first'] }),
        jobOf('chain', fails, { name: 'third', needs: ['second'] }),
        jobOf('chain', says('last'), { name: 'last', needs: ['third'] }),
      ],
    },
  });
  expect(RunState[(await b!.client.runs.finished(runId)).state]).toBe('FAILED');
  const inheritedBy = async (again: string) => {
    const run = await b!.client.runs.finished(again);
    expect(run.rerunOf).toBe(runId);
    const jobs = [...(await jobsByName(b!.client, again)).values()];
    return jobs.filter(({ inheritedFrom }) => inheritedFrom !== '').map(({ name }) => name);
  };
  const { runs } = b!.client;
  expect(await inheritedBy((await runs.rerun(runId)).runId)).toEqual([]);
  expect(await inheritedBy((await runs.rerun(runId, { scope: 'failed' })).runId)).toEqual(['first', 'second']);
  const from = await runs.rerun(runId, { from: ['second'] });
  expect(await inheritedBy(from.runId)).toEqual(['first']);
  const jobs = await jobsByName(b!.client, from.runId);
  expect(outputsOf(jobs.get('first')!)).toMatchObject({ said: 'first' });
  // What ran again saw what it needs as it was inherited.
  expect(outputsOf(jobs.get('second')!)).toMatchObject({ said: 'second', needs: { first: { said: 'first' } } });
  expect(jobs.get('second')!.attempt).toBe(1);

  await expect(runs.rerun(runId, { from: ['secnd'] })).rejects.toMatchObject({
    reason: 'INVALID_FIELD',
    fieldViolations: [{ field: 'from_jobs[0]', description: 'the run has no job "secnd"; did you mean "second"?' }],
  });
});
