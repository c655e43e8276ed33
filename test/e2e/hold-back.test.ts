// Pausing runs and holding jobs: what has not started does not start, whoever asks at which replica, and all of it does afterwards.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { JobState, RunState, WaitReason } from '@conveyor/client';
import { RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf, jobsByName } from './jobs.ts';
import { addressOf, finishFrame } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const asker = { reason: 'maintenance', actor: 'ada' };

/** The events of a run about pauses and starts, in order. */
async function startsOf(runId: string): Promise<string[]> {
  const rows = await system.query<{ type: string }>(
    `select type from events where run_id = $1 and type in ('RunPaused', 'RunResumed', 'AttemptStarted') order by seq`,
    [runId],
  );
  return rows.map(({ type }) => type);
}

test('nothing starts after a pause was acknowledged, and everything runs once it has been resumed', async () => {
  const [a, b] = system.replicas;
  await Promise.all([a, b].map((at) => system.startDriver({ name: 'busy', slots: 2, at: [at!] })));
  const count = 60;
  const work = { steps: [{ do: 'write', seed: 'busy', bytes: 3_000, pieceBytes: 1_000, pauseMs: 10 }] } as const;
  const jobs = Array.from({ length: count }, (_, index) => jobOf('busy', work, { name: `job-${index}` }));
  const { runId } = await a!.client.runs.create({ definition: { jobs } });
  const started = async () => (await startsOf(runId)).filter((type) => type === 'AttemptStarted').length;
  for (const [turn, client] of [a!.client, b!.client, a!.client, b!.client].entries()) {
    await expect.poll(started).toBeGreaterThan(turn * 8);
    const paused = await client.runs.pause(runId, asker);
    expect(paused.pause).toMatchObject(asker);
    const states = [...(await jobsByName(client, runId)).values()].map(({ state }) => state);
    expect(states).not.toContain(JobState.QUEUED);
    expect(states).not.toContain(JobState.OFFERED);
    // What runs goes on to its end.
    const running = async () =>
      [...(await jobsByName(client, runId)).values()].filter(({ state }) => state === JobState.RUNNING).length;
    await expect.poll(running).toBe(0);
    expect(await started()).toBeLessThan(count);
    await (client === a!.client ? b! : a!).client.runs.resume(runId);
  }
  expect(RunState[(await a!.client.runs.finished(runId)).state]).toBe('SUCCEEDED');
  let isPaused = false;
  for (const type of await startsOf(runId)) {
    if (type === 'AttemptStarted') expect(isPaused).toBe(false);
    else isPaused = type === 'RunPaused';
  }
  expect(await started()).toBe(count);
  // Offers that a pause withdrew cost nothing.
  const [spent] = await system.query<{ failed: number }>(
    'select count(*) as failed from attempts where run_id = $1 and failure is not null',
    [runId],
  );
  expect(spent!.failed).toBe(0);
});

test.each(['pause', 'hold'] as const)('a %s withdraws the offer that is under way', async (kind) => {
  const [a, b] = system.replicas;
  const driver = `offered-${kind}`;
  const session = await system.openSession({ at: a!, hello: { driver } });
  const job = await createJob(b!.client, jobOf(driver, { steps: [] }));
  const offer = await session.next('offer');
  if (kind === 'pause') await b!.client.runs.pause(job.runId, asker);
  else await b!.client.jobs.hold(job.jobId, asker);
  session.say({ case: 'accept', value: addressOf(offer) });
  expect(await session.next('revoke')).toMatchObject(addressOf(offer));
  const waiting = await b!.client.jobs.get(job.jobId);
  expect(JobState[waiting.state]).toBe('WAITING');
  expect(WaitReason[waiting.wait!.reason]).toBe(kind === 'pause' ? 'PAUSED' : 'HELD');
  expect(await attemptsOf(b!.client, job.jobId)).toMatchObject([{ state: 'EXPIRED', failure: undefined }]);
  const { pause } = await b!.client.runs.get(job.runId);
  expect(kind === 'pause' ? pause : waiting.hold).toMatchObject(asker);
  expect(kind === 'pause' ? waiting.hold : pause).toBeUndefined();

  if (kind === 'pause') await a!.client.runs.resume(job.runId);
  else await a!.client.jobs.release(job.jobId);
  const again = await session.startNext();
  expect(again).toMatchObject({ jobId: job.jobId, fence: 2 });
  expect(session.arrived('start')).toEqual([]);
  session.say(finishFrame(again));
  await session.next('finishAck');
  expect(JobState[(await finishedJob(b!.client, job)).state]).toBe('SUCCEEDED');
});

test('a job that is held waits while the others run, and what needs it waits with it', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'holder', at: [a!] });
  const gate = system.newGate();
  const { runId } = await b!.client.runs.create({
    definition: {
      jobs: [
        jobOf('holder', { steps: [{ do: 'wait', file: gate.file }] }, { name: 'build' }),
        jobOf('holder', { steps: [] }, { name: 'deploy', needs: ['build'] }),
        jobOf('holder', { steps: [] }, { name: 'announce', needs: ['deploy'] }),
      ],
    },
  });
  const deploy = (await jobsByName(b!.client, runId)).get('deploy')!;
  const held = await b!.client.jobs.hold(deploy.jobId, asker);
  expect([JobState[held.state], held.hold]).toMatchObject(['BLOCKED', asker]);
  await gate.open();
  const states = async () =>
    [...(await jobsByName(b!.client, runId)).values()].map(({ name, state }) => `${name} ${JobState[state]}`);
  await expect.poll(states).toEqual(['build SUCCEEDED', 'deploy WAITING', 'announce BLOCKED']);
  await a!.client.jobs.release(deploy.jobId);
  expect(RunState[(await b!.client.runs.finished(runId)).state]).toBe('SUCCEEDED');
});

