// What became of a run, read at each of its events once it is over: at any replica, by either door, as it was shown while it ran.
import { type Event, type Job, JobState, RunState } from '@conveyor/client';
import { RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jobOf, outputsOf } from './jobs.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

test('a run is shown at any of its events as it was shown then, and what changed between two', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'past', at: [b!] });
  const gate = system.newGate();
  const { runId } = await a!.client.runs.create({
    params: { sha: 'f00' },
    labels: { branch: 'main' },
    definition: {
      jobs: [
        jobOf('past', { steps: [{ do: 'output', key: 'version', value: '1.2.3' }] }, { name: 'build' }),
        jobOf('past', { steps: [{ do: 'wait', file: gate.file }] }, { name: 'test', needs: ['build'] }),
        jobOf(
          'past',
          { steps: [{ do: 'fail', class: 'WORKLOAD', message: 'no good', exitCode: 3 }] },
          { name: 'lint', needs: ['build'], retry: { workload: 1, initialBackoff: { nanos: 1_000_000 } } },
        ),
        jobOf('past', { steps: [] }, { name: 'release', needs: ['test', 'lint'] }),
        jobOf('past', { steps: [] }, { name: 'report', needs: ['release'], when: RunCondition.ALWAYS }),
      ],
    },
  });

  // While `test` waits, nothing else goes on once `lint` has failed for good.
  const jobsNow = (atSeq?: bigint): Promise<Job[]> => Array.fromAsync(a!.client.jobs.list(runId, {}, { atSeq }));
  const stateOf = (jobs: readonly Job[], name: string): string =>
    JobState[jobs.find((job) => job.name === name)?.state ?? 0] ?? '';
  await expect.poll(async () => stateOf(await jobsNow(), 'lint')).toBe('FAILED');
  await expect.poll(async () => stateOf(await jobsNow(), 'test')).toBe('RUNNING');
  const [then, jobsThen] = [await a!.client.runs.get(runId), await jobsNow()];
  await gate.open();
  const events: Event[] = await Array.fromAsync(a!.client.runs.watch(runId));
  const [now, jobsAtEnd] = [await a!.client.runs.get(runId), await jobsNow()];
  expect([RunState[now.state], now.seq]).toEqual(['FAILED', BigInt(events.length)]);

  for (const { client, httpClient } of system.replicas) {
    for (const { runs, jobs } of [client, httpClient]) {
      expect(await runs.get(runId, { atSeq: then.seq })).toEqual(then);
      expect(await runs.get(runId, { atSeq: now.seq })).toEqual(now);
      expect(await Array.fromAsync(jobs.list(runId, {}, { atSeq: then.seq, pageSize: 2 }))).toEqual(
        jobsThen.map(still),
      );
      expect(await Array.fromAsync(jobs.list(runId, {}, { atSeq: now.seq }))).toEqual(jobsAtEnd);
    }
  }

  for (const { seq, runState, jobId, jobState, attempt } of events) {
    const at = await b!.client.runs.get(runId, { atSeq: seq });
    expect(at).toMatchObject({ seq, state: runState, labels: { branch: 'main' }, params: { sha: 'f00' } });
    expect(at.definition).toEqual(now.definition);
    if (jobId !== '') {
      expect(await b!.client.jobs.get(jobId, { atSeq: seq })).toMatchObject({ state: jobState });
      const attempts = await Array.fromAsync(b!.client.jobs.attempts(jobId, { atSeq: seq }));
      if (attempt > 0) expect(attempts.at(-1)?.number).toBe(attempt);
    }
  }

  const [build] = jobsAtEnd;
  expect(outputsOf(await b!.client.jobs.get(build!.jobId, { atSeq: now.seq }))['version']).toBe('1.2.3');
  const attempts = (atSeq?: bigint) => Array.fromAsync(b!.client.jobs.attempts(jobsAtEnd[2]!.jobId, { atSeq }));
  expect(await attempts(now.seq)).toEqual(await attempts());

  const diff = await b!.httpClient.runs.diff(runId, { fromSeq: then.seq }, { pageSize: 1 });
  const { params: _params, definition: _definition, ...shown } = now;
  expect(diff).toMatchObject({ after: shown, eventCount: now.seq - then.seq, changedJobCount: 3 });
  expect(diff.before.seq).toBe(then.seq);
  const changes = (await Array.fromAsync(diff.jobs)).map(({ job, before: was, after: is }) => [
    job,
    JobState[was?.state ?? 0],
    JobState[is?.state ?? 0],
  ]);
  expect(changes).toEqual([
    ['test', 'RUNNING', 'SUCCEEDED'],
    ['release', 'BLOCKED', 'SKIPPED'],
    ['report', 'BLOCKED', 'SUCCEEDED'],
  ]);

  const beyond = now.seq + 1n;
  for (const { runs } of [a!.client, a!.httpClient]) {
    const refused = {
      code: 'invalid_argument',
      reason: 'INVALID_FIELD',
      fieldViolations: [{ field: 'at_seq', description: expect.stringContaining(`1 to ${now.seq}`) }],
    };
    await expect(runs.get(runId, { atSeq: beyond })).rejects.toMatchObject(refused);
  }
});

/** What of a job the ledger holds. */
function still({ progress: _progress, ...job }: Job): Job {
  return job;
}
