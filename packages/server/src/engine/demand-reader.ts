// Reads all demand as of one moment. Demand that is as it was is the same object in the next reading, so that it costs nothing to compare
// readings and to keep them.
import {
  demandKey,
  type DemandKind,
  demandKind,
  demandOf,
  type DemandReading,
  type DemandView,
  type InstanceGroup,
  isSameDemand,
  supplyOf,
} from '../core/demand.ts';
import type { Placement } from '../core/placement.ts';
import { type CountedFlow, countFlows, type FlowPlace } from '../store/demand-rows.ts';
import { connectedInstances } from '../store/plan-rows.ts';
import { type Pool, withSnapshot } from '../store/pool.ts';
import type { Tx } from '../store/sql.ts';
import { createTurns } from './pace.ts';
import type { Plans } from './plans.ts';
import { placementsOf } from './queues.ts';

/** Flows that are looked at, and at a time. */
const MAX_FLOWS = 10_000;
const FLOWS_A_PAGE = 500;
/** Flows of which the definition of a run is loaded, at a time. */
const LEARNED_AT_ONCE = 64;
/** Rows that are counted; beyond, a hundred of each flow. */
const BUDGET = 100_000;
/** Placements that are remembered; beyond, all are looked up again. */
const MAX_REMEMBERED = 20_000;

export type DemandReader = (before: DemandReading | undefined) => Promise<DemandReading>;

export function createDemandReader({ pool, plans }: { readonly pool: Pool; readonly plans: Plans }): DemandReader {
  // What the jobs of a flow ask of an instance never changes.
  const placements = new Map<string, Placement | undefined>();

  async function learn(tx: Tx, flows: readonly CountedFlow[]): Promise<void> {
    const unknown = flows.filter(({ flow, placed }) => placed && !placements.has(flow));
    for (let at = 0; at < unknown.length; at += LEARNED_AT_ONCE) {
      if (placements.size >= MAX_REMEMBERED) placements.clear();
      const learned = await placementsOf(tx, plans, unknown.slice(at, at + LEARNED_AT_ONCE));
      for (const [flow, placement] of learned) placements.set(flow, placement);
    }
  }

  /** The kind of a flow; undefined while that cannot be told: the run of the row that it was found by is being deleted. */
  function kindOf({ driver, flow, placed }: CountedFlow): DemandKind | undefined {
    if (placed && !placements.has(flow)) return undefined;
    return demandKind(driver, placed ? placements.get(flow) : undefined);
  }

  async function read(tx: Tx): Promise<{ flows: Map<string, KindFlows>; supply: DemandReading['supply'] }> {
    const flows = new Map<string, KindFlows>();
    const turns = createTurns();
    let next: FlowPlace | undefined = { driver: '', flow: FIRST_FLOW, budget: BUDGET };
    for (let count = 0; next !== undefined && count < MAX_FLOWS; count += FLOWS_A_PAGE) {
      const page = await countFlows(tx, next, FLOWS_A_PAGE);
      await learn(tx, page.flows);
      for (const flow of page.flows) {
        const kind = flow.queued === 0 ? undefined : kindOf(flow);
        if (kind !== undefined) add(flows, kind, flow);
        await turns();
      }
      next = page.next;
    }
    const supply = Map.groupBy(await connectedInstances(tx), ({ driver }) => driver);
    return { flows, supply };
  }

  return async (before) => {
    const { flows, supply } = await withSnapshot(pool, read);
    for (const [driver, groups] of supply) {
      if (groups.some(({ draining, held }) => !draining && held > 0)) add(flows, demandKind(driver, undefined));
    }
    const demands = new Map<string, DemandView>();
    const turns = createTurns();
    for (const [key, { kind, of }] of flows) {
      const now = demandOf(kind, of, supplyOf(kind, supply.get(kind.driver) ?? NOBODY));
      const known = before?.demands.get(key);
      demands.set(key, known !== undefined && isSameDemand(known, now) ? known : now);
      await turns();
    }
    return { demands, supply };
  };
}

const FIRST_FLOW = '00000000-0000-0000-0000-000000000000';
const NOBODY: readonly InstanceGroup[] = [];

interface KindFlows {
  readonly kind: DemandKind;
  readonly of: CountedFlow[];
}

function add(flows: Map<string, KindFlows>, kind: DemandKind, ...of: readonly CountedFlow[]): void {
  const key = demandKey(kind);
  const known = flows.get(key);
  if (known === undefined) flows.set(key, { kind, of: [...of] });
  else known.of.push(...of);
}
