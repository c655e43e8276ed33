import { JobState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { JobPrediction, RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { describe, expect, it } from 'vitest';
import { clientThrough, doors } from './testing/doors.ts';
import { startScriptedServer } from './testing/scripted-server.ts';

describe.each(doors)('a run at a point over %s', (door) => {
  it('is read with its jobs and attempts, on every page; without one, as it is now', async () => {
    const asked: bigint[] = [];
    await using server = await startScriptedServer((router) => {
      router.service(RunService, {
        getRun({ atSeq }) {
          asked.push(atSeq);
          return { run: { seq: atSeq } };
        },
      });
      router.service(JobService, {
        getJob({ atSeq }) {
          asked.push(atSeq);
          return { job: {} };
        },
        listJobs({ atSeq, pageToken }) {
          asked.push(atSeq);
          return { jobs: [{}], nextPageToken: pageToken === '' ? '2' : '' };
        },
        listAttempts({ atSeq, pageToken }) {
          asked.push(atSeq);
          return { attempts: [{}], nextPageToken: pageToken === '' ? '2' : '' };
        },
      });
    });
    const { runs, jobs } = clientThrough(door, server);
    for (const options of [{ atSeq: 7n }, {}]) {
      await runs.get('r', options);
      await jobs.get('r.0', options);
      await Array.fromAsync(jobs.list('r', {}, options));
      await Array.fromAsync(jobs.attempts('r.0', options));
    }
    expect(asked).toEqual([...Array.from({ length: 6 }, () => 7n), ...Array.from({ length: 6 }, () => 0n)]);
  });

  it('is planned under assumptions', async () => {
    const asked: unknown[] = [];
    await using server = await startScriptedServer((router) =>
      router.service(RunService, {
        planRun({ run, assumed }) {
          asked.push([run?.source.value, run?.params, assumed]);
          return { pipeline: 'ci', jobs: [{ name: 'build', prediction: JobPrediction.RUNS }] };
        },
      }),
    );
    const { runs } = clientThrough(door, server);
    const assumed = { build: { outputs: { image: 'a:1' } }, 'test[linux]': { outcome: 'failed' as const } };
    const plan = await runs.plan({ pipeline: 'ci', params: { a: 1 }, assumed });
    expect(plan.jobs[0]).toMatchObject({ name: 'build', prediction: JobPrediction.RUNS });
    await runs.plan({ pipeline: 'ci', revision: 2 });
    expect(asked).toMatchObject([
      [
        { name: 'ci', revision: 0 },
        { a: 1 },
        {
          build: { outcome: JobState.SUCCEEDED, outputs: { image: 'a:1' } },
          'test[linux]': { outcome: JobState.FAILED },
        },
      ],
      [{ name: 'ci', revision: 2 }, undefined, {}],
    ]);
  });

  it('is compared with another point, and further pages are fetched as they are read', async () => {
    const asked: unknown[] = [];
    await using server = await startScriptedServer((router) =>
      router.service(RunService, {
        diffRun({ runId, fromSeq, toSeq, pageSize, pageToken }) {
          asked.push([runId, fromSeq, toSeq, pageSize, pageToken]);
          const job = { job: `job ${pageToken || '1'}`, after: { state: JobState.QUEUED } };
          const counts = { eventCount: 4n, changedJobCount: 2 };
          return {
            before: { seq: 3n },
            after: { seq: 7n },
            ...counts,
            jobs: [job],
            nextPageToken: pageToken ? '' : '2',
          };
        },
      }),
    );
    const { runs } = clientThrough(door, server);
    const { jobs, ...diff } = await runs.diff('r', { fromSeq: 3n, toSeq: 7n }, { pageSize: 1 });
    expect(diff).toMatchObject({ before: { seq: 3n }, after: { seq: 7n }, eventCount: 4n, changedJobCount: 2 });
    expect(asked).toHaveLength(1);
    expect((await Array.fromAsync(jobs)).map(({ job }) => job)).toEqual(['job 1', 'job 2']);
    await runs.diff('r', { fromSeq: 3n });
    expect(asked).toEqual([
      ['r', 3n, 7n, 1, ''],
      ['r', 3n, 7n, 1, '2'],
      ['r', 3n, 0n, 0, ''],
    ]);
  });
});
