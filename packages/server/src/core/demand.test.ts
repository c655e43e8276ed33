import { describe, expect, test } from 'vitest';
import type { LabelOperator, LabelRule } from './definition.ts';
import {
  demandChanges,
  demandKey,
  demandKind,
  demandOf,
  type DemandReading,
  type DemandView,
  type InstanceGroup,
  isSameDemand,
  supplyOf,
} from './demand.ts';
import type { Placement } from './placement.ts';

function rule(key: string, operator: LabelOperator, ...values: string[]): LabelRule {
  return { key, operator, values };
}

function requiring(...required: LabelRule[]): Placement {
  return { selector: { required, preferred: [] } };
}

const keyOf = (placement: Placement | undefined): string => demandKey(demandKind('shell', placement));

describe('jobs ask the same', () => {
  const linux = rule('os', 'EQUALS', 'linux');
  const big = rule('cores', 'GREATER_THAN', '8');

  test.each<[string, Placement | undefined, Placement | undefined]>([
    ['however their rules are ordered', requiring(linux, big), requiring(big, linux)],
    ['when a rule is said twice', requiring(linux, linux), requiring(linux)],
    [
      'however the values of a rule are ordered',
      requiring(rule('os', 'IN', 'b', 'a')),
      requiring(rule('os', 'IN', 'a', 'b')),
    ],
    ['whatever they prefer', { selector: { required: [linux], preferred: [big] } }, requiring(linux)],
    ['when they only prefer, and when they say nothing', { selector: { required: [], preferred: [big] } }, undefined],
  ])('%s', (_, one, other) => expect(keyOf(one)).toBe(keyOf(other)));

  test.each<[string, Placement | undefined, Placement | undefined]>([
    ['another value', requiring(linux), requiring(rule('os', 'EQUALS', 'mac'))],
    ['another operator', requiring(rule('os', 'EXISTS')), requiring(rule('os', 'NOT_EXISTS'))],
    ['one rule more', requiring(linux), requiring(linux, big)],
    ['a pool', undefined, { pool: 'gpu' }],
    ['another pool', { pool: 'gpu' }, { pool: 'tpu' }],
  ])('but not with %s', (_, one, other) => expect(keyOf(one)).not.toBe(keyOf(other)));

  test('but not of another driver', () => {
    expect(demandKey(demandKind('a', undefined))).not.toBe(demandKey(demandKind('b', undefined)));
  });
});

describe('supply', () => {
  const group = (rest: Partial<InstanceGroup>): InstanceGroup => ({
    driver: 'shell',
    labels: {},
    pools: {},
    slots: 4,
    held: 0,
    draining: false,
    count: 1,
    ...rest,
  });
  const any = demandKind('shell', undefined);

  test.each<[string, Placement | undefined, readonly InstanceGroup[], readonly number[]]>([
    ['nobody', undefined, [], [0, 0, 0, 0]],
    ['each of those that are alike', undefined, [group({ held: 1, count: 3 })], [3, 12, 9, 3]],
    ['nobody who drains', undefined, [group({ held: 1 }), group({ held: 2, draining: true })], [1, 4, 3, 1]],
    ['more held than there are slots', undefined, [group({ held: 6 })], [1, 4, 0, 6]],
    [
      'those with the labels',
      requiring(rule('os', 'EQUALS', 'mac')),
      [group({}), group({ labels: { os: 'mac' }, slots: 2 })],
      [1, 2, 2, 0],
    ],
    [
      'those with the pool, whose slots count',
      { pool: 'gpu' },
      [group({}), group({ pools: { gpu: 2 } })],
      [1, 2, 2, 0],
    ],
    [
      'no more free of a pool than are free at all',
      { pool: 'gpu' },
      [group({ held: 3, pools: { gpu: 2 } })],
      [1, 2, 1, 3],
    ],
    ['no more slots of a pool than of the instance', { pool: 'gpu' }, [group({ pools: { gpu: 9 } })], [1, 4, 4, 0]],
  ])('counts %s', (_, placement, groups, expected) => {
    const { instances, slots, freeSlots, held } = supplyOf(demandKind('shell', placement), groups);
    expect([instances, slots, freeSlots, held]).toEqual(expected);
  });

  test('what is paused, is not offered and has no age', () => {
    const flow = { queued: 3, more: false, paused: false, oldestMs: 50 };
    const none = supplyOf(any, []);
    const paused = { ...flow, queued: 2, paused: true, oldestMs: 10 };
    expect(demandOf(any, [flow, paused, { ...flow, queued: 1, oldestMs: 40 }], none)).toMatchObject({
      queued: 4,
      paused: 2,
      more: false,
      oldestMs: 40,
    });
    expect(demandOf(any, [{ ...paused, more: true }], none)).toMatchObject({
      queued: 0,
      paused: 2,
      more: true,
      oldestMs: undefined,
    });
  });
});

describe('changes', () => {
  const demand = (driver: string, rest: Partial<DemandView> = {}): DemandView => ({
    ...demandOf(demandKind(driver, undefined), [], supplyOf(demandKind(driver, undefined), [])),
    queued: 1,
    ...rest,
  });
  const reading = (...demands: DemandView[]): DemandReading => ({
    demands: new Map(demands.map((one) => [demandKey(one), one])),
    supply: new Map([['a', [{ driver: 'a', labels: {}, pools: {}, slots: 4, held: 4, draining: false, count: 1 }]]]),
  });
  const [a, b, c] = [demand('a'), demand('b'), demand('c')];

  test('who was told nothing is told everything that it asks for', () => {
    expect(demandChanges(undefined, reading(a, b), undefined).map((change) => change.demand)).toEqual([a, b]);
    expect(demandChanges(undefined, reading(a, b, c), new Set(['b', 'd']))).toEqual([{ demand: b, ended: false }]);
  });

  test('only what is new is told, and the end once, with who is there', () => {
    const more = demand('b', { queued: 2 });
    const before = reading(a, b, c);
    const after = reading(more, c);
    expect(demandChanges(before, after, undefined)).toEqual([
      { demand: expect.objectContaining({ driver: 'a', queued: 0, slots: 4, held: 4, freeSlots: 0 }), ended: true },
      { demand: more, ended: false },
    ]);
    expect(demandChanges(before, after, new Set(['c']))).toEqual([]);
    expect(demandChanges(after, after, undefined)).toEqual([]);
  });

  test.each(['queued', 'paused', 'oldestMs', 'instances', 'slots', 'freeSlots', 'held'] as const)(
    'another %s is a change',
    (field) => {
      expect(isSameDemand(a, demand('a'))).toBe(true);
      expect(isSameDemand(a, demand('a', { [field]: 9 }))).toBe(false);
    },
  );

  test('that more are queued than were counted is a change', () => {
    expect(isSameDemand(a, demand('a', { more: true }))).toBe(false);
  });
});
