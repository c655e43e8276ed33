// The rows of attempts, as the events of a flush change them.
import type { AttemptContent } from '../core/commands.ts';
import type { Annotation, RunEvent } from '../core/events.ts';
import type { AttemptKey, RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { StopRequest } from '../core/run-state.ts';
import type { AttemptState, EndedAttemptState, LogState } from '../core/states.ts';
import { type ArtifactInsert, insertArtifacts } from './artifact-rows.ts';
import { expectTouched } from './ledger-rows.ts';
import { execute, jsons, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

export interface AttemptInsert {
  readonly key: AttemptKey;
  readonly project: string;
  readonly instance: number;
  readonly offeredMs: number;
}

const INSERT_ATTEMPTS = statement(
  'insert_attempts',
  `insert into attempts (run_id, job, attempt, project, instance_no, offered_ms, state)
   select *, 'OFFERED' from unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::bigint[], $6::bigint[])`,
);

export async function insertAttempts(tx: Tx, rows: readonly AttemptInsert[]): Promise<void> {
  await execute(tx, INSERT_ATTEMPTS, [
    ...keyColumns(rows),
    texts(rows, (row) => row.project),
    plain(rows, (row) => row.instance),
    plain(rows, (row) => row.offeredMs),
  ]);
}

/** What the events of one flush did to one attempt. */
export interface AttemptChange {
  readonly key: AttemptKey;
  startedMs?: number;
  ended?: Extract<RunEvent, { type: 'AttemptEnded' }> & { readonly finishedMs: number; readonly result?: string };
  annotations?: Annotation[];
  artifacts?: ArtifactInsert[];
  /** When it annotated, or appended jobs, last. */
  heardMs?: number;
}

const START_ATTEMPTS = statement(
  'start_attempts',
  `update attempts a set state = 'RUNNING', started_ms = u.started_ms
   from unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[]) u (run_id, job, attempt, started_ms)
   where a.run_id = u.run_id and a.job = u.job and a.attempt = u.attempt and a.state = 'OFFERED'`,
);

// Told by the state: "finished_ms is null" would let the planner read the whole index of live attempts.
const END_ATTEMPTS = statement(
  'end_attempts',
  `update attempts a set state = u.state, finished_ms = u.finished_ms, failure = u.failure, log_state = u.log_state, result = u.result,
     progress = null
   from unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::bigint[], $6::json[], $7::text[], $8::text[])
     u (run_id, job, attempt, state, finished_ms, failure, log_state, result)
   where a.run_id = u.run_id and a.job = u.job and a.attempt = u.attempt and a.state in ('OFFERED', 'RUNNING')`,
);

const ANNOTATE_ATTEMPTS = statement(
  'annotate_attempts',
  `update attempts a set annotations = (coalesce(a.annotations, '[]')::jsonb || u.annotations)::json,
     heard_ms = greatest(a.heard_ms, u.heard_ms)
   from unnest($1::uuid[], $2::int[], $3::int[], $4::jsonb[], $5::bigint[]) u (run_id, job, attempt, annotations, heard_ms)
   where a.run_id = u.run_id and a.job = u.job and a.attempt = u.attempt and a.state = 'RUNNING'`,
);

type Ended = NonNullable<AttemptChange['ended']>;

/** Starts attempts, annotates them, adds artifacts and ends them, in this order. */
export async function changeAttempts(tx: Tx, changes: readonly AttemptChange[]): Promise<void> {
  const started = changes.filter((change) => change.startedMs !== undefined);
  const annotated = changes.filter((change) => change.heardMs !== undefined);
  const artifacts = changes.flatMap((change) => change.artifacts ?? []);
  const ended = changes.filter((change): change is AttemptChange & { ended: Ended } => change.ended !== undefined);
  await Promise.all([
    started.length > 0 && startAttempts(tx, started),
    annotated.length > 0 && annotateAttempts(tx, annotated),
    artifacts.length > 0 && insertArtifacts(tx, artifacts),
    ended.length > 0 && endAttempts(tx, ended),
  ]);
}

async function startAttempts(tx: Tx, changes: readonly AttemptChange[]): Promise<void> {
  const columns = [...keyColumns(changes), plain(changes, (change) => change.startedMs)];
  expectTouched('starting attempts', await execute(tx, START_ATTEMPTS, columns), changes.length);
}

async function annotateAttempts(tx: Tx, changes: readonly AttemptChange[]): Promise<void> {
  const columns = [
    ...keyColumns(changes),
    jsons(changes, (change) => change.annotations ?? []),
    plain(changes, (change) => change.heardMs),
  ];
  expectTouched('annotated attempts', await execute(tx, ANNOTATE_ATTEMPTS, columns), changes.length);
}

async function endAttempts(tx: Tx, changes: readonly (AttemptChange & { ended: Ended })[]): Promise<void> {
  const touched = await execute(tx, END_ATTEMPTS, [
    ...keyColumns(changes),
    plain(changes, (change) => change.ended.state satisfies EndedAttemptState),
    plain(changes, (change) => change.ended.finishedMs),
    jsons(changes, (change) => change.ended.failure),
    plain(changes, (change) => change.ended.logState),
    texts(changes, (change) => change.ended.result),
  ]);
  expectTouched('ending attempts', touched, changes.length);
}

function keyColumns(rows: readonly { readonly key: AttemptKey }[]): string[] {
  return [
    plain(rows, (row) => row.key.runId),
    plain(rows, (row) => row.key.job),
    plain(rows, (row) => row.key.attempt),
  ];
}

const LOCK_ATTEMPTS = statement(
  'lock_attempts',
  `select a.run_id, a.job, a.attempt, a.state, a.log_size, a.log_crc32c, a.log_state, a.outputs, a.result, a.heard_ms,
     coalesce(json_array_length(a.annotations), 0) as annotations, a.artifacts
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
    artifacts: number;
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
      artifacts: row.artifacts,
      ...(row.outputs !== null && { outputs: row.outputs }),
      ...(row.result !== null && { result: row.result }),
      ...(row.heard_ms !== null && { heardMs: row.heard_ms }),
    },
  }));
}

const LIVE_ATTEMPTS = statement(
  'live_attempts',
  `select a.run_id, a.job, a.attempt, a.instance_no, a.state, a.started_ms, a.log_size, a.log_crc32c, a.checkpoint, j.stop,
     coalesce(json_array_length(a.annotations), 0) as annotations, coalesce((a.value_write ->> 'number')::int, 0) as value_number,
     a.artifacts
   from attempts a join jobs j on j.run_id = a.run_id and j.job = a.job
   where a.instance_no = any($1::bigint[]) and a.finished_ms is null order by a.run_id, a.job`,
);

export interface LiveAttemptRow {
  readonly key: AttemptKey;
  readonly instance: number;
  readonly state: 'OFFERED' | 'RUNNING';
  readonly startedMs: number | undefined;
  readonly logSize: number;
  readonly logCrc32c: number;
  readonly checkpoint: Uint8Array;
  /** How many it has. */
  readonly annotations: number;
  /** The number of the last change that its driver made of a value. */
  readonly valueNumber: number;
  /** How many it has. */
  readonly artifacts: number;
  /** How it is being stopped. */
  readonly stop: StopRequest | undefined;
}

/** Every attempt that these instances hold by the ledger. */
export async function liveAttempts(tx: Tx, instances: readonly number[]): Promise<LiveAttemptRow[]> {
  const rows = await rowsOf<{
    run_id: AttemptKey['runId'];
    job: number;
    attempt: number;
    instance_no: number;
    state: 'OFFERED' | 'RUNNING';
    started_ms: number | null;
    log_size: number;
    log_crc32c: number;
    checkpoint: Uint8Array | null;
    stop: StopRequest | null;
    annotations: number;
    value_number: number;
    artifacts: number;
  }>(tx, LIVE_ATTEMPTS, [plain(instances, (no) => no)]);
  return rows.map((row) => ({
    key: { runId: row.run_id, job: row.job, attempt: row.attempt },
    instance: row.instance_no,
    state: row.state,
    startedMs: row.started_ms ?? undefined,
    logSize: row.log_size,
    logCrc32c: row.log_crc32c,
    checkpoint: row.checkpoint ?? new Uint8Array(),
    annotations: row.annotations,
    valueNumber: row.value_number,
    artifacts: row.artifacts,
    stop: row.stop ?? undefined,
  }));
}

const HOLDS_ANYTHING = statement(
  'holds_anything',
  'select 1 from attempts where instance_no = any($1::bigint[]) and finished_ms is null limit 1',
);

/** Whether any of these instances holds an attempt by the ledger. */
export async function holdsAnything(tx: Tx, instances: readonly number[]): Promise<boolean> {
  return (await rowsOf(tx, HOLDS_ANYTHING, [plain(instances, (no) => no)])).length > 0;
}

const ATTEMPT_STATES = statement(
  'attempt_states',
  `select a.run_id, a.job, a.attempt, a.instance_no, a.state, a.log_state, a.result is not null as has_result
   from unnest($1::uuid[], $2::int[], $3::int[]) u (run_id, job, attempt)
   join attempts a on a.run_id = u.run_id and a.job = u.job and a.attempt = u.attempt`,
);

export interface AttemptStateRow {
  readonly key: AttemptKey;
  readonly instance: number;
  readonly state: AttemptState;
  readonly logState: LogState;
  /** Whether it ended by its driver's own word. */
  readonly hasResult: boolean;
}

export async function attemptStates(tx: Tx, keys: readonly AttemptKey[]): Promise<AttemptStateRow[]> {
  const rows = await rowsOf<{
    run_id: AttemptKey['runId'];
    job: number;
    attempt: number;
    instance_no: number;
    state: AttemptState;
    log_state: LogState;
    has_result: boolean;
  }>(tx, ATTEMPT_STATES, keyColumns(keys.map((key) => ({ key }))));
  return rows.map((row) => ({
    key: { runId: row.run_id, job: row.job, attempt: row.attempt },
    instance: row.instance_no,
    state: row.state,
    logState: row.log_state,
    hasResult: row.has_result,
  }));
}
