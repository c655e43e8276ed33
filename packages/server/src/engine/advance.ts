// Makes the decisions on one locked run of a flush, and notes what they change.
import { resultOf } from '../core/attempt.ts';
import type { Command, Reply } from '../core/commands.ts';
import { decideInSlices } from '../core/decide.ts';
import type { RunEvent } from '../core/events.ts';
import { FactsNotLoaded, JobsNotLoaded } from '../core/run-state.ts';
import { nothingKnown } from '../core/working.ts';
import type { AttemptChange } from '../store/attempt-rows.ts';
import { attemptNeeded } from '../core/command-needs.ts';
import { noteStart, startViewsOf } from './load-places.ts';
import { type Answer, contentKey, type RunWork, type Submission, type Wanted } from './run-work.ts';

/**
 * Decides on the submissions in order, a slice at a time. Whoever does not go on leaves those that are not decided on as if they had not
 * come. Returns what has to be loaded before it can go on; undefined when it is through, or `isLong` says that the rest can wait.
 */
export function* advance(
  work: RunWork,
  nowMs: number,
  isLong: () => boolean,
): Generator<undefined, Wanted | undefined> {
  let isFirst = true;
  for (const submission of work.submissions.slice(work.decided)) {
    if (!isFirst) {
      if (isLong()) return undefined;
      yield;
    }
    isFirst = false;
    work.isDeciding = true;
    try {
      if (!work.answers.has(submission)) work.answers.set(submission, yield* decideOne(work, submission, nowMs));
    } catch (error) {
      if (error instanceof JobsNotLoaded) return { jobs: error.jobs };
      if (error instanceof FactsNotLoaded) return { jobs: [], outputsOf: error.outputsOf };
      // A broken invariant harms its own command only.
      work.failures.set(submission, error);
    }
    work.decided++;
    work.known = nothingKnown();
    work.isDeciding = false;
  }
  return undefined;
}

function* decideOne(work: RunWork, submission: Submission, nowMs: number): Generator<undefined, Answer> {
  const { context } = work;
  const command = withContent(work, submission.command);
  if ('job' in command && context.plan.jobs[command.job] === undefined) {
    return { reply: submission.writer === undefined ? noSuchJob(command.job) : { type: 'Stale' } };
  }
  const { run, jobs, facts, known, eventVersion } = work;
  const slice = { plan: context.plan, run, jobs, known, eventVersion, ...(facts !== undefined && { facts }) };
  const { reply, events, marks, after, touched } = yield* decideInSlices(slice, command, nowMs);
  const seq = work.run.seq;
  if (work.starts !== undefined) noteStarts(work, after.jobs, touched);
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
function noteStarts(work: RunWork, after: RunWork['jobs'], touched: ReadonlySet<number>): void {
  for (const job of touched) {
    const [before, record] = [work.jobs.get(job), after.get(job)];
    if (record !== undefined && record !== before) noteStart(work, job, before, record);
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
