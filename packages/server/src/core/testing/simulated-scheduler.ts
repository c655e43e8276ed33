// Owns a schedule in memory as the store and the engine keep one: its row, its occurrences, the runs and their request ids, and workers
// that decide in turns and act in between. A worker may stop for ever, or go on long after somebody else has taken its work over.
import { decideSchedule, type OpenOccurrence, type ScheduleState } from '../decide-schedule.ts';
import type { RunId } from '../ids.ts';
import type { OccurrenceOrigin, OccurrenceState, SchedulePolicies, SkipReason } from '../schedule.ts';
import { nextTimes, type Timetable } from '../timetable.ts';

export interface SimulatedRun {
  readonly runId: RunId;
  readonly atMs: number;
  readonly origin: OccurrenceOrigin;
  state: 'RUNNING' | 'CANCELLING' | 'FINISHED';
}

export interface SimulatedOccurrence {
  readonly atMs: number;
  origin: OccurrenceOrigin;
  state: OccurrenceState;
  skip?: SkipReason | undefined;
  runId?: RunId | undefined;
  parallel: number;
  /** Counts how often a backfill took it up again. */
  round: number;
}

/** One decision: what it was made on and what it came to. */
export interface SimulatedDecision {
  readonly state: ScheduleState;
  readonly nowMs: number;
  readonly decision: ReturnType<typeof decideSchedule>;
}

type Action =
  | { readonly kind: 'cancel'; readonly runId: RunId }
  | { readonly kind: 'create'; readonly atMs: number; readonly round: number }
  | { readonly kind: 'record'; readonly atMs: number; readonly round: number; readonly runId: RunId | undefined }
  | { readonly kind: 'release'; readonly dueMs: number | undefined; readonly heldMs: number };

/** What can be broken on purpose, so that checkers are shown to notice. */
export interface SimulatedFaults {
  readonly decide?: typeof decideSchedule;
  /** Two tries of one occurrence do not know of each other. */
  readonly forgetsRequestIds?: boolean;
  /** A failure is recorded without shutting out a run that comes later. */
  readonly leavesFailureOpen?: boolean;
}

export interface SimulatedScheduler {
  nowMs: number;
  readonly timetable: Timetable;
  readonly policies: SchedulePolicies;
  paused: boolean;
  cursorMs: number;
  dueMs: number | undefined;
  /** Until when a worker does what it decided on. */
  heldMs: number | undefined;
  /** Whether what it runs can be created. */
  creatable: boolean;
  readonly occurrences: Map<number, SimulatedOccurrence>;
  readonly runs: SimulatedRun[];
  /** By request id: the run, or undefined when a failure took it. */
  readonly requestIds: Map<string, RunId | undefined>;
  readonly workers: Action[][];
  readonly decisions: SimulatedDecision[];
  readonly faults: SimulatedFaults;
}

const HOLD_MS = 5_000;
export const PERIOD_MS = 20_000;

/** Every 20 s, for ever. */
const periodic: Timetable = {
  next: (afterMs) => (Math.floor(afterMs / PERIOD_MS) + 1) * PERIOD_MS,
  previous: (beforeMs) => (Math.ceil(beforeMs / PERIOD_MS) - 1) * PERIOD_MS,
};

export function openScheduler(policies: SchedulePolicies, faults: SimulatedFaults = {}): SimulatedScheduler {
  const nowMs = 1_000_000_007;
  return {
    nowMs,
    timetable: periodic,
    policies,
    paused: false,
    cursorMs: nowMs,
    dueMs: periodic.next(nowMs),
    heldMs: undefined,
    creatable: true,
    occurrences: new Map(),
    runs: [],
    requestIds: new Map(),
    workers: [[], [], []],
    decisions: [],
    faults,
  };
}

/** A worker takes the schedule if it is due, decides, and has the rest to do. What it had to do before is lost. */
export function look(world: SimulatedScheduler, worker: number): void {
  if (world.dueMs === undefined || world.dueMs > world.nowMs || (world.heldMs ?? 0) > world.nowMs) return;
  const state: ScheduleState = {
    timetable: world.timetable,
    policies: world.policies,
    paused: world.paused,
    cursorMs: world.cursorMs,
    open: [...world.occurrences.values()].flatMap((one) => asOpen(world, one)),
    taken: new Set([...world.occurrences.keys()].filter((atMs) => atMs > world.cursorMs)),
  };
  const decision = (world.faults.decide ?? decideSchedule)(state, world.nowMs);
  world.decisions.push({ state, nowMs: world.nowMs, decision });
  world.cursorMs = decision.cursorMs;
  for (const { isNew, ...outcome } of decision.outcomes) {
    const before = world.occurrences.get(outcome.atMs);
    if (isNew !== (before === undefined)) throw new Error('broken: an outcome tells what is new');
    const fresh = { origin: 'TIME', parallel: 1, round: 0 } as const;
    world.occurrences.set(outcome.atMs, { ...fresh, ...before, ...outcome });
  }
  const heldMs = world.nowMs + HOLD_MS;
  const actions: Action[] = [
    ...decision.cancel.map((runId) => ({ kind: 'cancel', runId }) as const),
    ...decision.start.map((atMs) => ({ kind: 'create', atMs, round: roundOf(world, atMs) }) as const),
  ];
  world.workers[worker] = actions.length === 0 ? [] : [...actions, { kind: 'release', dueMs: decision.dueMs, heldMs }];
  world.heldMs = actions.length === 0 ? undefined : heldMs;
  world.dueMs = world.heldMs ?? decision.dueMs;
}

