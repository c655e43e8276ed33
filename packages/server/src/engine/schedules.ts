// Schedules as they are applied, read, paused, triggered and backfilled. Whatever changes one makes it due, under its lock; what follows
// is decided by the scheduler.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { canonicalJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { type FieldViolation, invalidFields, RefusedError, withFields } from '../core/refusal.ts';
import type { OccurrenceView, ScheduleSpec, ScheduleView } from '../core/schedule.ts';
import { nextTimes, timetableOf, timingOf } from '../core/timetable.ts';
import { readClock } from '../store/ledger-rows.ts';
import { listOccurrences, occurrencesAskedBy, unmadeOccurrences } from '../store/occurrence-rows.ts';
import type { ScheduleId } from '../store/due-schedules.ts';
import { type Pool, withConnection, withTransaction } from '../store/pool.ts';
import {
  changeSchedule,
  countSchedules,
  deleteSchedule,
  findSchedule,
  insertSchedule,
  listSchedules,
  lockSchedule,
  type ScheduleChange,
  type ScheduleRow,
} from '../store/schedule-rows.ts';
import type { Tx } from '../store/sql.ts';
import { limitReached, lockExisting, queueBackfill, queueTrigger } from './asked-occurrences.ts';
import type { ScheduleOperations } from './engine.ts';
import { scheduledRun, shutOut } from './occurrence-runs.ts';
import { noSuchSchedule, timeCursor } from './refusals.ts';
import type { RunCreation } from './run-creation.ts';
import type { Scheduler } from './scheduler.ts';

/** How long a trigger waits for its run. */
const TRIGGER_WAIT_MS = 10_000;
const HELD_POLL_MS = 20;

export interface SchedulesOptions {
  readonly pool: Pool;
  readonly creation: RunCreation;
  readonly scheduler: Pick<Scheduler, 'wake' | 'lookAt'>;
}

export function createSchedules({ pool, creation, scheduler }: SchedulesOptions): ScheduleOperations {
  /** Changes a schedule under its lock. Undefined changes nothing. */
  async function change(
    project: string,
    name: string,
    to: (row: ScheduleRow, nowMs: number) => ScheduleChange | undefined,
  ): Promise<ScheduleView> {
    const after = await withTransaction(pool, async (tx) => {
      const row = await lockExisting(tx, project, name);
      const nowMs = await readClock(tx);
      const changes = to(row, nowMs);
      if (changes !== undefined) await changeSchedule(tx, row.scheduleId, changes, nowMs);
      return { ...row, ...changes };
    });
    scheduler.wake();
    return viewOf(project, after);
  }

  /** The occurrence of a trigger once it is decided on, or what it is when that takes too long. */
  async function decided(scheduleId: ScheduleId, askedBy: string): Promise<OccurrenceView | undefined> {
    const untilMs = performance.now() + TRIGGER_WAIT_MS;
    for (let isSettled = false; ; ) {
      const [occurrence] = await withConnection(pool, (tx) => occurrencesAskedBy(tx, scheduleId, askedBy));
      const isOpen = occurrence?.state === 'QUEUED' || occurrence?.state === 'STARTING';
      if (!isOpen || isSettled || performance.now() > untilMs) return occurrence;
      const looked = await scheduler.lookAt(scheduleId);
      isSettled = looked === 'QUIET';
      if (looked === 'HELD') await delay(HELD_POLL_MS);
    }
  }

  return {
    async apply(project, name, spec, paused) {
      const warnings = await checkScheduledRun(creation, project, name, spec);
      const applied = await withTransaction(pool, (tx) => applySchedule(tx, project, name, spec, paused));
      if (applied.changed) scheduler.wake();
      return { schedule: viewOf(project, applied.row), changed: applied.changed, warnings };
    },
    async validate(project, name, spec, found) {
      if (found.length === 0) return await checkScheduledRun(creation, project, name, spec);
      // What is wrong with the form of its run would be found again.
      const isRead = !found.some(({ field }) => field.startsWith('spec.run'));
      const more = isRead ? await violationsOf(checkScheduledRun(creation, project, name, spec)) : [];
      throw new RefusedError(invalidFields([...found, ...more]));
    },
    get: (project, name) =>
      withConnection(pool, async (tx) => {
        const row = await findSchedule(tx, project, name);
        if (row === undefined) throw noSuchSchedule(name);
        return viewOf(project, row);
      }),
    list: (project, { size, after }) =>
      withConnection(pool, async (tx) => {
        const { items, ...page } = await listSchedules(tx, project, { size, after });
        return { ...page, items: items.map((row) => viewOf(project, row)) };
      }),
    delete: (project, name) =>
      withTransaction(pool, async (tx) => {
        const { scheduleId } = await lockExisting(tx, project, name);
        const unmade = await unmadeOccurrences(tx, scheduleId);
        // Whoever is about to create a run finds its request id taken.
        const starting = unmade.filter(({ state }) => state === 'STARTING').map(({ key }) => ({ project, key }));
        await shutOut(tx, starting);
        await deleteSchedule(tx, scheduleId);
      }),
    pause: (project, name, reason) => change(project, name, (row, nowMs) => pausing(row, reason, nowMs)),
    resume: (project, name) => change(project, name, resuming),
    async trigger(project, name, requestId) {
      const { scheduleId, askedBy } = await withTransaction(pool, (tx) => queueTrigger(tx, project, name, requestId));
      const occurrence = await decided(scheduleId, askedBy);
      // The schedule was deleted before it could be read.
      if (occurrence === undefined) throw noSuchSchedule(name);
      return occurrence;
    },
    async backfill(project, name, request) {
      const queued = await withTransaction(pool, (tx) => queueBackfill(tx, project, name, request));
      scheduler.wake();
      return queued;
    },
    async occurrences(project, name, upcoming, { size, after }) {
      const before = timeCursor(after);
      return await withConnection(pool, async (tx) => {
        const row = await findSchedule(tx, project, name);
        if (row === undefined) throw noSuchSchedule(name);
        const past = await listOccurrences(tx, row.scheduleId, { size, before });
        const fromMs = row.pausedMs === undefined ? row.cursorMs : await readClock(tx);
        return { upcoming: nextTimes(timetableOf(row.spec), fromMs, upcoming), past };
      });
    },
  };
}

