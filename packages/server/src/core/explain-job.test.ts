// What is told of jobs in one state each, with everything else as it may be around them.
import { describe, expect, it } from 'vitest';
import { blockerText } from './blocker-text.ts';
import type { NamedJob } from './blockers.ts';
import type { JobDefinition, Matrix } from './definition.ts';
import type { ExplainFacts, GroupFacts } from './explain-facts.ts';
import { explainJob, neededBy } from './explain-job.ts';
import type { DriverFacts, InstanceFacts } from './explain-instances.ts';
import type { MemberView } from './group.ts';
import type { RunId } from './ids.ts';
import { compilePlan, growPlan, type Plan } from './plan.ts';
import type { RateState } from './rate.ts';
import type { JobRecord, RunHeader } from './run-state.ts';
import type { JobState } from './states.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';

const NOW_MS = Date.UTC(2026, 0, 2, 3, 4, 5);
const LATER_MS = NOW_MS + 60_000;
const runId = '01900000-0000-7000-8000-000000000001' as RunId;
const otherRun = '01900000-0000-7000-8000-000000000002' as RunId;
const by = { reason: 'freeze', actor: 'ada', sinceMs: NOW_MS };
const counts = { total: 1, open: 1, succeeded: 0, failed: 0, failureAllowed: 0, skipped: 0, cancelled: 0 };
const run: RunHeader = { state: 'RUNNING', seq: 1, lastMs: NOW_MS, counts };
const base = { attempt: 0, unmet: 0, badNeeds: 0, spent: {} };
const queued: JobRecord = { ...base, state: 'QUEUED' };
const blocked: JobRecord = { ...base, state: 'BLOCKED', unmet: 1 };
const live = { instance: 1 };

/** An instance with one free slot. */
function instance(no: number, change: Partial<InstanceFacts> = {}): InstanceFacts {
  const open = { labels: {}, pools: {}, slots: 1, draining: false, accepts: true, held: 0, heldOfPool: 0 };
  return { no, ...open, ...change };
}

function driverOf(instances: readonly InstanceFacts[], change: Partial<DriverFacts> = {}): DriverFacts {
  return { driver: 'shell', placement: undefined, instances, held: [], ahead: 0, caveats: [], ...change };
}

const free = driverOf([instance(1)]);

function planOf(job: Partial<JobDefinition>, ...others: JobDefinition[]): Plan {
  return compilePlan(definitionOf(jobNamed('job', job), ...others));
}

/** A queued job that nothing blocks, unless it is changed. */
function told(change: Partial<ExplainFacts>) {
  const facts = { nowMs: NOW_MS, runId, plan: planOf({}), run, index: 0, job: queued, driver: free };
  const none = { openNeeds: [], openCells: [], pauses: [], shares: {}, rates: [] };
  const { standing, blockers, caveats } = explainJob({ ...facts, ...none, ...change });
  return { standing, messages: blockers.map(blockerText), caveats, blockers };
}

const lines = (change: Partial<ExplainFacts>): readonly string[] => told(change).messages;

function named(job: number, state: JobState, name = `job-${job}`): NamedJob {
  return { runId, job, name, state };
}

function holder(job: number, of: RunId = otherRun, limit = 1): MemberView {
  return { runId: of, job, readyMs: job, limit, policy: 'QUEUE', state: 'HOLDING' };
}

/** A group with these holders, and so many that wait and came before. */
function groupOf(holders: readonly MemberView[], ahead = 0): GroupFacts {
  const front = Array.from({ length: ahead }, (_, n) => ({ ...holder(n), policy: 'QUEUE' as const }));
  const lowestLimit = holders.length === 0 ? undefined : Math.min(...holders.map(({ limit }) => limit));
  const newest = { newestReplacing: undefined, newestCancelling: undefined };
  const state = {
    holders: holders.length,
    stopping: 0,
    lowestLimit,
    oldest: undefined,
    front,
    waiting: ahead,
    ...newest,
  };
  return { key: 'deploy', state, holders };
}

