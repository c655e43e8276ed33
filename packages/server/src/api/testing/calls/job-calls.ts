// Calls on jobs, their attempts and logs, and on groups.
import { GateVerdict, JobState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { expect } from 'vitest';
import { JOB_ID } from '../sample-jobs.ts';
import { RUN_ID } from '../sample-runs.ts';
import { type Case, definition, definitionJson, artifactJson, trigger, key } from './call-case.ts';

export const JOB_CALLS: readonly Case[] = [
  {
    method: JobService.method.createJob,
    request: { job: definition.jobs[0], params: { a: 1 }, labels: { b: 'c' }, requestId: 'j-1' },
    asked: ['default', key],
    answered: { job: { jobId: JOB_ID, runId: RUN_ID } },
    without: ['job.definition'],
  },
  {
    method: JobService.method.getJob,
    request: { jobId: JOB_ID },
    asked: ['default', key],
    answered: {
      job: {
        state: 'JOB_STATE_WAITING',
        wait: { reason: 'WAIT_REASON_BACKOFF', untilTime: '2023-11-14T22:13:25Z' },
        outputs: { image: 'a:1', sizes: [1, 2], none: null },
        progress: { phase: 'PROGRESS_PHASE_RUNNING', message: 'compiling', fraction: 0.5 },
        definition: definitionJson.jobs[0],
        artifacts: [artifactJson],
        artifactCount: 101,
      },
    },
  },
  {
    method: JobService.method.getJob,
    request: { jobId: JOB_ID, atSeq: 7n },
    asked: ['default', key, 7, expect.any(AbortSignal)],
    answered: { job: { state: 'JOB_STATE_WAITING' } },
  },
  {
    method: JobService.method.listJobs,
    request: { runId: RUN_ID, states: [JobState.FAILED], names: ['b'], atSeq: 7n },
    asked: ['default', RUN_ID, 7, ['FAILED'], ['b'], { size: 100 }, expect.any(AbortSignal)],
    answered: { jobs: [{ jobId: JOB_ID }] },
  },
  {
    method: JobService.method.listAttempts,
    request: { jobId: JOB_ID, atSeq: 7n },
    asked: ['default', key, 7, { size: 100 }, expect.any(AbortSignal)],
    answered: { attempts: [{ attemptId: `${JOB_ID}.1` }] },
  },
  {
    method: JobService.method.listJobs,
    request: { runId: RUN_ID, states: [JobState.FAILED], names: ['b', 'a', 'b'] },
    asked: ['default', RUN_ID, ['FAILED'], ['a', 'b'], { size: 100 }],
    answered: {
      jobs: [
        {
          jobId: JOB_ID,
          needs: ['clone'],
          stop: {
            cause: 'STOP_CAUSE_CANCEL',
            phase: 'STOP_PHASE_KILL',
            reason: 'enough',
            time: '2023-11-14T22:13:27Z',
          },
        },
      ],
    },
  },
  {
    method: JobService.method.explainJob,
    request: { jobId: JOB_ID },
    asked: ['default', key],
    answered: {
      jobId: JOB_ID,
      state: 'JOB_STATE_BLOCKED',
      standing: 'JOB_STANDING_BLOCKED',
      message: '14 things keep it from starting',
      time: '2023-11-14T22:13:28Z',
      seq: '12',
    },
  },
  {
    method: JobService.method.cancelJob,
    request: { jobId: JOB_ID, reason: 'no' },
    asked: ['default', key, 'no'],
    answered: { job: { state: 'JOB_STATE_CANCELLED', cancelReason: 'no' } },
  },
  {
    method: JobService.method.holdJob,
    request: { jobId: JOB_ID, reason: 'maintenance', actor: 'ada' },
    asked: ['default', key, { reason: 'maintenance', actor: 'ada' }],
    answered: {
      job: {
        wait: { reason: 'WAIT_REASON_HELD' },
        hold: { reason: 'maintenance', actor: 'ada', time: '2023-11-14T22:13:26Z' },
      },
    },
    without: ['job.wait.untilTime'],
  },
  {
    method: JobService.method.releaseJob,
    request: { jobId: JOB_ID },
    asked: ['default', key, { reason: '', actor: '' }],
    answered: { job: { state: 'JOB_STATE_QUEUED' } },
  },
  {
    method: JobService.method.answerGate,
    request: { jobId: JOB_ID, verdict: GateVerdict.APPROVE, actor: 'ada', groups: ['ops'], answers: { sure: true } },
    asked: [
      'default',
      key,
      { verdict: 'APPROVE', actor: 'ada', groups: ['ops'], answers: { sure: true }, comment: '' },
    ],
    answered: { job: { state: 'JOB_STATE_SUCCEEDED' } },
  },
  {
    method: JobService.method.retryJob,
    request: { jobId: JOB_ID, trigger },
    asked: ['default', key, trigger, undefined],
    answered: { job: { state: 'JOB_STATE_QUEUED' } },
  },
  {
    method: JobService.method.listAttempts,
    request: { jobId: JOB_ID },
    asked: ['default', key, { size: 100 }],
    answered: {
      attempts: [
        {
          attemptId: `${JOB_ID}.1`,
          number: 1,
          state: 'ATTEMPT_STATE_FAILED',
          annotations: [{ level: 'ANNOTATION_LEVEL_WARNING', text: 'slow' }],
          artifacts: [artifactJson],
          artifactCount: 101,
          logState: 'LOG_STATE_SEALED',
        },
      ],
    },
  },
  {
    method: JobService.method.readLog,
    request: { jobId: JOB_ID, attempt: 1, offset: 3n, maxBytes: 10_000_000 },
    asked: ['default', key, 1, 3, 1_048_576],
    answered: { nextOffset: '11', logSize: '11', sections: [{ name: 'make' }], chunks: [{ data: 'aGVsbG8Kd29ybGQ=' }] },
  },
  {
    method: JobService.method.tailLog,
    request: { jobId: JOB_ID, offset: 3n },
    asked: ['default', key, undefined, 3, expect.any(AbortSignal)],
    answered: {
      logState: 'LOG_STATE_SEALED',
      chunks: [
        {
          spans: [
            { length: 6, channel: 'LOG_CHANNEL_STDOUT', unixMs: '1700000002100' },
            { length: 5, channel: 'LOG_CHANNEL_STDERR', unixMs: '1700000002200' },
          ],
        },
      ],
    },
  },
  {
    method: JobService.method.listConcurrencyGroups,
    request: { pageSize: 2 },
    asked: ['default', { size: 2 }],
    answered: {
      groups: [{ key: 'deploy', holdingCount: 1, waitingCount: 2, limit: 1 }],
      nextPageToken: expect.any(String),
    },
  },
  {
    method: JobService.method.getConcurrencyGroup,
    request: { key: 'deploy' },
    asked: ['default', 'deploy', { size: 100 }],
    answered: {
      group: { key: 'deploy', holdingCount: 1 },
      members: [
        {
          jobId: `${RUN_ID}.0`,
          runId: RUN_ID,
          state: 'CONCURRENCY_GROUP_MEMBER_STATE_HOLDING',
          readyTime: '2023-11-14T22:13:20Z',
          limit: 1,
          policy: 'CONCURRENCY_POLICY_QUEUE',
        },
      ],
      nextPageToken: expect.any(String),
    },
  },
];
