// Every call of the contract, by every protocol: the same request reaches the engine and the same answer comes back.
import { type DescMessage, type DescMethod, equals, fromJson, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DrainDeadline, DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { GateVerdict, JobState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { LeaseDoubt, RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { RunState } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import { RerunScope, RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { ScheduleMissedPolicy, ScheduleOverlapPolicy } from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import { RunValueService } from '@conveyor/protocol/conveyor/v1/run_value_service_pb.js';
import { ScheduleService } from '@conveyor/protocol/conveyor/v1/schedule_service_pb.js';
import { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { SERVICES } from './services.ts';
import { call } from './testing/any-call.ts';
import { openTestDoors, PROTOCOLS, type TestDoors } from './testing/test-doors.ts';
import { createTestEngine, DEFINITION, JOB_ID, RUN_ID, SCHEDULE, type TestEngine } from './testing/test-engine.ts';

interface Case {
  readonly method: DescMethod;
  readonly request: MessageInitShape<DescMessage>;
  /** What the engine is asked for. */
  readonly asked: readonly unknown[];
  /** A part of the (last) response as JSON. */
  readonly answered: unknown;
  /** What the response must not hold, by path. */
  readonly without?: readonly string[];
}

const definition = {
  jobs: [
    {
      name: 'build',
      driver: 'shell',
      spec: { run: 'make', env: { CI: '1' }, retries: 2, flags: [true, null] },
      when: RunCondition.SUCCESS,
      retry: { workload: 2, jitter: 0 },
      timeouts: { runTimeout: { seconds: 90n, nanos: 500_000_000 } },
      onLeaseDoubt: LeaseDoubt.STOP,
      allowFailure: true,
      secrets: ['TOKEN'],
      outputsSchema: { type: 'object', required: ['image'] },
    },
  ],
  paramsSchema: { type: 'object' },
  labels: { team: 'core' },
};
const definitionJson = {
  jobs: [
    {
      name: 'build',
      driver: 'shell',
      spec: { run: 'make', env: { CI: '1' }, retries: 2, flags: [true, null] },
      retry: { workload: 2, jitter: 0 },
      timeouts: { runTimeout: '90.500s' },
      onLeaseDoubt: 'LEASE_DOUBT_STOP',
      allowFailure: true,
      secrets: ['TOKEN'],
      outputsSchema: { type: 'object', required: ['image'] },
    },
  ],
  paramsSchema: { type: 'object' },
  labels: { team: 'core' },
};
const artifactJson = {
  name: 'app',
  digest: `sha256:${'0a'.repeat(32)}`,
  sizeBytes: '1024',
  uri: 's3://builds/app',
  mediaType: 'application/gzip',
};
const trigger = { kind: 'push', actor: 'ada', reference: 'https://example.com/1' };
const byApi = { kind: 'api', actor: '', reference: '' };
const key = { runId: RUN_ID, job: 0 };

const CASES: readonly Case[] = [
  {
    method: PipelineService.method.applyPipeline,
    request: { name: 'ci', definition, expectedRevision: 0 },
    asked: ['default', 'ci', DEFINITION, 0],
    answered: {
      changed: true,
      warnings: ['no shell driver is known'],
      pipeline: { name: 'ci', revision: 3, definition: definitionJson, createTime: '2023-11-14T22:13:20Z' },
    },
  },
  {
    method: PipelineService.method.applyPipeline,
    request: {
      name: 'ci',
      definition: { ...definition, jobs: [{ ...definition.jobs[0], allowFailure: false }] },
      validateOnly: true,
    },
    asked: ['default', 'ci', expect.anything(), { expectedRevision: undefined, found: [] }],
    answered: {
      changed: true,
      warnings: ['no shell driver is known'],
      pipeline: { name: 'ci', revision: 3 },
      diff: { changedJobs: [{ name: 'build', changes: [{ path: 'allow_failure', oldValue: true }] }], changeCount: 1 },
    },
    without: ['diff.changedJobs[0].changes[0].newValue'],
  },
  {
    method: PipelineService.method.diffPipelineRevisions,
    request: { name: 'ci', fromRevision: 1 },
    asked: ['default', 'ci', 1, undefined],
    answered: {
      fromRevision: 1,
      toRevision: 3,
      diff: {
        removedJobs: ['old'],
        changedJobs: [
          {
            name: 'build',
            changes: [
              { path: 'spec.env.CI', newValue: '1' },
              { path: 'spec.flags[1]', oldValue: 7, newValue: null },
              { path: 'timeouts.run_timeout', oldValue: '60s', newValue: '90.500s' },
            ],
          },
        ],
        changeCount: 3,
      },
    },
  },
  {
    method: PipelineService.method.getPipeline,
    request: { project: 'default', name: 'ci', revision: 2 },
    asked: ['default', 'ci', 2],
    answered: { pipeline: { updateTime: '2023-11-14T22:13:21.500Z' } },
  },
  {
    method: PipelineService.method.listPipelines,
    request: { pageSize: 2 },
    asked: ['default', { size: 2 }],
    answered: { pipelines: [{ name: 'ci' }], nextPageToken: expect.any(String) },
  },
  {
    method: PipelineService.method.listPipelineRevisions,
    request: { name: 'ci', pageSize: 5_000 },
    asked: ['default', 'ci', { size: 100 }],
    answered: { revisions: [{ revision: 3, digest: 'ab'.repeat(32), definition: definitionJson }] },
  },
  { method: PipelineService.method.deletePipeline, request: { name: 'ci' }, asked: ['default', 'ci'], answered: {} },
  {
    method: RunService.method.createRun,
    request: {
      run: {
        source: { case: 'pipeline', value: { name: 'ci' } },
        params: { sha: 'abc' },
        labels: { repo: 'x/y' },
        trigger,
      },
      requestId: 'r-1',
    },
    asked: [
      'default',
      { pipeline: { name: 'ci' }, params: { sha: 'abc' }, labels: { repo: 'x/y' }, trigger, requestId: 'r-1' },
    ],
    answered: {
      run: { runId: RUN_ID, state: 'RUN_STATE_RUNNING', seq: '7', params: { sha: 'abc' }, trigger },
    },
    without: ['run.definition'],
  },
  {
    method: RunService.method.createRun,
    request: { run: { source: { case: 'definition', value: definition } } },
    asked: ['default', { definition: DEFINITION, params: {}, labels: {}, trigger: byApi }],
    answered: { run: { jobCounts: { total: 2, open: 1, succeeded: 1 } } },
  },
  {
    method: RunService.method.createRun,
    request: {
      run: {
        source: { case: 'pipeline', value: { name: 'ci' } },
        startTime: { seconds: 1_700_000_000n, nanos: 5_999_999 },
      },
    },
    asked: [
      'default',
      { pipeline: { name: 'ci' }, params: {}, labels: {}, trigger: byApi, startMs: 1_700_000_000_006 },
    ],
    answered: { run: { runId: RUN_ID } },
  },
  {
    method: RunService.method.batchCreateRuns,
    request: {
      items: [
        { run: { source: { case: 'pipeline', value: { name: 'ci', revision: 4 } } }, requestId: 'a' },
        { run: { source: { case: 'pipeline', value: { name: 'CI' } } }, requestId: 'b' },
      ],
    },
    asked: [
      'default',
      [{ pipeline: { name: 'ci', revision: 4 }, params: {}, labels: {}, trigger: byApi, requestId: 'a' }],
    ],
    answered: {
      results: [
        { runId: RUN_ID, requestId: 'a' },
        {
          requestId: 'b',
          error: {
            code: 3,
            reason: 'ERROR_REASON_INVALID_FIELD',
            message: expect.stringContaining('run.pipeline.name: must be'),
          },
        },
      ],
    },
  },
  {
    method: RunService.method.getRun,
    request: { runId: RUN_ID },
    asked: ['default', RUN_ID],
    answered: { run: { definition: definitionJson } },
  },
  {
    method: RunService.method.getRun,
    request: { runId: RUN_ID, atSeq: 7n },
    asked: ['default', RUN_ID, 7, expect.any(AbortSignal)],
    answered: { run: { seq: '7', definition: definitionJson } },
  },
  {
    method: RunService.method.diffRun,
    request: { runId: RUN_ID, fromSeq: 3n, toSeq: 7n, pageSize: 5 },
    asked: ['default', RUN_ID, 3, 7, { size: 5 }, expect.any(AbortSignal)],
    answered: {
      before: { runId: RUN_ID, seq: '3' },
      after: { seq: '7' },
      eventCount: '4',
      changedJobCount: 2,
      jobs: [
        {
          jobId: `${RUN_ID}.0`,
          job: 'build',
          before: {
            state: 'JOB_STATE_WAITING',
            attempt: 1,
            wait: { reason: 'WAIT_REASON_HELD' },
            hold: { time: expect.any(String) },
          },
          after: {
            state: 'JOB_STATE_FAILED',
            attempt: 2,
            failure: { class: 'FAILURE_CLASS_WORKLOAD', message: 'it broke' },
          },
        },
      ],
      nextPageToken: expect.stringMatching(/./),
    },
    without: ['before.params', 'before.definition'],
  },
  {
    method: RunService.method.diffRun,
    request: { runId: RUN_ID, fromSeq: 3n },
    asked: ['default', RUN_ID, 3, undefined, { size: 100 }, expect.any(AbortSignal)],
    answered: { eventCount: '6' },
  },
  {
    method: RunService.method.planRun,
    request: {
      run: { source: { case: 'pipeline', value: { name: 'ci', revision: 3 } }, params: { sha: 'abc' }, trigger },
      assumed: {
        build: { outcome: JobState.FAILED, outputs: { image: 'a:1' } },
        'test[linux]': { outputs: {} },
        deploy: { outcome: JobState.CANCELLED },
      },
    },
    asked: [
      'default',
      { pipeline: { name: 'ci', revision: 3 }, params: { sha: 'abc' }, labels: {}, trigger },
      new Map([
        ['build', { outcome: 'FAILED', outputs: { image: 'a:1' } }],
        ['test[linux]', { outcome: 'SUCCEEDED', outputs: {} }],
        ['deploy', { outcome: 'CANCELLED' }],
      ]),
      expect.any(AbortSignal),
    ],
    answered: {
      pipeline: 'ci',
      revision: 3,
      jobs: [
        {
          name: 'build',
          driver: 'shell',
          prediction: 'JOB_PREDICTION_RUNS',
          state: 'JOB_STATE_FAILED',
          failure: { class: 'FAILURE_CLASS_WORKLOAD', message: 'it is assumed to fail' },
          failureAllowed: true,
          condition: { expression: 'params.a', held: true, parts: [{ expression: 'params.a', value: true }] },
          spec: { run: 'make' },
          readyInstances: 2,
          expectedDuration: '1.500s',
        },
        { prediction: 'JOB_PREDICTION_UNKNOWN', unknownReason: 'its spec reads outputs of a', wave: 1 },
        {
          prediction: 'JOB_PREDICTION_INVALID',
          expressionFailures: [
            {
              field: 'spec.a',
              expression: 'params.a',
              error: 'is wrong',
              parts: [
                { expression: 'params', value: { b: null } },
                { expression: 'params.a', note: 'is not there' },
              ],
            },
          ],
          expressionFailureCount: 12,
        },
      ],
      drivers: [{ name: 'shell', connectedInstances: 3, readyInstances: 2, freeSlots: 5, jobs: 1 }],
      criticalPath: {
        steps: [{ job: 'build', expectedDuration: '1.500s' }, { job: 'deploy' }],
        totalDuration: '1.500s',
      },
      warnings: ['nobody is there'],
    },
    without: ['state', 'detailsOmitted', 'jobs[0].expressionFailures', 'jobs[1].state', 'jobs[1].readyInstances'],
  },
  {
    method: RunService.method.listRuns,
    request: { filter: { pipeline: 'ci', states: [RunState.RUNNING, RunState.PENDING], labels: { a: 'b' } } },
    asked: ['default', { pipeline: 'ci', states: ['PENDING', 'RUNNING'], labels: { a: 'b' } }, { size: 100 }],
    answered: { runs: [{ runId: RUN_ID }] },
    without: ['runs[0].params', 'runs[0].definition'],
  },
  {
    method: RunService.method.cancelRun,
    request: { runId: RUN_ID, reason: 'enough', force: true },
    asked: ['default', RUN_ID, 'enough', true],
    answered: { run: { state: 'RUN_STATE_CANCELLING', cancelReason: 'enough' } },
  },
  {
    method: RunService.method.rerunRun,
    request: { runId: RUN_ID, scope: RerunScope.FAILED, requestId: 'again' },
    asked: ['default', RUN_ID, 'FAILED', byApi, 'again'],
    answered: { run: { rerunOf: RUN_ID } },
  },
  { method: RunService.method.deleteRun, request: { runId: RUN_ID }, asked: ['default', RUN_ID], answered: {} },
  {
    method: RunService.method.verifyRun,
    request: { project: 'default', runId: RUN_ID, skipLogs: true },
    asked: ['default', RUN_ID, true, expect.any(AbortSignal)],
    answered: {
      verified: { events: '7', jobs: '2', attempts: '1', logs: '1', logBytes: '11' },
      discrepancyCount: '1',
      discrepancies: [
        { kind: 'DISCREPANCY_KIND_JOB', where: 'jobs[0].state', expected: '"RUNNING"', found: '"QUEUED"' },
      ],
    },
  },
  {
    method: RunService.method.rerunRun,
    request: { runId: RUN_ID, scope: RerunScope.FROM, fromJobs: ['build'], requestId: 'again' },
    asked: ['default', RUN_ID, { from: ['build'] }, byApi, 'again'],
    answered: { run: { rerunOf: RUN_ID } },
  },
  {
    method: RunService.method.pauseRun,
    request: { runId: RUN_ID, reason: 'maintenance', actor: 'ada' },
    asked: ['default', RUN_ID, { reason: 'maintenance', actor: 'ada' }],
    answered: { run: { pause: { reason: 'maintenance', actor: 'ada', time: '2023-11-14T22:13:26Z' } } },
  },
  {
    method: RunService.method.resumeRun,
    request: { runId: RUN_ID },
    asked: ['default', RUN_ID, { reason: '', actor: '' }],
    answered: { run: { state: 'RUN_STATE_RUNNING' } },
    without: ['run.pause'],
  },
  {
    method: RunService.method.listRunArtifacts,
    request: { runId: RUN_ID, job: 'build', pageSize: 3 },
    asked: ['default', RUN_ID, 'build', { size: 3 }],
    answered: {
      artifacts: [
        {
          artifact: artifactJson,
          jobId: JOB_ID,
          job: 'build',
          attempt: 1,
          number: 2,
          createTime: '2023-11-14T22:13:29Z',
        },
      ],
      nextPageToken: expect.any(String),
    },
  },
  {
    method: RunService.method.watchRun,
    request: { runId: RUN_ID, afterSeq: 5n },
    asked: ['default', RUN_ID, 5, expect.any(AbortSignal)],
    answered: {
      events: [
        { seq: '1', runState: 'RUN_STATE_PENDING', runCreated: { jobs: 1, pipeline: 'ci', revision: 3, trigger } },
        {
          seq: '2',
          jobId: JOB_ID,
          job: 'build',
          jobState: 'JOB_STATE_FAILED',
          attempt: 1,
          attemptEnded: {
            state: 'ATTEMPT_STATE_FAILED',
            failure: { class: 'FAILURE_CLASS_WORKLOAD', message: 'exit 2', exitCode: 2 },
            outputs: { image: 'a:1' },
            logSize: '11',
            logState: 'LOG_STATE_SEALED',
          },
        },
        { seq: '3', attempt: 2, attemptTimedOut: { silence: '1.500s' } },
        { seq: '4', attempt: 2, attemptHeard: { heardTime: '2023-11-14T22:13:20Z' } },
        { seq: '5', runPaused: { reason: 'maintenance', actor: 'ada' } },
        { seq: '6', job: 'build', jobWaiting: { wait: { reason: 'WAIT_REASON_PAUSED' } } },
        { seq: '7', attempt: 2, attemptArtifact: { number: 1, artifact: artifactJson } },
      ],
    },
    without: ['events[5].jobWaiting.wait.untilTime'],
  },
  {
    method: RunService.method.watchRuns,
    request: { filter: { states: [RunState.FAILED] } },
    asked: ['default', { states: ['FAILED'], labels: {} }, undefined, expect.any(AbortSignal)],
    without: ['changes[0].run.params'],
    answered: { changes: [{ left: true, run: { runId: RUN_ID } }], cursor: expect.any(String) },
  },
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
    method: RunValueService.method.setRunValue,
    request: { runId: RUN_ID, key: 'gate', value: fromJson(ValueSchema, { open: true }), expectedVersion: 0n },
    asked: ['default', RUN_ID, 'gate', { open: true }, 0],
    answered: { version: '7' },
  },
  {
    method: RunValueService.method.setRunValue,
    request: { runId: RUN_ID, key: 'gate', value: fromJson(ValueSchema, null) },
    asked: ['default', RUN_ID, 'gate', null, undefined],
    answered: { version: '7' },
  },
  {
    method: RunValueService.method.getRunValue,
    request: { runId: RUN_ID, key: 'gate' },
    asked: ['default', RUN_ID, 'gate'],
    answered: {
      value: {
        project: 'default',
        runId: RUN_ID,
        key: 'gate',
        value: { open: true, sizes: [1, null] },
        version: '7',
        updateTime: '2023-11-14T22:13:29Z',
      },
    },
  },
  {
    method: RunValueService.method.listRunValues,
    request: { runId: RUN_ID, prefix: 'ga', pageSize: 3 },
    asked: ['default', RUN_ID, 'ga', { size: 3 }],
    answered: { values: [{ key: 'gate' }], nextPageToken: expect.any(String) },
  },
  {
    method: RunValueService.method.deleteRunValue,
    request: { runId: RUN_ID, key: 'gate', expectedVersion: 7n },
    asked: ['default', RUN_ID, 'gate', 7],
    answered: {},
  },
  {
    method: ScheduleService.method.applySchedule,
    request: {
      name: 'nightly',
      spec: {
        run: {
          source: { case: 'pipeline', value: { name: 'ci' } },
          params: { sha: 'HEAD' },
          labels: { kind: 'nightly' },
        },
        cron: ['0 3 * * *'],
        timeZone: 'Europe/Berlin',
        startTime: { seconds: 1_700_000_000n },
        overlapPolicy: ScheduleOverlapPolicy.QUEUE_ONE,
        missedPolicy: ScheduleMissedPolicy.RUN_ALL,
        catchUpWindow: { seconds: 90n },
        maxCatchUp: 3,
        pausedIsMissed: true,
      },
      paused: false,
    },
    asked: ['default', 'nightly', SCHEDULE.spec, false],
    answered: {
      changed: true,
      warnings: ['no shell driver is known'],
      schedule: {
        name: 'nightly',
        spec: {
          run: { pipeline: { name: 'ci' }, params: { sha: 'HEAD' }, labels: { kind: 'nightly' } },
          cron: ['0 3 * * *'],
          timeZone: 'Europe/Berlin',
          startTime: '2023-11-14T22:13:20Z',
          overlapPolicy: 'SCHEDULE_OVERLAP_POLICY_QUEUE_ONE',
          missedPolicy: 'SCHEDULE_MISSED_POLICY_RUN_ALL',
          catchUpWindow: '90s',
          maxCatchUp: 3,
          pausedIsMissed: true,
        },
        nextTime: '2023-11-14T22:14:20Z',
      },
    },
    without: ['schedule.pauseTime', 'schedule.spec.endTime'],
  },
  {
    method: ScheduleService.method.applySchedule,
    request: {
      name: 'nightly',
      spec: { run: { source: { case: 'definition', value: definition } }, cron: ['@daily'] },
    },
    asked: [
      'default',
      'nightly',
      {
        run: { definition: DEFINITION, params: {}, labels: {} },
        cron: ['@daily'],
        timeZone: 'UTC',
        overlap: 'SKIP',
        missed: 'RUN_ONCE',
        catchUpMs: 86_400_000,
        maxCatchUp: 10,
        pausedIsMissed: false,
      },
      undefined,
    ],
    answered: { changed: true },
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
  {
    method: ScheduleService.method.getSchedule,
    request: { name: 'nightly' },
    asked: ['default', 'nightly'],
    answered: { schedule: { createTime: '2023-11-14T22:13:20Z', updateTime: '2023-11-14T22:13:21.500Z' } },
  },
  {
    method: ScheduleService.method.listSchedules,
    request: { pageSize: 2 },
    asked: ['default', { size: 2 }],
    answered: { schedules: [{ name: 'nightly' }], nextPageToken: expect.any(String) },
  },
  {
    method: ScheduleService.method.deleteSchedule,
    request: { name: 'nightly' },
    asked: ['default', 'nightly'],
    answered: {},
  },
  {
    method: ScheduleService.method.pauseSchedule,
    request: { name: 'nightly', reason: 'frozen' },
    asked: ['default', 'nightly', 'frozen'],
    answered: { schedule: { paused: true, pauseReason: 'frozen', pauseTime: '2023-11-14T22:13:29Z' } },
    without: ['schedule.nextTime'],
  },
  {
    method: ScheduleService.method.resumeSchedule,
    request: { name: 'nightly' },
    asked: ['default', 'nightly'],
    answered: { schedule: { name: 'nightly' } },
    without: ['schedule.paused'],
  },
  {
    method: ScheduleService.method.triggerSchedule,
    request: { name: 'nightly', requestId: 'r-1' },
    asked: ['default', 'nightly', 'r-1'],
    answered: {
      occurrence: {
        time: '2023-11-14T22:13:23Z',
        state: 'SCHEDULE_OCCURRENCE_STATE_STARTED',
        origin: 'SCHEDULE_OCCURRENCE_ORIGIN_TRIGGER',
        runId: RUN_ID,
        decideTime: '2023-11-14T22:13:23.500Z',
      },
    },
  },
  {
    method: ScheduleService.method.backfillSchedule,
    request: { name: 'nightly', startTime: { seconds: 5n }, endTime: { seconds: 9n }, requestId: 'r-2' },
    asked: ['default', 'nightly', { fromMs: 5_000, untilMs: 9_000, parallel: 1, requestId: 'r-2' }],
    answered: { queued: 7 },
  },
  {
    method: ScheduleService.method.listOccurrences,
    request: { name: 'nightly' },
    asked: ['default', 'nightly', 10, { size: 100 }],
    answered: {
      upcomingTimes: ['2023-11-14T22:14:20Z', '2023-11-14T22:15:20Z'],
      occurrences: [
        { runId: RUN_ID },
        {
          state: 'SCHEDULE_OCCURRENCE_STATE_SKIPPED',
          skipReason: 'SCHEDULE_SKIP_REASON_OVERLAP',
          message: expect.stringContaining('earlier'),
        },
        {
          state: 'SCHEDULE_OCCURRENCE_STATE_FAILED',
          origin: 'SCHEDULE_OCCURRENCE_ORIGIN_BACKFILL',
          failureReason: 'ERROR_REASON_PIPELINE_NOT_FOUND',
          message: 'pipeline ci does not exist',
        },
      ],
      nextPageToken: expect.any(String),
    },
  },
  {
    method: DriverService.method.listDrivers,
    request: { name: 'shell', includeGone: true },
    asked: [{ name: 'shell', includeGone: true }, { size: 100 }],
    answered: { drivers: [{ instance: 'shell-1', state: 'DRIVER_STATE_READY', slots: 4, held: 1, epoch: '2' }] },
  },
  {
    method: DriverService.method.getDriver,
    request: { name: 'shell', instance: 'shell-1' },
    asked: ['shell', 'shell-1'],
    answered: { driver: { specSchema: { type: 'object' } } },
  },
  {
    method: DriverService.method.drainDrivers,
    request: { name: 'shell-*', waitTimeout: { seconds: 2n }, onDeadline: DrainDeadline.EVICT },
    asked: [{ name: 'shell-*', instance: '*', undo: false, waitMs: 2_000, evict: true }, expect.any(AbortSignal)],
    answered: { drivers: [{ state: 'DRIVER_STATE_DRAINING' }], evicted: 3 },
  },
  {
    method: DriverService.method.drainDrivers,
    request: { name: 'shell', instance: 'host-1', undo: true },
    asked: [{ name: 'shell', instance: 'host-1', undo: true, evict: false }, expect.any(AbortSignal)],
    answered: { drivers: [{ state: 'DRIVER_STATE_DRAINING' }] },
  },
  {
    method: DriverService.method.pauseQueue,
    request: { driver: 'shell', pipeline: 'ci', actor: 'ana', reason: 'upgrade' },
    asked: [{ driver: 'shell', project: 'default', pipeline: 'ci', actor: 'ana', reason: 'upgrade' }],
    answered: { pause: { driver: 'shell', project: 'default', pipeline: 'ci', pauseTime: '2023-11-14T22:13:20Z' } },
  },
  {
    method: DriverService.method.resumeQueue,
    request: { driver: 'shell' },
    asked: [{ driver: 'shell', project: '', pipeline: '' }],
    answered: { resumed: true },
  },
  {
    method: DriverService.method.listQueues,
    request: { pageSize: 5 },
    asked: [{ size: 5 }],
    answered: {
      queues: [{ driver: 'shell', queued: 7, pauses: [{ actor: 'ana' }] }],
      nextPageToken: expect.any(String),
    },
  },
  {
    method: DriverService.method.watchDemand,
    request: { drivers: ['shell', 'other'] },
    asked: [['shell', 'other'], expect.any(AbortSignal)],
    answered: {
      changes: [
        {
          demand: {
            driver: 'shell',
            required: [{ key: 'os', operator: 'LABEL_OPERATOR_IN', values: ['linux', 'mac'] }],
            pool: 'gpu',
            queued: 7,
            paused: 2,
            moreQueued: true,
            oldestQueueTime: '2023-11-14T22:13:20Z',
            instances: 3,
            slots: 12,
            freeSlots: 5,
            held: 6,
          },
          ended: true,
        },
      ],
      snapshotComplete: true,
    },
  },
  {
    method: ServerService.method.getServerInfo,
    request: {},
    asked: [],
    answered: { version: '1.2.3', replica: 'replica-1', limits: { maxRequestBytes: 1_048_576, leaseDuration: '30s' } },
  },
];

let engine: TestEngine;
let doors: TestDoors;
beforeAll(async () => {
  engine = createTestEngine();
  doors = await openTestDoors(engine);
});
afterAll(() => doors[Symbol.asyncDispose]());

describe.each(CASES.map((one) => [`${one.method.parent.name}.${one.method.name}`, one] as const))('%s', (_, one) => {
  it.each(PROTOCOLS)('answers over %s', async (protocol) => {
    const response = await call(doors.transports()[protocol], one.method, one.request);
    const json = toJson(one.method.output, response);
    expect(json).toMatchObject(one.answered as object);
    for (const path of one.without ?? []) expect(json).not.toHaveProperty(path);
    if (one.method.parent !== ServerService) expect(engine.asked.at(-1)?.args).toEqual(one.asked);
  });

  it('answers the same to every protocol, and in process', async () => {
    const transports = [...Object.values(doors.transports()), doors.api.transport];
    const [first, ...others] = await Promise.all(
      transports.map((transport) => call(transport, one.method, one.request)),
    );
    for (const other of others) expect(equals(one.method.output, first!, other)).toBe(true);
  });
});

it('has a case for every method but sessions', () => {
  const methods = SERVICES.flatMap(({ methods }) => methods);
  const covered = new Set(CASES.map(({ method }) => method));
  expect(methods.filter((method) => !covered.has(method))).toEqual([DriverService.method.session]);
});

it('hands the trace context of a call to the run', async () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const request = { run: { source: { case: 'pipeline', value: { name: 'ci' } } } } as const;
  for (const protocol of PROTOCOLS) {
    await call(doors.transports()[protocol], RunService.method.createRun, request, { headers: { traceparent } });
    expect(engine.asked.at(-1)?.args[1]).toMatchObject({ traceparent });
  }
});
