// The flows of one driver's queue that this replica knows: how much to claim of each, and where each begins, so that a claim does not
// walk over rows that are gone. New ones are looked for in the gaps between them with every claim, so that what is known, and what
// nobody here can take, costs nothing by its length.
import type { FairOrder, Line } from '../core/fair-order.ts';
import type { Placement } from '../core/placement.ts';
import type { FlowClaim, FlowGap, FoundFlow, QueuePlace, QueueRow } from '../store/queue-rows.ts';

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
/** Rows at the head of a flow that find nobody are claimed and looked past, up to so many. */
const MAX_LEFT = 1_000;
/** Where so many are refused by all who have room, claims begin behind them. For each so many, so long until they are tried again. */
const REFUSED_REST_MS = 1_000;
/** Sets of schemas for which it is remembered what of a flow they refuse; the oldest are forgotten. */
const MAX_REFUSALS = 8;

const START: QueuePlace = { rank: Number.MIN_SAFE_INTEGER, no: 0 };

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
  from: QueuePlace;
  sweptMs: number;
  /** Until when it counts as one whose jobs differ in priority. */
  mixedUntilMs: number;
  left: number;
  /** By the schemas of those who have room: up to where they refuse everything, and until when that is taken to hold. */
  readonly refusals: Map<string, Refusals>;
}

interface Refusals {
  readonly to: QueuePlace;
  readonly untilMs: number;
}

export interface QueueFlows {
  /** What to claim of the flows for which somebody here has room; `among`: only of these. */
  plan(limit: number, roomFor: (flow: Flow) => number, order: FairOrder, among?: readonly Flow[]): Planned;
  /** Where to look for flows that are not known. */
  gaps(): readonly FlowGap[];
  /** Takes up what a search of `gaps` found; not what asks for a placement that cannot be told. */
  found(flows: readonly FoundFlow[], placementOf: (flow: FoundFlow) => Placement | undefined): readonly Flow[];
  /** Whether there may be more flows to be found now. */
  isSearching(): boolean;
  /**
   * Notes what a claim found. Returns the rows with their flows.
   * @param looksPast Whether the claim left out some that may be taken later.
   */
  saw(planned: Planned, rows: readonly QueueRow[], looksPast: boolean): readonly ClaimedFlow[];
  /** Tells the schemas of those who have room now: what others refused they may take. */
  servedBy(schemas: string): void;
  /**
   * Notes what became of the rows of a flow that was claimed: the next claim looks past those that found nobody, and much further when none
   * found anybody. Returns whether it does.
   */
  noteLeft(claimed: ClaimedFlow, trial: Trial): boolean;
}

export interface Planned {
  readonly flows: readonly Flow[];
  readonly claims: readonly FlowClaim[];
  /** Whether flows have more than was planned of them, for it is the turn of others. */
  readonly leavesSome: boolean;
}

export interface ClaimedFlow {
  readonly flow: Flow;
  readonly rows: readonly QueueRow[];
  /** Whether there may be more rows than were claimed. */
  readonly isCut: boolean;
  /** Whether it had less than was planned, so that others may have its turns. */
  readonly isShort: boolean;
}

