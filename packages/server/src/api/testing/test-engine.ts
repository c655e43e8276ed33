// An engine in memory for tests of api: it answers every operation with a sample and remembers what it was asked. Tests replace
// single operations.
import { DEFAULT_TIMING, LIMITS } from '../../core/limits.ts';
import type { OccurrenceView } from '../../core/schedule.ts';
import type { Engine, Principal } from '../../engine/engine.ts';
import {
  JOB_DEFINITION,
  DEFINITION,
  EARLIER_DEFINITION,
  PIPELINE,
  PLAN,
  UNKNOWN_DRIVER,
} from './sample-definitions.ts';
import { DRIVER, QUEUE, DEMAND, GROUP, MEMBER } from './sample-drivers.ts';
import { JOB, STOPPING_JOB, ATTEMPT, LOG_PART } from './sample-jobs.ts';
import { RUN_ID, RUN, RUN_VALUE, HOLD, ARTIFACT, EVENTS } from './sample-runs.ts';
import { SCHEDULE, OCCURRENCES } from './sample-schedules.ts';
import { explanationOf } from './test-explanation.ts';

export const OPERATOR_TOKEN = 'operator-token';
export const DRIVER_TOKEN = 'driver-token';

const PRINCIPALS: Readonly<Record<string, Principal>> = {
  [OPERATOR_TOKEN]: { role: 'operator', id: 'operator' },
  [DRIVER_TOKEN]: { role: 'driver', id: 'driver', driverNames: ['shell'] },
};

/** One operation that api asked for: its name such as `runs.create`, and its arguments. */
export interface Asked {
  readonly operation: string;
  readonly args: readonly unknown[];
}

/** Operations to replace, such as `{ runs: { get: … } }`. */
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
        apply: async () => ({ pipeline: PIPELINE, changed: true, warnings: [UNKNOWN_DRIVER] }),
        validate: async () => ({ newest: PIPELINE, changed: true, warnings: [UNKNOWN_DRIVER] }),
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
        create: async () => ({ ...RUN, definition: DEFINITION, warnings: [UNKNOWN_DRIVER] }),
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
        validate: async () => ['no shell driver is known'],
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
