// The flows of one driver's queue that this replica knows: how much to claim of each, and where each begins, so that a claim does not
// walk over rows that are gone. New ones are looked for in the gaps between them with every claim, so that what is known, and what
// nobody here can take, costs nothing by its length.
import type { FairOrder, Line } from '../core/fair-order.ts';
import type { Placement } from '../core/placement.ts';
import type { FlowClaim, FlowGap, FoundFlow, QueueRow } from '../store/queue-rows.ts';

/** Flows remembered; beyond, those that had nothing for the longest time are found anew when they have something. */
const MAX_KNOWN = 256;
/** Flows found at a time. */
export const FOUND_AT_ONCE = 64;
/** Flows that had nothing, looked into beside those that have. */
const PROBES = 64;
/** How long one that has nothing is remembered. */
const FORGET_MS = 60_000;
/** Rank is milliseconds: ranks are given out so long before their transactions commit, at most. */
const MARGIN_MS = 2_000;
/** How often a claim begins at the very start, for rows that came below where it begins; where priorities differ, each does. */
const SWEEP_MS = 1_000;
/** After a search of many pages, so long for each of them until the next: it takes a fraction of the time. */
const REST_MS_A_PAGE = 20;
/** Rows at the head of a flow that nobody here accepts are looked past, up to so many. */
const MAX_LEFT = 1_000;

const LOWEST = '00000000-0000-0000-0000-000000000000';
const HIGHEST = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
/** Of rows that older replicas queue, whatever their project and pipeline. */
const OLD_ROWS = '00000000-0000-0000-0000-000000000001';

export interface Flow extends Line {
  readonly id: string;
  readonly placement: Placement | undefined;
  /** How many rows the last claim found; as many as it asked for: there may be any number. */
  expected: number;
  /** When a claim last looked into it, and when it last found rows. */
  lookedMs: number;
  foundMs: number;
  fromRank: number;
  sweptMs: number;
  /** Until when it counts as one whose jobs differ in priority. */
  mixedUntilMs: number;
  left: number;
}

export interface QueueFlows {
  /** What to claim of the flows for which somebody here has room; `among`: only of these. */
  plan(limit: number, roomFor: (flow: Flow) => number, order: FairOrder, among?: readonly Flow[]): Planned;
  /** Where to look for flows that are not known. */
  gaps(): readonly FlowGap[];
  /** Takes up what a search of `gaps` found. */
  found(flows: readonly FoundFlow[], placementOf: (flow: FoundFlow) => Placement | undefined): readonly Flow[];
  /** Whether there may be more flows to be found now. */
  isSearching(): boolean;
  /** Notes what a claim found. Returns the rows with their flows. */
  saw(planned: Planned, rows: readonly QueueRow[]): readonly ClaimedFlow[];
}

export interface Planned {
  readonly flows: readonly Flow[];
  readonly claims: readonly FlowClaim[];
}

export interface ClaimedFlow {
  readonly flow: Flow;
  readonly rows: readonly QueueRow[];
  /** Whether there may be more rows than were claimed. */
  readonly isCut: boolean;
}

