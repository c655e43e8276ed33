// Why no instance of its driver takes a job now. One that may take it, does not drain, has a slot and does not pass it over is enough: so
// this is one blocker, whichever way it ends.
import type { Caveat, InstanceCause, InstancesBlocker, Requirement } from './blockers.ts';
import { holds, type InstanceOffer, mayTake, type Placement } from './placement.ts';

/** A connected instance. */
export interface InstanceFacts extends InstanceOffer {
  readonly no: number;
  readonly slots: number;
  readonly draining: boolean;
  /** Whether it takes the job's spec. */
  readonly accepts: boolean;
  /** How many attempts it holds, and how many of these take a slot of the job's pool. */
  readonly held: number;
  readonly heldOfPool: number;
  /** Until when the job is not offered to it. */
  readonly passedOverMs?: number;
}

/** An attempt that an instance holds. */
export interface HeldSlot {
  readonly instance: number;
  /** The id of its job. */
  readonly job: string;
  /** Whether it takes a slot of the pool in question. */
  readonly ofPool: boolean;
}

export interface DriverFacts {
  readonly driver: string;
  readonly placement: Placement | undefined;
  readonly instances: readonly InstanceFacts[];
  /** Attempts of instances without a free slot that may be about to end by what else is told. */
  readonly held: readonly HeldSlot[];
  /** Queued jobs that the same instances may take and that come first. */
  readonly ahead: number;
  readonly caveats: readonly Extract<Caveat, 'SPEC' | 'POOL'>[];
}

/** @param isFreed Whether a job ends with what else blocks this one, and its slot is not another blocker. */
export function explainInstances(
  { driver, placement, instances, held, ahead }: DriverFacts,
  nowMs: number,
  isFreed: (job: string) => boolean,
): InstancesBlocker | undefined {
  const freed = Map.groupBy(
    held.filter(({ job }) => isFreed(job)),
    ({ instance }) => instance,
  );
  const fitting = instances.filter((instance) => instance.accepts && mayTake(instance, placement));
  const taking = fitting.filter(({ draining }) => !draining);
  const free = new Map(taking.map((instance) => [instance, freeSlots(instance, placement, freed.get(instance.no))]));
  const open = taking.filter((instance) => (free.get(instance) ?? 0) > 0);
  const passing = open.flatMap(({ passedOverMs = 0 }) => (passedOverMs > nowMs ? [passedOverMs] : []));
  if (passing.length < open.length) return undefined;
  const cause = causeOf(instances.length, fitting.length, taking.length, open.length);
  return {
    kind: 'INSTANCES',
    driver,
    cause,
    connected: instances.length,
    requirements: requirementsOf(placement, instances),
    fitting: fitting.length,
    draining: fitting.length - taking.length,
    full: taking.length - open.length,
    passedOver: passing.length,
    slots: taking.reduce((sum, { slots }) => sum + slots, 0),
    freeSlots: [...free.values()].reduce((sum, slots) => sum + slots, 0),
    ...(cause === 'PASSED_OVER' && { untilMs: Math.min(...passing) }),
    ahead: cause === 'FULL' ? ahead : 0,
  };
}

/** Those that the job could get now, or with what else is told of it. */
function freeSlots(
  { slots, held, heldOfPool, pools }: InstanceFacts,
  placement: Placement | undefined,
  freed: readonly HeldSlot[] = [],
): number {
  const free = slots - held + freed.length;
  const pool = placement?.pool;
  if (pool === undefined) return Math.max(0, free);
  const freeOfPool = (pools[pool] ?? 0) - heldOfPool + freed.filter(({ ofPool }) => ofPool).length;
  return Math.max(0, Math.min(free, freeOfPool));
}

function causeOf(connected: number, fitting: number, taking: number, open: number): InstanceCause {
  if (connected === 0) return 'NONE_CONNECTED';
  if (fitting === 0) return 'NONE_FITS';
  if (taking === 0) return 'DRAINING';
  return open === 0 ? 'FULL' : 'PASSED_OVER';
}

/** A spec is told of only where somebody refuses it. */
function requirementsOf(placement: Placement | undefined, instances: readonly InstanceFacts[]): readonly Requirement[] {
  const count = (has: (instance: InstanceFacts) => boolean): number => instances.filter(has).length;
  const { selector, pool } = placement ?? {};
  const accepting = count(({ accepts }) => accepts);
  return [
    ...(selector?.required ?? []).map((rule) => ({
      needed: rule,
      instances: count(({ labels }) => holds(rule, labels)),
    })),
    ...(pool === undefined ? [] : [{ needed: { pool }, instances: count(({ pools }) => (pools[pool] ?? 0) > 0) }]),
    ...(accepting === instances.length ? [] : [{ needed: 'SPEC' as const, instances: accepting }]),
  ];
}
