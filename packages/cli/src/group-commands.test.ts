import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ConcurrencyGroupMemberState, ConcurrencyPolicy, JobStanding, JobState, WaitReason } from '@conveyor/client';
import { refusal, type ScriptedServer, startScriptedServer } from '@conveyor/client/testing';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { expect, it } from 'vitest';
import { run } from './testing/run-command.ts';
import { runId } from './testing/scripted-plane.ts';

const holderId = `${runId}.0`;
const goneId = `${runId}.7`;
const holder = {
  jobId: holderId,
  state: ConcurrencyGroupMemberState.HOLDING,
  readyTime: timestampFromMs(Date.now() - 90_000),
  limit: 1,
  policy: ConcurrencyPolicy.QUEUE,
};
const waiter = {
  ...holder,
  jobId: goneId,
  state: ConcurrencyGroupMemberState.WAITING,
  policy: ConcurrencyPolicy.REJECT,
};

/** A group with a job that holds its place and one that waits, each on a page of its own. */
async function startPlane(isExplained = false): Promise<ScriptedServer> {
  const group = { key: 'deploy', holdingCount: 1, waitingCount: 1, limit: 1 };
  return await startScriptedServer((router) => {
    router.service(JobService, {
      listConcurrencyGroups: ({ pageToken }) =>
        pageToken === '' ? { groups: [group], nextPageToken: 'more' } : { groups: [{ ...group, key: 'other' }] },
      getConcurrencyGroup: ({ key, pageToken }) =>
        pageToken === ''
          ? { group: { ...group, key }, members: [holder], nextPageToken: 'more' }
          : { group: { ...group, key }, members: [waiter] },
      listJobs: ({ names: [name = ''] }) => ({ jobs: [{ jobId: name === 'holder' ? holderId : 'waiter.0', name }] }),
      explainJob: () => ({
        standing: isExplained ? JobStanding.BLOCKED : JobStanding.STARTING,
        blockers: isExplained
          ? [
              {
                message: `group deploy 2/2 held by jobs ${holderId}, ${goneId}`,
                kind: { case: 'group', value: { holderJobIds: [holderId, goneId] } },
              },
            ]
          : [],
      }),
      getJob: ({ jobId }) => {
        if (jobId === goneId) throw refusal('not_found', 'JOB_NOT_FOUND', 'it is gone');
        return {
          job: {
            jobId,
            runId,
            name: jobId === holderId ? 'holder' : 'build',
            state: JobState.WAITING,
            wait: { reason: WaitReason.CONCURRENCY },
            concurrencyGroup: 'deploy',
            concurrencyLimit: 3,
            rateLimits: [
              { key: 'api', limit: 5 },
              { key: 'mail', limit: 2 },
            ],
            maxParallel: 4,
            definition: {
              concurrency: { key: 'deploy', limitExpression: '${{ params.deploys }}' },
              rateLimits: [
                { key: 'api', limitExpression: '${{ params.calls }}', period: durationFromMs(60_000) },
                { key: 'mail', limit: 2, period: durationFromMs(1_000) },
              ],
              matrix: { maxParallelExpression: '${{ params.regions }}' },
            },
          },
        };
      },
      listAttempts: () => ({}),
    });
  });
}

const envOf = ({ grpcAddress }: ScriptedServer) => ({ CONVEYOR_ADDRESS: grpcAddress });

it('lists groups with how many hold their places, page by page', async () => {
  await using plane = await startPlane();
  const { stdout } = await run(['get', 'groups'], envOf(plane));
  expect(stdout.split('\n').map((line) => line.trim().split(/ {2,}/))).toEqual([
    ['GROUP', 'HELD', 'WAITING'],
    ['deploy', '1/1', '1'],
    ['other', '1/1', '1'],
    [''],
  ]);
});

it('lists the jobs of a group, those that hold places first', async () => {
  await using plane = await startPlane();
  const { stdout } = await run(['get', 'groups', 'deploy'], envOf(plane));
  expect(stdout).toMatch(
    new RegExp(
      `^JOB +STATE +SINCE +LIMIT +POLICY\n${runId}/holder +holding .* 1 +queue\n${goneId} +waiting .* 1 +reject\n$`,
    ),
  );
  const { stdout: json } = await run(['get', 'groups', 'deploy', '-o', 'json'], envOf(plane));
  expect(JSON.parse(json)).toMatchObject([{ jobId: holderId }, { jobId: goneId }]);
});

it('says of a job what its limits were worked out to, and by which expression', async () => {
  await using plane = await startPlane();
  const { stdout } = await run(['describe', 'job', `${runId}/build`], envOf(plane));
  expect(stdout).toMatch(/^Group limit: +3 by \$\{\{ params\.deploys \}\}$/m);
  expect(stdout).toMatch(/^Rate limits: +api 5 by \$\{\{ params\.calls \}\} in 1m0s, mail 2 in 1\.0s$/m);
  expect(stdout).toMatch(/^Cells at a time: +4 by \$\{\{ params\.regions \}\}$/m);
});

it('says of a job that waits who holds the places of its group', async () => {
  await using plane = await startPlane();
  const { stdout } = await run(['describe', 'job', `${runId}/build`], envOf(plane));
  expect(stdout).toMatch(new RegExp(`^Group: +deploy, 1/1 held by ${runId}/holder$`, 'm'));
  expect(stdout).toMatch(/^Waits for: +concurrency$/m);
  const { stdout: own } = await run(['describe', 'job', `${runId}/holder`], envOf(plane));
  expect(own).toMatch(/^Group: +deploy, 1\/1 held by this job$/m);
});

it('says what a job waits for once, with the names of those that hold places', async () => {
  await using plane = await startPlane(true);
  const told = `group deploy 2/2 held by jobs ${runId}/holder, ${goneId}`;
  const { stdout } = await run(['describe', 'job', `${runId}/build`], envOf(plane));
  expect(stdout).toContain(`Blocked by:\n  ${told}\n`);
  expect(stdout).not.toContain('Waits for:');
  expect((await run(['explain', 'job', `${runId}/build`], envOf(plane))).stdout).toContain(told);
});
