// What is wrong with a schedule, all of it at once, and the schedule with its defaults filled in. The bounds are those of
// schedule.proto.
import { addViolation, checkNumber, type Found } from './check-fields.ts';
import { LIMITS } from './limits.ts';
import type { MissedPolicy, OverlapPolicy, ScheduledRun, ScheduleSpec } from './schedule.ts';
import { checkTiming, type ScheduleTiming } from './timetable.ts';

/** A schedule as it was written. What is undefined was not set; the run was checked already. */
export interface ScheduleInput extends Omit<ScheduleTiming, 'timeZone' | 'startMs' | 'endMs'> {
  readonly run: ScheduledRun;
  readonly timeZone?: string | undefined;
  readonly startMs?: number | undefined;
  readonly endMs?: number | undefined;
  readonly overlap?: OverlapPolicy | undefined;
  readonly missed?: MissedPolicy | undefined;
  /** May be NaN. */
  readonly catchUpMs?: number | undefined;
  readonly maxCatchUp?: number | undefined;
  readonly pausedIsMissed: boolean;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const DEFAULT_MAX_CATCH_UP = 10;

/** Adds what is wrong to `found`, with paths under `field`. The result is of use only when nothing was found. */
export function checkSchedule(found: Found, field: string, input: ScheduleInput): ScheduleSpec {
  const { run, cron, timeZone = 'UTC', startMs, endMs, catchUpMs = DAY_MS } = input;
  const { maxCatchUp = DEFAULT_MAX_CATCH_UP, overlap = 'SKIP', missed = 'RUN_ONCE', pausedIsMissed } = input;
  const timing: ScheduleTiming = {
    cron,
    timeZone,
    ...(startMs !== undefined && { startMs }),
    ...(endMs !== undefined && { endMs }),
  };
  checkTiming(found, field, timing);
  if (!(catchUpMs >= MINUTE_MS && catchUpMs <= 31 * DAY_MS)) {
    addViolation(found, `${field}.catch_up_window`, `must be 1 min to 31 days; got ${catchUpMs / 1_000} s`);
  }
  const bounds = { min: 1, max: LIMITS.catchUp, integer: true };
  checkNumber(found, `${field}.max_catch_up`, maxCatchUp, bounds);
  return { ...timing, run, overlap, missed, catchUpMs: Math.ceil(catchUpMs), maxCatchUp, pausedIsMissed };
}