const grouped = (limit: number): Plan => planOf({ concurrency: { key: 'deploy', limit, policy: 'QUEUE' } });
const inLine: JobRecord = { ...base, state: 'WAITING', wait: { reason: 'CONCURRENCY' }, readyMs: NOW_MS };

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

describe('a concurrency group', () => {
  it('is in the way while those that hold places, and those ahead, leave none', () => {
    const line = (limit: number, group: GroupFacts) => lines({ plan: grouped(limit), job: inLine, group });
    expect(line(1, groupOf([holder(7)], 2))).toEqual([`group deploy 1/1 held by job ${otherRun}.7, 2 jobs ahead`]);
    expect(line(3, groupOf([holder(1, otherRun, 3), holder(2, otherRun, 2)]))).toEqual([
      `group deploy 2/2 held by jobs ${otherRun}.1, ${otherRun}.2`,
    ]);
    expect(line(2, groupOf([holder(1, otherRun, 2)]))).toEqual([]);
    expect(line(2, groupOf([holder(1, otherRun, 2)], 1))).toHaveLength(1);
    expect(line(1, groupOf([]))).toEqual([]);
  });

  it('is not in the way of who is queued, which has its place', () => {
    expect(lines({ plan: grouped(1), job: queued, group: groupOf([holder(0, runId)]) })).toEqual([]);
  });

  it('is looked at before a job is ready, without what has ended by then', () => {
    const plan = (limit: number): Plan =>
      planOf(
        { concurrency: { key: 'deploy', limit, policy: 'QUEUE' }, needs: ['need'] },
        jobNamed('need', { needs: ['first'] }),
        jobNamed('first'),
      );
    const openNeeds = [named(1, 'BLOCKED', 'need')];
    const waiting = { plan: plan(1), job: blocked, openNeeds };
    expect(lines({ ...waiting, group: groupOf([holder(7)]) })).toEqual([
      'needs 1 job to finish: need (BLOCKED)',
      `group deploy 1/1 held by job ${otherRun}.7`,
    ]);
    expect(lines({ ...waiting, group: groupOf([holder(2, runId)]) })).toHaveLength(1);
    // The lowest limit is that of those who stay.
    const group = groupOf([holder(2, runId, 1), holder(7, otherRun, 2)]);
    expect(lines({ ...waiting, plan: plan(2), group })).toHaveLength(1);
  });

  it('takes the slots of its holders with it when all of them have to leave', () => {
    const held = [{ instance: 1, job: `${otherRun}.7`, ofPool: false }];
    const driver = driverOf([instance(1, { held: 1 })], { held });
    const waiting = { plan: grouped(1), job: inLine, driver };
    expect(lines({ ...waiting, group: groupOf([holder(7)]) })).toHaveLength(1);
    const two = { ...waiting, plan: grouped(2), group: groupOf([holder(7, otherRun, 2), holder(8, otherRun, 2)]) };
    expect(lines(two)).toHaveLength(2);
  });
});

describe('a rate limit', () => {
  const rate = (fullMs: number, key = 'api') => {
    const state: RateState = { fullMs, isWhole: true, front: [], taken: false };
    return { key, state, cost: 2, costMs: 20_000, periodMs: 60_000 };
  };

  it('is told of when it has no tokens, each by itself', () => {
    const rates = [rate(NOW_MS + 60_000), rate(NOW_MS + 50_000, 'calls'), rate(NOW_MS, 'idle')];
    expect(lines({ job: inLine, rates })).toEqual([
      'rate limit api: 2 tokens, likely at 2026-01-02T03:04:25Z',
      'rate limit calls: 2 tokens, likely at 2026-01-02T03:04:15Z',
    ]);
    expect(lines({ job: queued, rates })).toEqual([]);
  });
});

