// What is told of jobs in one state each, with everything else as it may be around them.
import { describe, expect, it } from 'vitest';
import type { JobDefinition, Matrix } from './definition.ts';
import { neededBy } from './explain-job.ts';
import { compilePlan, growPlan } from './plan.ts';
import type { JobRecord } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import {
  NOW_MS,
  LATER_MS,
  runId,
  otherRun,
  by,
  run,
  queued,
  blocked,
  live,
  instance,
  driverOf,
  planOf,
  told,
  lines,
  named,
  holder,
  groupOf,
  base,
  free,
} from './testing/explained.ts';

describe('a job', () => {
  it('that has started, is being stopped or has finished has nothing in its way, and it is said why', () => {
    const standings = [
      { ...base, state: 'RUNNING', live },
      { ...base, state: 'CANCELLING', live },
      { ...base, state: 'SKIPPED', finishedMs: 1 },
      { ...base, state: 'WAITING', wait: { reason: 'MATRIX', sinceMs: 1, stopping: 'no' } },
    ] satisfies JobRecord[];
    expect(standings.map((job) => told({ job, pauses: [pause] }))).toMatchObject([
      { standing: 'RUNNING', blockers: [] },
      { standing: 'STOPPING', blockers: [] },
      { standing: 'FINISHED', blockers: [] },
      { standing: 'STOPPING', blockers: [] },
    ]);
  });

  it('that nothing blocks is about to start', () => {
    expect(told({})).toMatchObject({ standing: 'STARTING', blockers: [] });
  });

  it('that is offered starts when that is accepted, and waits for nothing else', () => {
    const job: JobRecord = { ...base, state: 'OFFERED', live };
    const offer = { instance: 'host-1', offeredMs: NOW_MS };
    expect(lines({ job, offer, driver: driverOf([]), pauses: [pause] })).toEqual([
      'offered to host-1 at 2026-01-02T03:04:05Z: starts when that accepts it, until 2026-01-02T03:04:20Z',
    ]);
  });

  it('waits for all that holds it back, and for what is left of a delay behind that', () => {
    const behind = { reason: 'BACKOFF', untilMs: LATER_MS } as const;
    const job: JobRecord = { ...base, state: 'WAITING', wait: { reason: 'HELD', behind }, hold: by };
    expect(lines({ job, run: { ...run, pause: by }, pauses: [pause], driver: driverOf([]) })).toEqual([
      'backoff until 2026-01-02T03:05:05Z',
      'its run was paused by ada at 2026-01-02T03:04:05Z: freeze',
      'held by ada at 2026-01-02T03:04:05Z: freeze',
      'the queue of shell for pipeline ci was paused at 2026-01-02T03:04:05Z',
      'no instance of shell is connected',
    ]);
    const over = { ...job, hold: undefined, wait: { reason: 'DELAY', untilMs: NOW_MS } } as unknown as JobRecord;
    expect(lines({ job: over })).toEqual([]);
    const delayed: JobRecord = { ...base, state: 'WAITING', wait: { reason: 'DELAY', untilMs: LATER_MS } };
    expect(lines({ job: delayed })).toEqual(['its run starts at 2026-01-02T03:05:05Z']);
  });

  it('names what it needs, as far as that is few', () => {
    const openNeeds = [1, 2, 3, 4].map((job) => named(job, 'RUNNING'));
    expect(lines({ job: { ...blocked, unmet: 9 }, openNeeds })).toEqual([
      'needs 9 jobs to finish: job-1 (RUNNING), job-2 (RUNNING), job-3 (RUNNING) and 6 more',
    ]);
  });

  it('is told what nobody can take away', () => {
    const conditional = planOf({ if: 'params.yes' });
    expect(told({ plan: conditional, job: { ...blocked, badNeeds: 1 }, shares: undefined }).caveats).toEqual([
      'CONDITION',
      'OUTCOMES',
      'KEYS',
    ]);
    expect(told({ plan: conditional, shares: {} }).caveats).toEqual([]);
    expect(told({ driver: { ...free, caveats: ['SPEC'] } }).caveats).toEqual(['SPEC']);
    const rejecting = planOf({ concurrency: { key: 'deploy', limit: 1, policy: 'REJECT' } });
    expect(told({ plan: rejecting, job: blocked, group: groupOf([holder(1)]) }).caveats).toEqual(['REFUSED']);
    expect(told({ plan: rejecting, job: blocked, group: groupOf([]) }).caveats).toEqual([]);
  });
});

const pause = { driver: 'shell', project: 'default', pipeline: 'ci', actor: '', reason: '', sinceMs: NOW_MS };

