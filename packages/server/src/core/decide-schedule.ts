// What becomes of a schedule's occurrences: which have come, which were missed, which start, wait or are skipped. Pure, and made under
// the lock of the schedule. An occurrence that is STARTING makes its run first, whoever finds it: nothing else is decided before.
import { LIMITS } from './limits.ts';
import type { RunId } from './ids.ts';
import type { OccurrenceOrigin, OverlapPolicy, SchedulePolicies, SkipReason } from './schedule.ts';
import type { Timetable } from './timetable.ts';

/** An occurrence that waits or has a run that has not finished. */
export type OpenOccurrence = { readonly atMs: number; readonly origin: OccurrenceOrigin } & (
  | {
      readonly state: 'QUEUED';
      /** Of a backfill: how many of its kind may run at a time. */
      readonly parallel: number;
    }
  | { readonly state: 'STARTING' }
  | { readonly state: 'STARTED'; readonly runId: RunId; readonly cancelling: boolean }
);

export interface ScheduleState {
  /** Within the schedule's start and end. */
  readonly timetable: Timetable;
  readonly policies: SchedulePolicies;
  readonly paused: boolean;
  /** Every time up to this one was decided on. */
  readonly cursorMs: number;
  readonly open: readonly OpenOccurrence[];
  /** Times after the cursor that have an occurrence already: a backfill was there first. */
  readonly taken: ReadonlySet<number>;
}

/** What a new occurrence begins as, or what one that waited becomes. */
export type OccurrenceOutcome = { readonly atMs: number; readonly isNew: boolean } & (
  | { readonly state: 'QUEUED' | 'STARTING' }
  | { readonly state: 'SKIPPED'; readonly skip: SkipReason }
);

export interface ScheduleDecision {
  readonly cursorMs: number;
  readonly outcomes: readonly OccurrenceOutcome[];
  /** Occurrences whose runs are to be created, oldest first. */
  readonly start: readonly number[];
  /** Runs that are to be cancelled before anything else is decided. */
  readonly cancel: readonly RunId[];
  /** When to look again once this is done; undefined: never by itself. */
  readonly dueMs: number | undefined;
}

/** An occurrence that is taken later than this was missed. */
export const LATE_MS = 60_000;
/** How often it is looked whether the runs that others wait for have finished. */
const POLL_MS = 1_000;

/** @param nowMs The database's clock, read after the schedule was locked. */
export function decideSchedule(state: ScheduleState, nowMs: number): ScheduleDecision {
  const { paused, timetable } = state;
  const unmade = inOrder(state.open.filter((one) => one.state === 'STARTING')).map(({ atMs }) => atMs);
  if (unmade.length > 0) return { cursorMs: state.cursorMs, outcomes: [], start: unmade, cancel: [], dueMs: nowMs };
  const { come, missed } = paused ? NOTHING : arrivals(state, nowMs);
  const { outcomes, cancel, waits } = takeTurns(state, come);
  const cursorMs = paused ? state.cursorMs : Math.max(state.cursorMs, nowMs);
  return {
    cursorMs,
    outcomes: [
      ...missed.map((atMs) => ({ atMs, isNew: true, state: 'SKIPPED', skip: 'MISSED' }) as const),
      ...outcomes,
    ],
    start: inOrder(outcomes.filter((one) => one.state === 'STARTING')).map(({ atMs }) => atMs),
    cancel,
    dueMs: soonest(
      cancel.length > 0 ? nowMs : undefined,
      waits ? nowMs + POLL_MS : undefined,
      paused ? undefined : timetable.next(cursorMs),
    ),
  };
}

const NOTHING = { come: [], missed: [] };

/** The times since the cursor: those that take their turn, oldest first, and the newest of those that were missed for good. */
function arrivals({ timetable, policies, cursorMs, taken }: ScheduleState, nowMs: number) {
  const lateMs = nowMs - LATE_MS;
  const late: number[] = [];
  let earlier = cursorMs < lateMs ? timetable.previous(lateMs + 1) : undefined;
  while (earlier !== undefined && earlier > cursorMs && late.length < LIMITS.catchUp) {
    if (!taken.has(earlier)) late.push(earlier);
    earlier = timetable.previous(earlier);
  }
  const caughtUp = late.filter((atMs) => atMs >= nowMs - policies.catchUpMs).slice(0, catchUpCount(policies));
  const come = caughtUp.toReversed();
  for (let at = timetable.next(Math.max(cursorMs, lateMs)); at !== undefined && at <= nowMs; at = timetable.next(at)) {
    if (!taken.has(at)) come.push(at);
  }
  return { come, missed: late.filter((atMs) => !caughtUp.includes(atMs)).toReversed() };
}

