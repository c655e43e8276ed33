// One locked run inside a flush: what is loaded of it, the commands for it in order, and what they have decided so far.
import type { AttemptContent, Command, Reply } from '../core/commands.ts';
import { decide } from '../core/decide.ts';
import type { RunEvent } from '../core/events.ts';
import type { RunId } from '../core/ids.ts';
import type { Plan } from '../core/plan.ts';
import { resultOf } from '../core/attempt.ts';
import type { JsonObject } from '../core/json.ts';
import {
  FactsNotLoaded,
  type JobRecord,
  JobsNotLoaded,
  liveOf,
  type RunFacts,
  type RunHeader,
} from '../core/run-state.ts';
import type { AttemptChange, AttemptInsert } from '../store/attempt-rows.ts';
import type { EventWrite } from '../store/ledger-rows.ts';
import { type LockedStarts, noteStart, startViewsOf } from './load-places.ts';
import type { RunContext } from './run-context.ts';

/** Which session writes: the number of its driver instance's row, and its epoch. */
export interface Writer {
  readonly instance: number;
  readonly epoch: number;
}

export type LedgerReply = Reply | { readonly type: 'Superseded' };

export interface Answer {
  readonly reply: LedgerReply;
  /** Undefined when the run does not exist or the command was not decided on. */
  readonly run?: RunContext;
  /** The job that the command names, after the decision. */
  readonly job?: JobRecord;
}

/** A command on its way through the ledger. */
export interface Submission {
  readonly runId: RunId;
  /** Undefined: whatever project the run belongs to. */
  readonly project: string | undefined;
  readonly command: Command;
  /** Undefined: not a session's. */
  readonly writer: Writer | undefined;
  /** In how many flushes somebody else held the run. */
  misses: number;
  answer(answer: Answer): void;
  fail(error: unknown): void;
}

export interface RunWork {
  /** Has the plan of the grown run once the decisions have added jobs to it. */
  context: RunContext;
  readonly submissions: readonly Submission[];
  /** The run as it was locked. */
  readonly before: RunHeader;
  /** Jobs as they were loaded. */
  readonly loaded: Map<number, JobRecord>;
  /** What the store holds of the attempts that the commands are about, by `contentKey`. */
  readonly contents: Map<string, AttemptContent>;
  run: RunHeader;
  jobs: ReadonlyMap<number, JobRecord>;
  /** The first of the jobs that the decisions added to it; undefined: they added none. */
  addedFrom: number | undefined;
  /** What its expressions may read, once one has asked. */
  facts: RunFacts | undefined;
  /** What is known of the groups and rate limits of jobs that are to start. */
  starts: LockedStarts | undefined;
  /** How many submissions have been decided on. */
  decided: number;
  readonly answers: Map<Submission, Answer>;
  readonly failures: Map<Submission, unknown>;
  readonly events: EventWrite[];
  readonly offered: AttemptInsert[];
  readonly attempts: Map<string, AttemptChange>;
  /** When time alone changes one of the written jobs next. */
  dueMs: number | undefined;
}

export function contentKey(job: number, attempt: number): string {
  return `${job}.${attempt}`;
}

export function beginWork(context: RunContext, header: RunHeader, submissions: readonly Submission[]): RunWork {
  return {
    context,
    submissions,
    before: header,
    loaded: new Map(),
    contents: new Map(),
    run: header,
    jobs: new Map(),
    addedFrom: undefined,
    facts: undefined,
    starts: undefined,
    decided: 0,
    answers: new Map(),
    failures: new Map(),
    events: [],
    offered: [],
    attempts: new Map(),
    dueMs: undefined,
  };
}