describe('a job that no driver runs', () => {
  const approve = { actor: 'ada', verdict: 'APPROVE', answers: {}, comment: '', timeMs: 1 } as const;
  const gate = { message: '', approvers: ['ada', 'leads'], quorum: 2, timeoutMs: 60_000, onTimeout: 'SKIP' } as const;
  const asked: JobRecord = { ...base, state: 'WAITING', wait: { reason: 'APPROVAL', sinceMs: NOW_MS } };

  it('has begun once people are asked, whatever is paused since', () => {
    const job = { ...asked, details: { answers: [approve] } };
    expect(told({ plan: planOf({ gate }), job, run: { ...run, pause: by } })).toMatchObject({
      standing: 'BEGUN',
      messages: ['1 of 2 approvals, by any of ada, leads; at 2026-01-02T03:05:05Z it is skipped'],
    });
    const { timeoutMs: _none, ...endless } = gate;
    expect(lines({ plan: planOf({ gate: { ...endless, approvers: [] } }), job: asked })).toEqual([
      '0 of 2 approvals, by anybody',
    ]);
  });

  it('waits for the run that it makes', () => {
    const plan = planOf({ call: { pipeline: 'other', params: {} } });
    const job: JobRecord = { ...base, state: 'WAITING', wait: { reason: 'CHILD_RUN', sinceMs: NOW_MS } };
    expect(lines({ plan, job })).toEqual(['a run of other is being made']);
    expect(lines({ plan, job, child: { runId: otherRun, state: 'PENDING' } })).toEqual([
      `run ${otherRun} of other is PENDING`,
    ]);
  });

  it('waits for its cells, and for its release only while it has cells to begin', () => {
    const job: JobRecord = { ...base, state: 'WAITING', wait: { reason: 'MATRIX', sinceMs: NOW_MS }, hold: by };
    const openCells = [named(1, 'RUNNING'), named(2, 'BLOCKED')];
    const { plan } = matrixOf({});
    expect(lines({ plan, job, openCells })).toEqual([
      '2 cells to finish: job-1 (RUNNING), job-2 (BLOCKED)',
      'held by ada at 2026-01-02T03:04:05Z: freeze',
    ]);
    expect(lines({ plan, job, openCells: openCells.slice(0, 1) })).toHaveLength(1);
  });
});

/** A matrix of three cells, which are the jobs 1 to 3. */
function matrixOf(matrix: Partial<Matrix>, change: Partial<JobDefinition> = {}) {
  const plan = planOf({ matrix: { axes: { n: [1, 2, 3] }, ...matrix }, ...change });
  const cells = [1, 2, 3].map((n) => ({ key: `${n}`, values: { n } }));
  return { plan: growPlan(plan, { job: 0, cells }), job: { ...blocked, unmet: 0 } };
}

describe('a cell', () => {
  const openCells = [named(1, 'RUNNING'), named(2, 'BLOCKED'), named(3, 'BLOCKED')];

  it('waits for those before it, as many as go on at a time', () => {
    const one = matrixOf({ maxParallel: 1 });
    expect(lines({ ...one, index: 2, openCells })).toEqual([
      'matrix job has 1 of 1 cells under way at a time: job-1 (RUNNING)',
    ]);
    expect(lines({ ...one, index: 3, openCells })).toEqual([
      'matrix job has 1 of 1 cells under way at a time: job-1 (RUNNING), 1 cell ahead',
    ]);
    const two = matrixOf({ maxParallel: 2 });
    expect(told({ ...two, index: 2, openCells })).toMatchObject({ standing: 'STARTING' });
    expect(lines({ ...two, index: 3, openCells })).toHaveLength(1);
  });

  it('waits for the release of its matrix until it has begun', () => {
    const cell = { ...matrixOf({}), index: 2, openCells, matrixHold: by };
    expect(lines(cell)).toEqual(['the job of its matrix is held by ada at 2026-01-02T03:04:05Z: freeze']);
    expect(lines({ ...cell, job: queued })).toEqual([]);
  });

  it('is not told of the slot and the place that a cell leaves for which it waits', () => {
    const concurrency = { key: 'deploy', limit: 1, policy: 'QUEUE' } as const;
    const cell = { ...matrixOf({ maxParallel: 1 }, { concurrency }), index: 2, openCells };
    const driver = driverOf([instance(1, { held: 1 })], { held: [{ instance: 1, job: `${runId}.1`, ofPool: false }] });
    expect(lines({ ...cell, driver, group: groupOf([holder(1, runId)]) })).toHaveLength(1);
    // Of two that go on it may be the other one that ends.
    const two = { ...matrixOf({ maxParallel: 2 }), index: 3, openCells: openCells.with(1, named(2, 'RUNNING')) };
    expect(lines({ ...two, driver })).toHaveLength(2);
  });

  it('has the condition of its matrix behind it, but not one that reads its values', () => {
    expect(told({ ...matrixOf({}, { if: 'params.yes' }), index: 1 }).caveats).toEqual([]);
    expect(told({ ...matrixOf({}, { if: 'matrix.n == 1' }), index: 1 }).caveats).toEqual(['CONDITION']);
  });
});

it('knows everything that has finished when a job is ready, the cells of what it needs among it', () => {
  const jobs = [
    jobNamed('first'),
    jobNamed('job', { needs: ['first'], matrix: { axes: { n: [1] } } }),
    jobNamed('last', { needs: ['job'] }),
    jobNamed('beside'),
  ];
  const grown = growPlan(compilePlan(definitionOf(...jobs)), { job: 1, cells: [{ key: '1', values: { n: 1 } }] });
  expect(neededBy(grown, 2)).toEqual(new Set([0, 1, 4]));
  expect(neededBy(grown, 1)).toEqual(new Set([0]));
});
