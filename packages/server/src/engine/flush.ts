// One flush of the ledger inside its transaction: lock the runs, load what the commands touch, decide, write. Nothing is answered
// here: the caller commits first.
import type { RunId } from '../core/ids.ts';
import type { RunEvent } from '../core/events.ts';
import { plannedJob } from '../core/plan.ts';
import { type JobRecord, jobOf } from '../core/run-state.ts';
import { dueOf } from '../core/alarms.ts';
import { changeAttempts, insertAttempts, lockAttempts } from '../store/attempt-rows.ts';
import { type CallChange, changeCalls } from '../store/call-rows.ts';
import { digestOf, insertDefinitions } from '../store/definition-rows.ts';
import { enqueue } from '../store/queue-rows.ts';
import { type SharedInstance, shareInstances } from '../store/instance-rows.ts';
import { insertJobs, type JobWrite, loadJobs, updateJobs } from '../store/job-rows.ts';
import {
  existingRuns,
  insertEvents,
  loadFacts,
  loadRuns,
  lockRuns,
  readClock,
  updateRuns,
} from '../store/ledger-rows.ts';
import { jobOutcomes } from '../store/outcome-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { Plans } from './plans.ts';
import { noSuchRun } from './refusals.ts';
import type { CachedRun, RunCache } from './run-cache.ts';
import type { RunContext } from './run-context.ts';
import {
  addFacts,
  addLoaded,
  advance,
  type Answer,
  attemptNeeded,
  beginWork,
  contentKey,
  jobsNeeded,
  type RunWork,
  type Submission,
  type Wanted,
} from './run-work.ts';

/** How often a decision is given just the jobs that it asks for. */
const ROUNDS_BY_JOB = 3;

export interface FlushOptions {
  readonly plans: Plans;
  readonly cache: RunCache;
}

type LockedRun = Pick<CachedRun, 'context' | 'header'>;

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
 * What does not depend on an answer is sent without waiting for it, so a flush takes few round trips.
 * @param wait Whether to wait for runs that somebody else holds.
 * @param alongside Writes more, in the same round trip, once all is decided.
 */
export async function flushSubmissions(
  tx: Tx,
  begun: Promise<unknown>,
  submissions: readonly Submission[],
  { plans, cache }: FlushOptions,
  wait: boolean,
  alongside?: (outcome: FlushOutcome) => Promise<void>,
): Promise<FlushOutcome> {
  const byRun = Map.groupBy(submissions, (submission) => submission.runId);
  const [seqs, instances, nowMs] = await Promise.all([
    lockRuns(tx, [...byRun.keys()], wait),
    shareWriters(tx, submissions),
    // Statements run in the order in which they are sent, so this is the time after the locks were granted.
    readClock(tx),
    begun,
  ]);
  const runs = await loadLocked(tx, seqs, plans, cache);
  const works = runs.map(({ context, header }) => beginWork(context, header, byRun.get(context.runId) ?? []));
  answerOutsiders(works, instances);
  const jobsWanted = (work: RunWork): readonly number[] =>
    work.submissions.flatMap(({ command }) => jobsNeeded(work.context.plan, command));
  const [{ refused, missed }] = await Promise.all([
    sortAbsent(tx, works, byRun),
    load(tx, works, jobsWanted, cache),
    loadContents(tx, works),
  ]);
  // Which attempt a timer is about is known only now.
  await loadContents(tx, works);
  await decideAll(tx, works, nowMs, cache);
  const outcome = { works, refused, missed, nowMs };
  await Promise.all([write(tx, works, nowMs), alongside?.(outcome)]);
  return outcome;
}

/** Locked runs as they are now, in the order of their locks: those that the cache does not know are read. */
async function loadLocked(
  tx: Tx,
  seqs: ReadonlyMap<RunId, number>,
  plans: Plans,
  cache: RunCache,
): Promise<readonly LockedRun[]> {
  const found = new Map<RunId, LockedRun | undefined>();
  for (const [runId, seq] of seqs) found.set(runId, cache.find(runId, seq));
  const unknown = [...seqs.keys()].filter((runId) => found.get(runId) === undefined);
  const rows = unknown.length === 0 ? [] : await loadRuns(tx, unknown);
  const compiled = await plans.load(
    tx,
    rows.map((row) => row.digest),
  );
  for (const { digest, header, ...origin } of rows) {
    const plan = compiled.get(digest);
    if (plan === undefined) throw new Error(`the plan of run ${origin.runId} was not loaded`);
    found.set(origin.runId, { context: { ...origin, plan }, header });
  }
  return [...found].map(([runId, run]) => {
    if (run === undefined) throw new Error(`run ${runId} was not loaded`);
    return run;
  });
}

