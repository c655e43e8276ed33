// The rows of the ledger and of its projection: locked, loaded and written for one flush. Lock order: runs, instances, attempts.
// Rows are loaded in a statement of its own after the lock, because a join under FOR UPDATE reads what was before the lock.
import type { AttemptContent } from '../core/commands.ts';
import { upcast, versionOf } from '../core/event-versions.ts';
import type { RunEvent } from '../core/events.ts';
import type { JobKey, RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { HoldBack, JobRecord, JobWait, RunHeader, StopRequest } from '../core/run-state.ts';
import type { AttemptState, Failure, JobState, LogState, RunState } from '../core/states.ts';
import { execute, jsons, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

export interface RunRow {
  readonly runId: RunId;
  readonly project: string;
  /** Hexadecimal digits of the definition's digest. */
  readonly digest: string;
  readonly pipeline: string | undefined;
  readonly params: JsonObject;
  readonly traceparent: string;
  readonly header: RunHeader;
}

interface RunColumns {
  run_id: RunId;
  project: string;
  digest: string;
  pipeline: string | null;
  params: JsonObject;
  traceparent: string;
  state: RunState;
  seq: number;
  last_ms: number;
  total: number;
  open: number;
  succeeded: number;
  failed: number;
  failure_allowed: number;
  skipped: number;
  cancelled: number;
  cancel: { reason: string; force: boolean } | null;
  pause: HoldBack | null;
  started_ms: number | null;
  finished_ms: number | null;
}

const LOCK_FREE_RUNS = statement(
  'lock_free_runs',
  'select run_id, seq from runs where run_id = any($1::uuid[]) order by run_id for no key update skip locked',
);
const LOCK_RUNS = statement(
  'lock_runs',
  'select run_id, seq from runs where run_id = any($1::uuid[]) order by run_id for no key update',
);

/**
 * Locks runs, in order of their ids, and tells the number of their newest event as of the lock.
 * @param wait False: runs that somebody else holds are left out.
 */
export async function lockRuns(tx: Tx, runIds: readonly RunId[], wait: boolean): Promise<ReadonlyMap<RunId, number>> {
  const rows = await rowsOf<{ run_id: RunId; seq: number }>(tx, wait ? LOCK_RUNS : LOCK_FREE_RUNS, [
    plain(runIds, (id) => id),
  ]);
  return new Map(rows.map((row) => [row.run_id, row.seq]));
}

const LOAD_RUNS = statement(
  'load_runs',
  `select run_id, project, encode(digest, 'hex') as digest, pipeline, params, traceparent, state, seq, last_ms, total, open,
     succeeded, failed, failure_allowed, skipped, cancelled, cancel, pause, started_ms, finished_ms
   from runs where run_id = any($1::uuid[])`,
);

/** Loads runs that the transaction has locked. */
export async function loadRuns(tx: Tx, runIds: readonly RunId[]): Promise<RunRow[]> {
  const rows = await rowsOf<RunColumns>(tx, LOAD_RUNS, [plain(runIds, (id) => id)]);
  return rows.map((row) => ({
    runId: row.run_id,
    project: row.project,
    digest: row.digest,
    pipeline: row.pipeline ?? undefined,
    params: row.params,
    traceparent: row.traceparent,
    header: {
      state: row.state,
      seq: row.seq,
      lastMs: row.last_ms,
      counts: {
        total: row.total,
        open: row.open,
        succeeded: row.succeeded,
        failed: row.failed,
        failureAllowed: row.failure_allowed,
        skipped: row.skipped,
        cancelled: row.cancelled,
      },
      ...(row.cancel !== null && { cancel: row.cancel }),
      ...(row.pause !== null && { pause: row.pause }),
      ...(row.started_ms !== null && { startedMs: row.started_ms }),
      ...(row.finished_ms !== null && { finishedMs: row.finished_ms }),
    },
  }));
}

const RUNS_EXIST = statement('runs_exist', 'select run_id from runs where run_id = any($1::uuid[])');

/** Which of these runs exist, without a lock. */
export async function existingRuns(tx: Tx, runIds: readonly RunId[]): Promise<Set<RunId>> {
  const rows = await rowsOf<{ run_id: RunId }>(tx, RUNS_EXIST, [plain(runIds, (id) => id)]);
  return new Set(rows.map((row) => row.run_id));
}

const RUN_ORIGINS = statement(
  'run_origins',
  `select run_id, project, encode(digest, 'hex') as digest, pipeline, params, traceparent from runs where run_id = any($1::uuid[])`,
);

/** What of a run never changes. */
export type RunOrigin = Omit<RunRow, 'header'>;

export async function runOrigins(tx: Tx, runIds: readonly RunId[]): Promise<RunOrigin[]> {
  const rows = await rowsOf<Pick<RunColumns, 'run_id' | 'project' | 'digest' | 'pipeline' | 'params' | 'traceparent'>>(
    tx,
    RUN_ORIGINS,
    [plain(runIds, (id) => id)],
  );
  return rows.map((row) => ({
    runId: row.run_id,
    project: row.project,
    digest: row.digest,
    pipeline: row.pipeline ?? undefined,
    params: row.params,
    traceparent: row.traceparent,
  }));
}

const CLOCK = statement('clock', 'select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms');

/** The database's clock, now. To be read after the locks of a transaction. */
export async function readClock(tx: Tx): Promise<number> {
  const [row] = await rowsOf<{ now_ms: number }>(tx, CLOCK, []);
  if (row === undefined) throw new Error('the database did not tell the time');
  return row.now_ms;
}

interface JobColumns {
  run_id: RunId;
  job: number;
  state: JobState;
  attempt: number;
  unmet: number;
  bad_needs: number;
  spent: JobRecord['spent'] | null;
  ready_ms: number | null;
  queued_ms: number | null;
  started_ms: number | null;
  finished_ms: number | null;
  wait: JobWait | null;
  hold: HoldBack | null;
  instance_no: number | null;
  attempt_started_ms: number | null;
  heard_ms: number | null;
  stop: StopRequest | null;
  failure: Failure | null;
  failure_allowed: boolean;
  inherited_from: string | null;
  inherited_outputs: JsonObject | null;
}

const JOB_COLUMNS = `j.run_id, j.job, j.state, j.attempt, j.unmet, j.bad_needs, j.spent, j.ready_ms, j.queued_ms, j.started_ms,
  j.finished_ms, j.wait, j.hold, j.instance_no, j.attempt_started_ms, j.heard_ms, j.stop, j.failure, j.failure_allowed, j.inherited_from, j.inherited_outputs`;

const LOAD_JOBS = statement(
  'load_jobs',
  `select ${JOB_COLUMNS} from unnest($1::uuid[], $2::int[]) k (run_id, job)
   join jobs j on j.run_id = k.run_id and j.job = k.job`,
);
const LOAD_ALL_JOBS = statement('load_all_jobs', `select ${JOB_COLUMNS} from jobs j where j.run_id = any($1::uuid[])`);

export interface LoadedJob {
  readonly key: JobKey;
  readonly record: JobRecord;
}

/** Loads jobs of runs that the transaction has locked. */
export async function loadJobs(tx: Tx, keys: readonly JobKey[]): Promise<LoadedJob[]> {
  const rows = await rowsOf<JobColumns>(tx, LOAD_JOBS, [
    plain(keys, (key) => key.runId),
    plain(keys, (key) => key.job),
  ]);
  return rows.map(toLoadedJob);
}

/** Loads every job of runs that the transaction has locked. */
export async function loadAllJobs(tx: Tx, runIds: readonly RunId[]): Promise<LoadedJob[]> {
  return (await rowsOf<JobColumns>(tx, LOAD_ALL_JOBS, [plain(runIds, (id) => id)])).map(toLoadedJob);
}

function toLoadedJob(row: JobColumns): LoadedJob {
  return { key: { runId: row.run_id, job: row.job }, record: toJobRecord(row) };
}

function toJobRecord(row: JobColumns): JobRecord {
  const base = {
    attempt: row.attempt,
    unmet: row.unmet,
    badNeeds: row.bad_needs,
    spent: row.spent ?? {},
    ...(row.ready_ms !== null && { readyMs: row.ready_ms }),
    ...(row.queued_ms !== null && { queuedMs: row.queued_ms }),
    ...(row.started_ms !== null && { startedMs: row.started_ms }),
    ...(row.hold !== null && { hold: row.hold }),
  };
  switch (row.state) {
    case 'BLOCKED':
    case 'QUEUED':
      return { ...base, state: row.state };
    case 'WAITING':
      return { ...base, state: row.state, wait: present(row.wait) };
    case 'OFFERED':
    case 'RUNNING':
    case 'CANCELLING':
      return {
        ...base,
        state: row.state,
        live: {
          instance: present(row.instance_no),
          ...(row.attempt_started_ms !== null && { attemptStartedMs: row.attempt_started_ms }),
          ...(row.heard_ms !== null && { heardMs: row.heard_ms }),
          ...(row.stop !== null && { stop: row.stop }),
        },
      };
    case 'SUCCEEDED':
    case 'FAILED':
    case 'SKIPPED':
    case 'CANCELLED':
      return {
        ...base,
        state: row.state,
        finishedMs: present(row.finished_ms),
        ...(row.failure !== null && { failure: row.failure }),
        ...(row.failure_allowed && { failureAllowed: true }),
        ...(row.inherited_from !== null && { inheritedFrom: row.inherited_from }),
        ...(row.inherited_outputs !== null && { inheritedOutputs: row.inherited_outputs }),
      };
  }
}

/** A column that a CHECK constraint says is there. */
function present<T>(value: T | null): T {
  if (value === null) throw new Error('a row contradicts its constraints');
  return value;
}

const LOCK_ATTEMPTS = statement(
  'lock_attempts',
  `select a.run_id, a.job, a.attempt, a.state, a.log_size, a.log_crc32c, a.log_state, a.outputs, a.result, a.heard_ms,
     coalesce(json_array_length(a.annotations), 0) as annotations
   from attempts a
   where (a.run_id, a.job, a.attempt) in (select * from unnest($1::uuid[], $2::int[], $3::int[]))
   order by a.run_id, a.job, a.attempt for no key update of a`,
);

export interface LockedAttempt {
  readonly runId: RunId;
  readonly job: number;
  readonly attempt: number;
  readonly content: AttemptContent;
}

/** Locks attempts against the log writer and reads what is stored of them. */
export async function lockAttempts(
  tx: Tx,
  keys: readonly { readonly runId: RunId; readonly job: number; readonly attempt: number }[],
): Promise<LockedAttempt[]> {
  const rows = await rowsOf<{
    run_id: RunId;
    job: number;
    attempt: number;
    state: AttemptState;
    log_size: number;
    log_crc32c: number;
    log_state: LogState;
    outputs: JsonObject | null;
    result: string | null;
    heard_ms: number | null;
    annotations: number;
  }>(tx, LOCK_ATTEMPTS, [
    plain(keys, (key) => key.runId),
    plain(keys, (key) => key.job),
    plain(keys, (key) => key.attempt),
  ]);
  return rows.map((row) => ({
    runId: row.run_id,
    job: row.job,
    attempt: row.attempt,
    content: {
      state: row.state,
      logSize: row.log_size,
      logCrc32c: row.log_crc32c,
      logState: row.log_state,
      annotations: row.annotations,
      ...(row.outputs !== null && { outputs: row.outputs }),
      ...(row.result !== null && { result: row.result }),
      ...(row.heard_ms !== null && { heardMs: row.heard_ms }),
    },
  }));
}

const UPDATE_RUNS = statement(
  'update_runs',
  `update runs r set state = u.state, seq = u.seq, last_ms = u.last_ms, open = u.open, succeeded = u.succeeded, failed = u.failed,
     failure_allowed = u.failure_allowed, skipped = u.skipped, cancelled = u.cancelled, cancel = u.cancel, started_ms = u.started_ms,
     finished_ms = u.finished_ms, pause = u.pause
   from unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::int[], $6::int[], $7::int[], $8::int[], $9::int[], $10::int[],
     $11::json[], $12::bigint[], $13::bigint[], $14::json[]) u (run_id, state, seq, last_ms, open, succeeded, failed, failure_allowed,
     skipped, cancelled, cancel, started_ms, finished_ms, pause)
   where r.run_id = u.run_id`,
);

export async function updateRuns(
  tx: Tx,
  rows: readonly { readonly runId: RunId; readonly header: RunHeader }[],
): Promise<void> {
  const touched = await execute(tx, UPDATE_RUNS, [
    plain(rows, (row) => row.runId),
    plain(rows, (row) => row.header.state),
    plain(rows, (row) => row.header.seq),
    plain(rows, (row) => row.header.lastMs),
    plain(rows, (row) => row.header.counts.open),
    plain(rows, (row) => row.header.counts.succeeded),
    plain(rows, (row) => row.header.counts.failed),
    plain(rows, (row) => row.header.counts.failureAllowed),
    plain(rows, (row) => row.header.counts.skipped),
    plain(rows, (row) => row.header.counts.cancelled),
    jsons(rows, (row) => row.header.cancel),
    plain(rows, (row) => row.header.startedMs),
    plain(rows, (row) => row.header.finishedMs),
    jsons(rows, (row) => row.header.pause),
  ]);
  expectTouched('runs', touched, rows.length);
}

export interface JobWrite {
  readonly key: JobKey;
  readonly project: string;
  readonly record: JobRecord;
  readonly dueMs: number | undefined;
}

const JOB_ARRAYS = `$1::uuid[], $2::int[], $3::text[], $4::int[], $5::int[], $6::int[], $7::json[], $8::bigint[], $9::bigint[],
  $10::bigint[], $11::bigint[], $12::json[], $13::bigint[], $14::bigint[], $15::json[], $16::json[], $17::boolean[], $18::bigint[],
  $19::json[], $20::bigint[]`;

const UPDATE_JOBS = statement(
  'update_jobs',
  `update jobs j set state = u.state, attempt = u.attempt, unmet = u.unmet, bad_needs = u.bad_needs, spent = u.spent,
     ready_ms = u.ready_ms, queued_ms = u.queued_ms, started_ms = u.started_ms, finished_ms = u.finished_ms, wait = u.wait,
     instance_no = u.instance_no, attempt_started_ms = u.attempt_started_ms, stop = u.stop, failure = u.failure,
     failure_allowed = u.failure_allowed, due_ms = u.due_ms, hold = u.hold, heard_ms = u.heard_ms
   from unnest(${JOB_ARRAYS}) u (run_id, job, state, attempt, unmet, bad_needs, spent, ready_ms, queued_ms, started_ms, finished_ms,
     wait, instance_no, attempt_started_ms, stop, failure, failure_allowed, due_ms, hold, heard_ms)
   where j.run_id = u.run_id and j.job = u.job`,
);

const INSERT_JOBS = statement(
  'insert_jobs',
  `insert into jobs (run_id, job, state, attempt, unmet, bad_needs, spent, ready_ms, queued_ms, started_ms, finished_ms, wait,
     instance_no, attempt_started_ms, stop, failure, failure_allowed, due_ms, hold, heard_ms, project, inherited_from, inherited_outputs)
   select * from unnest(${JOB_ARRAYS}, $21::text[], $22::text[], $23::json[])`,
);

function jobColumns(rows: readonly JobWrite[]): string[] {
  return [
    plain(rows, (row) => row.key.runId),
    plain(rows, (row) => row.key.job),
    plain(rows, (row) => row.record.state),
    plain(rows, (row) => row.record.attempt),
    plain(rows, (row) => row.record.unmet),
    plain(rows, (row) => row.record.badNeeds),
    jsons(rows, (row) => (isEmpty(row.record.spent) ? undefined : row.record.spent)),
    plain(rows, (row) => row.record.readyMs),
    plain(rows, (row) => row.record.queuedMs),
    plain(rows, (row) => row.record.startedMs),
    plain(rows, (row) => ('finishedMs' in row.record ? row.record.finishedMs : undefined)),
    jsons(rows, (row) => ('wait' in row.record ? row.record.wait : undefined)),
    plain(rows, (row) => ('live' in row.record ? row.record.live.instance : undefined)),
    plain(rows, (row) => ('live' in row.record ? row.record.live.attemptStartedMs : undefined)),
    jsons(rows, (row) => ('live' in row.record ? row.record.live.stop : undefined)),
    jsons(rows, (row) => ('failure' in row.record ? row.record.failure : undefined)),
    plain(rows, (row) => 'failureAllowed' in row.record && row.record.failureAllowed === true),
    plain(rows, (row) => row.dueMs),
    jsons(rows, (row) => row.record.hold),
    plain(rows, (row) => ('live' in row.record ? row.record.live.heardMs : undefined)),
  ];
}

function isEmpty(object: object): boolean {
  for (const _ in object) return false;
  return true;
}

export async function updateJobs(tx: Tx, rows: readonly JobWrite[]): Promise<void> {
  expectTouched('jobs', await execute(tx, UPDATE_JOBS, jobColumns(rows)), rows.length);
}

export async function insertJobs(tx: Tx, rows: readonly JobWrite[]): Promise<void> {
  await execute(tx, INSERT_JOBS, [
    ...jobColumns(rows),
    texts(rows, (row) => row.project),
    texts(rows, (row) => ('inheritedFrom' in row.record ? row.record.inheritedFrom : undefined)),
    jsons(rows, (row) => ('inheritedOutputs' in row.record ? row.record.inheritedOutputs : undefined)),
  ]);
}

export interface EventWrite {
  readonly runId: RunId;
  readonly project: string;
  readonly seq: number;
  readonly timeMs: number;
  readonly runState: RunState;
  readonly jobState: JobState | undefined;
  readonly event: RunEvent;
  /** True on the last event of a decision that changed what a list of runs shows. */
  readonly feed: boolean;
}

const INSERT_EVENTS = statement(
  'insert_events',
  `insert into events (run_id, project, seq, time_ms, version, type, run_state, job, job_state, data, feed_xid)
   select u.run_id, u.project, u.seq, u.time_ms, u.version, u.type, u.run_state, u.job, u.job_state, u.data,
     case when u.feed then pg_current_xact_id() end
   from unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::text[], $6::text[], $7::int[], $8::text[], $9::json[],
     $10::boolean[], $11::smallint[]) u (run_id, project, seq, time_ms, type, run_state, job, job_state, data, feed, version)`,
);

export async function insertEvents(tx: Tx, rows: readonly EventWrite[]): Promise<void> {
  await execute(tx, INSERT_EVENTS, [
    plain(rows, (row) => row.runId),
    texts(rows, (row) => row.project),
    plain(rows, (row) => row.seq),
    plain(rows, (row) => row.timeMs),
    plain(rows, (row) => row.event.type),
    plain(rows, (row) => row.runState),
    plain(rows, (row) => ('job' in row.event ? row.event.job : undefined)),
    plain(rows, (row) => row.jobState),
    jsons(rows, (row) => eventData(row.event)),
    plain(rows, (row) => row.feed),
    plain(rows, (row) => versionOf(row.event)),
  ]);
}

/** What of an event has no column of its own. */
function eventData(event: RunEvent): object {
  if (!('job' in event)) return { ...event, type: undefined };
  return { ...event, type: undefined, job: undefined };
}

/** The event that a row holds, whatever build wrote it. */
export function eventOf(version: number, type: string, job: number | null, data: object): RunEvent {
  return upcast(version, { type, ...(job !== null && { job }), ...data } as RunEvent);
}

/** A compare-and-set that missed means that a lock did not hold what it promised. */
export function expectTouched(what: string, touched: number, expected: number): void {
  if (touched !== expected) throw new Error(`${touched} of ${expected} ${what} were written`);
}
