// Calls on runs.
import { JobState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { RunState } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import { RerunScope, RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { expect } from 'vitest';
import { DEFINITION } from '../sample-definitions.ts';
import { JOB_ID } from '../sample-jobs.ts';
import { RUN_ID } from '../sample-runs.ts';
import { type Case, definition, definitionJson, artifactJson, trigger, byApi } from './call-case.ts';

export const RUN_CALLS: readonly Case[] = [
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
      warnings: ['no shell driver is known'],
      warningDetails: [{ field: 'definition.jobs[0].driver', message: 'no shell driver is known' }],
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
];
