// The rows of schedules, as they are applied, read and paused. What their occurrences become is written by due-schedules.ts.
import { sql } from 'kysely';
import type { ScheduleSpec } from '../core/schedule.ts';
import type { Page } from '../core/views.ts';
import { type ScheduleId, type SpecColumns, specOf } from './due-schedules.ts';
import { affectRows, fetchPage, fetchRows, pageOf, tables } from './query.ts';
import type { Tx } from './sql.ts';

export interface ScheduleRow {
  readonly scheduleId: ScheduleId;
  readonly name: string;
  readonly spec: ScheduleSpec;
  readonly pausedMs: number | undefined;
  readonly pauseReason: string;
  readonly cursorMs: number;
  readonly createdMs: number;
  readonly updatedMs: number;
}

/** What an apply or a verb changes of a schedule. */
export type ScheduleChange = Partial<Pick<ScheduleRow, 'spec' | 'pausedMs' | 'pauseReason' | 'cursorMs' | 'updatedMs'>>;

/** Makes a schedule that is due at once. Returns false when its name is taken. */
export async function insertSchedule(tx: Tx, project: string, row: ScheduleRow): Promise<boolean> {
  const query = tables
    .insertInto('schedules')
    .values({
      schedule_id: row.scheduleId,
      project,
      name: row.name,
      ...specColumns(row.spec),
      paused_ms: row.pausedMs ?? null,
      pause_reason: row.pauseReason,
      cursor_ms: row.cursorMs,
      due_ms: row.createdMs,
      created_ms: row.createdMs,
      updated_ms: row.updatedMs,
    })
    .onConflict((conflict) => conflict.doNothing());
  return (await affectRows(tx, query)) === 1;
}

/** How many schedules a project has. */
export async function countSchedules(tx: Tx, project: string): Promise<number> {
  const query = tables.selectFrom('schedules').select(sql<number>`count(*)`.as('count')).where('project', '=', project);
  return (await fetchRows(tx, query))[0]?.count ?? 0;
}

/** Locks a schedule; undefined when there is none. */
export async function lockSchedule(tx: Tx, project: string, name: string): Promise<ScheduleRow | undefined> {
  return (await fetchRows(tx, selectSchedule(project, name).forNoKeyUpdate())).map(toScheduleRow)[0];
}

export async function findSchedule(tx: Tx, project: string, name: string): Promise<ScheduleRow | undefined> {
  return (await fetchRows(tx, selectSchedule(project, name))).map(toScheduleRow)[0];
}

/** Changes a schedule that the transaction has locked, and makes it due. */
export async function changeSchedule(
  tx: Tx,
  scheduleId: ScheduleId,
  change: ScheduleChange,
  nowMs: number,
): Promise<void> {
  const query = tables
    .updateTable('schedules')
    .set({
      // Never as late as the end of a hold: by that time whoever holds it would take it for untouched.
      due_ms: sql<number>`least(${nowMs}::bigint, held_ms - 1)`,
      ...(change.spec !== undefined && specColumns(change.spec)),
      ...('pausedMs' in change && { paused_ms: change.pausedMs ?? null }),
      ...(change.pauseReason !== undefined && { pause_reason: change.pauseReason }),
      ...(change.cursorMs !== undefined && { cursor_ms: change.cursorMs }),
      ...(change.updatedMs !== undefined && { updated_ms: change.updatedMs }),
    })
    .where('schedule_id', '=', scheduleId);
  await affectRows(tx, query);
}

/** Deletes a schedule that the transaction has locked, with its occurrences. */
export async function deleteSchedule(tx: Tx, scheduleId: ScheduleId): Promise<void> {
  await affectRows(tx, tables.deleteFrom('schedules').where('schedule_id', '=', scheduleId));
}

/** Lists schedules by name, without inline definitions. */
export async function listSchedules(
  tx: Tx,
  project: string,
  page: { readonly size: number; readonly after: string | undefined },
): Promise<Page<ScheduleRow>> {
  const query = tables
    .selectFrom('schedules')
    .select(['schedule_id', 'name', 'spec', 'paused_ms', 'pause_reason', 'cursor_ms', 'created_ms', 'updated_ms'])
    .select(sql<null>`null`.as('definition'))
    .select(sql<number>`256 + octet_length(spec::text) + octet_length(pause_reason)`.as('bytes'))
    .where('project', '=', project)
    .$if(page.after !== undefined, (all) => all.where('name', '>', page.after ?? ''))
    .orderBy('name')
    .limit(page.size + 1);
  const rows = await fetchPage(tx, query, sql`name`, page.size);
  return pageOf(rows, toScheduleRow, (row) => row.name);
}

function selectSchedule(project: string, name: string) {
  return tables
    .selectFrom('schedules')
    .select(['schedule_id', 'name', 'spec', 'definition', 'paused_ms', 'pause_reason'])
    .select(['cursor_ms', 'created_ms', 'updated_ms'])
    .where('project', '=', project)
    .where('name', '=', name);
}

function specColumns(spec: ScheduleSpec) {
  const { definition, ...run } = spec.run;
  return {
    spec: JSON.stringify({ ...spec, run }),
    definition: definition === undefined ? null : JSON.stringify(definition),
  };
}

interface ScheduleColumns extends SpecColumns {
  readonly schedule_id: ScheduleId;
  readonly name: string;
  readonly paused_ms: number | null;
  readonly pause_reason: string;
  readonly cursor_ms: number;
  readonly created_ms: number;
  readonly updated_ms: number;
}

function toScheduleRow(row: ScheduleColumns): ScheduleRow {
  return {
    scheduleId: row.schedule_id,
    name: row.name,
    spec: specOf(row),
    pausedMs: row.paused_ms ?? undefined,
    pauseReason: row.pause_reason,
    cursorMs: row.cursor_ms,
    createdMs: row.created_ms,
    updatedMs: row.updated_ms,
  };
}