/** Sorts the submissions about runs that were not locked: somebody else holds them, or they do not exist. */
async function sortAbsent(
  tx: Tx,
  works: readonly RunWork[],
  byRun: ReadonlyMap<RunId, readonly Submission[]>,
): Promise<{ refused: ReadonlyMap<Submission, Answer>; missed: readonly Submission[] }> {
  const refused = new Map<Submission, Answer>();
  const missed: Submission[] = [];
  if (works.length === byRun.size) return { refused, missed };
  const locked = new Set(works.map((work) => work.context.runId));
  const absent = [...byRun.keys()].filter((runId) => !locked.has(runId));
  const existing = await existingRuns(tx, absent);
  for (const runId of absent) {
    const asked = byRun.get(runId) ?? [];
    if (existing.has(runId)) {
      missed.push(...asked);
      continue;
    }
    const { refusal } = noSuchRun(runId);
    for (const submission of asked) refused.set(submission, { reply: { type: 'Refused', refusal } });
  }
  return { refused, missed };
}

async function shareWriters(tx: Tx, submissions: readonly Submission[]): Promise<ReadonlyMap<number, SharedInstance>> {
  const instances = new Set<number>();
  for (const { writer } of submissions) if (writer !== undefined) instances.add(writer.instance);
  return instances.size === 0 ? new Map() : await shareInstances(tx, instances);
}

/**
 * Answers those who may not speak about the run: sessions of an old epoch, callers of another project. What drains takes no more offers,
 * even if its replica has not heard of it.
 */
function answerOutsiders(works: readonly RunWork[], instances: ReadonlyMap<number, SharedInstance>): void {
  for (const work of works) {
    for (const submission of work.submissions) {
      const { writer, project, command } = submission;
      const instance = writer && instances.get(writer.instance);
      const drains = command.type === 'Offer' && instance?.draining === true;
      if (writer !== undefined && (instance?.epoch !== writer.epoch || drains)) {
        work.answers.set(submission, { reply: { type: 'Superseded' } });
      } else if (project !== undefined && project !== work.context.project) {
        const { refusal } = noSuchRun(work.context.runId);
        work.answers.set(submission, { reply: { type: 'Refused', refusal } });
      }
    }
  }
}

