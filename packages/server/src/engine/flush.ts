// One flush of the ledger inside its transaction: lock the runs, load what the commands touch, decide, write. Nothing is answered
// here: the caller commits first.
import type { RunId } from '../core/ids.ts';
import { dueOf } from '../core/settle.ts';
import { changeAttempts, enqueue, insertAttempts } from '../store/attempt-rows.ts';
import { shareInstances } from '../store/instance-rows.ts';
import {
  existingRuns,
  insertEvents,
  type JobWrite,
  loadJobs,
  lockAttempts,
  lockRuns,
  readClock,
  updateJobs,
  updateRuns,
} from '../store/ledger-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { Plans } from './plans.ts';
import {
  addLoaded,
  advance,
  type Answer,
  attemptNeeded,
  beginWork,
  contentKey,
  jobsNeeded,
  type RunWork,
  type Submission,
} from './run-work.ts';

export interface FlushOutcome {
  /** The runs that were locked and decided on, with an answer or a failure for each of their submissions. */
  readonly works: readonly RunWork[];
  /** Submissions about runs that do not exist. */
  readonly refused: ReadonlyMap<Submission, Answer>;
  /** Submissions about runs that somebody else holds. */
  readonly missed: readonly Submission[];
  readonly nowMs: number;
}

/**
 * @param wait Whether to wait for runs that somebody else holds.
 */
export async function flushSubmissions(
  tx: Tx,
  submissions: readonly Submission[],
  plans: Plans,
  wait: boolean,
): Promise<FlushOutcome> {
  const byRun = Map.groupBy(submissions, (submission) => submission.runId);
  const works = await lockWorks(tx, byRun, plans, wait);
  const locked = new Set(works.map((work) => work.context.runId));
  const absent = [...byRun.keys()].filter((runId) => !locked.has(runId));
  const { refused, missed } = await sortAbsent(tx, absent, byRun);
  await answerOutsiders(tx, works);
  await load(tx, works, (work) => work.submissions.flatMap(({ command }) => jobsNeeded(work.context.plan, command)));
  await loadContents(tx, works);
  const nowMs = await readClock(tx);
  await decideAll(tx, works, nowMs);
  await write(tx, works);
  return { works, refused, missed, nowMs };
}

async function lockWorks(
  tx: Tx,
  byRun: ReadonlyMap<RunId, readonly Submission[]>,
  plans: Plans,
  wait: boolean,
): Promise<RunWork[]> {
  const rows = await lockRuns(tx, [...byRun.keys()], wait);
  const compiled = await plans.load(
    tx,
    rows.map((row) => row.digest),
  );
  return rows.map((row) => {
    const plan = compiled.get(row.digest);
    if (plan === undefined) throw new Error('a plan was not loaded');
    return beginWork(row, plan, byRun.get(row.runId) ?? []);
  });
}

async function sortAbsent(
  tx: Tx,
  absent: readonly RunId[],
  byRun: ReadonlyMap<RunId, readonly Submission[]>,
): Promise<{ refused: Map<Submission, Answer>; missed: Submission[] }> {
  const refused = new Map<Submission, Answer>();
  const missed: Submission[] = [];
  if (absent.length === 0) return { refused, missed };
  const existing = await existingRuns(tx, absent);
  for (const runId of absent) {
    for (const submission of byRun.get(runId) ?? []) {
      if (existing.has(runId)) missed.push(submission);
      else refused.set(submission, noSuchRun(runId));
    }
  }
  return { refused, missed };
}

/** Answers those who may not speak about the run: sessions of an old epoch, callers of another project. */
async function answerOutsiders(tx: Tx, works: readonly RunWork[]): Promise<void> {
  const instances = new Set<number>();
  for (const work of works) {
    for (const { writer } of work.submissions) if (writer !== undefined) instances.add(writer.instance);
  }
  const epochs = instances.size === 0 ? new Map<number, number>() : await shareInstances(tx, instances);
  for (const work of works) {
    for (const submission of work.submissions) {
      const { writer, project } = submission;
      if (writer !== undefined && epochs.get(writer.instance) !== writer.epoch) {
        work.answers.set(submission, { reply: { type: 'Superseded' } });
      } else if (project !== undefined && project !== work.context.project) {
        work.answers.set(submission, noSuchRun(work.context.runId));
      }
    }
  }
}

