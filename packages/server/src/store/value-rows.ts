// The values of runs. Who changes one holds the run's row, so what is read after that stays as it is until the commit.
// Lock order as everywhere: the run, then the instance that writes, then its attempt.
import type { AttemptKey, RunId } from '../core/ids.ts';
import type { JsonValue } from '../core/json.ts';
import type { StoredValues } from '../core/run-values.ts';
import type { AttemptState, RunState } from '../core/states.ts';
import type { Page, RunValueView } from '../core/views.ts';
import { sql } from 'kysely';
import { fetchPage, fetchRows, pageOf, tables } from './query.ts';
import { execute, rowsOf, statement, type Tx } from './sql.ts';

export interface LockedRun {
  readonly project: string;
  readonly state: RunState;
  /** The newest version of any value that it has or had. */
  readonly version: number;
}

const LOCK_RUN = statement(
  'lock_run_values',
  'select project, state, value_version as version from runs where run_id = $1 for no key update',
);

/** Locks a run against other changes of its values, and against its end; undefined when there is none. */
export async function lockRunValues(tx: Tx, runId: RunId): Promise<LockedRun | undefined> {
  return (await rowsOf<{ project: string; state: RunState; version: number }>(tx, LOCK_RUN, [runId]))[0];
}

const READ_STORED = statement(
  'stored_run_values',
  `select count(*)::int as keys, coalesce(sum(bytes), 0)::int as bytes,
     max(version) filter (where key = $2) as current_version, max(bytes) filter (where key = $2) as current_bytes
   from run_values where run_id = $1`,
);

/** What a locked run has of values. */
export async function readStored(tx: Tx, runId: RunId, run: LockedRun, key: string): Promise<StoredValues> {
  const [row] = await rowsOf<{
    keys: number;
    bytes: number;
    current_version: number | null;
    current_bytes: number | null;
  }>(tx, READ_STORED, [runId, key]);
  if (row === undefined) throw new Error('a count returned no row');
  const { keys, bytes, current_version: version, current_bytes: current } = row;
  return {
    state: run.state,
    version: run.version,
    keys,
    bytes,
    current: version === null || current === null ? undefined : { version, bytes: current },
  };
}

const PUT = statement(
  'put_run_value',
  `with counted as (update runs set value_version = $5 where run_id = $1)
   insert into run_values (run_id, key, project, value, bytes, version, updated_ms)
   values ($1, $2, $3, $4, $6, $5, floor(extract(epoch from clock_timestamp()) * 1000))
   on conflict (run_id, key) do update set value = excluded.value, bytes = excluded.bytes, version = excluded.version,
     updated_ms = excluded.updated_ms`,
);

/** Sets a value of a locked run. */
export async function putValue(
  tx: Tx,
  runId: RunId,
  project: string,
  row: { readonly key: string; readonly value: JsonValue; readonly bytes: number; readonly version: number },
): Promise<void> {
  await execute(tx, PUT, [runId, row.key, project, JSON.stringify(row.value), row.version, row.bytes]);
}

const DROP = statement('drop_run_value', 'delete from run_values where run_id = $1 and key = $2');

/** Deletes a value of a locked run. */
export async function dropValue(tx: Tx, runId: RunId, key: string): Promise<void> {
  await execute(tx, DROP, [runId, key]);
}

/** What the driver of an attempt changed last, by its own number, and the version that came of it; 0: there is none. */
export interface ValueWrite {
  readonly number: number;
  readonly version: number;
}

export interface ValueAttempt {
  readonly instance: number;
  readonly state: AttemptState;
  readonly lastWrite: ValueWrite | undefined;
}

const READ_ATTEMPT = statement(
  'value_attempt',
  'select instance_no as instance, state, value_write as last from attempts where run_id = $1 and job = $2 and attempt = $3',
);

