// The rows of occurrences: asked for by hand, told what became of their runs, listed and forgotten. A result is a compare-and-set on
// state and round, so whoever comes late with one changes nothing.
import { type InferResult, sql } from 'kysely';
import type { RunId } from '../core/ids.ts';
import type { OccurrenceFailure, OccurrenceView } from '../core/schedule.ts';
import type { Page } from '../core/views.ts';
import type { ScheduleId } from './due-schedules.ts';
import { fetchPage, fetchRows, pageOf, tables } from './query.ts';
import { execute, jsons, plain, rowsOf, statement, type Tx } from './sql.ts';

/** Names an occurrence in one of its rounds. */
export interface OccurrenceKey {
  readonly scheduleId: ScheduleId;
  readonly atMs: number;
  readonly round: number;
}

const RECORD_STARTED = statement(
  'record_started',
  `update occurrences o set state = 'STARTED', run_id = u.run_id, decided_ms = $5
   from unnest($1::uuid[], $2::bigint[], $3::int[], $4::uuid[]) u (schedule_id, at_ms, round, run_id)
   where o.schedule_id = u.schedule_id and o.at_ms = u.at_ms and o.round = u.round and o.state = 'STARTING'`,
);

/** Records the runs that occurrences made. */
export async function recordStarted(
  tx: Tx,
  made: readonly { readonly key: OccurrenceKey; readonly runId: RunId }[],
  nowMs: number,
): Promise<void> {
  await execute(tx, RECORD_STARTED, [
    plain(made, ({ key }) => key.scheduleId),
    plain(made, ({ key }) => key.atMs),
    plain(made, ({ key }) => key.round),
    plain(made, ({ runId }) => runId),
    nowMs,
  ]);
}

const RECORD_FAILED = statement(
  'record_failed',
  `update occurrences o set state = 'FAILED', open = false, failure = u.failure, decided_ms = $5
   from unnest($1::uuid[], $2::bigint[], $3::int[], $4::json[]) u (schedule_id, at_ms, round, failure)
   where o.schedule_id = u.schedule_id and o.at_ms = u.at_ms and o.round = u.round and o.state = 'STARTING'`,
);

/** Records why occurrences made no run. */
export async function recordFailed(
  tx: Tx,
  failed: readonly { readonly key: OccurrenceKey; readonly failure: OccurrenceFailure }[],
  nowMs: number,
): Promise<void> {
  await execute(tx, RECORD_FAILED, [
    plain(failed, ({ key }) => key.scheduleId),
    plain(failed, ({ key }) => key.atMs),
    plain(failed, ({ key }) => key.round),
    jsons(failed, ({ failure }) => failure),
    nowMs,
  ]);
}

const RELEASE_SCHEDULES = statement(
  'release_schedules',
  `update schedules s set held_ms = null, due_ms = case when s.due_ms = s.held_ms then u.due_ms else s.due_ms end
   from unnest($1::uuid[], $2::bigint[], $3::bigint[]) u (schedule_id, held_ms, due_ms)
   where s.schedule_id = u.schedule_id and s.held_ms = u.held_ms`,
);

/** Ends holds; a schedule that somebody made due meanwhile stays due. */
export async function releaseSchedules(
  tx: Tx,
  held: readonly {
    readonly scheduleId: ScheduleId;
    readonly heldMs: number;
    readonly dueMs: number | undefined;
  }[],
): Promise<void> {
  await execute(tx, RELEASE_SCHEDULES, [
    plain(held, ({ scheduleId }) => scheduleId),
    plain(held, ({ heldMs }) => heldMs),
    plain(held, ({ dueMs }) => dueMs),
  ]);
}

const INSERT_TRIGGER = statement(
  'insert_trigger',
  `insert into occurrences (schedule_id, at_ms, project, state, origin, open, asked_by, decided_ms)
   values ($1, $2, $3, 'QUEUED', 'TRIGGER', true, $4, $5) on conflict do nothing`,
);

/** Queues an occurrence by hand. Returns false when there is one at this time. */
export async function insertTrigger(
  tx: Tx,
  { scheduleId, atMs }: Pick<OccurrenceKey, 'scheduleId' | 'atMs'>,
  project: string,
  askedBy: string,
  nowMs: number,
): Promise<boolean> {
  return (await execute(tx, INSERT_TRIGGER, [scheduleId, atMs, project, askedBy, nowMs])) === 1;
}