async function load(tx: Tx, works: readonly RunWork[], wanted: (work: RunWork) => readonly number[]): Promise<void> {
  const keys = works.flatMap((work) => {
    const { runId } = work.context;
    const missing = new Set(wanted(work).filter((job) => !work.jobs.has(job)));
    return [...missing].map((job) => ({ runId, job }));
  });
  if (keys.length === 0) return;
  const byRun = Map.groupBy(await loadJobs(tx, keys), (job) => job.key.runId);
  for (const work of works) {
    const jobs = byRun.get(work.context.runId) ?? [];
    addLoaded(
      work,
      jobs.map(({ key, record }) => [key.job, record]),
    );
  }
}

async function loadContents(tx: Tx, works: readonly RunWork[]): Promise<void> {
  const keys = works.flatMap((work) => {
    const { runId } = work.context;
    return work.submissions.flatMap(({ command }) => {
      const needed = attemptNeeded(work, command);
      return needed === undefined ? [] : [{ runId, ...needed }];
    });
  });
  if (keys.length === 0) return;
  const byRun = Map.groupBy(await lockAttempts(tx, keys), (attempt) => attempt.runId);
  for (const work of works) {
    for (const { job, attempt, content } of byRun.get(work.context.runId) ?? []) {
      work.contents.set(contentKey(job, attempt), content);
    }
  }
}

async function decideAll(tx: Tx, works: readonly RunWork[], nowMs: number): Promise<void> {
  let open = works;
  while (open.length > 0) {
    const wanted = new Map<RunWork, readonly number[]>();
    for (const work of open) {
      const jobs = advance(work, nowMs);
      if (jobs.length > 0) wanted.set(work, jobs);
    }
    open = [...wanted.keys()];
    await load(tx, open, (work) => wanted.get(work) ?? []);
  }
}

async function write(tx: Tx, works: readonly RunWork[]): Promise<void> {
  const changed = works.filter((work) => work.events.length > 0);
  if (changed.length === 0) return;
  const jobs = changed.flatMap(jobWrites);
  const queued = changed.flatMap(newlyQueued);
  const offered = changed.flatMap((work) => work.offered);
  const attempts = changed.flatMap((work) => [...work.attempts.values()]);
  await updateRuns(
    tx,
    changed.map((work) => ({ runId: work.context.runId, header: work.run })),
  );
  if (jobs.length > 0) await updateJobs(tx, jobs);
  if (offered.length > 0) await insertAttempts(tx, offered);
  if (attempts.length > 0) await changeAttempts(tx, attempts);
  await insertEvents(tx, changed.flatMap(feedEvents));
  if (queued.length > 0) await enqueue(tx, queued);
}

function jobWrites(work: RunWork): JobWrite[] {
  const { runId, project, plan } = work.context;
  const slice = { plan, run: work.run, jobs: work.jobs };
  const writes: JobWrite[] = [];
  for (const [job, before] of work.loaded) {
    const record = work.jobs.get(job);
    if (record === undefined || record === before) continue;
    const dueMs = dueOf(slice, job, record);
    if (dueMs !== undefined) work.dueMs = Math.min(work.dueMs ?? dueMs, dueMs);
    writes.push({ key: { runId, job }, project, record, dueMs });
  }
  return writes;
}

function newlyQueued(work: RunWork): { key: JobWrite['key']; project: string; driver: string }[] {
  const { runId, project, plan } = work.context;
  const queued = [];
  for (const [job, before] of work.loaded) {
    const driver = plan.jobs[job]?.definition.driver;
    if (driver === undefined || before.state === 'QUEUED' || work.jobs.get(job)?.state !== 'QUEUED') continue;
    queued.push({ key: { runId, job }, project, driver });
  }
  return queued;
}

/** The events of a run; the last one tells the feed when what a list of runs shows has changed. */
function feedEvents(work: RunWork): RunWork['events'] {
  const { events } = work;
  const last = events.at(-1);
  return last !== undefined && changesFeed(work) ? events.with(-1, { ...last, feed: true }) : events;
}

/** Whether what a list of runs shows has changed. */
export function changesFeed({ before, run }: RunWork): boolean {
  return before.state !== run.state || before.counts !== run.counts || before.cancel !== run.cancel;
}

function noSuchRun(runId: RunId): Answer {
  const message = `run ${runId} does not exist: list the runs that do with ListRuns`;
  return { reply: { type: 'Refused', refusal: { refused: 'RUN_NOT_FOUND', message } } };
}
