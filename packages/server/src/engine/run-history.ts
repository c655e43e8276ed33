// Reading runs, jobs and attempts as they were right after an event of their run, and what differs between two events. Pages are
// bounded by rows and by bytes, like those of what is now.
import { jsonBytes } from '../core/check-fields.ts';
import type { JobKey, RunId } from '../core/ids.ts';
import { createAttemptPage } from '../core/attempt-history.ts';
import { LIMITS } from '../core/limits.ts';
import { appendedTo, isNamed, plannedJob } from '../core/plan.ts';
import { invalidFields, RefusedError } from '../core/refusal.ts';
import type { RunPoint } from '../core/replay.ts';
import { jobChanges, jobViewAt, runViewAt } from '../core/run-history.ts';
import type { JobRecord } from '../core/run-state.ts';
import type { JobView, Outputs } from '../core/views.ts';
import { readSomeEvents } from '../store/event-views.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { JobOperations, RunOperations } from './engine.ts';
import { inTurns } from './pace.ts';
import type { Plans } from './plans.ts';
import { malformedCursor, noSuchJob, noSuchRun, numberCursor } from './refusals.ts';
import { createRunPoints } from './run-points.ts';
import { loadRun, type StoredRun } from './stored-run.ts';

/** What a job takes of a page besides what is of any length. */
const JOB_BYTES = 512;

export interface RunHistory {
  readonly runs: Pick<RunOperations, 'getAt' | 'diff'>;
  readonly jobs: Pick<JobOperations, 'getAt' | 'listAt' | 'listAttemptsAt'>;
}

export function createRunHistory({ pool, plans }: { readonly pool: Pool; readonly plans: Plans }): RunHistory {
  const points = createRunPoints(pool);

  async function load(project: string, runId: RunId, seq: number): Promise<StoredRun> {
    const run = await withConnection(pool, (tx) => loadRun(tx, plans, project, runId));
    if (run === undefined) throw noSuchRun(runId);
    checkSeq('at_seq', seq, run.view.seq);
    return run;
  }

  async function loadOfJob(project: string, key: JobKey, seq: number): Promise<StoredRun> {
    const run = await withConnection(pool, (tx) => loadRun(tx, plans, project, key.runId));
    if (run?.plan.jobs[key.job] === undefined) throw noSuchJob(key);
    checkSeq('at_seq', seq, run.view.seq);
    return run;
  }

  /** The outputs of jobs that have finished, by job. */
  async function readOutputs(runId: RunId, point: RunPoint, jobs: readonly number[]): Promise<Map<number, Outputs>> {
    const seqs = jobs.flatMap((job) => outputsOf(point, job)?.seq ?? []);
    const events = seqs.length === 0 ? [] : await withConnection(pool, (tx) => readSomeEvents(tx, runId, seqs));
    return new Map(
      events.flatMap(({ event }) =>
        event.type === 'AttemptEnded' && event.outputs !== undefined ? [[event.job, event.outputs]] : [],
      ),
    );
  }

  async function readArtifacts(
    { runId, job }: JobKey,
    { told }: RunPoint,
  ): Promise<Pick<JobView, 'artifacts' | 'artifactCount'>> {
    const { artifacts: seqs, artifactCount = 0 } = told.get(job) ?? {};
    if (seqs === undefined || artifactCount === 0) return {};
    const events = await withConnection(pool, (tx) => readSomeEvents(tx, runId, seqs));
    const artifacts = events.flatMap(({ event }) => (event.type === 'AttemptArtifact' ? [event.artifact] : []));
    return { artifacts, artifactCount };
  }

  return {
    runs: {
      async getAt(project, runId, seq, signal) {
        const run = await load(project, runId, seq);
        const point = await points.at(run, seq, signal);
        const { plan } = point;
        const { definition } = plan;
        return { ...runViewAt(run.view, point), params: run.params, definition, appended: appendedTo(plan) };
      },
      async diff(project, runId, fromSeq, untilSeq, page, signal) {
        const after = diffCursor(page.after);
        const run = await withConnection(pool, (tx) => loadRun(tx, plans, project, runId));
        if (run === undefined) throw noSuchRun(runId);
        const toSeq = after?.toSeq ?? untilSeq ?? run.view.seq;
        checkSeq('to_seq', toSeq, run.view.seq);
        checkSeq('from_seq', fromSeq, toSeq);
        const from = await points.at(run, fromSeq, signal);
        const to = await points.at(run, toSeq, signal);
        const changed = await inTurns(jobChanges(runId, from, to));
        const rest = after === undefined ? changed : changed.filter(({ job }) => job > after.job);
        const { items, next } = cutPage(rest, page.size, jsonBytes);
        return {
          before: runViewAt(run.view, from),
          after: runViewAt(run.view, to),
          changedJobs: changed.length,
          jobs: { items, ...(next !== undefined && { next: `${toSeq}.${next.job}` }) },
        };
      },
    },
    jobs: {
      async getAt(project, key, seq, signal) {
        const run = await loadOfJob(project, key, seq);
        const point = await points.at(run, seq, signal);
        const record = point.jobs.get(key.job);
        if (record === undefined) throw noSuchJob(key);
        const outputs = await readOutputs(key.runId, point, [key.job]);
        return {
          ...jobViewAt(run, point, key.job, record, outputs.get(key.job)),
          definition: plannedJob(point.plan, key.job).definition,
          ...(record.details?.spec !== undefined && { spec: record.details.spec }),
          ...(await readArtifacts(key, point)),
        };
      },
      async listAt(project, runId, seq, states, names, page, signal) {
        const after = numberCursor(page.after) ?? -1;
        const run = await load(project, runId, seq);
        const point = await points.at(run, seq, signal);
        const wantedNames = new Set(names);
        const wanted = [...point.jobs].filter(
          ([job, { state }]) =>
            job > after &&
            (states.length === 0 || states.includes(state)) &&
            (names.length === 0 || isNamed(plannedJob(point.plan, job), wantedNames)),
        );
        wanted.sort(([a], [b]) => a - b);
        const { items, next } = cutPage(wanted, page.size, ([job, record]) => recordBytes(point, job, record));
        const outputs = await readOutputs(
          runId,
          point,
          items.map(([job]) => job),
        );
        return {
          items: items.map(([job, record]) => jobViewAt(run, point, job, record, outputs.get(job))),
          ...(next !== undefined && { next: String(next[0]) }),
        };
      },
      async listAttemptsAt(project, key, seq, page, signal) {
        const after = numberCursor(page.after) ?? 0;
        await loadOfJob(project, key, seq);
        const attempts = createAttemptPage(project, key, { after, size: page.size, maxBytes: LIMITS.pageBytes });
        await points.read({ runId: key.runId, project }, seq, (event) => attempts.take(event), signal);
        return attempts.page();
      },
    },
  };
}

