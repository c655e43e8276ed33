// Reads what a schedule runs, and when.
import {
  ScheduleMissedPolicy,
  ScheduleOverlapPolicy,
  type ScheduleSpec as ScheduleSpecMessage,
} from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import { addViolation, type Found } from '../core/check-fields.ts';
import type { CheckWork } from '../core/check-work.ts';
import { checkSchedule } from '../core/check-schedule.ts';
import type { MissedPolicy, OverlapPolicy, ScheduledRun, ScheduleSpec } from '../core/schedule.ts';
import { decodeRunSpec } from './decode-run.ts';
import { decodeDuration, decodeTime } from './request-fields.ts';

/** Adds what is wrong to `found`, with paths under `field`. Comes in slices. */
export function* decodeScheduleSpec(
  found: Found,
  field: string,
  spec: ScheduleSpecMessage | undefined,
  work: CheckWork,
): Generator<undefined, ScheduleSpec> {
  const { cron = [], timeZone = '', maxCatchUp = 0, pausedIsMissed = false } = spec ?? {};
  const startMs = decodeTime(found, `${field}.start_time`, spec?.startTime);
  const endMs = decodeTime(found, `${field}.end_time`, spec?.endTime);
  return checkSchedule(found, field, {
    run: yield* decodeScheduledRun(found, `${field}.run`, spec?.run, work),
    cron,
    timeZone: timeZone === '' ? undefined : timeZone,
    startMs,
    endMs,
    overlap: decodePolicy(found, `${field}.overlap_policy`, spec?.overlapPolicy ?? 0, OVERLAP),
    missed: decodePolicy(found, `${field}.missed_policy`, spec?.missedPolicy ?? 0, MISSED),
    catchUpMs: decodeDuration(spec?.catchUpWindow),
    maxCatchUp: maxCatchUp === 0 ? undefined : maxCatchUp,
    pausedIsMissed,
  });
}

function* decodeScheduledRun(
  found: Found,
  field: string,
  spec: ScheduleSpecMessage['run'],
  work: CheckWork,
): Generator<undefined, ScheduledRun> {
  if (spec?.trigger !== undefined)
    addViolation(found, `${field}.trigger`, 'must be left out: the schedule triggers it');
  if (spec?.startTime !== undefined)
    addViolation(found, `${field}.start_time`, 'must be left out: it starts at its time');
  const { trigger: _byTime, startMs: _atOnce, ...run } = yield* decodeRunSpec(found, field, spec, work);
  return run;
}

const OVERLAP: Readonly<Record<number, OverlapPolicy>> = {
  [ScheduleOverlapPolicy.ALLOW]: 'ALLOW',
  [ScheduleOverlapPolicy.SKIP]: 'SKIP',
  [ScheduleOverlapPolicy.QUEUE_ONE]: 'QUEUE_ONE',
  [ScheduleOverlapPolicy.CANCEL_RUNNING]: 'CANCEL_RUNNING',
};
const MISSED: Readonly<Record<number, MissedPolicy>> = {
  [ScheduleMissedPolicy.SKIP]: 'SKIP',
  [ScheduleMissedPolicy.RUN_ONCE]: 'RUN_ONCE',
  [ScheduleMissedPolicy.RUN_ALL]: 'RUN_ALL',
};

/** Undefined: not set. Enums of the contract are open, so any number may come. */
function decodePolicy<T extends string>(
  found: Found,
  field: string,
  policy: number,
  names: Readonly<Record<number, T>>,
): T | undefined {
  const name = names[policy];
  if (name === undefined && policy !== 0) {
    addViolation(found, field, `must be one of ${Object.values(names).join(', ')}; got ${policy}`);
  }
  return name;
}
