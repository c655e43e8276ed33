// One flush of the ledger inside its transaction: lock the runs, load what the commands touch, decide, write. Nothing is answered
// here: the caller commits first.
import type { JobKey, RunId } from '../core/ids.ts';
import { plannedJob } from '../core/plan.ts';
import { dueOf } from '../core/alarms.ts';
import { changeAttempts, insertAttempts } from '../store/attempt-rows.ts';
import { changeCalls } from '../store/call-rows.ts';
import { changeMembers } from '../store/group-rows.ts';
import { enqueue, leaveQueue, type QueueInsert } from '../store/queue-rows.ts';
import { changeRateWaiters, putBuckets } from '../store/rate-rows.ts';
import { type SharedInstance, shareInstances } from '../store/instance-rows.ts';
import { insertJobs, type JobWrite, updateJobs } from '../store/job-rows.ts';
import { insertEvents, lockRuns, projectsOfRuns, readClock, updateRuns } from '../store/ledger-rows.ts';
import type { Tx } from '../store/sql.ts';
import { advance } from './advance.ts';
import { callChanges } from './call-changes.ts';
import { jobsNeeded } from '../core/command-needs.ts';
import { growDefinitions, jobsAdded } from './growth.ts';
import type { DriverSchemas } from './driver-schemas.ts';
import { type StartChange, startChange } from './member-changes.ts';
import { createDecisionPace, type DecisionPace } from './decision-pace.ts';
import { inTurnsOf } from './owner-lines.ts';
import { inPieces, sendInTurns } from './pace.ts';
import type { Plans } from './plans.ts';
import { loadPlaces } from './load-places.ts';
import { queueEntry } from './queue-entry.ts';
import { load, loadContents, loadLocked, loadWantedFacts } from './load-work.ts';
import { noSuchRun } from './refusals.ts';
import type { RunCache } from './run-cache.ts';
import { type Answer, beginWork, type RunWork, type Submission, type Wanted } from './run-work.ts';

/** How often a decision is given just the jobs that it asks for. */
const ROUNDS_BY_JOB = 3;

export interface FlushOptions {
  readonly plans: Plans;
  readonly cache: RunCache;
  readonly schemas: DriverSchemas;
  /** The newest version of events that every live replica knows. */
  readonly eventVersion: () => number;
}

export interface FlushOutcome {
  /** The runs that were locked, with an answer or a failure for each of their submissions that was decided on. */
  readonly works: readonly RunWork[];
  /** Submissions about runs that do not exist. */
  readonly refused: ReadonlyMap<Submission, Answer>;
  /** Submissions about runs that somebody else holds, or that claim what somebody else holds. */
  readonly missed: readonly Submission[];
  /** Submissions that were left because the flush takes long already. */
  readonly left: readonly Submission[];
  /** Submissions of runs that take long to decide on by themselves. */
  readonly costly: readonly Submission[];
  /** The projects of the runs of all these. */
  readonly projects: ReadonlyMap<RunId, string>;
  readonly nowMs: number;
}

/**
 * What does not depend on an answer is sent without waiting for it, so a flush takes few round trips.
 * @param patient Whether to wait for runs, groups and rates that somebody else holds, and to make decisions that take long.
 * @param alongside Writes more, in the same round trip, once all is decided.
 */