export function createQueueFlows(): QueueFlows {
  const known = new Map<string, Flow>();
  let cursor = LOWEST;
  let pages = 0;
  let restUntilMs = 0;

  function begin(flow: Flow, nowMs: number): number {
    if (nowMs - flow.sweptMs < SWEEP_MS && nowMs >= flow.mixedUntilMs) return flow.fromRank;
    flow.sweptMs = nowMs;
    flow.fromRank = Number.MIN_SAFE_INTEGER;
    return flow.fromRank;
  }

  function forget(nowMs: number): void {
    for (const flow of known.values()) {
      if (nowMs - flow.foundMs > FORGET_MS) known.delete(flow.id);
    }
    const excess = known.size - MAX_KNOWN;
    if (excess <= 0) return;
    const oldest = [...known.values()].toSorted((a, b) => a.foundMs - b.foundMs).slice(0, excess);
    for (const flow of oldest) known.delete(flow.id);
  }

  return {
    plan(limit, roomFor, order, among = [...known.values()]) {
      const nowMs = performance.now();
      const rooms = new Map<Flow, number>();
      for (const flow of among) {
        const room = Math.min(limit, roomFor(flow));
        if (room > 0) rooms.set(flow, room);
      }
      const open = [...rooms.keys()];
      const busy = open.filter(({ expected }) => expected > 0);
      const countOf = (flow: Flow): number => Math.min(flow.expected, rooms.get(flow) ?? 0);
      const lines = linesOf(busy).map((flows) => ({
        line: { ...lineOf(flows), flows },
        count: flows.reduce((sum, flow) => sum + countOf(flow), 0),
      }));
      const planned = new Map<Flow, number>();
      let spare = limit;
      for (const [{ flows }, count] of order.plan(lines, limit)) {
        spare -= count;
        for (const flow of flows) planned.set(flow, Math.min(count, rooms.get(flow) ?? 0));
      }
      const quiet = open.filter(({ expected }) => expected === 0);
      const probed =
        quiet.length <= PROBES ? quiet : quiet.toSorted((a, b) => a.lookedMs - b.lookedMs).slice(0, PROBES);
      const share = Math.max(1, Math.ceil(spare / Math.max(1, probed.length)));
      for (const flow of probed) planned.set(flow, Math.min(share, rooms.get(flow) ?? 0));
      const flows = [...planned.keys()];
      for (const flow of flows) flow.lookedMs = nowMs;
      return {
        flows,
        claims: flows.map((flow) => ({
          flow: flow.id,
          project: flow.project,
          pipeline: flow.pipeline,
          fromRank: begin(flow, nowMs),
          quantum: (planned.get(flow) ?? 0) + flow.left,
        })),
      };
    },
    gaps() {
      const nowMs = performance.now();
      forget(nowMs);
      if (nowMs < restUntilMs) return [];
      const ids = [...known.keys()].filter((id) => id > cursor).toSorted();
      return [cursor, ...ids].map((low, i) => ({ low, high: ids[i] ?? HIGHEST }));
    },
    found(flows, placementOf) {
      const nowMs = performance.now();
      const last = flows.at(-1);
      if (flows.length >= FOUND_AT_ONCE && last !== undefined) {
        cursor = last.flow;
        pages++;
      } else if (nowMs >= restUntilMs) {
        cursor = LOWEST;
        restUntilMs = nowMs + pages * REST_MS_A_PAGE;
        pages = 0;
      }
      return flows.map((row) => {
        const isOld = row.flow === OLD_ROWS;
        const flow: Flow = {
          id: row.flow,
          project: isOld ? '' : row.project,
          pipeline: isOld ? '' : row.pipeline,
          placement: row.placed ? placementOf(row) : undefined,
          expected: 0,
          lookedMs: 0,
          foundMs: nowMs,
          fromRank: Number.MIN_SAFE_INTEGER,
          sweptMs: nowMs,
          mixedUntilMs: 0,
          left: 0,
        };
        known.set(flow.id, flow);
        return flow;
      });
    },
    isSearching: () => cursor !== LOWEST,
    saw({ flows, claims }, rows) {
      const nowMs = performance.now();
      const byFlow = Map.groupBy(rows, (row) => row.flow);
      return flows.map((flow, i) => {
        const own = byFlow.get(flow.id) ?? [];
        const [first] = own;
        const isCut = own.length >= (claims[i]?.quantum ?? 0);
        flow.expected = isCut ? Number.MAX_SAFE_INTEGER : 2 * own.length;
        if (first !== undefined) {
          flow.foundMs = nowMs;
          flow.fromRank = first.rank - MARGIN_MS;
          if (own.some(({ priority }) => priority !== 0)) flow.mixedUntilMs = nowMs + FORGET_MS;
        }
        return { flow, rows: own, isCut };
      });
    },
  };
}

/** Notes how many rows of a claimed flow found nobody: the next claim looks past them. */
export function noteLeft(flow: Flow, left: number): void {
  flow.left = Math.min(left, MAX_LEFT);
}

/** Flows by the line that they belong to, whose turns they share. */
export function linesOf<F extends Line>(flows: readonly F[]): (readonly F[])[] {
  return [...Map.groupBy(flows, ({ project, pipeline }) => `${project}\n${pipeline}`).values()];
}

function lineOf([flow]: readonly Flow[]): Line {
  if (flow === undefined) throw new Error('a line without a flow');
  return { project: flow.project, pipeline: flow.pipeline };
}
