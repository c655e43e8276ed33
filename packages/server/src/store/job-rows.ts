// The rows of jobs, loaded and written for one flush by who has locked their runs.
import type { JobKey, RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { HoldBack, JobDetails, JobRecord, JobWait, StopRequest } from '../core/run-state.ts';
import type { Failure, JobState } from '../core/states.ts';
import { expectTouched } from './ledger-rows.ts';
import { execute, jsons, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

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
  details: JobDetails | null;
}

const JOB_COLUMNS = `j.run_id, j.job, j.state, j.attempt, j.unmet, j.bad_needs, j.spent, j.ready_ms, j.queued_ms, j.started_ms,
  j.finished_ms, j.wait, j.hold, j.instance_no, j.attempt_started_ms, j.heard_ms, j.stop, j.failure, j.failure_allowed, j.inherited_from,
  j.inherited_outputs, j.details`;

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
    ...(row.details !== null && { details: row.details }),
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
        ...(row.inherited_outputs !== null && { outputs: row.inherited_outputs }),
      };
  }
}

/** A column that a CHECK constraint says is there. */
function present<T>(value: T | null): T {
  if (value === null) throw new Error('a row contradicts its constraints');
  return value;
}

export interface JobWrite {
  readonly key: JobKey;
  readonly project: string;
  readonly record: JobRecord;
  readonly dueMs: number | undefined;
  /** True: its details are as they are stored. */
  readonly detailsKept?: boolean;
}

const JOB_ARRAYS = `$1::uuid[], $2::int[], $3::text[], $4::int[], $5::int[], $6::int[], $7::json[], $8::bigint[], $9::bigint[],
  $10::bigint[], $11::bigint[], $12::json[], $13::bigint[], $14::bigint[], $15::json[], $16::json[], $17::boolean[], $18::bigint[],
  $19::json[], $20::bigint[], $21::json[], $22::json[]`;

const UPDATE_JOBS = statement(
  'update_jobs',
  `update jobs j set state = u.state, attempt = u.attempt, unmet = u.unmet, bad_needs = u.bad_needs, spent = u.spent,
     ready_ms = u.ready_ms, queued_ms = u.queued_ms, started_ms = u.started_ms, finished_ms = u.finished_ms, wait = u.wait,
     instance_no = u.instance_no, attempt_started_ms = u.attempt_started_ms, stop = u.stop, failure = u.failure,
     failure_allowed = u.failure_allowed, due_ms = u.due_ms, hold = u.hold, heard_ms = u.heard_ms,
     details = coalesce(u.details, j.details), inherited_outputs = coalesce(u.inherited_outputs, j.inherited_outputs)
   from unnest(${JOB_ARRAYS}) u (run_id, job, state, attempt, unmet, bad_needs, spent, ready_ms, queued_ms, started_ms, finished_ms,
     wait, instance_no, attempt_started_ms, stop, failure, failure_allowed, due_ms, hold, heard_ms, details, inherited_outputs)
   where j.run_id = u.run_id and j.job = u.job`,
);

const INSERT_JOBS = statement(
  'insert_jobs',
  `insert into jobs (run_id, job, state, attempt, unmet, bad_needs, spent, ready_ms, queued_ms, started_ms, finished_ms, wait,
     instance_no, attempt_started_ms, stop, failure, failure_allowed, due_ms, hold, heard_ms, details, inherited_outputs, project,
     inherited_from)
   select * from unnest(${JOB_ARRAYS}, $23::text[], $24::text[])`,
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
    jsons(rows, (row) => (row.detailsKept === true ? undefined : row.record.details)),
    jsons(rows, (row) => ('outputs' in row.record ? row.record.outputs : undefined)),
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
  ]);
}