/** The jobs that a command certainly needs; a decision that needs more asks for them. */
export function jobsNeeded(plan: Plan, command: Command): readonly number[] {
  switch (command.type) {
    case 'Create':
      return [];
    case 'CancelRun':
    case 'PauseRun':
    case 'ResumeRun':
      return plan.jobs.map((job) => job.index);
    case 'Offer':
    case 'Accept':
    case 'Adopt':
    case 'Annotate':
    case 'AppendJobs':
    case 'Declare':
    case 'ReleaseBackoff':
    case 'HoldJob':
    case 'ReleaseJob':
    case 'StartChild':
      return plan.jobs[command.job] === undefined ? [] : [command.job];
    case 'Reject':
    case 'Withdraw':
    case 'Finish':
    case 'Lose':
    case 'CancelJob':
    case 'AnswerGate':
    case 'RefuseChild':
    case 'FinishChild':
    case 'ClaimPlace':
    case 'Timer': {
      const job = plan.jobs[command.job];
      return job === undefined ? [] : [command.job, ...job.dependants];
    }
  }
}

/** The attempt whose content the decision on a command needs. */
export function attemptNeeded(work: RunWork, command: Command): { job: number; attempt: number } | undefined {
  switch (command.type) {
    case 'Finish':
    case 'Lose':
    case 'Annotate':
    case 'AppendJobs':
    case 'Declare':
      return { job: command.job, attempt: command.attempt };
    case 'Timer': {
      const job = work.jobs.get(command.job);
      return job === undefined || liveOf(job) === undefined ? undefined : { job: command.job, attempt: job.attempt };
    }
    case 'Create':
    case 'CancelRun':
    case 'Offer':
    case 'Accept':
    case 'Adopt':
    case 'ReleaseBackoff':
    case 'Reject':
    case 'Withdraw':
    case 'CancelJob':
    case 'PauseRun':
    case 'ResumeRun':
    case 'HoldJob':
    case 'ReleaseJob':
    case 'AnswerGate':
    case 'StartChild':
    case 'RefuseChild':
    case 'FinishChild':
    case 'ClaimPlace':
      return undefined;
  }
}

/** Adds jobs that were just loaded. */
export function addLoaded(work: RunWork, jobs: Iterable<readonly [number, JobRecord]>): void {
  const all = new Map(work.jobs);
  for (const [index, record] of jobs) {
    work.loaded.set(index, record);
    all.set(index, record);
  }
  work.jobs = all;
}

/** What a decision lacks. */
export interface Wanted {
  readonly jobs: readonly number[];
  /** Jobs whose outputs are wanted, and with them what expressions may read at all. */
  readonly outputsOf?: readonly number[];
}

/** Adds what expressions may read, and outputs of jobs that were just loaded. */
export function addFacts(work: RunWork, facts: RunFacts, outputs: Iterable<readonly [number, JsonObject]>): void {
  work.facts = { ...facts, outputs: new Map([...facts.outputs, ...outputs]) };
}

/** Decides on the submissions in order. Returns what has to be loaded before it can go on; undefined when it is through. */
export function advance(work: RunWork, nowMs: number): Wanted | undefined {
  while (work.decided < work.submissions.length) {
    const submission = work.submissions[work.decided];
    if (submission === undefined) break;
    try {
      if (!work.answers.has(submission)) work.answers.set(submission, decideOne(work, submission, nowMs));
    } catch (error) {
      if (error instanceof JobsNotLoaded) return { jobs: error.jobs };
      if (error instanceof FactsNotLoaded) return { jobs: [], outputsOf: error.outputsOf };
      // A broken invariant harms its own command only.
      work.failures.set(submission, error);
    }
    work.decided++;
  }
  return undefined;
}

