// The loop that lets occurrences come. Any replica takes any schedule that is due: it decides under the schedule's lock, holds the
// schedule for a few seconds and creates the runs. If it dies meanwhile, the next one to look finds what was to be done.
import { decideSchedule, type ScheduleDecision } from '../core/decide-schedule.ts';
import { timetableOf } from '../core/timetable.ts';
import {
  type DueSchedule,
  type KnownOccurrences,
  knownOccurrences,
  lockDueSchedules,
  lockScheduleById,
  lockSchedules,
  nextDueSchedule,
  type ScheduleId,
  type ScheduleWrite,
  writeDecisions,
} from '../store/due-schedules.ts';
import { readClock } from '../store/ledger-rows.ts';
import { releaseSchedules } from '../store/occurrence-rows.ts';
import { type Pool, withConnection, withTransaction } from '../store/pool.ts';
import type { Tx } from '../store/sql.ts';
import type { Ledger } from './ledger.ts';
import type { Log } from './log.ts';
import { makeRun, recordTried, type TriedOccurrence } from './occurrence-runs.ts';
import { createRing } from './ring.ts';
import type { RunCreation } from './run-creation.ts';
import { allOf, createUnderWay } from './under-way.ts';

const MAX_BATCH = 50;
/** Schedules whose runs are made at once. */
const MAX_UNDER_WAY = 100;
/** How late it is noticed that another replica made a schedule due. */
const POLL_MS = 500;
const SHORTEST_MS = 10;
/** How often it is looked for the end of what another replica does. */
const HELD_POLL_MS = 50;
/** How long a replica may take to do what it decided before another one does it. */
const HOLD_MS = 5_000;
/** How long a schedule is left alone that cannot be decided on. */
const POSTPONE_MS = 60_000;
export interface Scheduler {
  /** Something was made due: looks at once. */
  wake(): void;
  /**
   * Decides on one schedule now, due or not, and does what follows. QUIET: nothing was to be done. HELD: a replica does what it has
   * decided on, and nothing is decided meanwhile.
   */
  lookAt(scheduleId: ScheduleId): Promise<'QUIET' | 'ACTED' | 'HELD'>;
  run(signal: AbortSignal): Promise<void>;
}

export interface SchedulerOptions {
  readonly pool: Pool;
  readonly ledger: Ledger;
  readonly creation: RunCreation;
  readonly log: Log;
}

/** A decision that is committed, and what is to be done for it. */
interface Work {
  readonly schedule: DueSchedule;
  readonly decision: ScheduleDecision;
  readonly known: KnownOccurrences;
  /** Until when the schedule is held; undefined: nothing is to be done. */
  readonly heldMs: number | undefined;
}