function viewOf(project: string, row: ScheduleRow): ScheduleView {
  const { name, spec, pausedMs, pauseReason, cursorMs, createdMs, updatedMs } = row;
  const nextMs = pausedMs === undefined ? timetableOf(spec).next(cursorMs) : undefined;
  return {
    project,
    name,
    spec,
    ...(pausedMs !== undefined && { paused: { reason: pauseReason, sinceMs: pausedMs } }),
    ...(nextMs !== undefined && { nextMs }),
    createdMs,
    updatedMs,
  };
}

/** Checks what a schedule would run as if it ran now, so that its author learns of it and not the night. */
async function checkScheduledRun(
  creation: RunCreation,
  project: string,
  name: string,
  spec: ScheduleSpec,
): Promise<readonly string[]> {
  try {
    return await creation.check(project, scheduledRun({ name, spec }, 0));
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    throw new RefusedError(withFields(error.refusal, (field) => `spec.${field}`));
  }
}

async function violationsOf(check: Promise<unknown>): Promise<readonly FieldViolation[]> {
  try {
    await check;
    return [];
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    return error.refusal.violations ?? [{ field: 'spec.run', description: error.refusal.message }];
  }
}

async function applySchedule(
  tx: Tx,
  project: string,
  name: string,
  spec: ScheduleSpec,
  paused: boolean | undefined,
): Promise<{ row: ScheduleRow; changed: boolean }> {
  const known = await lockSchedule(tx, project, name);
  const nowMs = await readClock(tx);
  if (known === undefined) {
    if ((await countSchedules(tx, project)) >= LIMITS.schedules) {
      throw new RefusedError(
        limitReached('schedules', LIMITS.schedules, `the project has ${LIMITS.schedules} schedules`),
      );
    }
    const fresh: ScheduleRow = {
      scheduleId: randomUUID(),
      name,
      spec,
      pausedMs: paused === true ? nowMs : undefined,
      pauseReason: '',
      cursorMs: nowMs,
      createdMs: nowMs,
      updatedMs: nowMs,
    };
    if (await insertSchedule(tx, project, fresh)) return { row: fresh, changed: true };
    // Somebody else made it since: now it is there.
    return await applySchedule(tx, project, name, spec, paused);
  }
  const changes: ScheduleChange = {
    ...(canonicalJson(known.spec) !== canonicalJson(spec) && { spec, updatedMs: nowMs }),
    ...(canonicalJson(timingOf(known.spec)) !== canonicalJson(timingOf(spec)) && { cursorMs: nowMs }),
    ...(paused === true && known.pausedMs === undefined && { pausedMs: nowMs, pauseReason: '' }),
    ...(paused === false && resuming({ ...known, spec }, nowMs)),
  };
  const changed = Object.keys(changes).length > 0;
  if (changed) await changeSchedule(tx, known.scheduleId, changes, nowMs);
  return { row: { ...known, ...changes }, changed };
}

function pausing({ pausedMs, pauseReason }: ScheduleRow, reason: string, nowMs: number): ScheduleChange | undefined {
  if (pausedMs !== undefined && pauseReason === reason) return undefined;
  return { pausedMs: pausedMs ?? nowMs, pauseReason: reason };
}

function resuming({ pausedMs, spec }: ScheduleRow, nowMs: number): ScheduleChange | undefined {
  if (pausedMs === undefined) return undefined;
  return { pausedMs: undefined, pauseReason: '', ...(!spec.pausedIsMissed && { cursorMs: nowMs }) };
}
