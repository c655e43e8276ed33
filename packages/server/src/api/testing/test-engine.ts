// An engine in memory for tests of api: it answers every operation with a sample and remembers what it was asked. Tests replace
// single operations.
import { DEFAULT_RETRY, DEFAULT_TIMEOUTS, type Definition, type JobDefinition } from '../../core/definition.ts';
import type { DemandView } from '../../core/demand.ts';
import type { Artifact } from '../../core/events.ts';
import { makeRunId } from '../../core/ids.ts';
import { DEFAULT_TIMING, LIMITS } from '../../core/limits.ts';
import { compilePlan, plannedJob } from '../../core/plan.ts';
import type { RunPlanView } from '../../core/run-plan.ts';
import type { HoldBack } from '../../core/run-state.ts';
import type { OccurrenceView, ScheduleView } from '../../core/schedule.ts';
import type {
  AttemptView,
  DriverView,
  QueueView,
  EventView,
  JobView,
  LogPart,
  PipelineView,
  RunView,
  RunValueView,
} from '../../core/views.ts';
import type { Engine, Principal } from '../../engine/engine.ts';
import { explanationOf } from './test-explanation.ts';

export const RUN_ID = makeRunId(1_700_000_000_000, new Uint8Array(10));
export const JOB_ID = `${RUN_ID}.0`;
export const ATTEMPT_ID = `${RUN_ID}.0.1`;
export const OPERATOR_TOKEN = 'operator-token';
export const DRIVER_TOKEN = 'driver-token';

const PRINCIPALS: Readonly<Record<string, Principal>> = {
  [OPERATOR_TOKEN]: { role: 'operator', id: 'operator' },
  [DRIVER_TOKEN]: { role: 'driver', id: 'driver', driverNames: ['shell'] },
};

