// What is asked of a schedule by hand: an occurrence now, or those of a past range. They are queued under the lock of the schedule, and a
// request id that comes again is answered from the record of the first.
import { createHash, randomUUID } from 'node:crypto';
import { canonicalJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { invalidFields, RefusedError, type Refusal } from '../core/refusal.ts';
import { nextTimes, timetableOf, timingOf } from '../core/timetable.ts';
import type { ScheduleId } from '../store/due-schedules.ts';
import { readClock } from '../store/ledger-rows.ts';
import { insertBackfill, insertTrigger, unmadeOccurrences } from '../store/occurrence-rows.ts';
import { findScheduleRequest, insertScheduleRequest } from '../store/schedule-requests.ts';
import { changeSchedule, lockSchedule, type ScheduleRow } from '../store/schedule-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { BackfillRequest } from './engine.ts';
import { noSuchSchedule } from './refusals.ts';

/** Locks a schedule. @throws RefusedError SCHEDULE_NOT_FOUND */
export async function lockExisting(tx: Tx, project: string, name: string): Promise<ScheduleRow> {
  const row = await lockSchedule(tx, project, name);
  if (row === undefined) throw noSuchSchedule(name);
  return row;
}

/** Queues an occurrence at the first free time from now on that no expression can mean. */
export async function queueTrigger(
  tx: Tx,
  project: string,
  name: string,
  requestId: string | undefined,
): Promise<{ scheduleId: ScheduleId; askedBy: string }> {
  const { scheduleId } = await lockExisting(tx, project, name);
  const nowMs = await readClock(tx);
  const { askedBy } = await onlyOnce(tx, scheduleId, requestId, { verb: 'trigger' }, nowMs, async (asked) => {
    await assertRoom(tx, scheduleId, 1);
    for (let atMs = nowMs; ; atMs++) {
      if (atMs % 1_000 === 0) continue;
      if (await insertTrigger(tx, { scheduleId, atMs }, project, asked, nowMs)) break;
    }
    await changeSchedule(tx, scheduleId, {}, nowMs);
    return 1;
  });
  return { scheduleId, askedBy };
}

/** Queues the occurrences of a range. Returns how many. */
export async function queueBackfill(
  tx: Tx,
  project: string,
  name: string,
  { fromMs, untilMs, parallel, requestId }: BackfillRequest,
): Promise<number> {
  const { scheduleId, spec } = await lockExisting(tx, project, name);
  const nowMs = await readClock(tx);
  const body = { verb: 'backfill', fromMs, untilMs, parallel };
  const { queued } = await onlyOnce(tx, scheduleId, requestId, body, nowMs, async (askedBy) => {
    const max = LIMITS.queuedOccurrences;
    const until = Math.min(untilMs, nowMs + 1);
    const range = { ...timingOf(spec), startMs: fromMs, endMs: until };
    const times = nextTimes(timetableOf(range), 0, max + 1);
    if (times.length > max) {
      const description = `holds more than ${max} occurrences: take a shorter range, ending by ${new Date(times[max] ?? 0).toISOString()}`;
      throw new RefusedError(invalidFields([{ field: 'end_time', description }]));
    }
    await assertRoom(tx, scheduleId, times.length);
    const count = await insertBackfill(tx, scheduleId, project, times, { parallel, askedBy, nowMs });
    await changeSchedule(tx, scheduleId, {}, nowMs);
    return count;
  });
  return queued;
}

/** Does what a request asks for, unless its request id says that this was done before. */
async function onlyOnce(
  tx: Tx,
  scheduleId: string,
  requestId: string | undefined,
  body: object,
  nowMs: number,
  work: (askedBy: string) => Promise<number>,
): Promise<{ askedBy: string; queued: number }> {
  const bodyDigest = createHash('sha256').update(canonicalJson(body)).digest();
  if (requestId === undefined) {
    const askedBy = randomUUID();
    return { askedBy, queued: await work(askedBy) };
  }
  const earlier = await findScheduleRequest(tx, scheduleId, requestId);
  if (earlier !== undefined) {
    if (earlier.bodyDigest.equals(bodyDigest)) return earlier;
    const message = `request_id ${JSON.stringify(requestId)} was used with another request: take a new one for each new request`;
    throw new RefusedError({ refused: 'REQUEST_ID_REUSED', message });
  }
  const askedBy = randomUUID();
  const queued = await work(askedBy);
  await insertScheduleRequest(tx, scheduleId, requestId, { bodyDigest, askedBy, queued }, nowMs);
  return { askedBy, queued };
}

async function assertRoom(tx: Tx, scheduleId: string, more: number): Promise<void> {
  const max = LIMITS.queuedOccurrences;
  const { length } = await unmadeOccurrences(tx, scheduleId);
  if (length + more <= max) return;
  const message = `${length} occurrences of the schedule wait, and at most ${max} may: wait for some of their runs, or take a shorter range`;
  throw new RefusedError(limitReached('queued_occurrences', max, message));
}

export function limitReached(limit: string, max: number, message: string): Refusal {
  return { refused: 'LIMIT_REACHED', message, metadata: { limit, max: String(max) } };
}