export function createScheduler({ pool, ledger, creation, log }: SchedulerOptions): Scheduler {
  const bell = createRing();
  const underWay = createUnderWay({
    maxKeys: MAX_UNDER_WAY,
    maxParts: 1,
    failed: 'what was decided on schedules could not be done, trying again',
    log,
  });

  /** Takes what is due and begins to do it. Returns how long nothing will be. */
  async function look(): Promise<number> {
    const { nowMs, dueMs } = await withConnection(pool, nextDueSchedule);
    if (dueMs === undefined || dueMs > nowMs) {
      return Math.min(POLL_MS, Math.max(SHORTEST_MS, (dueMs ?? Number.POSITIVE_INFINITY) - nowMs));
    }
    const works = await withTransaction(pool, async (tx) =>
      decideAll(tx, await lockDueSchedules(tx, nowMs, MAX_BATCH, underWay.keys()), log),
    );
    await underWay.begin(works.map((work) => ({ key: work.schedule.scheduleId, part: 0, work: () => carryOut(work) })));
    return works.length === 0 ? HELD_POLL_MS : SHORTEST_MS;
  }

  /** Each by itself: one whose runs take long to create, or that somebody has locked, is no reason to hold another one for longer. */
  async function carryOut(work: Work): Promise<void> {
    const { schedule, decision, heldMs } = work;
    if (heldMs === undefined) return;
    const { scheduleId } = schedule;
    const tried = await act(work);
    if (tried === undefined) return;
    await withTransaction(pool, async (tx) => {
      await lockSchedules(tx, [scheduleId]);
      await recordTried(tx, tried, await readClock(tx));
      // Where something is still to be done the hold runs out.
      if (tried.some(({ outcome }) => outcome === undefined)) return;
      await releaseSchedules(tx, [{ scheduleId, heldMs, dueMs: decision.dueMs }]);
    });
    // It may be due again.
    bell.ring();
  }

  /** Cancels first, then creates. Undefined when a cancel failed. */
  async function act({ schedule, decision, known }: Work): Promise<readonly TriedOccurrence[] | undefined> {
    const { project, name } = schedule;
    const command = { type: 'CancelRun', reason: `the next run of schedule ${name}`, force: false } as const;
    try {
      await allOf(decision.cancel.map((runId) => ledger.submit(runId, command, { project })));
    } catch (error) {
      log.warn({ err: error, schedule: name }, 'runs of a schedule could not be cancelled, trying again');
      return undefined;
    }
    return await Promise.all(
      decision.start.map((atMs) => {
        const { round, tries } = known.tries.get(atMs) ?? { round: 0, tries: 0 };
        return makeRun(creation, log, schedule, atMs, { round, tries: tries + 1 });
      }),
    );
  }

  return {
    wake: () => bell.ring(),
    async lookAt(scheduleId) {
      const taken = await withTransaction(pool, async (tx) => {
        const schedule = await lockScheduleById(tx, scheduleId);
        if (schedule === undefined) return [];
        return schedule.heldMs > (await readClock(tx)) ? 'HELD' : await decideAll(tx, [schedule], log);
      });
      if (taken === 'HELD') return taken;
      await allOf(taken.map(carryOut));
      return taken.every(({ heldMs }) => heldMs === undefined) ? 'QUIET' : 'ACTED';
    },
    async run(signal) {
      let failing = false;
      let waitMs = 0;
      while (!signal.aborted) {
        await bell.wait(waitMs, signal);
        if (signal.aborted) break;
        try {
          waitMs = await look();
          failing = false;
        } catch (error) {
          if (!failing) log.warn({ err: error }, 'schedules could not be looked at, trying again');
          failing = true;
          waitMs = POLL_MS;
        }
      }
      await underWay.settled();
    },
  };
}

/** Decides on schedules that the transaction has locked, and writes what was decided. */
async function decideAll(tx: Tx, schedules: readonly DueSchedule[], log: Log): Promise<Work[]> {
  if (schedules.length === 0) return [];
  const known = await knownOccurrences(tx, schedules);
  const nowMs = await readClock(tx);
  const works = schedules.map((schedule, index): Work => {
    const ofSchedule = known[index];
    if (ofSchedule === undefined) throw new Error('a schedule without its occurrences');
    const decision = decideOne(schedule, ofSchedule, nowMs, log);
    const isQuiet = decision.start.length + decision.cancel.length === 0;
    return { schedule, decision, known: ofSchedule, heldMs: isQuiet ? undefined : nowMs + HOLD_MS };
  });
  await writeDecisions(tx, works.map(toWrite), nowMs);
  return works;
}

/** A schedule that cannot be decided on must not keep the others from it. */
function decideOne(
  schedule: DueSchedule,
  { open, taken }: KnownOccurrences,
  nowMs: number,
  log: Log,
): ScheduleDecision {
  const { spec, paused, cursorMs, name } = schedule;
  try {
    return decideSchedule({ timetable: timetableOf(spec), policies: spec, paused, cursorMs, open, taken }, nowMs);
  } catch (error) {
    log.error({ err: error, schedule: name }, 'a schedule cannot be decided on, and is left alone for a minute');
    return { cursorMs, outcomes: [], start: [], cancel: [], dueMs: nowMs + POSTPONE_MS };
  }
}

function toWrite({ schedule, decision, known, heldMs }: Work): ScheduleWrite {
  const { outcomes, start, cursorMs, dueMs } = decision;
  const decidedNow = new Set(outcomes.map(({ atMs }) => atMs));
  return {
    schedule,
    outcomes,
    retried: start.filter((atMs) => !decidedNow.has(atMs)),
    finished: known.finished,
    cursorMs,
    dueMs,
    heldMs,
  };
}