test('a cancel wins over a pause and a hold', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'cleaner', at: [a!] });
  const { runId } = await b!.client.runs.create({
    definition: {
      jobs: [
        jobOf('cleaner', { steps: [{ do: 'wait', file: system.newGate().file }] }, { name: 'work' }),
        jobOf('cleaner', { steps: [] }, { name: 'clean-up', when: RunCondition.ALWAYS, needs: ['work'] }),
      ],
    },
  });
  const jobs = await jobsByName(b!.client, runId);
  await b!.client.jobs.hold(jobs.get('clean-up')!.jobId, asker);
  await b!.client.runs.pause(runId, asker);
  const cancelled = await b!.client.runs.cancel(runId);
  expect(cancelled.pause).toBeUndefined();
  expect(RunState[(await b!.client.runs.finished(runId)).state]).toBe('CANCELLED');
  const { state, hold } = (await jobsByName(b!.client, runId)).get('clean-up')!;
  expect([JobState[state], hold]).toEqual(['SUCCEEDED', undefined]);
  for (const late of [() => b!.client.runs.pause(runId), () => b!.client.runs.resume(runId)]) {
    await expect(late()).rejects.toMatchObject({ code: 'failed_precondition', reason: 'ALREADY_FINISHED' });
  }
  const { jobId } = jobs.get('work')!;
  for (const late of [() => b!.client.jobs.hold(jobId), () => b!.client.jobs.release(jobId)]) {
    await expect(late()).rejects.toMatchObject({ code: 'failed_precondition', reason: 'ALREADY_FINISHED' });
  }
});

test('a retry by hand does not break a pause', async () => {
  const [a, b] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'patient' } });
  const retry = { driver: 1, initialBackoff: durationFromMs(3_600_000), maxBackoff: durationFromMs(3_600_000) };
  const job = await createJob(b!.client, jobOf('patient', { steps: [] }, { retry }));
  const first = await session.startNext();
  await b!.client.runs.pause(job.runId, asker);
  session.say(finishFrame(first, undefined, { outcome: 2, failureClass: 2 }));
  await session.next('finishAck');
  const retried = await b!.client.jobs.retry(job.jobId);
  expect([JobState[retried.state], WaitReason[retried.wait!.reason]]).toEqual(['WAITING', 'PAUSED']);
  // Its backoff is cut short all the same.
  await b!.client.runs.resume(job.runId);
  const second = await session.startNext();
  expect(second).toMatchObject({ jobId: job.jobId, fence: 2 });
  session.say(finishFrame(second));
  await session.next('finishAck');
  expect(JobState[(await finishedJob(b!.client, job)).state]).toBe('SUCCEEDED');
  expect((await attemptsOf(b!.client, job.jobId)).map(({ state }) => state)).toEqual(['FAILED', 'SUCCEEDED']);
});

test('watchers of a project see a pause', async () => {
  const [a, b] = system.replicas;
  const job = await createJob(b!.client, jobOf('nobody-here', { steps: [] }));
  const stop = new AbortController();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const update of a!.client.runs.watchAll({}, { signal: stop.signal })) {
      const runs = update.kind === 'snapshot' ? update.runs : update.changes.map(({ run }) => run);
      for (const run of runs) if (run?.runId === job.runId) seen.push(run.pause?.actor ?? '');
    }
  })();
  await expect.poll(() => seen).toEqual(['']);
  await b!.client.runs.pause(job.runId, asker);
  await expect.poll(() => seen.at(-1)).toBe('ada');
  await b!.client.runs.resume(job.runId);
  await expect.poll(() => seen.at(-1)).toBe('');
  stop.abort();
  await expect(watching).rejects.toThrow();
  await b!.client.runs.cancel(job.runId);
});

test('no pause is taken while a replica of an older build serves', async () => {
  const [a, b] = system.replicas;
  const job = await createJob(b!.client, jobOf('nobody-here', { steps: [] }));
  // As a build of before the column writes it.
  await system.query(
    `insert into replicas (replica, version, started_ms, seen_ms)
     select 'older', '0.0.1', 0, floor(extract(epoch from clock_timestamp()) * 1000) + 3600000`,
  );
  const reason = async () =>
    await a!.client.runs.pause(job.runId).then(
      () => 'paused',
      (error: { reason: string; metadata: object }) => `${error.reason} ${JSON.stringify(error.metadata)}`,
    );
  await expect.poll(reason).toContain('REPLICA_TOO_OLD {"replica":"older","version":"0.0.1"');
  await system.query("delete from replicas where replica = 'older'");
  await expect.poll(reason).toBe('paused');
  await b!.client.runs.cancel(job.runId);
});