describe('the instances of a driver', () => {
  const gpu = { key: 'gpu', operator: 'GREATER_THAN', values: ['0'] } as const;
  const arm = { key: 'arch', operator: 'IN', values: ['arm64', 'arm'] } as const;
  const placement = { selector: { required: [gpu, arm], preferred: [] }, pool: 'big' };
  const fits = { labels: { gpu: '1', arch: 'arm' }, pools: { big: 1 } };
  const saying = (instances: readonly InstanceFacts[], change: Partial<DriverFacts> = {}): string | undefined =>
    lines({ driver: driverOf(instances, change) })[0];

  it.each<[string | undefined, InstanceFacts[], Partial<DriverFacts>]>([
    ['no instance of shell is connected', [], {}],
    [undefined, [instance(1, { held: 1 }), instance(2)], {}],
    [
      '2 instances of shell, none with label gpu > 0, none with slots of pool big',
      [instance(1, { labels: { arch: 'arm' } }), instance(2)],
      { placement },
    ],
    [
      '2 instances of shell, none with all that it asks for: 1 with label gpu > 0, 1 with label arch in (arm64, arm), 1 with slots of pool big',
      [instance(1, { labels: { arch: 'arm' } }), instance(2, { ...fits, labels: { gpu: '3' } })],
      { placement },
    ],
    ['1 instance of shell, none whose schema takes its spec', [instance(1, { accepts: false })], {}],
    ['1 instance of shell drains', [instance(1, { draining: true })], {}],
    [
      '2 instances of shell that may take it all drain',
      [instance(1, { ...fits, draining: true }), instance(2, { ...fits, draining: true }), instance(3)],
      { placement },
    ],
    ['1 instance of shell has no free slot: 1 slot taken, 4 jobs ahead', [instance(1, { held: 1 })], { ahead: 4 }],
    [
      '3 instances of shell have no free slot: 3 slots taken, 1 of them draining',
      [instance(1, { held: 1 }), instance(2, { held: 2, slots: 2 }), instance(3, { draining: true })],
      {},
    ],
    [
      '1 instance of shell that may take it has no free slot: 2 slots taken',
      [instance(1, { ...fits, slots: 2, held: 1, heldOfPool: 1 }), instance(2)],
      { placement },
    ],
    [
      '2 instances of shell sent it back: passed over until 2026-01-02T03:05:05Z; others drain or have no free slot',
      [
        instance(1, { passedOverMs: LATER_MS }),
        instance(2, { passedOverMs: LATER_MS + 1_000 }),
        instance(3, { held: 1 }),
      ],
      {},
    ],
    [undefined, [instance(1, { passedOverMs: NOW_MS }), instance(2, { passedOverMs: LATER_MS })], {}],
  ])('%s', (message, instances, change) => {
    expect(saying(instances, change)).toBe(message);
  });

  it('are counted for scaling: what is asked for, how many have it, and how far they get', () => {
    const instances = [
      instance(1, fits),
      instance(2, { ...fits, draining: true }),
      instance(3, { ...fits, held: 1 }),
      instance(4, { labels: { gpu: '2' } }),
    ];
    const passed = instances.with(0, instance(1, { ...fits, passedOverMs: LATER_MS }));
    expect(told({ driver: driverOf(passed, { placement, ahead: 3 }) }).blockers).toEqual([
      {
        kind: 'INSTANCES',
        driver: 'shell',
        cause: 'PASSED_OVER',
        connected: 4,
        requirements: [
          { needed: gpu, instances: 4 },
          { needed: arm, instances: 3 },
          { needed: { pool: 'big' }, instances: 3 },
        ],
        fitting: 3,
        draining: 1,
        full: 1,
        passedOver: 1,
        slots: 2,
        freeSlots: 1,
        untilMs: LATER_MS,
        ahead: 0,
      },
    ]);
    expect(saying(instances, { placement })).toBeUndefined();
  });

  it('have the slots that jobs leave which it needs', () => {
    const plan = compilePlan(definitionOf(jobNamed('job', { needs: ['need'] }), jobNamed('need')));
    const held = (job: string) => ({ held: [{ instance: 1, job, ofPool: false }] });
    const waiting = { plan, job: blocked, openNeeds: [named(1, 'RUNNING')] };
    const full = [instance(1, { held: 1 })];
    expect(lines({ ...waiting, driver: driverOf(full, held(`${runId}.1`)) })).toHaveLength(1);
    expect(lines({ ...waiting, driver: driverOf(full, held(`${otherRun}.1`)) })).toHaveLength(2);
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
