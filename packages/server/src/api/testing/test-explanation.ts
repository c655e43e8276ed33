// Owns an explanation that has everything that one can have.
import type { JobExplanation } from '../../core/blockers.ts';
import type { JobKey } from '../../core/ids.ts';
import { HOLD } from './sample-runs.ts';

/** With one blocker of each kind. */
export function explanationOf({ runId }: JobKey): JobExplanation {
  return {
    state: 'BLOCKED',
    standing: 'BLOCKED',
    blockers: [
      { kind: 'DELAY', untilMs: 1_700_000_001_000 },
      { kind: 'BACKOFF', untilMs: 1_700_000_002_000 },
      { kind: 'RUN_PAUSED', pause: HOLD },
      { kind: 'HELD', job: { runId, job: 0 }, ofMatrix: false, hold: HOLD },
      { kind: 'NEEDS', open: 21, jobs: [{ runId, job: 1, name: 'test', state: 'WAITING' }] },
      {
        kind: 'MATRIX',
        job: { runId, job: 2 },
        name: 'cells',
        limit: 2,
        underWay: 2,
        jobs: [{ runId, job: 3, name: 'cells[1]', state: 'RUNNING' }],
        ahead: 4,
      },
      {
        kind: 'GATE',
        approved: 1,
        quorum: 2,
        approvers: ['ana', 'leads'],
        untilMs: 1_700_000_003_000,
        onTimeout: 'SKIP',
      },
      { kind: 'CELLS', open: 5, jobs: [{ runId, job: 3, name: 'cells[1]', state: 'RUNNING' }] },
      { kind: 'CHILD_RUN', pipeline: 'deploy', run: { runId, state: 'RUNNING' } },
      { kind: 'GROUP', key: 'prod', limit: 1, holding: 1, holders: [{ runId, job: 7 }], ahead: 2 },
      { kind: 'RATE', key: 'api', cost: 3, expectedMs: 1_700_000_004_000, ahead: 6 },
      {
        kind: 'QUEUE_PAUSED',
        pause: { driver: 'shell', project: '', pipeline: '', actor: 'ana', reason: '', sinceMs: 1_700_000_000_000 },
      },
      {
        kind: 'INSTANCES',
        driver: 'shell',
        cause: 'PASSED_OVER',
        connected: 9,
        requirements: [
          { needed: { key: 'os', operator: 'EQUALS', values: ['linux'] }, instances: 8 },
          { needed: { pool: 'gpu' }, instances: 7 },
          { needed: 'SPEC', instances: 6 },
        ],
        fitting: 5,
        draining: 1,
        full: 2,
        passedOver: 3,
        slots: 12,
        freeSlots: 4,
        untilMs: 1_700_000_005_000,
        ahead: 0,
      },
      { kind: 'OFFER', instance: 'shell-1', sinceMs: 1_700_000_006_000, untilMs: 1_700_000_007_000 },
    ],
    caveats: ['CONDITION', 'OUTCOMES', 'KEYS', 'SPEC', 'REFUSED', 'POOL'],
    atMs: 1_700_000_008_000,
    seq: 12,
  };
}