export async function flushSubmissions(
  tx: Tx,
  begun: Promise<unknown>,
  submissions: readonly Submission[],
  { plans, cache, schemas, eventVersion }: FlushOptions,
  patient: boolean,
  alongside?: (outcome: FlushOutcome) => Promise<void>,
): Promise<FlushOutcome> {
  const byRun = Map.groupBy(submissions, (submission) => submission.runId);
  const [seqs, instances, lockedMs] = await Promise.all([
    lockRuns(tx, [...byRun.keys()], patient),
    shareWriters(tx, submissions),
    // Statements run in the order in which they are sent, so this is the time after the locks were granted.
    readClock(tx),
    begun,
  ]);
  const runs = await loadLocked(tx, seqs, plans, cache);
  const version = eventVersion();
  const works = inTurns(
    runs.map(({ context, header }) => beginWork(context, header, byRun.get(context.runId) ?? [], version)),
  );
  answerOutsiders(works, instances);
  const jobsWanted = (work: RunWork): readonly number[] =>
    work.submissions.flatMap(({ command }) => jobsNeeded(work.context.plan, command));
  const [{ refused, missed: absent, projects }] = await Promise.all([
    sortAbsent(tx, works, byRun),
    load(tx, works, jobsWanted, cache),
    loadContents(tx, works),
  ]);
  // Which attempt a timer is about is known only now.
  await loadContents(tx, works);
  const { starts, missed: held } = await loadPlaces(tx, works, patient);
  const nowMs = starts?.nowMs ?? lockedMs;
  const open = works.filter((work) => !held.has(work));
  await decideAll(tx, open, nowMs, { cache, schemas, pace: createDecisionPace(tx, patient) });
  const leftOf = (isCostly: boolean): readonly Submission[] =>
    open.flatMap(({ submissions, decided, isDeciding }) => (isDeciding === isCostly ? submissions.slice(decided) : []));
  const missed = [...absent, ...[...held].flatMap(({ submissions }) => submissions)];
  for (const { context } of works) projects.set(context.runId, context.project);
  const outcome = { works, refused, missed, left: leftOf(false), costly: leftOf(true), projects, nowMs };
  const taken = [...(starts?.rates.values() ?? [])].filter((rate) => rate.taken);
  await Promise.all([write(tx, works, nowMs), taken.length > 0 && putBuckets(tx, taken), alongside?.(outcome)]);
  return outcome;
}

/** Works in the order in which they are decided on: projects in turns, and of each first what was asked first. */
function inTurns(works: readonly RunWork[]): readonly RunWork[] {
  const firstOf = ({ submissions: [first] }: RunWork): number => first?.number ?? 0;
  const inOrder = works.toSorted((a, b) => firstOf(a) - firstOf(b));
  return inTurnsOf(inOrder, ({ context }) => context.project);
}

interface Absent extends Pick<FlushOutcome, 'refused' | 'missed'> {
  readonly projects: Map<RunId, string>;
}

