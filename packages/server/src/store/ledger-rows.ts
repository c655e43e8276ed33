// The rows of the ledger and of its projection: locked, loaded and written for one flush. Lock order: runs, instances, attempts.
// Rows are loaded in a statement of its own after the lock, because a join under FOR UPDATE reads what was before the lock.
import { upcast, versionOf } from '../core/event-versions.ts';
import { CALL_TRIGGER, callerOf, type RunEvent, type Trigger } from '../core/events.ts';
import type { JobKey, RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { HoldBack, RunFacts, RunHeader } from '../core/run-state.ts';
import type { JobState, RunState } from '../core/states.ts';
import type { JobCounts } from '../core/views.ts';
import { execute, jsons, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

export interface RunRow {
  readonly runId: RunId;
  readonly project: string;
  /** Hexadecimal digits of the definition's digest. */
  readonly digest: string;
  readonly pipeline: string | undefined;
  readonly params: JsonObject;
  readonly traceparent: string;
  /** The call that made it, if one says so. */
  readonly caller: JobKey | undefined;
  readonly header: RunHeader;
}

export interface CountColumns {
  total: number;
  open: number;
  succeeded: number;
  failed: number;
  failure_allowed: number;
  skipped: number;
  cancelled: number;
}

interface RunColumns extends CountColumns {
  run_id: RunId;
  project: string;
  digest: string;
  pipeline: string | null;
  params: JsonObject;
  traceparent: string;
  caller: string | null;
  state: RunState;
  seq: number;
  last_ms: number;
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

const CALLER = `case when trigger ->> 'kind' = '${CALL_TRIGGER}' then trigger ->> 'reference' end as caller`;

const LOAD_RUNS = statement(
  'load_runs',
  `select run_id, project, encode(digest, 'hex') as digest, pipeline, params, traceparent, ${CALLER}, state, seq, last_ms, total, open,
     succeeded, failed, failure_allowed, skipped, cancelled, cancel, pause, started_ms, finished_ms
   from runs where run_id = any($1::uuid[])`,
);

/** Loads runs that the transaction has locked. */
export async function loadRuns(tx: Tx, runIds: readonly RunId[]): Promise<RunRow[]> {
  const rows = await rowsOf<RunColumns>(tx, LOAD_RUNS, [plain(runIds, (id) => id)]);
  return rows.map((row) => ({
    ...originOf(row),
    header: {
      state: row.state,
      seq: row.seq,
      lastMs: row.last_ms,
      counts: countsOf(row),
      ...(row.cancel !== null && { cancel: row.cancel }),
      ...(row.pause !== null && { pause: row.pause }),
      ...(row.started_ms !== null && { startedMs: row.started_ms }),
      ...(row.finished_ms !== null && { finishedMs: row.finished_ms }),
    },
  }));
}

/** How many jobs of a run there are in each state. */
export function countsOf(row: CountColumns): JobCounts {
  return {
    total: row.total,
    open: row.open,
    succeeded: row.succeeded,
    failed: row.failed,
    failureAllowed: row.failure_allowed,
    skipped: row.skipped,
    cancelled: row.cancelled,
  };
}

const PROJECTS_OF_RUNS = statement(
  'projects_of_runs',
  'select run_id, project from runs where run_id = any($1::uuid[])',
);

/** The projects of those of these runs that exist, without a lock. */
export async function projectsOfRuns(tx: Tx, runIds: readonly RunId[]): Promise<Map<RunId, string>> {
  const rows = await rowsOf<{ run_id: RunId; project: string }>(tx, PROJECTS_OF_RUNS, [plain(runIds, (id) => id)]);
  return new Map(rows.map((row) => [row.run_id, row.project]));
}

const RUN_ORIGINS = statement(
  'run_origins',
  `select run_id, project, encode(digest, 'hex') as digest, pipeline, params, traceparent, ${CALLER} from runs where run_id = any($1::uuid[])`,
);

/** What of a run never changes. */
export type RunOrigin = Omit<RunRow, 'header'>;

type OriginColumns = Pick<
  RunColumns,
  'run_id' | 'project' | 'digest' | 'pipeline' | 'params' | 'traceparent' | 'caller'
>;

export async function runOrigins(tx: Tx, runIds: readonly RunId[]): Promise<RunOrigin[]> {
  const rows = await rowsOf<OriginColumns>(tx, RUN_ORIGINS, [plain(runIds, (id) => id)]);
  return rows.map(originOf);
}

function originOf(row: OriginColumns): RunOrigin {
  return {
    runId: row.run_id,
    project: row.project,
    digest: row.digest,
    pipeline: row.pipeline ?? undefined,
    params: row.params,
    traceparent: row.traceparent,
    caller: row.caller === null ? undefined : callerOf({ kind: CALL_TRIGGER, reference: row.caller }),
  };
}

const RUN_FACTS = statement(
  'run_facts',
  'select run_id, project, pipeline, revision, params, labels, trigger from runs where run_id = any($1::uuid[])',
);

/** What the expressions of runs may read beside their jobs, without any outputs. */
export async function loadFacts(tx: Tx, runIds: readonly RunId[]): Promise<ReadonlyMap<RunId, RunFacts>> {
  const rows = await rowsOf<
    Pick<RunColumns, 'run_id' | 'project' | 'pipeline' | 'params'> & {
      revision: number | null;
      labels: Record<string, string>;
      trigger: Trigger;
    }
  >(tx, RUN_FACTS, [plain(runIds, (id) => id)]);
  return new Map(
    rows.map(({ run_id: runId, pipeline, revision, ...row }) => [
      runId,
      {
        ...row,
        runId,
        ...(pipeline !== null && { pipeline }),
        ...(revision !== null && { revision }),
        outputs: new Map(),
      },
    ]),
  );
}

const CLOCK = statement('clock', 'select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms');

/** The database's clock, now. To be read after the locks of a transaction. */
export async function readClock(tx: Tx): Promise<number> {
  const [row] = await rowsOf<{ now_ms: number }>(tx, CLOCK, []);
  if (row === undefined) throw new Error('the database did not tell the time');
  return row.now_ms;
}

const UPDATE_RUNS = statement(
  'update_runs',
  `update runs r set state = u.state, seq = u.seq, last_ms = u.last_ms, open = u.open, succeeded = u.succeeded, failed = u.failed,
     failure_allowed = u.failure_allowed, skipped = u.skipped, cancelled = u.cancelled, cancel = u.cancel, started_ms = u.started_ms,
     finished_ms = u.finished_ms, pause = u.pause, total = u.total, digest = coalesce(decode(u.digest, 'hex'), r.digest)
   from unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::int[], $6::int[], $7::int[], $8::int[], $9::int[], $10::int[],
     $11::json[], $12::bigint[], $13::bigint[], $14::json[], $15::int[], $16::text[]) u (run_id, state, seq, last_ms, open, succeeded, failed, failure_allowed,
     skipped, cancelled, cancel, started_ms, finished_ms, pause, total, digest)
   where r.run_id = u.run_id`,
);

export interface RunWrite {
  readonly runId: RunId;
  readonly header: RunHeader;
  /** That of its definition, when the run has grown. */
  readonly digest: string | undefined;
}

export async function updateRuns(tx: Tx, rows: readonly RunWrite[]): Promise<void> {
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
    plain(rows, (row) => row.header.counts.total),
    plain(rows, (row) => row.digest),
  ]);
  expectTouched('runs', touched, rows.length);
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