/** A worker does the next thing that it has to do. */
export function act(world: SimulatedScheduler, worker: number): void {
  const action = world.workers[worker]?.shift();
  switch (action?.kind) {
    case undefined:
      return;
    case 'cancel': {
      const run = world.runs.find(({ runId }) => runId === action.runId);
      if (run?.state === 'RUNNING') run.state = 'CANCELLING';
      return;
    }
    case 'create': {
      const { atMs, round } = action;
      world.workers[worker]?.unshift({ kind: 'record', atMs, round, runId: create(world, atMs, round) });
      return;
    }
    case 'record':
      record(world, action);
      return;
    case 'release':
      if (world.heldMs !== action.heldMs) return;
      if (world.dueMs === world.heldMs) world.dueMs = action.dueMs;
      world.heldMs = undefined;
  }
}

export function crash(world: SimulatedScheduler, worker: number): void {
  world.workers[worker] = [];
}

export function trigger(world: SimulatedScheduler): void {
  let atMs = world.nowMs;
  while (atMs % 1_000 === 0 || world.occurrences.has(atMs)) atMs++;
  world.occurrences.set(atMs, { atMs, origin: 'TRIGGER', state: 'QUEUED', parallel: 1, round: 0 });
  makeDue(world);
}

export function backfill(world: SimulatedScheduler, periods: number, parallel: number): void {
  const fromMs = world.nowMs - periods * PERIOD_MS;
  for (const atMs of nextTimes(world.timetable, fromMs, periods)) {
    const before = world.occurrences.get(atMs);
    if (before !== undefined && before.state !== 'SKIPPED' && before.state !== 'FAILED') continue;
    const round = before === undefined ? 0 : before.round + 1;
    world.occurrences.set(atMs, { atMs, origin: 'BACKFILL', state: 'QUEUED', parallel, round });
  }
  makeDue(world);
}

export function pause(world: SimulatedScheduler): void {
  world.paused = true;
  makeDue(world);
}

export function resume(world: SimulatedScheduler): void {
  if (world.paused && !world.policies.pausedIsMissed) world.cursorMs = world.nowMs;
  world.paused = false;
  makeDue(world);
}

/** The runs that are open and were not made by a backfill. */
export function openRuns({ runs }: SimulatedScheduler): readonly SimulatedRun[] {
  return runs.filter(({ state, origin }) => state !== 'FINISHED' && origin !== 'BACKFILL');
}

/** Never as late as the end of a hold: by that time whoever holds it would take it for untouched. */
function makeDue(world: SimulatedScheduler): void {
  world.dueMs = Math.min(world.nowMs, (world.heldMs ?? Number.POSITIVE_INFINITY) - 1);
}

function asOpen(world: SimulatedScheduler, one: SimulatedOccurrence): OpenOccurrence[] {
  const { atMs, origin, state, parallel, runId } = one;
  if (state === 'QUEUED') return [{ atMs, origin, state, parallel }];
  if (state === 'STARTING') return [{ atMs, origin, state }];
  const run = world.runs.find((known) => known.runId === runId);
  if (state !== 'STARTED' || runId === undefined || run === undefined || run.state === 'FINISHED') return [];
  return [{ atMs, origin, state, runId, cancelling: run.state === 'CANCELLING' }];
}

function roundOf(world: SimulatedScheduler, atMs: number): number {
  return world.occurrences.get(atMs)?.round ?? 0;
}

/** As CreateRun: the same request id again is the same run. Undefined: refused. */
function create(world: SimulatedScheduler, atMs: number, round: number): RunId | undefined {
  if (!world.creatable) return undefined;
  const requestId = `${atMs} ${round}`;
  if (world.requestIds.has(requestId) && world.faults.forgetsRequestIds !== true)
    return world.requestIds.get(requestId);
  const runId = `run ${world.runs.length + 1}` as RunId;
  world.requestIds.set(requestId, runId);
  const origin = world.occurrences.get(atMs)?.origin ?? 'TIME';
  world.runs.push({ runId, atMs, origin, state: 'RUNNING' });
  return runId;
}

function record(world: SimulatedScheduler, { atMs, round, runId }: Extract<Action, { kind: 'record' }>): void {
  const requestId = `${atMs} ${round}`;
  const made = runId ?? world.requestIds.get(requestId);
  if (made === undefined && world.faults.leavesFailureOpen !== true) world.requestIds.set(requestId, undefined);
  const one = world.occurrences.get(atMs);
  if (one?.state !== 'STARTING' || one.round !== round) return;
  one.state = made === undefined ? 'FAILED' : 'STARTED';
  one.runId = made;
}
