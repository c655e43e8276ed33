// The schedules whose time has come: taken with SKIP LOCKED by whichever replica looks, decided on under their locks, and written back in
// a few statements for all of them. Lock order: schedules, then occurrences.
import type { OccurrenceOutcome, OpenOccurrence } from '../core/decide-schedule.ts';
import type { Definition } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import type { OccurrenceOrigin, OccurrenceState, ScheduleSpec } from '../core/schedule.ts';
import { isRunFinished, type RunState } from '../core/states.ts';
import { expectTouched } from './ledger-rows.ts';
import { execute, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

/** Names a schedule for as long as it exists; one that is made again under the same name has another. */
export type ScheduleId = string;

/** A schedule that the transaction has locked. */
export interface DueSchedule {
  readonly scheduleId: ScheduleId;
  readonly project: string;
  readonly name: string;
  readonly spec: ScheduleSpec;
  readonly paused: boolean;
  readonly cursorMs: number;
  /** Until when a replica does what it decided on; 0 when none does. */
  readonly heldMs: number;
}

const NEXT_DUE = statement(
  'next_due_schedule',
  `with clock as materialized (select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms)
   select clock.now_ms, s.due_ms from clock
   left join lateral (select due_ms from schedules where due_ms is not null order by due_ms limit 1) s on true`,
);

/** The database's clock, and when the first schedule is due; undefined: none is. */
export async function nextDueSchedule(tx: Tx): Promise<{ nowMs: number; dueMs: number | undefined }> {
  const [row] = await rowsOf<{ now_ms: number; due_ms: number | null }>(tx, NEXT_DUE, []);
  if (row === undefined) throw new Error('the database did not tell the time');
  return { nowMs: row.now_ms, dueMs: row.due_ms ?? undefined };
}

const COLUMNS = 'schedule_id, project, name, spec, definition, paused_ms, cursor_ms, held_ms';
const LOCK_DUE = statement(
  'lock_due_schedules',
  `select ${COLUMNS} from schedules where due_ms <= $1 and (held_ms is null or held_ms <= $1) and schedule_id <> all($3::uuid[])
   order by due_ms limit $2 for no key update skip locked`,
);
const LOCK_ONE = statement(
  'lock_schedule',
  `select ${COLUMNS} from schedules where schedule_id = $1 for no key update`,
);

/** A spec as it is stored: its inline definition has a column of its own. */
export interface SpecColumns {
  readonly spec: ScheduleSpec;
  readonly definition: Definition | null;
}

interface ScheduleColumns extends SpecColumns {
  schedule_id: ScheduleId;
  project: string;
  name: string;
  paused_ms: number | null;
  cursor_ms: number;
  held_ms: number | null;
}

/**
 * Locks schedules that are due at `nowMs`; those that somebody else holds or has locked are left out.
 * @param except Left out, too.
 */
export async function lockDueSchedules(
  tx: Tx,
  nowMs: number,
  limit: number,
  except: readonly ScheduleId[],
): Promise<DueSchedule[]> {
  return (await rowsOf<ScheduleColumns>(tx, LOCK_DUE, [nowMs, limit, plain(except, (id) => id)])).map(toDueSchedule);
}

const LOCK_MANY = statement(
  'lock_schedules',
  'select from schedules where schedule_id = any($1::uuid[]) order by schedule_id for no key update',
);

/** Locks schedules, waiting for whoever holds them: before anything is written about their occurrences. */
export async function lockSchedules(tx: Tx, scheduleIds: readonly ScheduleId[]): Promise<void> {
  await execute(tx, LOCK_MANY, [plain(scheduleIds, (id) => id)]);
}

/** Locks a schedule whether it is due or not; undefined when it is gone. */
export async function lockScheduleById(tx: Tx, scheduleId: ScheduleId): Promise<DueSchedule | undefined> {
  return (await rowsOf<ScheduleColumns>(tx, LOCK_ONE, [scheduleId])).map(toDueSchedule)[0];
}

function toDueSchedule(row: ScheduleColumns): DueSchedule {
  return {
    scheduleId: row.schedule_id,
    project: row.project,
    name: row.name,
    spec: specOf(row),
    paused: row.paused_ms !== null,
    cursorMs: row.cursor_ms,
    heldMs: row.held_ms ?? 0,
  };
}

/** Puts a spec together. */
export function specOf({ spec, definition }: SpecColumns): ScheduleSpec {
  return definition === null ? spec : { ...spec, run: { ...spec.run, definition } };
}

/** Which round an occurrence is in, and how often its run was tried to create in it. */
export interface OccurrenceTry {
  readonly round: number;
  readonly tries: number;
}

/** What a decision is made on, beside the schedule itself. */
export interface KnownOccurrences {
  readonly open: readonly OpenOccurrence[];
  /** Of those without a run, by time. */
  readonly tries: ReadonlyMap<number, OccurrenceTry>;
  /** Those whose run has finished. */
  readonly finished: readonly number[];
  /** Times after the schedule's cursor. */
  readonly taken: ReadonlySet<number>;
}

const KNOWN = statement(
  'known_occurrences',
  `select o.*, r.state as run_state from unnest($1::uuid[], $2::bigint[]) k (schedule_id, cursor_ms)
   cross join lateral (
     select schedule_id, at_ms, state, origin, open, round, tries, parallel, run_id from occurrences
     where schedule_id = k.schedule_id and open
     union all
     select schedule_id, at_ms, state, origin, open, round, tries, parallel, run_id from occurrences
     where schedule_id = k.schedule_id and at_ms > k.cursor_ms and not open
   ) o left join runs r on r.run_id = o.run_id`,
);

interface KnownColumns {
  schedule_id: ScheduleId;
  at_ms: number;
  state: OccurrenceState;
  origin: OccurrenceOrigin;
  open: boolean;
  round: number;
  tries: number;
  parallel: number;
  run_id: RunId | null;
  run_state: RunState | null;
}

/** Loads what matters of the occurrences of schedules that the transaction has locked, in their order. */
export async function knownOccurrences(tx: Tx, schedules: readonly DueSchedule[]): Promise<KnownOccurrences[]> {
  const rows = await rowsOf<KnownColumns>(tx, KNOWN, [
    plain(schedules, ({ scheduleId }) => scheduleId),
    plain(schedules, ({ cursorMs }) => cursorMs),
  ]);
  const bySchedule = Map.groupBy(rows, (row) => row.schedule_id);
  return schedules.map(({ scheduleId, cursorMs }) => toKnown(bySchedule.get(scheduleId) ?? [], cursorMs));
}

function toKnown(rows: readonly KnownColumns[], cursorMs: number): KnownOccurrences {
  const open = rows.filter((row) => row.open);
  // A run that is gone has finished before.
  const isOver = ({ run_id, run_state }: KnownColumns): boolean =>
    run_id !== null && (run_state === null || isRunFinished(run_state));
  return {
    open: open.filter((row) => !isOver(row)).map(toOpen),
    tries: new Map(
      open.filter((row) => row.run_id === null).map(({ at_ms, round, tries }) => [at_ms, { round, tries }]),
    ),
    finished: open.filter(isOver).map(({ at_ms }) => at_ms),
    taken: new Set(rows.filter(({ at_ms }) => at_ms > cursorMs).map(({ at_ms }) => at_ms)),
  };
}

function toOpen({ at_ms: atMs, origin, state, parallel, run_id: runId, run_state }: KnownColumns): OpenOccurrence {
  if (runId !== null) return { atMs, origin, state: 'STARTED', runId, cancelling: run_state === 'CANCELLING' };
  return state === 'QUEUED' ? { atMs, origin, state, parallel } : { atMs, origin, state: 'STARTING' };
}

/** What a decision leaves to be written about one schedule. */
export interface ScheduleWrite {
  readonly schedule: DueSchedule;
  readonly outcomes: readonly OccurrenceOutcome[];
  /** Times that are tried again to start. */
  readonly retried: readonly number[];
  readonly finished: readonly number[];
  readonly cursorMs: number;
  readonly dueMs: number | undefined;
  /** Until when the schedule is held; it is due then, too. */
  readonly heldMs: number | undefined;
}

const INSERT_OCCURRENCES = statement(
  'insert_occurrences',
  `insert into occurrences (schedule_id, at_ms, project, state, origin, open, skip, tries, decided_ms)
   select u.schedule_id, u.at_ms, u.project, u.state, 'TIME', u.skip is null, u.skip, (u.state = 'STARTING')::int, $6
   from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[]) u (schedule_id, at_ms, project, state, skip)`,
);
const MOVE_OCCURRENCES = statement(
  'move_occurrences',
  `update occurrences o set state = u.state, skip = u.skip, open = u.skip is null, tries = (u.state = 'STARTING')::int, decided_ms = $5
   from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) u (schedule_id, at_ms, state, skip)
   where o.schedule_id = u.schedule_id and o.at_ms = u.at_ms and o.state = 'QUEUED'`,
);
const RETRY_OCCURRENCES = statement(
  'retry_occurrences',
  `update occurrences o set tries = o.tries + 1 from unnest($1::uuid[], $2::bigint[]) u (schedule_id, at_ms)
   where o.schedule_id = u.schedule_id and o.at_ms = u.at_ms and o.state = 'STARTING'`,
);
const CLOSE_OCCURRENCES = statement(
  'close_occurrences',
  `update occurrences o set open = false from unnest($1::uuid[], $2::bigint[]) u (schedule_id, at_ms)
   where o.schedule_id = u.schedule_id and o.at_ms = u.at_ms and o.state = 'STARTED'`,
);
const MOVE_SCHEDULES = statement(
  'move_schedules',
  `update schedules s set cursor_ms = u.cursor_ms, due_ms = coalesce(u.held_ms, u.due_ms), held_ms = u.held_ms,
     unpruned = case when s.unpruned + u.added >= $6 then 0 else s.unpruned + u.added end
   from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::int[]) u (schedule_id, cursor_ms, due_ms, held_ms, added)
   where s.schedule_id = u.schedule_id
   returning s.schedule_id, s.unpruned = 0 and u.added > 0 as prune`,
);
/** The rows of a schedule are few enough to walk along its key now and then. */
const PRUNE_OCCURRENCES = statement(
  'prune_occurrences',
  `delete from occurrences where (schedule_id, at_ms) in (
     select c.schedule_id, c.at_ms from unnest($1::uuid[]) k (schedule_id) cross join lateral (
       select schedule_id, at_ms, open from occurrences where schedule_id = k.schedule_id order by at_ms desc offset $2
     ) c where not c.open)`,
);

/** Records of one schedule that are kept; a few hundred more are dropped only with the next ones. */
const KEPT_OCCURRENCES = 10_000;
const PRUNE_EVERY = 500;

/** Writes decisions on schedules that the transaction has locked. */
export async function writeDecisions(tx: Tx, writes: readonly ScheduleWrite[], nowMs: number): Promise<void> {
  const outcomes = writes.flatMap(({ schedule, outcomes: of }) => of.map((outcome) => ({ schedule, outcome })));
  const added = outcomes.filter(({ outcome }) => outcome.isNew);
  const moved = outcomes.filter(({ outcome }) => !outcome.isNew);
  const skipOf = ({ outcome }: { outcome: OccurrenceOutcome }): string | undefined =>
    outcome.state === 'SKIPPED' ? outcome.skip : undefined;
  if (added.length > 0) {
    await execute(tx, INSERT_OCCURRENCES, [
      plain(added, ({ schedule }) => schedule.scheduleId),
      plain(added, ({ outcome }) => outcome.atMs),
      texts(added, ({ schedule }) => schedule.project),
      plain(added, ({ outcome }) => outcome.state),
      plain(added, skipOf),
      nowMs,
    ]);
  }
  if (moved.length > 0) {
    const touched = await execute(tx, MOVE_OCCURRENCES, [
      plain(moved, ({ schedule }) => schedule.scheduleId),
      plain(moved, ({ outcome }) => outcome.atMs),
      plain(moved, ({ outcome }) => outcome.state),
      plain(moved, skipOf),
      nowMs,
    ]);
    expectTouched('occurrences', touched, moved.length);
  }
  await touch(tx, RETRY_OCCURRENCES, writes, ({ retried }) => retried);
  await touch(tx, CLOSE_OCCURRENCES, writes, ({ finished }) => finished);
  const rows = await rowsOf<{ schedule_id: ScheduleId; prune: boolean }>(tx, MOVE_SCHEDULES, [
    plain(writes, ({ schedule }) => schedule.scheduleId),
    plain(writes, ({ cursorMs }) => cursorMs),
    plain(writes, ({ dueMs }) => dueMs),
    plain(writes, ({ heldMs }) => heldMs),
    plain(writes, ({ outcomes: of }) => of.filter(({ isNew }) => isNew).length),
    PRUNE_EVERY,
  ]);
  expectTouched('schedules', rows.length, writes.length);
  const full = rows.filter(({ prune }) => prune).map(({ schedule_id }) => schedule_id);
  if (full.length > 0) await execute(tx, PRUNE_OCCURRENCES, [plain(full, (id) => id), KEPT_OCCURRENCES]);
}

async function touch(
  tx: Tx,
  of: typeof RETRY_OCCURRENCES,
  writes: readonly ScheduleWrite[],
  timesOf: (write: ScheduleWrite) => readonly number[],
): Promise<void> {
  const keys = writes.flatMap((write) => timesOf(write).map((atMs) => ({ id: write.schedule.scheduleId, atMs })));
  if (keys.length === 0) return;
  await execute(tx, of, [plain(keys, ({ id }) => id), plain(keys, ({ atMs }) => atMs)]);
}
