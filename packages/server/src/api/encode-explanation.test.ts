import { create, toJson } from '@bufbuild/protobuf';
import { ExplainJobResponseSchema } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { expect, test } from 'vitest';
import { encodeExplanation } from './encode-explanation.ts';
import { explanationOf } from './testing/test-explanation.ts';
import { RUN_ID } from './testing/sample-runs.ts';

test('each kind of blocker and of caveat is told with everything that is known of it, and a line for people', () => {
  const key = { runId: RUN_ID, job: 9 };
  const encoded = create(ExplainJobResponseSchema, encodeExplanation(key, explanationOf(key)));
  expect(toJson(ExplainJobResponseSchema, encoded)).toEqual({
    jobId: `${RUN_ID}.9`,
    state: 'JOB_STATE_BLOCKED',
    standing: 'JOB_STANDING_BLOCKED',
    message: '14 things keep it from starting',
    time: '2023-11-14T22:13:28Z',
    seq: '12',
    blockers: [
      { message: 'its run starts at 2023-11-14T22:13:21Z', delay: { untilTime: '2023-11-14T22:13:21Z' } },
      { message: 'backoff until 2023-11-14T22:13:22Z', backoff: { untilTime: '2023-11-14T22:13:22Z' } },
      {
        message: 'its run was paused by ada at 2023-11-14T22:13:26Z: maintenance',
        runPause: { reason: 'maintenance', actor: 'ada', time: '2023-11-14T22:13:26Z' },
      },
      {
        message: 'held by ada at 2023-11-14T22:13:26Z: maintenance',
        hold: { jobId: `${RUN_ID}.0`, hold: { reason: 'maintenance', actor: 'ada', time: '2023-11-14T22:13:26Z' } },
      },
      {
        message: 'needs 21 jobs to finish: test (WAITING) and 20 more',
        needs: { openCount: 21, jobs: [{ jobId: `${RUN_ID}.1`, name: 'test', state: 'JOB_STATE_WAITING' }] },
      },
      {
        message: 'matrix cells has 2 of 2 cells under way at a time: cells[1] (RUNNING) and 1 more, 4 cells ahead',
        matrix: {
          jobId: `${RUN_ID}.2`,
          name: 'cells',
          limit: 2,
          underWayCount: 2,
          jobs: [{ jobId: `${RUN_ID}.3`, name: 'cells[1]', state: 'JOB_STATE_RUNNING' }],
          aheadCount: 4,
        },
      },
      {
        message: '1 of 2 approvals, by any of ana, leads; at 2023-11-14T22:13:23Z it is skipped',
        gate: {
          approvedCount: 1,
          quorum: 2,
          approvers: ['ana', 'leads'],
          untilTime: '2023-11-14T22:13:23Z',
          onTimeout: 'GATE_EXPIRY_SKIP',
        },
      },
      {
        message: '5 cells to finish: cells[1] (RUNNING) and 4 more',
        cells: { openCount: 5, jobs: [{ jobId: `${RUN_ID}.3`, name: 'cells[1]', state: 'JOB_STATE_RUNNING' }] },
      },
      {
        message: `run ${RUN_ID} of deploy is RUNNING`,
        childRun: { pipeline: 'deploy', runId: RUN_ID, state: 'RUN_STATE_RUNNING' },
      },
      {
        message: `group prod 1/1 held by job ${RUN_ID}.7, 2 jobs ahead`,
        group: { key: 'prod', limit: 1, holdingCount: 1, holderJobIds: [`${RUN_ID}.7`], aheadCount: 2 },
      },
      {
        message: 'rate limit api: 3 tokens, likely at 2023-11-14T22:13:24Z, 6 jobs ahead',
        rate: { key: 'api', cost: 3, expectedTime: '2023-11-14T22:13:24Z', aheadCount: 6 },
      },
      {
        message: 'the queue of shell was paused by ana at 2023-11-14T22:13:20Z',
        queuePause: { driver: 'shell', actor: 'ana', pauseTime: '2023-11-14T22:13:20Z' },
      },
      {
        message:
          '3 instances of shell sent it back: passed over until 2023-11-14T22:13:25Z; others drain or have no free slot',
        instances: {
          driver: 'shell',
          cause: 'INSTANCES_CAUSE_PASSED_OVER',
          connectedCount: 9,
          requirements: [
            { label: { key: 'os', values: ['linux'] }, instanceCount: 8 },
            { pool: 'gpu', instanceCount: 7 },
            { spec: true, instanceCount: 6 },
          ],
          fittingCount: 5,
          drainingCount: 1,
          fullCount: 2,
          passedOverCount: 3,
          slots: 12,
          freeSlots: 4,
          untilTime: '2023-11-14T22:13:25Z',
        },
      },
      {
        message: 'offered to shell-1 at 2023-11-14T22:13:26Z: starts when that accepts it, until 2023-11-14T22:13:27Z',
        offer: { driverInstance: 'shell-1', offerTime: '2023-11-14T22:13:26Z', untilTime: '2023-11-14T22:13:27Z' },
      },
    ],
    caveats: [
      {
        kind: 'BLOCKER_CAVEAT_KIND_CONDITION',
        message: 'its condition is worked out when its needs have finished: it may be skipped',
      },
      {
        kind: 'BLOCKER_CAVEAT_KIND_OUTCOMES',
        message: 'it will be skipped: it runs when all that it needs succeed, and not all of that has',
      },
      {
        kind: 'BLOCKER_CAVEAT_KIND_KEYS',
        message: 'its concurrency group and rate limits are not known before its needs have finished',
      },
      {
        kind: 'BLOCKER_CAVEAT_KIND_SPEC',
        message:
          'its spec is not known before its needs have finished: instances whose schemas differ may not all take it',
      },
      {
        kind: 'BLOCKER_CAVEAT_KIND_REFUSED',
        message: 'its group has no place for it: it fails rather than waits when it comes to that',
      },
      {
        kind: 'BLOCKER_CAVEAT_KIND_POOL',
        message: 'too many attempts are under way to see who holds the slots of its pool: these may be taken',
      },
    ],
  });
});
