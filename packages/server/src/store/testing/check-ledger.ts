// Holds what a database stores to what its ledger says: each run's events, replayed from the first, must come to exactly the rows
// that are there, and stored logs to what their attempts count. It shares core's replay with the server, and nothing that writes.
import { isDeepStrictEqual } from 'node:util';
import { crc32c } from '@node-rs/crc32';
import type { Definition } from '../../core/definition.ts';
import { versionOf } from '../../core/event-versions.ts';
import type { Annotation, RunEvent } from '../../core/events.ts';
import { beforeFirstEvent, evolve, type Evolving } from '../../core/evolve.ts';
import type { RunId } from '../../core/ids.ts';
import type { JsonObject } from '../../core/json.ts';
import { compilePlan } from '../../core/plan.ts';
import { dueOf } from '../../core/settle.ts';
import type { Failure } from '../../core/states.ts';
import { eventOf, loadAllJobs, loadRuns } from '../ledger-rows.ts';
import type { Tx } from '../sql.ts';

/**
 * Checks every run of the database. Nobody may be writing meanwhile. Returns how many runs there are.
 * @throws Error that lists what contradicts the ledger.
 */
export async function checkLedger(tx: Tx): Promise<number> {
  const problems: string[] = [];
  const { rows } = await tx.query<{ run_id: RunId; body: Definition }>(
    'select run_id, body from runs join definitions using (digest) order by run_id',
  );
  for (const { run_id: runId, body } of rows) {
    const report = (problem: string): void => void problems.push(`run ${runId}: ${problem}`);
    const ledger = await replayRun(tx, runId, body, report);
    await compareRun(tx, runId, ledger.slice, report);
    await compareJobs(tx, runId, ledger.slice, report);
    await compareAttempts(tx, runId, ledger.attempts, report);
    await compareLogs(tx, runId, report);
  }
  problems.push(...(await contradictions(tx)));
  if (problems.length > 0) throw new Error(`the ledger is contradicted:\n${problems.slice(0, 20).join('\n')}`);
  return rows.length;
}

type Report = (problem: string) => void;

/** What the events say of an attempt, as its row has it. */
interface AttemptFacts {
  state: string;
  instanceNo: number;
  offeredMs: number;
  startedMs: number | null;
  finishedMs: number | null;
  failure: Failure | null;
  logState: string;
  annotations: Annotation[];
  /** What its end recorded; undefined while it goes on. */
  ending: { readonly logSize: number; readonly outputs: JsonObject | null } | undefined;
}

interface Replayed {
  readonly slice: Evolving;
  /** By `<job>.<attempt>`. */
  readonly attempts: ReadonlyMap<string, AttemptFacts>;
}

interface EventRow {
  readonly seq: number;
  readonly time_ms: number;
  readonly version: number;
  readonly type: string;
  readonly run_state: string;
  readonly job: number | null;
  readonly job_state: string | null;
  readonly data: object;
}

async function replayRun(tx: Tx, runId: RunId, definition: Definition, report: Report): Promise<Replayed> {
  const { rows } = await tx.query<EventRow>(
    'select seq, time_ms, version, type, run_state, job, job_state, data from events where run_id = $1 order by seq',
    [runId],
  );
  const { plan, run, jobs } = beforeFirstEvent(compilePlan(definition));
  const slice: Evolving = { plan, run, jobs: new Map(jobs) };
  const attempts = new Map<string, AttemptFacts>();
  for (const [index, row] of rows.entries()) {
    if (row.seq !== index + 1) report(`event ${index + 1} has seq ${row.seq}`);
    if (row.time_ms < slice.run.lastMs) report(`event ${row.seq} is older than the one before it`);
    const event = eventOf(row.version, row.type, row.job, row.data);
    if (row.version !== versionOf(event))
      report(`event ${row.seq} has version ${row.version}, not ${versionOf(event)}`);
    try {
      evolve(slice, event, row.time_ms);
    } catch (error) {
      report(`event ${row.seq} cannot follow: ${String(error)}`);
      break;
    }
    const jobState = row.job === null ? null : (slice.jobs.get(row.job)?.state ?? null);
    if (row.run_state !== slice.run.state || row.job_state !== jobState) report(`event ${row.seq} tells other states`);
    noteAttempt(attempts, event, row.time_ms);
  }
  return { slice, attempts };
}

function noteAttempt(attempts: Map<string, AttemptFacts>, event: RunEvent, timeMs: number): void {
  if (!('attempt' in event)) return;
  const id = `${event.job}.${event.attempt}`;
  const known = attempts.get(id);
  switch (event.type) {
    case 'AttemptOffered':
      attempts.set(id, {
        state: 'OFFERED',
        instanceNo: event.instanceNo,
        offeredMs: timeMs,
        startedMs: null,
        finishedMs: null,
        failure: null,
        logState: 'OPEN',
        annotations: [],
        ending: undefined,
      });
      return;
    case 'AttemptStarted':
      if (known !== undefined) Object.assign(known, { state: 'RUNNING', startedMs: timeMs });
      return;
    case 'AttemptAnnotated':
      known?.annotations.push(event.annotation);
      return;
    case 'AttemptEnded': {
      const { state, failure = null, logState, logSize, outputs = null } = event;
      if (known !== undefined) {
        Object.assign(known, { state, finishedMs: timeMs, failure, logState, ending: { logSize, outputs } });
      }
      return;
    }
    case 'AttemptAdopted':
    case 'AttemptTimedOut':
    case 'AttemptHeard':
      return;
  }
}