const INSERT_BACKFILL = statement(
  'insert_backfill',
  `insert into occurrences as o (schedule_id, at_ms, project, state, origin, open, parallel, asked_by, decided_ms)
   select $1::uuid, u.at_ms, $2, 'QUEUED', 'BACKFILL', true, $3, $4::uuid, $5 from unnest($6::bigint[]) u (at_ms)
   on conflict (schedule_id, at_ms) do update set state = 'QUEUED', origin = 'BACKFILL', open = true, parallel = excluded.parallel,
     asked_by = excluded.asked_by, round = o.round + 1, tries = 0, skip = null, failure = null, decided_ms = excluded.decided_ms
   where o.state in ('SKIPPED', 'FAILED')`,
);

/** Queues those of these times that made no run and are not about to. Returns how many. */
export async function insertBackfill(
  tx: Tx,
  scheduleId: ScheduleId,
  project: string,
  times: readonly number[],
  options: { readonly parallel: number; readonly askedBy: string; readonly nowMs: number },
): Promise<number> {
  const { parallel, askedBy, nowMs } = options;
  const list = plain(times, (time) => time);
  return await execute(tx, INSERT_BACKFILL, [scheduleId, project, parallel, askedBy, nowMs, list]);
}

const OPEN_KEYS = statement(
  'unmade_occurrences',
  `select at_ms, round, state from occurrences where schedule_id = $1 and open and run_id is null`,
);

/** The occurrences of a schedule that wait or are being started. */
export async function unmadeOccurrences(
  tx: Tx,
  scheduleId: ScheduleId,
): Promise<readonly { readonly key: OccurrenceKey; readonly state: 'QUEUED' | 'STARTING' }[]> {
  const rows = await rowsOf<{ at_ms: number; round: number; state: 'QUEUED' | 'STARTING' }>(tx, OPEN_KEYS, [
    scheduleId,
  ]);
  return rows.map(({ at_ms, round, state }) => ({ key: { scheduleId, atMs: at_ms, round }, state }));
}

/** What a request asked for, newest first. */
export async function occurrencesAskedBy(tx: Tx, scheduleId: ScheduleId, askedBy: string): Promise<OccurrenceView[]> {
  const query = selectOccurrences(scheduleId).where('asked_by', '=', askedBy).orderBy('at_ms', 'desc');
  return (await fetchRows(tx, query)).map(toView);
}

/** Lists the occurrences of a schedule, newest first. */
export async function listOccurrences(
  tx: Tx,
  scheduleId: ScheduleId,
  page: { readonly size: number; readonly before: number | undefined },
): Promise<Page<OccurrenceView>> {
  const query = selectOccurrences(scheduleId)
    .select(sql<number>`256 + coalesce(octet_length(failure::text), 0)`.as('bytes'))
    .$if(page.before !== undefined, (all) => all.where('at_ms', '<', page.before ?? 0))
    .orderBy('at_ms', 'desc')
    .limit(page.size + 1);
  const rows = await fetchPage(tx, query, sql`at_ms desc`, page.size);
  return pageOf(rows, toView, (row) => row.at_ms);
}

const FORGET_OCCURRENCES = statement(
  'forget_occurrences',
  `delete from occurrences where (schedule_id, at_ms) in
   (select schedule_id, at_ms from occurrences where not open and decided_ms < $1 order by decided_ms limit $2
    for update skip locked)`,
);

/** Forgets occurrences that nothing happens to any more and that were decided on before. Returns how many. */
export async function forgetOccurrences(tx: Tx, beforeMs: number, limit: number): Promise<number> {
  return await execute(tx, FORGET_OCCURRENCES, [beforeMs, limit]);
}

function selectOccurrences(scheduleId: ScheduleId) {
  return tables
    .selectFrom('occurrences')
    .select(['at_ms', 'state', 'origin', 'run_id', 'skip', 'failure', 'decided_ms'])
    .where('schedule_id', '=', scheduleId);
}

type OccurrenceColumns = InferResult<ReturnType<typeof selectOccurrences>>[number];

function toView(row: OccurrenceColumns): OccurrenceView {
  return {
    atMs: row.at_ms,
    state: row.state,
    origin: row.origin,
    decidedMs: row.decided_ms,
    ...(row.run_id !== null && { runId: row.run_id }),
    ...(row.skip !== null && { skip: row.skip }),
    ...(row.failure !== null && { failure: row.failure }),
  };
}