/** Sorts the submissions about runs that were not locked: somebody else holds them, or they do not exist. */
async function sortAbsent(
  tx: Tx,
  works: readonly RunWork[],
  byRun: ReadonlyMap<RunId, readonly Submission[]>,
): Promise<Absent> {
  const refused = new Map<Submission, Answer>();
  const missed: Submission[] = [];
  if (works.length === byRun.size) return { refused, missed, projects: new Map() };
  const locked = new Set(works.map((work) => work.context.runId));
  const absent = [...byRun.keys()].filter((runId) => !locked.has(runId));
  const projects = await projectsOfRuns(tx, absent);
  for (const runId of absent) {
    const asked = byRun.get(runId) ?? [];
    if (projects.has(runId)) {
      missed.push(...asked);
      continue;
    }
    const { refusal } = noSuchRun(runId);
    for (const submission of asked) refused.set(submission, { reply: { type: 'Refused', refusal } });
  }
  return { refused, missed, projects };
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

interface DecideOptions extends Pick<FlushOptions, 'cache' | 'schemas'> {
  readonly pace: DecisionPace;
}

/** Decides on the submissions of the runs, but for those that take longer than they may here, and those that are left for later. */
async function decideAll(
  tx: Tx,
  works: readonly RunWork[],
  nowMs: number,
  { cache, schemas, pace }: DecideOptions,
): Promise<void> {
  let open = works;
  for (let round = 0; open.length > 0; round++) {
    const wanted = new Map<RunWork, Wanted>();
    const begun = new Set<string>();
    for (const work of open) {
      const { project } = work.context;
      // One of each project has its turn however long the others took.
      if (begun.has(project) && pace.isLong()) {
        work.isDeciding = false;
        continue;
      }
      begun.add(project);
      const step = await pace.make(advance(work, nowMs, pace.isLong));
      if (step?.made !== undefined) wanted.set(work, step.made);
    }
    open = [...wanted.keys()];
    // A decision that goes on and on, down a chain of jobs that are skipped, gets the whole run.
    const isLong = round >= ROUNDS_BY_JOB;
    await Promise.all([
      load(tx, open, (work) => (isLong ? everyJob(work) : (wanted.get(work)?.jobs ?? [])), cache),
      loadWantedFacts(tx, wanted, schemas),
    ]);
  }
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
  const queued = changed.flatMap((work) => newlyQueued(work, nowMs));
  const left = changed.flatMap(leftQueue);
  const offered = changed.flatMap((work) => work.offered);
  const attempts = changed.flatMap((work) => [...work.attempts.values()]);
  const starts = changed.flatMap(startChanges);
  const members = starts.flatMap(({ member }) => member ?? []);
  const rateWaits = starts.flatMap(({ rateWait }) => rateWait ?? []);
  const runs = changed.map((work) => ({ runId: work.context.runId, header: work.run, digest: grown.get(work) }));
  await sendInTurns([
    ...inPieces(runs, (rows) => updateRuns(tx, rows)),
    ...inPieces(added, (rows) => insertJobs(tx, rows)),
    ...inPieces(calls, (rows) => changeCalls(tx, rows)),
    ...inPieces(members, (rows) => changeMembers(tx, rows)),
    ...inPieces(rateWaits, (rows) => changeRateWaiters(tx, rows)),
    ...inPieces(jobs, (rows) => updateJobs(tx, rows)),
    // An attempt may begin and end in one flush.
    ...inPieces(offered, (rows) => insertAttempts(tx, rows)),
    ...inPieces(attempts, (rows) => changeAttempts(tx, rows)),
    ...inPieces(changed.flatMap(feedEvents), (rows) => insertEvents(tx, rows)),
    ...inPieces(left, (rows) => leaveQueue(tx, rows)),
    ...inPieces(queued, (rows) => enqueue(tx, rows)),
  ]);
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

/** What becomes of the places of its jobs, and of their waits for tokens. */
export function startChanges({ context, loaded, jobs, addedFrom }: RunWork): readonly StartChange[] {
  const added = addedFrom === undefined ? [] : context.plan.jobs.slice(addedFrom).map(({ index }) => index);
  return [...loaded.keys(), ...added].flatMap((job) => startChange(context, job, loaded.get(job), jobs.get(job)) ?? []);
}

function newlyQueued(work: RunWork, nowMs: number): QueueInsert[] {
  const { plan } = work.context;
  const queued: QueueInsert[] = [];
  const added = work.addedFrom === undefined ? [] : plan.jobs.slice(work.addedFrom).map(({ index }) => index);
  for (const job of [...work.loaded.keys(), ...added]) {
    const wasQueued = work.loaded.get(job)?.state === 'QUEUED';
    if (wasQueued || work.jobs.get(job)?.state !== 'QUEUED') continue;
    queued.push(queueEntry(work.context, job, plannedJob(plan, job).definition, placeTimeOf(work, job) ?? nowMs));
  }
  return queued;
}

/** A job that was paused or held gets the place of one that was queued for as long. */
function placeTimeOf(work: RunWork, job: number): number | undefined {
  const before = work.loaded.get(job);
  const isLetGo = before?.state === 'WAITING' && (before.wait.reason === 'PAUSED' || before.wait.reason === 'HELD');
  return isLetGo ? work.jobs.get(job)?.queuedMs : undefined;
}

/** Jobs that are not queued any more and were not offered: what was, is taken out of the queue by whoever claimed it. */
function leftQueue({ context: { runId }, loaded, jobs }: RunWork): JobKey[] {
  const left: JobKey[] = [];
  for (const [job, { state }] of loaded) {
    const now = jobs.get(job)?.state;
    if (state === 'QUEUED' && now !== 'QUEUED' && now !== 'OFFERED') left.push({ runId, job });
  }
  return left;
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
