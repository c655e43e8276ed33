// A pipeline, its definitions, and a plan of it, as api may be answered.
import { DEFAULT_RETRY, DEFAULT_TIMEOUTS, type Definition, type JobDefinition } from '../../core/definition.ts';
import { compilePlan, plannedJob } from '../../core/plan.ts';
import type { Warning } from '../../core/refusal.ts';
import type { RunPlanView } from '../../core/run-plan.ts';
import type { PipelineView } from '../../core/views.ts';

export const JOB_DEFINITION: JobDefinition = {
  name: 'build',
  driver: 'shell',
  spec: { run: 'make', env: { CI: '1' }, retries: 2, flags: [true, null] },
  needs: [],
  when: 'SUCCESS',
  retry: { ...DEFAULT_RETRY, budgets: { ...DEFAULT_RETRY.budgets, WORKLOAD: 2 }, jitter: 0 },
  timeouts: { ...DEFAULT_TIMEOUTS, runMs: 90_500 },
  onLeaseDoubt: 'STOP',
  allowFailure: true,
  secrets: ['TOKEN'],
  outputsSchema: { type: 'object', required: ['image'] },
};

export const DEFINITION: Definition = {
  jobs: [JOB_DEFINITION],
  paramsSchema: { type: 'object' },
  labels: { team: 'core' },
};

/** What DEFINITION was before. */
export const EARLIER_DEFINITION: Definition = {
  ...DEFINITION,
  jobs: [
    { ...JOB_DEFINITION, name: 'old' },
    {
      ...JOB_DEFINITION,
      spec: { run: 'make', env: {}, retries: 2, flags: [true, 7] },
      timeouts: { ...DEFAULT_TIMEOUTS, runMs: 60_000 },
    },
  ],
};

export const UNKNOWN_DRIVER: Warning = { field: 'definition.jobs[0].driver', message: 'no shell driver is known' };

export const PIPELINE: PipelineView = {
  project: 'default',
  name: 'ci',
  revision: 3,
  definition: DEFINITION,
  createdMs: 1_700_000_000_000,
  updatedMs: 1_700_000_001_500,
};

const PLANNED = compilePlan(DEFINITION);

/** Of a job that runs under a condition, by way of a driver that is there. */
export const PLAN: RunPlanView = {
  pipeline: { name: 'ci', revision: 3 },
  plan: PLANNED,
  jobs: [
    {
      job: plannedJob(PLANNED, 0),
      fate: 'RUNS',
      state: 'FAILED',
      failure: { class: 'WORKLOAD', message: 'it is assumed to fail' },
      failureAllowed: true,
      condition: { expression: 'params.a', held: true, parts: [{ expression: 'params.a', value: true }] },
      spec: { run: 'make' },
      wave: 0,
      readyInstances: 2,
    },
    { job: plannedJob(PLANNED, 0), fate: 'UNKNOWN', reason: 'its spec reads outputs of a', wave: 1 },
    {
      job: plannedJob(PLANNED, 0),
      fate: 'INVALID',
      state: 'FAILED',
      failure: { class: 'INVALID', message: 'spec.a: "params.a": is wrong (and 11 more)' },
      expressionFailures: {
        first: [
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
        count: 12,
      },
      wave: 2,
    },
  ],
  drivers: [{ name: 'shell', connected: 3, ready: 2, freeSlots: 5, jobs: 1 }],
  path: { steps: [{ name: 'build', durationMs: 1_500 }, { name: 'deploy' }], totalMs: 1_500 },
  durations: new Map([['build', 1_500]]),
  warnings: ['nobody is there'],
};
