// What is told of what jobs share: places of groups, tokens of rate limits, and the instances of drivers.
import { describe, expect, it } from 'vitest';
import type { GroupFacts } from './explain-facts.ts';
import type { DriverFacts, InstanceFacts } from './explain-instances.ts';
import { compilePlan, type Plan } from './plan.ts';
import type { RateState } from './rate.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import {
  NOW_MS,
  LATER_MS,
  runId,
  otherRun,
  queued,
  blocked,
  instance,
  driverOf,
  planOf,
  told,
  lines,
  named,
  holder,
  groupOf,
  grouped,
  inLine,
} from './testing/explained.ts';

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