const JOB_DEFINITION: JobDefinition = {
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
const EARLIER_DEFINITION: Definition = {
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

export const PIPELINE: PipelineView = {
  project: 'default',
  name: 'ci',
  revision: 3,
  definition: DEFINITION,
  createdMs: 1_700_000_000_000,
  updatedMs: 1_700_000_001_500,
};

export const RUN: RunView = {
  runId: RUN_ID,
  project: 'default',
  pipeline: 'ci',
  revision: 3,
  state: 'RUNNING',
  params: { sha: 'abc' },
  labels: { repo: 'conveyor' },
  trigger: { kind: 'push', actor: 'ada', reference: 'https://example.com/1' },
  counts: { total: 2, open: 1, succeeded: 1, failed: 0, failureAllowed: 0, skipped: 0, cancelled: 0 },
  seq: 7,
  createdMs: 1_700_000_000_000,
  startedMs: 1_700_000_001_000,
};

export const JOB: JobView = {
  project: 'default',
  runId: RUN_ID,
  job: 0,
  name: 'build',
  driver: 'shell',
  state: 'WAITING',
  wait: { reason: 'BACKOFF', untilMs: 1_700_000_005_000 },
  needs: ['clone'],
  attempt: 1,
  failureAllowed: false,
  outputs: { image: 'a:1', sizes: [1, 2], none: null },
  progress: { phase: 'RUNNING', message: 'compiling', fraction: 0.5 },
  startedMs: 1_700_000_002_000,
};

export const HOLD: HoldBack = { reason: 'maintenance', actor: 'ada', sinceMs: 1_700_000_006_000 };

export const STOPPING_JOB: JobView = {
  project: 'default',
  runId: RUN_ID,
  job: 0,
  name: 'build',
  driver: 'shell',
  state: 'CANCELLING',
  stop: { cause: 'CANCEL', phase: 'KILL', sinceMs: 1_700_000_007_000, reason: 'enough' },
  needs: ['clone'],
  attempt: 1,
  failureAllowed: false,
};

export const ARTIFACT: Artifact = {
  name: 'app',
  digest: `sha256:${'0a'.repeat(32)}`,
  sizeBytes: 1_024,
  uri: 's3://builds/app',
  mediaType: 'application/gzip',
};

export const ATTEMPT: AttemptView = {
  project: 'default',
  runId: RUN_ID,
  job: 0,
  attempt: 1,
  state: 'FAILED',
  instance: 'shell-1',
  failure: { class: 'WORKLOAD', message: 'exit 2', exitCode: 2 },
  logSize: 11,
  logState: 'SEALED',
  annotations: [{ level: 'WARNING', text: 'slow', link: '' }],
  artifacts: [ARTIFACT],
  artifactCount: 101,
  offeredMs: 1_700_000_001_000,
  startedMs: 1_700_000_002_000,
  finishedMs: 1_700_000_003_000,
};

export const DRIVER: DriverView = {
  name: 'shell',
  instance: 'shell-1',
  state: 'READY',
  labels: { os: 'linux' },
  slots: 4,
  pools: { gpu: 2 },
  held: 1,
  epoch: 2,
  version: '1.0.0',
  createdMs: 1_700_000_000_000,
  connectedMs: 1_700_000_001_000,
  heartbeatMs: 1_700_000_002_000,
};

const QUEUE: QueueView = {
  driver: 'shell',
  queued: 7,
  pauses: [{ driver: 'shell', project: '', pipeline: '', actor: 'ana', reason: 'upgrade', sinceMs: 1_700_000_000_000 }],
};

const DEMAND: DemandView = {
  driver: 'shell',
  required: [{ key: 'os', operator: 'IN', values: ['linux', 'mac'] }],
  pool: 'gpu',
  queued: 7,
  paused: 2,
  more: true,
  oldestMs: 1_700_000_000_000,
  instances: 3,
  slots: 12,
  freeSlots: 5,
  held: 6,
};

export const SCHEDULE: ScheduleView = {
  project: 'default',
  name: 'nightly',
  spec: {
    run: { pipeline: { name: 'ci' }, params: { sha: 'HEAD' }, labels: { kind: 'nightly' } },
    cron: ['0 3 * * *'],
    timeZone: 'Europe/Berlin',
    startMs: 1_700_000_000_000,
    overlap: 'QUEUE_ONE',
    missed: 'RUN_ALL',
    catchUpMs: 90_000,
    maxCatchUp: 3,
    pausedIsMissed: true,
  },
  nextMs: 1_700_000_060_000,
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

export const OCCURRENCES: readonly OccurrenceView[] = [
  { atMs: 1_700_000_003_000, state: 'STARTED', origin: 'TRIGGER', runId: RUN_ID, decidedMs: 1_700_000_003_500 },
  { atMs: 1_700_000_002_000, state: 'SKIPPED', origin: 'TIME', skip: 'OVERLAP', decidedMs: 1_700_000_002_500 },
  {
    atMs: 1_700_000_001_000,
    state: 'FAILED',
    origin: 'BACKFILL',
    failure: { reason: 'PIPELINE_NOT_FOUND', message: 'pipeline ci does not exist' },
    decidedMs: 1_700_000_001_500,
  },
];

export const RUN_VALUE: RunValueView = {
  project: 'default',
  runId: RUN_ID,
  key: 'gate',
  value: { open: true, sizes: [1, null] },
  version: 7,
  updatedMs: 1_700_000_009_000,
};

export const EVENTS: readonly EventView[] = [
  {
    runId: RUN_ID,
    seq: 1,
    timeMs: 1_700_000_000_000,
    runState: 'PENDING',
    event: { type: 'RunCreated', jobs: 1, pipeline: 'ci', revision: 3, trigger: RUN.trigger },
  },
  {
    runId: RUN_ID,
    seq: 2,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    jobName: 'build',
    jobState: 'FAILED',
    event: {
      type: 'AttemptEnded',
      job: 0,
      attempt: 1,
      state: 'FAILED',
      failure: { class: 'WORKLOAD', message: 'exit 2', exitCode: 2 },
      outputs: { image: 'a:1' },
      logSize: 11,
      logState: 'SEALED',
    },
  },
  {
    runId: RUN_ID,
    seq: 3,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    jobName: 'build',
    jobState: 'RUNNING',
    event: { type: 'AttemptTimedOut', job: 0, attempt: 2, silenceMs: 1_500 },
  },
  {
    runId: RUN_ID,
    seq: 4,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    jobName: 'build',
    jobState: 'RUNNING',
    event: { type: 'AttemptHeard', job: 0, attempt: 2, heardMs: 1_700_000_000_000 },
  },
  {
    runId: RUN_ID,
    seq: 5,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    event: { type: 'RunPaused', reason: 'maintenance', actor: 'ada' },
  },
  {
    runId: RUN_ID,
    seq: 6,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    jobName: 'build',
    jobState: 'WAITING',
    event: { type: 'JobWaiting', job: 0, reason: 'PAUSED', behind: { reason: 'BACKOFF', untilMs: 1 } },
  },
  {
    runId: RUN_ID,
    seq: 7,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    jobName: 'build',
    jobState: 'RUNNING',
    event: { type: 'AttemptArtifact', job: 0, attempt: 2, number: 1, artifact: ARTIFACT },
  },
];

export const LOG_PART: LogPart = {
  attempt: 1,
  chunks: [
    {
      offset: 0,
      data: Buffer.from('hello\nworld'),
      spans: [
        { length: 6, channel: 'STDOUT', unixMs: 1_700_000_002_100 },
        { length: 5, channel: 'STDERR', unixMs: 1_700_000_002_200 },
      ],
    },
  ],
  sections: [{ offset: 0, name: 'make', end: false }],
  nextOffset: 11,
  logSize: 11,
  logState: 'SEALED',
};

/** One operation that api asked for: its name such as `runs.create`, and its arguments. */
export interface Asked {
  readonly operation: string;
  readonly args: readonly unknown[];
}

/** Operations to replace, such as `{ runs: { get: … } }`. */
const GROUP = { key: 'deploy', holding: 1, waiting: 2, limit: 1 };
const MEMBER = {
  runId: RUN_ID,
  job: 0,
  readyMs: 1_700_000_000_000,
  state: 'HOLDING',
  limit: 1,
  policy: 'QUEUE',
} as const;

export type Replacements = {
  readonly [Part in keyof Engine]?: Engine[Part] extends (...args: never) => unknown
    ? Engine[Part]
    : Partial<Engine[Part]>;
};

export interface TestEngine extends Engine {
  readonly asked: readonly Asked[];
}

export function createTestEngine(replacements: Replacements = {}): TestEngine {
  const asked: Asked[] = [];
  function operations<T extends object>(part: string, samples: T, replaced: Partial<T> | undefined): T {
    return new Proxy(
      { ...samples, ...replaced },
      {
        get: (target, name) => {
          const operation: unknown = Reflect.get(target, name);
          if (typeof operation !== 'function') return operation;
          return (...args: unknown[]): unknown => {
            asked.push({ operation: `${part}.${String(name)}`, args });
            return Reflect.apply(operation, undefined, args);
          };
        },
      },
    );
  }

  return {
    asked,
    replica: 'replica-1',
    timing: DEFAULT_TIMING,
    maxLogBytes: LIMITS.logBytes,
    authenticateToken: replacements.authenticateToken ?? (async (token) => PRINCIPALS[token]),
    ready: replacements.ready ?? (() => true),
    drainSessions: async () => {},
    pipelines: operations<Engine['pipelines']>(
      'pipelines',
      {
        apply: async () => ({ pipeline: PIPELINE, changed: true, warnings: ['no shell driver is known'] }),
        validate: async () => ({ newest: PIPELINE, changed: true, warnings: ['no shell driver is known'] }),
        get: async () => PIPELINE,
        getTwo: async () => ({ from: { ...PIPELINE, revision: 1, definition: EARLIER_DEFINITION }, to: PIPELINE }),
        list: async () => ({ items: [PIPELINE], next: 'ci' }),
        listRevisions: async () => ({
          items: [
            {
              project: 'default',
              pipeline: 'ci',
              revision: 3,
              definition: DEFINITION,
              digest: 'ab'.repeat(32),
              createdMs: PIPELINE.updatedMs,
            },
          ],
          next: '3',
        }),
        delete: async () => {},
      },
      replacements.pipelines,
    ),
    runs: operations<Engine['runs']>(
      'runs',
      {
        create: async () => ({ ...RUN, definition: DEFINITION }),
        createBatch: async (_, runs) => runs.map(() => RUN_ID),
        get: async () => ({ ...RUN, definition: DEFINITION }),
        getAt: async (_project, _runId, seq) => ({ ...RUN, seq, definition: DEFINITION }),
        list: async () => ({ items: [{ ...RUN, definition: DEFINITION }], next: '7' }),
        plan: async () => PLAN,
        diff: async (_project, runId, fromSeq, toSeq = 9) => ({
          before: { ...RUN, seq: fromSeq, definition: DEFINITION },
          after: { ...RUN, seq: toSeq },
          changedJobs: 2,
          jobs: {
            items: [
              {
                runId,
                job: 0,
                name: 'build',
                changedFields: ['state', 'failure'],
                before: { state: 'WAITING' as const, attempt: 1, wait: { reason: 'HELD' as const }, hold: HOLD },
                after: {
                  state: 'FAILED' as const,
                  attempt: 2,
                  failure: { class: 'WORKLOAD' as const, message: 'it broke' },
                },
              },
            ],
            next: '9.0',
          },
        }),
        cancel: async () => ({ ...RUN, state: 'CANCELLING' as const, cancelReason: 'enough' }),
        pause: async () => ({ ...RUN, pause: HOLD }),
        resume: async () => RUN,
        rerun: async () => ({ ...RUN, rerunOf: RUN_ID }),
        delete: async () => {},
        verify: async () => ({
          verified: { events: 7, jobs: 2, attempts: 1, logs: 1, logBytes: 11, expiredLogs: 0 },
          discrepancyCount: 1,
          discrepancies: [{ kind: 'JOB', where: 'jobs[0].state', expected: '"RUNNING"', found: '"QUEUED"' }],
        }),
        artifacts: async () => ({
          items: [
            {
              runId: RUN_ID,
              job: 0,
              jobName: 'build',
              attempt: 1,
              number: 2,
              artifact: ARTIFACT,
              addedMs: 1_700_000_009_000,
            },
          ],
          next: '0.1.2',
        }),
        async *watch() {
          yield [];
          yield EVENTS;
        },
        async *watchAll() {
          yield { changes: [{ run: RUN, left: false }], snapshotComplete: true };
          yield { changes: [{ run: RUN, left: true }], cursor: '9', snapshotComplete: false };
        },
      },
      replacements.runs,
    ),
    jobs: operations<Engine['jobs']>(
      'jobs',
      {
        get: async () => ({ ...JOB, definition: JOB_DEFINITION, artifacts: [ARTIFACT], artifactCount: 101 }),
        getAt: async () => JOB,
        explain: async (_project, key) => explanationOf(key),
        list: async () => ({ items: [STOPPING_JOB], next: '0' }),
        listAt: async () => ({ items: [JOB], next: '0' }),
        cancel: async () => ({
          ...JOB,
          state: 'CANCELLED' as const,
          cancelReason: 'no',
          finishedMs: 1_700_000_009_000,
        }),
        hold: async () => ({ ...JOB, hold: HOLD, wait: { reason: 'HELD' as const } }),
        release: async () => ({ ...JOB, state: 'QUEUED' as const }),
        answerGate: async () => ({ ...JOB, state: 'SUCCEEDED' as const }),
        retry: async () => ({ ...JOB, state: 'QUEUED' as const }),
        listAttempts: async () => ({ items: [ATTEMPT], next: '1' }),
        listAttemptsAt: async () => ({ items: [ATTEMPT], next: '1' }),
        readLog: async () => LOG_PART,
        async *tailLog() {
          yield { ...LOG_PART, chunks: [], sections: [], logState: 'OPEN' as const };
          yield LOG_PART;
        },
      },
      replacements.jobs,
    ),
    values: operations<Engine['values']>(
      'values',
      {
        set: async () => 7,
        get: async () => RUN_VALUE,
        list: async () => ({ items: [RUN_VALUE], next: 'gate' }),
        delete: async () => {},
      },
      replacements.values,
    ),
    groups: operations<Engine['groups']>(
      'groups',
      {
        list: async () => ({ items: [GROUP], next: 'deploy' }),
        get: async () => ({ group: GROUP, members: { items: [MEMBER], next: 'HOLDERS' } }),
      },
      replacements.groups,
    ),
    schedules: operations<Engine['schedules']>(
      'schedules',
      {
        apply: async () => ({ schedule: SCHEDULE, changed: true, warnings: ['no shell driver is known'] }),
        get: async () => SCHEDULE,
        list: async () => ({ items: [SCHEDULE], next: 'nightly' }),
        delete: async () => {},
        pause: async () => {
          const { nextMs: _none, ...schedule } = SCHEDULE;
          return { ...schedule, paused: { reason: 'frozen', sinceMs: 1_700_000_009_000 } };
        },
        resume: async () => SCHEDULE,
        trigger: async () => OCCURRENCES[0] as OccurrenceView,
        backfill: async () => 7,
        occurrences: async () => ({
          upcoming: [1_700_000_060_000, 1_700_000_120_000],
          past: { items: OCCURRENCES, next: '1700000001000' },
        }),
      },
      replacements.schedules,
    ),
    drivers: operations<Engine['drivers']>(
      'drivers',
      {
        list: async () => ({ items: [DRIVER], next: 'shell-1' }),
        get: async () => ({ ...DRIVER, specSchema: { type: 'object' } }),
        drain: async () => ({ drivers: [{ ...DRIVER, state: 'DRAINING' as const }], idle: false, evicted: 3 }),
        pauseQueue: async (pause) => ({ ...pause, sinceMs: 1_700_000_000_000 }),
        resumeQueue: async () => true,
        listQueues: async () => ({ items: [QUEUE], next: 'shell' }),
        async *watchDemand() {
          yield { changes: [{ demand: DEMAND, ended: true }], snapshotComplete: true };
        },
        openSession: async () => {
          throw new Error('a test of sessions brings its own');
        },
      },
      replacements.drivers,
    ),
  };
}