/** How many missed occurrences run. */
function catchUpCount({ missed, maxCatchUp }: SchedulePolicies): number {
  switch (missed) {
    case 'SKIP':
      return 0;
    case 'RUN_ONCE':
      return 1;
    case 'RUN_ALL':
      return maxCatchUp;
  }
}

type Queued = Extract<OpenOccurrence, { state: 'QUEUED' }>;
type Started = Extract<OpenOccurrence, { state: 'STARTED' }>;

/** Somebody who waits or has come. */
interface Waiting {
  readonly atMs: number;
  readonly isNew: boolean;
}

interface Turns {
  readonly outcomes: readonly OccurrenceOutcome[];
  readonly cancel: readonly RunId[];
  /** Whether somebody waits for a run to finish. */
  readonly waits: boolean;
}

/** Lets those who wait and those who have come take their turn. Backfills stand in a line of their own. */
function takeTurns({ open, paused, policies }: ScheduleState, come: readonly number[]): Turns {
  const queued = open.filter((one) => one.state === 'QUEUED');
  const started = open.filter((one) => one.state === 'STARTED');
  const room = createRoom(LIMITS.openOccurrences - started.length);
  // A pause holds back what came by time.
  const held = queued.filter(({ origin }) => paused && origin === 'TIME');
  const line = inOrder([
    ...queued.filter((one) => one.origin !== 'BACKFILL' && !held.includes(one)).map(waiting),
    ...come.map((atMs) => ({ atMs, isNew: true })),
  ]);
  const running = started.filter(({ origin }) => origin !== 'BACKFILL');
  const turns = takePolicyTurns(policies.overlap, line, running, held.length > 0, room);
  const backfills = inOrder(queued.filter(({ origin }) => origin === 'BACKFILL'));
  const backfilled = takeBackfillTurns(backfills, started.length - running.length, room);
  const starts = backfilled.map((one) => ({ ...waiting(one), state: 'STARTING' }) as const);
  return {
    outcomes: [...turns.outcomes, ...starts],
    cancel: turns.cancel,
    waits: turns.waits || backfilled.length < backfills.length,
  };
}

function takePolicyTurns(
  overlap: OverlapPolicy,
  line: readonly Waiting[],
  running: readonly Started[],
  someoneHeld: boolean,
  room: Room,
): Turns {
  const outcomes: OccurrenceOutcome[] = [];
  const start = (one: Waiting): void => {
    outcomes.push(room.take() ? { ...one, state: 'STARTING' } : { ...one, state: 'SKIPPED', skip: 'LIMIT' });
  };
  const skip = (one: Waiting, why: SkipReason): void => void outcomes.push({ ...one, state: 'SKIPPED', skip: why });
  const wait = (one: Waiting): void => {
    if (one.isNew) outcomes.push({ ...one, state: 'QUEUED' });
  };
  switch (overlap) {
    case 'ALLOW':
      for (const one of line) start(one);
      return { outcomes, cancel: [], waits: false };
    case 'SKIP':
    case 'QUEUE_ONE': {
      let isFree = running.length === 0;
      let mayWait = overlap === 'QUEUE_ONE' && !someoneHeld;
      let waits = false;
      for (const one of line) {
        if (isFree) start(one);
        else if (mayWait) wait(one);
        else skip(one, 'OVERLAP');
        waits ||= !isFree && mayWait;
        mayWait &&= isFree;
        isFree = false;
      }
      return { outcomes, cancel: [], waits };
    }
    case 'CANCEL_RUNNING': {
      const cancel = line.length === 0 ? [] : running.filter((run) => !run.cancelling).map(({ runId }) => runId);
      for (const one of line.slice(0, -1)) skip(one, 'SUPERSEDED');
      for (const last of line.slice(-1)) (cancel.length > 0 ? wait : start)(last);
      return { outcomes, cancel, waits: false };
    }
  }
}

/** The backfills that start: each says how many of them may be at work. */
function takeBackfillTurns(backfills: readonly Queued[], open: number, room: Room): readonly Queued[] {
  const starts: Queued[] = [];
  for (const one of backfills) {
    if (open + starts.length >= one.parallel || !room.take()) break;
    starts.push(one);
  }
  return starts;
}

interface Room {
  /** False when too many runs of the schedule are open. */
  take(): boolean;
}

function createRoom(places: number): Room {
  let left = places;
  return { take: () => left-- > 0 };
}

function waiting({ atMs }: Queued): Waiting {
  return { atMs, isNew: false };
}

function inOrder<T extends { readonly atMs: number }>(occurrences: readonly T[]): T[] {
  return occurrences.toSorted((a, b) => a.atMs - b.atMs);
}

function soonest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