async function load(
  tx: Tx,
  works: readonly RunWork[],
  wanted: (work: RunWork) => readonly number[],
  cache: RunCache,
): Promise<void> {
  const keys = works.flatMap((work) => {
    const { runId } = work.context;
    const missing = new Set(wanted(work).filter((job) => !work.jobs.has(job)));
    addLoaded(work, takeCached(cache, work, missing));
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

/** Takes from `missing` what the cache has. */
function takeCached(cache: RunCache, work: RunWork, missing: Set<number>): (readonly [number, JobRecord])[] {
  const known = cache.find(work.context.runId, work.before.seq)?.jobs;
  const found: (readonly [number, JobRecord])[] = [];
  for (const job of missing) {
    const record = known?.get(job);
    if (record === undefined) continue;
    found.push([job, record]);
    missing.delete(job);
  }
  return found;
}

async function loadContents(tx: Tx, works: readonly RunWork[]): Promise<void> {
  const keys = works.flatMap((work) => {
    const { runId } = work.context;
    return work.submissions.flatMap(({ command }) => {
      const needed = attemptNeeded(work, command);
      const isMissing = needed !== undefined && !work.contents.has(contentKey(needed.job, needed.attempt));
      return isMissing ? [{ runId, ...needed }] : [];
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

async function decideAll(tx: Tx, works: readonly RunWork[], nowMs: number, cache: RunCache): Promise<void> {
  let open = works;
  for (let round = 0; open.length > 0; round++) {
    const wanted = new Map<RunWork, Wanted>();
    for (const work of open) {
      const lacks = advance(work, nowMs);
      if (lacks !== undefined) wanted.set(work, lacks);
    }
    open = [...wanted.keys()];
    // A decision that goes on and on, down a chain of jobs that are skipped, gets the whole run.
    const isLong = round >= ROUNDS_BY_JOB;
    await Promise.all([
      load(tx, open, (work) => (isLong ? everyJob(work) : (wanted.get(work)?.jobs ?? [])), cache),
      loadWantedFacts(tx, wanted),
    ]);
  }
}

/** Few runs have expressions: what these ask for is read run by run. */
async function loadWantedFacts(tx: Tx, wanted: ReadonlyMap<RunWork, Wanted>): Promise<void> {
  const works = [...wanted.keys()].filter((work) => wanted.get(work)?.outputsOf !== undefined);
  if (works.length === 0) return;
  const facts = await loadFacts(
    tx,
    works.flatMap((work) => (work.facts === undefined ? [work.context.runId] : [])),
  );
  await Promise.all(
    works.map(async (work) => {
      const { runId } = work.context;
      const known = work.facts ?? facts.get(runId);
      if (known === undefined) throw new Error(`run ${runId} was not loaded`);
      const jobs = wanted.get(work)?.outputsOf ?? [];
      const outcomes = jobs.length === 0 ? [] : await jobOutcomes(tx, runId, jobs);
      addFacts(
        work,
        known,
        outcomes.map(({ job, outputs }) => [job, outputs]),
      );
    }),
  );
}

function everyJob(work: RunWork): readonly number[] {
  return work.context.plan.jobs.map(({ index }) => index);
}

async function write(tx: Tx, works: readonly RunWork[], nowMs: number): Promise<void> {
  const changed = works.filter((work) => work.events.length > 0);
  if (changed.length === 0) return;
  const jobs = changed.flatMap(jobWrites);
  const added = changed.flatMap(jobsAdded);
  const calls = changed.flatMap((work) => callChanges(work.context, work.events));
  const grown = await growDefinitions(tx, changed, nowMs);
  const queued = changed.flatMap(newlyQueued);
  const offered = changed.flatMap((work) => work.offered);
  const attempts = changed.flatMap((work) => [...work.attempts.values()]);
  await Promise.all([
    updateRuns(
      tx,
      changed.map((work) => ({ runId: work.context.runId, header: work.run, digest: grown.get(work) })),
    ),
    added.length > 0 && insertJobs(tx, added),
    calls.length > 0 && changeCalls(tx, calls),
    jobs.length > 0 && updateJobs(tx, jobs),
    // An attempt may begin and end in one flush.
    offered.length > 0 && insertAttempts(tx, offered),
    attempts.length > 0 && changeAttempts(tx, attempts),
    insertEvents(tx, changed.flatMap(feedEvents)),
    queued.length > 0 && enqueue(tx, queued),
  ]);
}

/** Stores the definitions of runs that have grown. Returns their digests. */
async function growDefinitions(
  tx: Tx,
  works: readonly RunWork[],
  nowMs: number,
): Promise<ReadonlyMap<RunWork, string>> {
  const grown = works.filter((work) => work.addedFrom !== undefined);
  if (grown.length === 0) return new Map();
  const digests = new Map(grown.map((work) => [work, digestOf(work.context.plan.definition)]));
  const definitions = new Map(grown.map((work) => [digests.get(work) ?? '', work.context.plan.definition]));
  await insertDefinitions(tx, definitions, nowMs);
  return digests;
}

/** The rows of jobs that the decisions added to a run. */
function jobsAdded(work: RunWork): JobWrite[] {
  const { runId, project, plan } = work.context;
  if (work.addedFrom === undefined) return [];
  const slice = { plan, run: work.run, jobs: work.jobs };
  return plan.jobs.slice(work.addedFrom).map(({ index }) => {
    const record = jobOf(slice, index);
    const dueMs = dueOf(slice, index, record);
    if (dueMs !== undefined) work.dueMs = Math.min(work.dueMs ?? dueMs, dueMs);
    return { key: { runId, job: index }, project, record, dueMs };
  });
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
    writes.push({ key: { runId, job }, project, record, dueMs, detailsKept: record.details === before.details });
  }
  return writes;
}

function newlyQueued(work: RunWork): { key: JobWrite['key']; project: string; driver: string }[] {
  const { runId, project, plan } = work.context;
  const queued = [];
  const added = work.addedFrom === undefined ? [] : plan.jobs.slice(work.addedFrom).map(({ index }) => index);
  for (const job of [...work.loaded.keys(), ...added]) {
    const wasQueued = work.loaded.get(job)?.state === 'QUEUED';
    if (wasQueued || work.jobs.get(job)?.state !== 'QUEUED') continue;
    queued.push({ key: { runId, job }, project, driver: plannedJob(plan, job).definition.driver });
  }
  return queued;
}

/** What the events of a run make of its calls. */
export function callChanges(
  { runId, project, plan }: RunContext,
  events: readonly { readonly event: RunEvent }[],
): CallChange[] {
  return events.flatMap(({ event }): CallChange[] => {
    switch (event.type) {
      case 'JobWaiting':
        return event.reason === 'CHILD_RUN' ? [{ key: { runId, job: event.job }, project, event }] : [];
      case 'ChildRunStarted':
        return [{ key: { runId, job: event.job }, project, event }];
      case 'JobFinished':
        return plan.jobs[event.job]?.definition.call === undefined
          ? []
          : [{ key: { runId, job: event.job }, project, event }];
      default:
        return [];
    }
  });
}

/** The events of a run; the last one tells the feed when what a list of runs shows has changed. */
function feedEvents(work: RunWork): RunWork['events'] {
  const { events } = work;
  const last = events.at(-1);
  return last !== undefined && changesFeed(work) ? events.with(-1, { ...last, feed: true }) : events;
}

/** Remembers what a committed flush has made of its runs. */
export function keepCommitted({ works }: FlushOutcome, cache: RunCache): void {
  for (const { context, before, run, jobs } of works) cache.keep(context, before, run, jobs);
}

/** Whether what a list of runs shows has changed. */
export function changesFeed({ before, run }: RunWork): boolean {
  return (
    before.state !== run.state ||
    before.counts !== run.counts ||
    before.cancel !== run.cancel ||
    before.pause !== run.pause
  );
}
