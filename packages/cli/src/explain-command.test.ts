import { JobState } from '@conveyor/client';
import { startScriptedServer } from '@conveyor/client/testing';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { expect, it } from 'vitest';
import { run } from './testing/run-command.ts';
import { runId, type Script, startScriptedPlane } from './testing/scripted-plane.ts';

const blockers = ['group deploy 1/1 held by job other.0', 'backoff until 03:04:05\u001B[31m'];
const deploy = { state: JobState.WAITING, blockers };

it('explain tells everything that keeps a job from starting, and what may come then', async () => {
  await using plane = await startScriptedPlane({ jobs: { deploy } });
  const { exitCode, stdout } = await run(['explain', 'job', `${runId}/deploy`], plane.env);
  expect(exitCode).toBe(0);
  expect(stdout).toBe(
    [
      'Id:     id-of-deploy',
      'State:  waiting',
      'Start:  2 keep it',
      'As of:  2026-01-02 03:04:05Z, event 7',
      '',
      'Blocked by:',
      '  group deploy 1/1 held by job other.0',
      '  backoff until 03:04:05 [31m',
      'And then:',
      '  it may be skipped',
      '',
    ].join('\n'),
  );
});

it('explain takes the id of a job, and gives the message of the contract as JSON', async () => {
  await using plane = await startScriptedPlane({ jobs: { deploy } });
  const { stdout } = await run(['explain', 'job', 'id-of-deploy', '--output', 'json'], plane.env);
  expect(JSON.parse(stdout)).toMatchObject({
    jobId: 'id-of-deploy',
    state: 'JOB_STATE_WAITING',
    standing: 'JOB_STANDING_BLOCKED',
    blockers: [{ message: blockers[0], backoff: { untilTime: '2026-01-02T03:04:05Z' } }, {}],
    seq: '7',
  });
});

it('a job that nothing blocks is said to be about to start', async () => {
  await using plane = await startScriptedPlane({ jobs: { deploy: { state: JobState.QUEUED } } });
  const { stdout } = await run(['explain', 'job', `${runId}/deploy`], plane.env);
  expect(stdout).toMatch(/^Start: +nothing blocks it$/m);
  expect(stdout).not.toContain('Blocked by');
});

it('explain of a job that has finished says where its end is told', async () => {
  await using plane = await startScriptedPlane({ jobs: { 'test[a]': {} } });
  const { stderr } = await run(['explain', 'job', 'id-of-test[a]'], plane.env);
  expect(stderr).toBe(`next: conveyor describe job '${runId}/test[a]'\n`);
  await using open = await startScriptedPlane({ jobs: { deploy } });
  expect((await run(['explain', 'job', 'id-of-deploy'], open.env)).stderr).toBe('');
});

it('describe says so of a job that has not started', async () => {
  await using plane = await startScriptedPlane({ jobs: { deploy, done: { blockers } } });
  const described = async (job: string): Promise<string> =>
    (await run(['describe', 'job', `${runId}/${job}`], plane.env)).stdout;
  expect(await described('deploy')).toContain('Blocked by:\n  group deploy 1/1 held by job other.0\n  backoff');
  expect(await described('done')).not.toContain('Blocked by');
});

it('describe says so of the first jobs of a run that are ready', async () => {
  const waiting = Object.fromEntries([1, 2, 3, 4, 5, 6].map((n) => [`job-${n}`, { ...deploy, blockers: ['a', 'b'] }]));
  const jobs: Script['jobs'] = { done: {}, later: { state: JobState.BLOCKED, blockers }, ...waiting };
  await using plane = await startScriptedPlane({ jobs });
  const { stdout } = await run(['describe', 'run', runId], plane.env);
  const lines = [1, 2, 3, 4, 5].map((n) => `  job-${n}: a; b`);
  expect(stdout).toContain(['Why jobs wait:', ...lines, '  and 1 more jobs', ''].join('\n'));
});

it('describe goes without it where a server does not know', async () => {
  await using plane = await startScriptedServer((router) => {
    router.service(JobService, {
      listJobs: () => ({ jobs: [{ jobId: 'id', name: 'deploy' }] }),
      getJob: () => ({ job: { jobId: 'id', runId, name: 'deploy', state: JobState.QUEUED } }),
      listAttempts: () => ({}),
    });
  });
  const env = { CONVEYOR_ADDRESS: plane.grpcAddress };
  const { exitCode, stdout } = await run(['describe', 'job', `${runId}/deploy`], env);
  expect({ exitCode, isTold: stdout.includes('Blocked by') }).toEqual({ exitCode: 0, isTold: false });
});