function decideOne(work: RunWork, submission: Submission, nowMs: number): Answer {
  const { context } = work;
  const command = withContent(work, submission.command);
  if ('job' in command && context.plan.jobs[command.job] === undefined) {
    return { reply: submission.writer === undefined ? noSuchJob(command.job) : { type: 'Stale' } };
  }
  const { run, jobs, facts } = work;
  const slice = { plan: context.plan, run, jobs, ...(facts !== undefined && { facts }) };
  const { reply, events, marks, after } = decide(slice, command, nowMs);
  const seq = work.run.seq;
  if (work.starts !== undefined) noteStarts(work, after.jobs);
  work.run = after.run;
  work.jobs = after.jobs;
  work.facts = after.facts;
  if (after.plan !== context.plan) {
    work.addedFrom ??= context.plan.jobs.length;
    work.context = { ...context, plan: after.plan };
  }
  events.forEach((event, i) => {
    const mark = marks[i];
    if (mark === undefined) throw new Error('an event without a mark');
    work.events.push({
      runId: context.runId,
      project: context.project,
      seq: seq + i + 1,
      timeMs: after.run.lastMs,
      runState: mark.run,
      jobState: mark.job,
      event,
      feed: false,
    });
    noteAttempt(work, command, event, after.run.lastMs);
  });
  const job = 'job' in command ? after.jobs.get(command.job) : undefined;
  return { reply, run: work.context, ...(job !== undefined && { job }) };
}

/** Before the work itself goes on. */
function noteStarts(work: RunWork, after: RunWork['jobs']): void {
  for (const [job, record] of after) {
    const before = work.jobs.get(job);
    if (record !== before) noteStart(work, job, before, record);
  }
}

function withContent(work: RunWork, command: Command): Command {
  if (command.type === 'ClaimPlace') {
    return { ...command, ...startViewsOf(work, command.job, work.jobs.get(command.job)) };
  }
  const needed = attemptNeeded(work, command);
  if (needed === undefined) return command;
  return { ...command, content: work.contents.get(contentKey(needed.job, needed.attempt)) } as Command;
}

/** What an event changes in the row of its attempt, and what the next command of this flush has to see of it. */
function noteAttempt(work: RunWork, command: Command, event: RunEvent, nowMs: number): void {
  if (!('attempt' in event)) return;
  const { job, attempt } = event;
  const key = { runId: work.context.runId, job, attempt };
  const id = contentKey(job, attempt);
  if (event.type === 'AttemptOffered') {
    work.offered.push({ key, project: work.context.project, instance: event.instanceNo, offeredMs: nowMs });
    return;
  }
  const change: AttemptChange = work.attempts.get(id) ?? { key };
  const content = work.contents.get(id);
  switch (event.type) {
    case 'AttemptStarted':
      change.startedMs = nowMs;
      break;
    case 'AttemptAnnotated':
      change.annotations = [...(change.annotations ?? []), event.annotation];
      change.heardMs = nowMs;
      if (content !== undefined) {
        work.contents.set(id, { ...content, annotations: content.annotations + 1, heardMs: nowMs });
      }
      break;
    case 'AttemptArtifact': {
      const { project } = work.context;
      const added = { key, project, number: event.number, artifact: event.artifact, addedMs: nowMs };
      change.artifacts = [...(change.artifacts ?? []), added];
      if (content !== undefined) work.contents.set(id, { ...content, artifacts: event.number, heardMs: nowMs });
      break;
    }
    case 'AttemptEnded': {
      const result = command.type === 'Finish' ? resultOf(command) : undefined;
      change.ended = { ...event, finishedMs: nowMs, ...(result !== undefined && { result }) };
      if (content !== undefined) {
        const { state, logState } = event;
        work.contents.set(id, { ...content, state, logState, ...(result !== undefined && { result }) });
      }
      break;
    }
    case 'JobsAppended':
      change.heardMs = nowMs;
      if (content !== undefined) work.contents.set(id, { ...content, heardMs: nowMs });
      break;
    case 'AttemptAdopted':
    case 'AttemptTimedOut':
    case 'AttemptHeard':
      return;
  }
  work.attempts.set(id, change);
}

function noSuchJob(job: number): Reply {
  const message = `the run has no job with index ${job}: take a job's id from ListJobs`;
  return { type: 'Refused', refusal: { refused: 'JOB_NOT_FOUND', message } };
}