/** Who holds an attempt of a locked run, and what it changed of its values last. */
export async function readAttempt(tx: Tx, key: AttemptKey): Promise<ValueAttempt | undefined> {
  const [row] = await rowsOf<{ instance: number; state: AttemptState; last: ValueWrite | null }>(tx, READ_ATTEMPT, [
    key.runId,
    key.job,
    key.attempt,
  ]);
  return row && { instance: row.instance, state: row.state, lastWrite: row.last ?? undefined };
}

// A driver that changes a value was heard of.
const NOTE_WRITE = statement(
  'note_value_write',
  `update attempts set value_write = $4, heard_ms = floor(extract(epoch from clock_timestamp()) * 1000)::bigint
   where run_id = $1 and job = $2 and attempt = $3 and state = 'RUNNING'`,
);

/** Notes what the driver of a running attempt changed. */
export async function noteWrite(tx: Tx, key: AttemptKey, write: ValueWrite): Promise<void> {
  const touched = await execute(tx, NOTE_WRITE, [key.runId, key.job, key.attempt, JSON.stringify(write)]);
  if (touched !== 1) throw new Error('an attempt that was running under the lock of its run is not');
}

const READ_FOR_ATTEMPT = statement(
  'value_for_attempt',
  `select a.instance_no as instance, a.state, i.epoch, v.value, v.version from attempts a
   left join instances i on i.no = a.instance_no
   left join run_values v on v.run_id = a.run_id and v.key = $4
   where a.run_id = $1 and a.job = $2 and a.attempt = $3`,
);

export interface ValueForAttempt {
  readonly instance: number;
  readonly state: AttemptState;
  /** Of its instance. */
  readonly epoch: number;
  readonly found: { readonly value: JsonValue; readonly version: number } | undefined;
}

/** Reads a value for the driver of an attempt, with who holds that, as of one moment. */
export async function readForAttempt(tx: Tx, key: AttemptKey, name: string): Promise<ValueForAttempt | undefined> {
  const [row] = await rowsOf<{
    instance: number;
    state: AttemptState;
    epoch: number;
    value: JsonValue;
    version: number | null;
  }>(tx, READ_FOR_ATTEMPT, [key.runId, key.job, key.attempt, name]);
  if (row === undefined) return undefined;
  const { instance, state, epoch, value, version } = row;
  return { instance, state, epoch, found: version === null ? undefined : { value, version } };
}

/** Reads one value; undefined when there is none. */
export async function findValue(tx: Tx, project: string, runId: RunId, key: string): Promise<RunValueView | undefined> {
  const [row] = await fetchRows(tx, selectValues(runId).where('key', '=', key));
  return row && viewOf(project, runId, row);
}

/** Lists values by key. */
export async function listValues(
  tx: Tx,
  project: string,
  runId: RunId,
  { prefix, size, after }: { readonly prefix: string; readonly size: number; readonly after: string | undefined },
): Promise<Page<RunValueView>> {
  const query = selectValues(runId)
    .$if(prefix !== '', (all) => all.where(sql<boolean>`starts_with(key, ${prefix})`))
    .$if(after !== undefined, (all) => all.where('key', '>', after ?? ''))
    .orderBy('key')
    .limit(size + 1);
  return pageOf(
    await fetchPage(tx, query, sql`key`, size),
    (row) => viewOf(project, runId, row),
    (row) => row.key,
  );
}

// As protobuf a list of numbers takes five times its JSON.
function selectValues(runId: RunId) {
  return tables
    .selectFrom('run_values')
    .select(['key', 'value', 'version', 'updated_ms', sql<number>`256 + 5 * run_values.bytes`.as('bytes')])
    .where('run_id', '=', runId);
}

interface ValueRow {
  readonly key: string;
  readonly value: JsonValue;
  readonly version: number;
  readonly updated_ms: number;
}

function viewOf(project: string, runId: RunId, { key, value, version, updated_ms: updatedMs }: ValueRow): RunValueView {
  return { project, runId, key, value, version, updatedMs };
}