async function compareRun(tx: Tx, runId: RunId, { run }: Evolving, report: Report): Promise<void> {
  const [row] = await loadRuns(tx, [runId]);
  compare('its row', row?.header, run, report);
}

async function compareJobs(tx: Tx, runId: RunId, slice: Evolving, report: Report): Promise<void> {
  const records = new Map((await loadAllJobs(tx, [runId])).map(({ key, record }) => [key.job, record]));
  compare('the numbers of its jobs', [...records.keys()].toSorted(ascending), [...slice.jobs.keys()], report);
  const { rows } = await tx.query<{ job: number; due_ms: number | null; driver: string | null }>(
    'select job, due_ms, q.driver from jobs left join queue q using (run_id, job) where run_id = $1 order by job',
    [runId],
  );
  for (const { job, due_ms: dueMs, driver } of rows) {
    const record = slice.jobs.get(job);
    compare(`job ${job}`, records.get(job), record, report);
    if (record === undefined) continue;
    compare(`the alarm of job ${job}`, dueMs ?? undefined, dueOf(slice, job, record), report);
    // A row of a job that is not queued is stale, and dropped when it is claimed.
    if (record.state === 'QUEUED') {
      compare(`the queue of job ${job}`, driver, slice.plan.jobs[job]?.definition.driver, report);
    }
  }
}

interface AttemptRow {
  readonly id: string;
  readonly state: string;
  readonly instance_no: number;
  readonly offered_ms: number;
  readonly started_ms: number | null;
  readonly finished_ms: number | null;
  readonly failure: Failure | null;
  readonly log_state: string;
  readonly annotations: Annotation[] | null;
  readonly log_size: number;
  readonly outputs: JsonObject | null;
}

async function compareAttempts(
  tx: Tx,
  runId: RunId,
  expected: ReadonlyMap<string, AttemptFacts>,
  report: Report,
): Promise<void> {
  const { rows } = await tx.query<AttemptRow>(
    `select job || '.' || attempt as id, state, instance_no, offered_ms, started_ms, finished_ms, failure, log_state, annotations,
       log_size, outputs
     from attempts where run_id = $1 order by job, attempt`,
    [runId],
  );
  const ids = rows.map(({ id }) => id);
  compare('its attempts', ids.toSorted(), [...expected.keys()].toSorted(), report);
  for (const row of rows) {
    const facts: AttemptFacts = {
      state: row.state,
      instanceNo: row.instance_no,
      offeredMs: row.offered_ms,
      startedMs: row.started_ms,
      finishedMs: row.finished_ms,
      failure: row.failure,
      logState: row.log_state,
      annotations: row.annotations ?? [],
      ending: row.finished_ms === null ? undefined : { logSize: row.log_size, outputs: row.outputs },
    };
    compare(`attempt ${row.id}`, facts, expected.get(row.id), report);
  }
}

async function compareLogs(tx: Tx, runId: RunId, report: Report): Promise<void> {
  const { rows } = await tx.query<{
    id: string;
    log_size: number;
    log_crc32c: number;
    starts: number[];
    data: Buffer[];
  }>(
    `select a.job || '.' || a.attempt as id, a.log_size, a.log_crc32c,
       array_remove(array_agg(c.start_offset order by c.start_offset), null) as starts,
       array_remove(array_agg(c.data order by c.start_offset), null) as data
     from attempts a left join log_chunks c using (run_id, job, attempt)
     where run_id = $1 group by a.job, a.attempt, a.log_size, a.log_crc32c`,
    [runId],
  );
  for (const { id, log_size: size, log_crc32c: crc, starts, data } of rows) {
    let end = 0;
    for (const [index, chunk] of data.entries()) {
      if (starts[index] !== end) report(`the log of attempt ${id} goes on at ${starts[index]} behind ${end}`);
      end += chunk.length;
    }
    compare(`the size of the log of attempt ${id}`, end, size, report);
    compare(`the CRC of the log of attempt ${id}`, crc32c(Buffer.concat(data)), crc, report);
  }
}

/** What no single run tells. Each statement finds nothing. */
const CONTRADICTIONS = {
  'a job of another project than its run':
    'select run_id::text as id from jobs j join runs r using (run_id) where j.project <> r.project',
  'an event of another project than its run':
    'select run_id::text as id from events e join runs r using (run_id) where e.project <> r.project',
  'an attempt of another project than its run':
    'select run_id::text as id from attempts a join runs r using (run_id) where a.project <> r.project',
  'events without a run':
    'select run_id::text as id from events left join runs r using (run_id) where r.run_id is null',
  'log bytes without an attempt': `select run_id::text as id from log_chunks left join attempts a using (run_id, job, attempt)
     where a.run_id is null`,
  'an attempt that its job heard of later than it was': `select j.run_id::text as id from jobs j join attempts a using (run_id, job, attempt)
     where j.heard_ms > coalesce(a.heard_ms, 0)`,
  'a lease of another epoch than its instance':
    'select instance_no::text as id from leases l join instances i on i.no = l.instance_no where l.epoch <> i.epoch',
};

async function contradictions(tx: Tx): Promise<string[]> {
  const found: string[] = [];
  for (const [name, text] of Object.entries(CONTRADICTIONS)) {
    const { rows } = await tx.query<{ id: string }>(`${text} limit 1`);
    for (const { id } of rows) found.push(`${name}: ${id}`);
  }
  return found;
}

function compare(what: string, stored: unknown, replayed: unknown, report: Report): void {
  if (isDeepStrictEqual(stored, replayed)) return;
  report(`${what} is ${JSON.stringify(stored)}, its events say ${JSON.stringify(replayed)}`);
}

function ascending(a: number, b: number): number {
  return a - b;
}
