// The queues of the drivers that have sessions here: what is known of the flows of each, whose turn it is among them, and claims.
import { createFairOrder, type FairOrder, type WeightOf } from '../core/fair-order.ts';
import type { RunId } from '../core/ids.ts';
import { type Placement, placementOf } from '../core/placement.ts';
import { claimQueued, findFlows, type FoundFlow } from '../store/queue-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { Plans } from './plans.ts';
import { type ClaimedFlow, createQueueFlows, type Flow, FOUND_AT_ONCE, type QueueFlows } from './queue-flows.ts';
import { loadContexts } from './run-context.ts';

export interface Queue {
  readonly flows: QueueFlows;
  readonly order: FairOrder;
}

export interface Queues {
  of(driver: string): Queue;
  /** Forgets the queues of other drivers. */
  keep(drivers: ReadonlySet<string>): void;
}

export function createQueues(weightOf: WeightOf): Queues {
  const queues = new Map<string, Queue>();
  return {
    of(driver) {
      const queue = queues.get(driver) ?? { flows: createQueueFlows(), order: createFairOrder(weightOf) };
      queues.set(driver, queue);
      return queue;
    },
    keep(drivers) {
      for (const driver of queues.keys()) if (!drivers.has(driver)) queues.delete(driver);
    },
  };
}

export interface FlowsToClaim {
  readonly limit: number;
  /** How many jobs of a flow there is room for. */
  readonly room: (flow: Flow) => number;
  /** Runs whose jobs are looked past. */
  readonly passed: readonly RunId[];
}

/** Claims of the flows that are known, looks for others in the same round trip, and claims of those, too. */
export async function claimFlows(
  tx: Tx,
  driver: string,
  { flows, order }: Queue,
  { limit, room, passed }: FlowsToClaim,
  plans: Plans,
): Promise<readonly ClaimedFlow[]> {
  const known = flows.plan(limit, room, order);
  const gaps = flows.gaps();
  const [rows, found] = await Promise.all([
    known.claims.length === 0 ? [] : claimQueued(tx, driver, known.claims, passed),
    gaps.length === 0 ? [] : findFlows(tx, driver, gaps, FOUND_AT_ONCE),
  ]);
  const claimed = flows.saw(known, rows, passed.length > 0);
  if (gaps.length === 0) return claimed;
  const placements = await placementsOf(tx, plans, found);
  const fresh = flows.found(found, (flow) => placements.get(flow.flow));
  if (fresh.length === 0) return claimed;
  const planned = flows.plan(limit, room, order, fresh);
  const more = planned.claims.length === 0 ? [] : await claimQueued(tx, driver, planned.claims, passed);
  return [...claimed, ...flows.saw(planned, more, passed.length > 0)];
}

/**
 * What the jobs of flows ask of an instance. A flow whose first row is of a run that is gone is left out, and found again once that row has
 * been swept.
 */
export async function placementsOf(
  tx: Tx,
  plans: Plans,
  found: readonly FoundFlow[],
): Promise<ReadonlyMap<string, Placement | undefined>> {
  const placed = found.filter((flow) => flow.placed);
  if (placed.length === 0) return new Map();
  const contexts = await loadContexts(tx, plans, [...new Set(placed.map(({ first }) => first.runId))]);
  return new Map(
    placed.flatMap(({ flow, first: { runId, job } }) => {
      const definition = contexts.get(runId)?.plan.jobs[job]?.definition;
      return definition === undefined ? [] : [[flow, placementOf(definition)]];
    }),
  );
}