export function createQueueFlows(): QueueFlows {
  const known = new Map<string, Flow>();
  let cursor = LOWEST;
  let pages = 0;
  let restUntilMs = 0;
  let served = '';

  function begin(flow: Flow, nowMs: number): void {
    const isPastRefused = nowMs < (flow.refusals.get(served)?.untilMs ?? 0);
    if (nowMs - flow.sweptMs < SWEEP_MS && (isPastRefused || nowMs >= flow.mixedUntilMs)) return;
    flow.sweptMs = nowMs;
    flow.from = START;
    if (isPastRefused) flow.left = MAX_LEFT;
  }

  /** Lets claims begin behind rows that are refused, and behind those that were not long ago. */
  function goPast(flow: Flow, to: QueuePlace): void {
    const nowMs = performance.now();
    const before = flow.refusals.get(served);
    flow.from = to;
    if (before !== undefined && nowMs < before.untilMs && later(before.to, to) === before.to) {
      flow.from = before.to;
      flow.left = 0;
      return;
    }
    flow.refusals.delete(served);
    flow.refusals.set(served, { to, untilMs: Math.max(nowMs, before?.untilMs ?? 0) + REFUSED_REST_MS });
    const [oldest] = flow.refusals.keys();
    if (flow.refusals.size > MAX_REFUSALS && oldest !== undefined) flow.refusals.delete(oldest);
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
      const quiet = open
        .filter(({ expected }) => expected === 0)
        .toSorted((one, other) => one.lookedMs - other.lookedMs);
      const probed = quiet.slice(0, PROBES);
      const planned = new Map(probed.map((flow) => [flow, 1]));
      const raise = (flows: readonly Flow[], countOf: (flow: Flow) => number): void => {
        for (const [line, count] of order.plan(
          linesOf(flows).map((own) => waitingOf(own, countOf)),
          limit,
        )) {
          for (const flow of line.flows) {
            planned.set(flow, Math.max(planned.get(flow) ?? 0, Math.min(count, rooms.get(flow) ?? 0)));
          }
        }
      };
      const roomOf = (flow: Flow): number => rooms.get(flow) ?? 0;
      // As many as each has, if it has as many as before, so that no slot stays free; and its full share, if it has more by now.
      raise(busy, (flow) => Math.min(flow.expected, roomOf(flow)));
      raise([...busy, ...probed], roomOf);
      const flows = [...planned.keys()];
      for (const flow of flows) {
        flow.lookedMs = nowMs;
        begin(flow, nowMs);
      }
      return {
        flows,
        leavesSome: busy.some((flow) => (planned.get(flow) ?? 0) < Math.min(flow.expected, roomOf(flow))),
        claims: flows.map((flow) => ({
          flow: flow.id,
          project: flow.project,
          pipeline: flow.pipeline,
          from: flow.from,
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
      return flows.flatMap((row) => {
        const placement = row.placed ? placementOf(row) : undefined;
        if (row.placed && placement === undefined) return [];
        const isOld = row.flow === OLD_ROWS;
        const flow: Flow = {
          id: row.flow,
          project: isOld ? '' : row.project,
          pipeline: isOld ? '' : row.pipeline,
          placement,
          expected: 0,
          lookedMs: 0,
          foundMs: nowMs,
          from: START,
          sweptMs: nowMs,
          mixedUntilMs: 0,
          left: 0,
          refusals: new Map(),
        };
        known.set(flow.id, flow);
        return [flow];
      });
    },
    isSearching: () => cursor !== LOWEST,
    saw({ flows, claims, leavesSome }, rows, looksPast) {
      const nowMs = performance.now();
      const byFlow = Map.groupBy(rows, (row) => row.flow);
      return flows.map((flow, i) => {
        const own = byFlow.get(flow.id) ?? [];
        const [first] = own;
        const quantum = claims[i]?.quantum ?? 0;
        const isCut = own.length >= quantum;
        const isShort = leavesSome && own.length < Math.min(quantum, flow.expected);
        flow.expected = isCut ? Number.MAX_SAFE_INTEGER : own.length;
        if (first !== undefined) {
          flow.foundMs = nowMs;
          if (!looksPast) flow.from = later(flow.from, { rank: first.rank - MARGIN_MS, no: 0 });
          if (own.some(({ priority }) => priority !== 0)) flow.mixedUntilMs = nowMs + FORGET_MS;
        }
        return { flow, rows: own, isCut, isShort };
      });
    },
    servedBy(schemas) {
      if (schemas === served) return;
      served = schemas;
      for (const flow of known.values()) {
        flow.from = flow.refusals.get(served)?.to ?? START;
        flow.left = 0;
      }
    },
    noteLeft({ flow, rows, isCut }, { tried, left, refused }) {
      if (tried === 0 && rows.length > 0) return false;
      const before = flow.left;
      const isStuck = isCut && left > 0 && left === rows.length;
      flow.left = Math.min(isStuck ? 4 * left : left, MAX_LEFT);
      const last = rows.at(-1);
      if (isStuck && refused === left && left >= MAX_LEFT && last !== undefined) {
        goPast(flow, { rank: last.rank, no: last.no + 1 });
        return true;
      }
      return isStuck && flow.left > before;
    },
  };
}

/** What became of the rows of a claimed flow that were offered to the sessions here. */
export interface Trial {
  readonly tried: number;
  /** Those that found nobody. */
  readonly left: number;
  /** Those of them that nobody would have taken who had room. */
  readonly refused: number;
}

function later(one: QueuePlace, other: QueuePlace): QueuePlace {
  return one.rank > other.rank || (one.rank === other.rank && one.no >= other.no) ? one : other;
}

/** Flows by the line that they belong to, whose turns they share. */
export function linesOf<F extends Line>(flows: readonly F[]): (readonly F[])[] {
  return [...Map.groupBy(flows, ({ project, pipeline }) => `${project}\n${pipeline}`).values()];
}

function waitingOf(flows: readonly Flow[], countOf: (flow: Flow) => number) {
  const [flow] = flows;
  if (flow === undefined) throw new Error('a line without a flow');
  const { project, pipeline } = flow;
  return { line: { project, pipeline, flows }, count: flows.reduce((sum, own) => sum + countOf(own), 0) };
}
