// What is queued, by what it asks of an instance, beside the instances that may take it; and what of it changed.
import type { LabelRule } from './definition.ts';
import { canonicalJson, type JsonValue } from './json.ts';
import { type InstanceOffer, mayTake, type Placement } from './placement.ts';

/** What jobs of one demand have in common. */
export interface DemandKind {
  readonly driver: string;
  /** In an order that does not depend on how they were written. */
  readonly required: readonly LabelRule[];
  readonly pool: string | undefined;
}

/** What is queued of one flow. */
export interface QueuedFlow {
  readonly queued: number;
  /** Whether there are more than were counted. */
  readonly more: boolean;
  readonly paused: boolean;
  /** Since when the one that waits longest has been queued, as far as is known. */
  readonly oldestMs: number | undefined;
}

/** Connected instances of a driver that are alike. */
export interface InstanceGroup extends InstanceOffer {
  readonly driver: string;
  readonly slots: number;
  /** Attempts that each holds. */
  readonly held: number;
  readonly draining: boolean;
  readonly count: number;
}

export interface Supply {
  readonly instances: number;
  readonly slots: number;
  readonly freeSlots: number;
  readonly held: number;
}

export interface DemandView extends DemandKind, Supply {
  readonly queued: number;
  readonly paused: number;
  readonly more: boolean;
  /** Of the jobs that are not paused. */
  readonly oldestMs: number | undefined;
}

/** All demand as of one moment, by the key of its kind. */
export interface DemandReading {
  readonly demands: ReadonlyMap<string, DemandView>;
  readonly supply: ReadonlyMap<string, readonly InstanceGroup[]>;
}

export interface DemandChange {
  readonly demand: DemandView;
  readonly ended: boolean;
}

export function demandKind(driver: string, placement: Placement | undefined): DemandKind {
  const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  const rules = (placement?.selector?.required ?? []).map(
    (rule): LabelRule => ({ ...rule, values: [...new Set(rule.values)].toSorted(byText) }),
  );
  const required = [...new Map(rules.map((rule) => [textOf(rule), rule]))]
    .toSorted(([a], [b]) => byText(a, b))
    .map(([, rule]) => rule);
  return { driver, required, pool: placement?.pool };
}

export function demandKey({ driver, required, pool = '' }: DemandKind): string {
  return `${driver}\n${pool}\n${required.map(textOf).join('\n')}`;
}

function textOf({ key, operator, values }: LabelRule): string {
  return canonicalJson([key, operator, values] as JsonValue);
}

/** What the flows of one kind come to. */
export function demandOf(kind: DemandKind, flows: readonly QueuedFlow[], supply: Supply): DemandView {
  const offered = flows.filter(({ paused }) => !paused);
  const oldest = offered.flatMap(({ oldestMs }) => oldestMs ?? []);
  return {
    ...kind,
    ...supply,
    queued: sum(offered, ({ queued }) => queued),
    paused: sum(flows, ({ queued, paused }) => (paused ? queued : 0)),
    more: flows.some(({ more }) => more),
    oldestMs: oldest.length === 0 ? undefined : Math.min(...oldest),
  };
}

/** The instances of a driver that may take jobs of a kind. Those that drain take none. */
export function supplyOf({ required, pool }: DemandKind, groups: readonly InstanceGroup[]): Supply {
  const placement = { selector: { required, preferred: [] }, ...(pool !== undefined && { pool }) };
  const fitting = groups.filter((group) => !group.draining && mayTake(group, placement));
  const slotsOf = ({ slots, pools }: InstanceGroup): number =>
    pool === undefined ? slots : Math.min(slots, pools[pool] ?? 0);
  return {
    instances: sum(fitting, ({ count }) => count),
    slots: sum(fitting, (group) => group.count * slotsOf(group)),
    // Which attempts hold slots of a pool is not known here.
    freeSlots: sum(fitting, (group) => group.count * Math.max(0, Math.min(group.slots - group.held, slotsOf(group)))),
    held: sum(fitting, ({ count, held }) => count * held),
  };
}

/** What to tell whoever was told `before`, or nothing yet, of the drivers that it asks for. Alike demand of two readings is one object. */
export function demandChanges(
  before: DemandReading | undefined,
  after: DemandReading,
  drivers: ReadonlySet<string> | undefined,
): DemandChange[] {
  const isAsked = ({ driver }: DemandView): boolean => drivers === undefined || drivers.has(driver);
  const changes: DemandChange[] = [];
  for (const [key, demand] of before?.demands ?? []) {
    if (!isAsked(demand) || after.demands.has(key)) continue;
    const { driver, required, pool } = demand;
    const kind = { driver, required, pool };
    const ended = demandOf(kind, [], supplyOf(kind, after.supply.get(driver) ?? []));
    changes.push({ demand: ended, ended: true });
  }
  for (const [key, demand] of after.demands) {
    if (isAsked(demand) && before?.demands.get(key) !== demand) changes.push({ demand, ended: false });
  }
  return changes;
}

/** Whether two of one kind say the same. */
export function isSameDemand(one: DemandView, other: DemandView): boolean {
  return (
    one.queued === other.queued &&
    one.paused === other.paused &&
    one.more === other.more &&
    one.oldestMs === other.oldestMs &&
    one.instances === other.instances &&
    one.slots === other.slots &&
    one.freeSlots === other.freeSlots &&
    one.held === other.held
  );
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