/** @throws RefusedError INVALID_FIELD */
function checkSeq(field: 'at_seq' | 'from_seq' | 'to_seq', seq: number, newest: number): void {
  if (seq >= 1 && seq <= newest) return;
  const end = field === 'from_seq' ? '`to_seq`' : "the `seq` of the run's newest event";
  const description = `must be from 1 to ${newest}, ${end}; got ${seq}`;
  throw new RefusedError(invalidFields([{ field, description }]));
}

/** Reads the place of a page of differences: the events must stay the same while a run goes on. */
function diffCursor(after: string | undefined): { readonly toSeq: number; readonly job: number } | undefined {
  if (after === undefined) return undefined;
  const [, toSeq, job] = /^([1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,8})$/.exec(after) ?? [];
  if (toSeq === undefined || job === undefined) throw malformedCursor();
  return { toSeq: Number(toSeq), job: Number(job) };
}

/** Where the outputs of a finished job are; those of an attempt that is retried are not its own. */
function outputsOf(
  { jobs, outputs }: RunPoint,
  job: number,
): { readonly seq: number; readonly bytes: number } | undefined {
  const record = jobs.get(job);
  return record !== undefined && 'finishedMs' in record ? outputs.get(job) : undefined;
}

function recordBytes(point: RunPoint, job: number, record: JobRecord): number {
  return jsonBytes(record) + (outputsOf(point, job)?.bytes ?? 0);
}

/** The first items that fit into a page, at least one; `next` is the last of them when more follow. */
function cutPage<T>(
  items: readonly T[],
  size: number,
  bytesOf: (item: T) => number,
): { readonly items: readonly T[]; readonly next: T | undefined } {
  let bytes = 0;
  let count = 0;
  for (const item of items) {
    bytes += JOB_BYTES + bytesOf(item);
    if (count === size || (bytes > LIMITS.pageBytes && count > 0)) break;
    count++;
  }
  return { items: items.slice(0, count), next: count < items.length ? items[count - 1] : undefined };
}
