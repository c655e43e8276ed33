// Reads everything that is stored of one run, page by page, and holds it against the run's ledger. It reads what the transaction's
// snapshot shows, which is the caller's to choose.
import { createHash } from 'node:crypto';
import type { Annotation } from '../core/events.ts';
import type { RunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import type { JsonObject } from '../core/json.ts';
import { createLedgerCheck, type Discrepancy, type LedgerCheck, type Verification } from '../core/ledger-check.ts';
import { compilePlan, type Plan } from '../core/plan.ts';
import type { AttemptState, Failure, LogState } from '../core/states.ts';
import { attemptArtifacts } from './artifact-rows.ts';
import { digestOf, loadDefinitions } from './definition-rows.ts';
import { readEvents } from './event-views.ts';
import { loadJobs } from './job-rows.ts';
import { loadRuns } from './ledger-rows.ts';
import { expiredLogs, nameOf } from './log-expiry.ts';
import { rowsOf, statement, type Tx } from './sql.ts';
import { inTurns } from './turns.ts';
import { checkLogs, type LogsChecking, type StoredLog } from './verify-logs.ts';

const JOBS_A_PAGE = 500;
const ATTEMPTS_A_PAGE = 200;
const MAX_DISCREPANCIES = 100;

export interface VerifyOptions {
  /** Leave the bytes of logs out. */
  readonly skipLogs: boolean;
  readonly signal?: AbortSignal;
}

interface Verifying extends LogsChecking {
  readonly project: string;
}

/** Compares a run with its ledger; undefined when there is none. */
export async function verifyRun(tx: Tx, runId: RunId, options: VerifyOptions): Promise<Verification | undefined> {
  const [run] = await loadRuns(tx, [runId]);
  if (run === undefined) return undefined;
  const discrepancies: Discrepancy[] = [];
  let discrepancyCount = 0;
  const verifying: Verifying = {
    ...options,
    tx,
    runId,
    project: run.project,
    counts: { events: 0, jobs: 0, attempts: 0, logs: 0, logBytes: 0, expiredLogs: 0 },
    report(discrepancy) {
      discrepancyCount++;
      if (discrepancies.length < MAX_DISCREPANCIES) discrepancies.push(discrepancy);
    },
  };
  const plan = await readPlan(verifying, run.digest);
  const check = plan && createLedgerCheck(plan, fingerprint, verifying.report);
  const replayed = check !== undefined && (await replayEvents(verifying, check)) ? check : undefined;
  replayed?.compareRun(run.header);
  if (replayed !== undefined) await compareJobs(verifying, replayed);
  await checkLogs(verifying, compareAttempts(verifying, replayed));
  replayed?.reportMissing();
  return { verified: verifying.counts, discrepancyCount, discrepancies };
}

function fingerprint(text: string): string {
  return `sha256 ${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
}

async function readPlan({ tx, report }: Verifying, digest: string): Promise<Plan | undefined> {
  const definition = (await loadDefinitions(tx, [digest])).get(digest);
  if (definition === undefined) {
    report({ kind: 'DEFINITION', where: 'definition', expected: digest, found: 'no row' });
    return undefined;
  }
  const found = await inTurns(digestOf(definition));
  if (found === digest) return compilePlan(definition);
  report({ kind: 'DEFINITION', where: 'definition.digest', expected: digest, found });
  return undefined;
}

const FOREIGN_EVENTS = statement(
  'foreign_events',
  'select seq, project from events where run_id = $1 and project <> $2 order by seq limit $3',
);

async function replayEvents({ tx, runId, project, counts, report, signal }: Verifying, check: LedgerCheck) {
  const foreign = await rowsOf<{ seq: number; project: string }>(tx, FOREIGN_EVENTS, [
    runId,
    project,
    MAX_DISCREPANCIES,
  ]);
  for (const row of foreign) {
    report({ kind: 'EVENT', where: `events[${row.seq}].project`, expected: project, found: row.project });
  }
  for (let after = 0; ; ) {
    signal?.throwIfAborted();
    const events = (await readEvents(tx, runId, after)) ?? [];
    for (const event of events) {
      counts.events++;
      if (!check.replay(event)) return false;
      after = event.seq;
    }
    if (events.length === 0) return true;
  }
}

const JOBS_PAGE = statement(
  'verify_jobs',
  `select j.job, j.project, j.due_ms, q.driver,
     case when m.job is not null then concat_ws(' ', m.state, 'in', m.project, m.key, 'of', m.max_holders, 'at', m.ready_ms) end as place,
     (select string_agg(concat_ws(' ', w.project, w.key, 'at', w.ready_ms, w.told), ', ' order by w.n) from rate_waiters w
      where w.run_id = j.run_id and w.job = j.job) as rates
   from jobs j left join queue q on q.run_id = j.run_id and q.job = j.job
   left join group_members m on m.run_id = j.run_id and m.job = j.job
   where j.run_id = $1 and j.job > $2 order by j.job limit $3`,
);

async function compareJobs({ tx, runId, project, counts, report, signal }: Verifying, check: LedgerCheck) {
  for (let after = -1; ; ) {
    signal?.throwIfAborted();
    const page = await rowsOf<{
      job: number;
      project: string;
      due_ms: number | null;
      driver: string | null;
      place: string | null;
      rates: string | null;
    }>(tx, JOBS_PAGE, [runId, after, JOBS_A_PAGE]);
    const loaded = await loadJobs(
      tx,
      page.map(({ job }) => ({ runId, job })),
    );
    const records = new Map(loaded.map(({ key, record }) => [key.job, record]));
    for (const row of page) {
      const record = records.get(row.job);
      if (record === undefined) throw new Error(`job ${row.job} was read once only`);
      counts.jobs++;
      after = row.job;
      const { due_ms: dueMs, driver: queue, place, rates } = row;
      check.compareJob(row.job, record, { project, dueMs, queue, place, rates });
      if (row.project === project) continue;
      report({ kind: 'JOB', where: `jobs[${row.job}].project`, expected: project, found: row.project });
    }
    if (page.length < JOBS_A_PAGE) return;
  }
}

const ATTEMPTS_PAGE = statement(
  'verify_attempts',
  `select a.job, a.attempt, a.project, a.state, a.instance_no, a.offered_ms, a.started_ms, a.finished_ms, a.failure, a.log_state,
     a.annotations, a.log_size, a.log_crc32c, a.outputs, a.artifacts, c.logs_from_ms,
     (select 1 from artifacts f where f.run_id = $1 and f.job = a.job and f.attempt = a.attempt limit 1) is not null as has_artifacts
   from attempts a cross join cluster c
   where a.run_id = $1 and (a.job, a.attempt) > ($2, $3) order by a.job, a.attempt limit $4`,
);

interface AttemptRow {
  readonly job: number;
  readonly attempt: number;
  readonly project: string;
  readonly state: AttemptState;
  readonly instance_no: number;
  readonly offered_ms: number;
  readonly started_ms: number | null;
  readonly finished_ms: number | null;
  readonly failure: Failure | null;
  readonly log_state: LogState;
  readonly annotations: Annotation[] | null;
  readonly log_size: number;
  readonly log_crc32c: number;
  readonly outputs: JsonObject | null;
  readonly artifacts: number;
  readonly has_artifacts: boolean;
  readonly logs_from_ms: number;
}

/** Compares attempts in their order, and yields what each says of its log. */
async function* compareAttempts(
  { tx, runId, project, counts, report, signal }: Verifying,
  check: LedgerCheck | undefined,
): AsyncGenerator<StoredLog, void> {
  for (let after = { job: -1, attempt: 0 }; ; ) {
    signal?.throwIfAborted();
    const page = await rowsOf<AttemptRow>(tx, ATTEMPTS_PAGE, [runId, after.job, after.attempt, ATTEMPTS_A_PAGE]);
    const expired = await expiredLogs(tx, runId, page);
    for (const row of page) {
      counts.attempts++;
      after = row;
      check?.compareAttempt({
        job: row.job,
        attempt: row.attempt,
        state: row.state,
        instanceNo: row.instance_no,
        offeredMs: row.offered_ms,
        startedMs: row.started_ms,
        finishedMs: row.finished_ms,
        failure: row.failure,
        logState: row.log_state,
        logSize: row.log_size,
        outputs: row.outputs,
        annotations: row.annotations ?? [],
        // One more than there may be is one too many.
        artifacts: row.has_artifacts ? await attemptArtifacts(tx, { runId, ...row }, LIMITS.artifacts + 1) : [],
        artifactCount: row.artifacts,
      });
      const { job, attempt, log_size: size, log_crc32c: crc } = row;
      if (row.project !== project) {
        report({ kind: 'ATTEMPT', where: `attempts[${nameOf(row)}].project`, expected: project, found: row.project });
      }
      yield { job, attempt, size, crc, isExpired: expired.has(nameOf(row)) };
    }
    if (page.length < ATTEMPTS_A_PAGE) return;
  }
}
