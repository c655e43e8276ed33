// For each promise about needs, cancels, retries, rows and time a decision that breaks it, and that the checkers, which a hundred thousand
// right decisions pass, catch it by that promise.
import { test } from 'vitest';
import type { Command } from './commands.ts';
import { decide } from './decide.ts';
import { type JobRecord, JobsNotLoaded } from './run-state.ts';
import {
  adding,
  expectCaught,
  type Faults,
  leaving,
  leavingJobs,
  leavingRun,
  misled,
  recording,
  spoilt,
  withJobs,
} from './testing/wrong-decisions.ts';

const asAsked = (command: Command): Command => command;

const faults: Faults = {
  // Needs and cancels.
  'runs a job whatever became of its needs': [
    /a job runs only when its needs allow it/,
    misled(
      asAsked,
      withJobs((job) => ({ ...job, when: 'ALWAYS' })),
    ),
  ],
  'starts what is being cancelled': [
    /a job does not go from CANCELLING to RUNNING/,
    (slice, command, nowMs) => {
      const decision = decide(slice, command, nowMs);
      const job = 'job' in command ? slice.jobs.get(command.job) : undefined;
      if (command.type !== 'Finish' || job?.state !== 'CANCELLING' || decision.events.length === 0) return decision;
      const { marks } = decision;
      return { ...decision, marks: marks.map((mark, i) => (i === 0 ? { ...mark, job: 'RUNNING' } : mark)) };
    },
  ],
  'acknowledges the cancel of a job and lets it go on': [
    /a job is stopped once its cancel is acknowledged/,
    misled((command) => (command.type === 'CancelJob' ? { type: 'ReleaseBackoff', job: command.job } : command)),
  ],
  'acknowledges the cancel of a run and lets it go on': [
    /a run is stopped once its cancel is acknowledged/,
    misled((command) => (command.type === 'CancelRun' ? { type: 'ReleaseBackoff', job: 0 } : command)),
  ],
  'cancels a run but for what runs': [
    /a cancelled run leaves nothing going but what runs always|a repeated CancelRun/,
    misled(asAsked, (slice, command) =>
      command.type === 'CancelRun' && !command.force ? withJobs((job) => ({ ...job, when: 'ALWAYS' }))(slice) : slice,
    ),
  ],

  'starts a job of a run that was cancelled by force': [
    /a cancelled run starts no job/,
    spoilt(({ events, after }) => ({
      events: events.map((event) => (event.type === 'RunCancelRequested' ? { ...event, force: true } : event)),
      after: {
        ...after,
        run: { ...after.run, ...(after.run.cancel !== undefined && { cancel: { ...after.run.cancel, force: true } }) },
      },
    })),
  ],

  // Pauses and holds.
  'acknowledges a pause and goes on': [
    /a run is paused once that is acknowledged/,
    misled((command) => (command.type === 'PauseRun' ? { type: 'ReleaseBackoff', job: 0 } : command)),
  ],
  'acknowledges a resumption and stays paused': [
    /a run goes on once that is acknowledged/,
    misled((command) => (command.type === 'ResumeRun' ? { type: 'ReleaseBackoff', job: 0 } : command)),
  ],
  'acknowledges a hold and forgets it': [
    /a job is held, or let go, once that is acknowledged/,
    misled((command) => (command.type === 'HoldJob' ? { type: 'ReleaseBackoff', job: command.job } : command)),
  ],
  'queues a job that is held': [
    /a job that is held is not offered/,
    leavingJobs((job) =>
      job.state === 'WAITING' && job.hold !== undefined ? ({ ...job, state: 'QUEUED', queuedMs: 1 } as JobRecord) : job,
    ),
  ],
  'queues the jobs of a run that is paused': [
    /no job of a paused run is offered/,
    spoilt(({ after }, _, { run }) =>
      run.pause === undefined && after.run.pause !== undefined
        ? { after: { ...after, jobs: new Map([...after.jobs].map(([index, job]) => [index, queued(job)])) } }
        : {},
    ),
  ],
  'cancels a run and leaves it paused': [
    /a cancel ends a pause and every hold/,
    leavingRun((run, { run: before }) =>
      run.cancel !== undefined && before.pause !== undefined ? { ...run, pause: before.pause } : run,
    ),
  ],

  // Retries.
  'retries what is invalid': [
    /only a failure that may be retried is followed by a backoff|what is invalid is never retried/,
    recording((event) =>
      event.type === 'AttemptEnded' && event.failure !== undefined
        ? { ...event, failure: { ...event.failure, class: 'INVALID' } }
        : event,
    ),
  ],
  'retries beyond the budget': [
    /a class of failures is retried within its budget|no job goes on beyond its budget/,
    misled(
      asAsked,
      withJobs(({ retry, ...job }) => {
        const budgets = { WORKLOAD: 99, DRIVER: 99, INFRASTRUCTURE: 99, TIMEOUT: 99, REJECTED: 99 };
        return { ...job, retry: { ...retry, budgets } };
      }),
    ),
  ],
  'retries too soon': [
    /a backoff is not too short/,
    misled(
      asAsked,
      withJobs(({ retry, ...job }) => ({ ...job, retry: { ...retry, initialBackoffMs: 0 } })),
    ),
  ],
  'retries too late': [
    /a backoff is not too long/,
    recording((event) =>
      event.type === 'JobWaiting' && 'untilMs' in event ? { ...event, untilMs: event.untilMs + 100_000 } : event,
    ),
  ],

  // The rows that follow from the events.
  'forgets what waits for a job': [
    /a job counts the needs that have not finished/,
    misled(asAsked, (slice) => ({
      ...slice,
      plan: { ...slice.plan, jobs: slice.plan.jobs.map((job) => ({ ...job, dependants: [] })) },
    })),
  ],
  'miscounts the needs that failed': [
    /a job counts the needs that did not succeed/,
    leavingJobs((job) => ({ ...job, badNeeds: job.badNeeds + 1 })),
  ],
  'blocks what needs nothing': [
    /a job is blocked exactly while a need is open|AssertionError/,
    leavingJobs((job) => (job.state === 'QUEUED' ? { ...job, state: 'BLOCKED' } : job)),
  ],
  'does not say since when a job is ready': [
    /a job is ready once its needs allow it/,
    leavingJobs(({ readyMs: _unsaid, ...job }) => job as JobRecord),
  ],
  'does not say since when a job waits': [
    /a job that waits for a driver says since when/,
    leavingJobs(({ queuedMs: _unsaid, ...job }) => job as JobRecord),
  ],
  'lets a job that runs wait for a driver': [
    /a job that runs does not wait for a driver/,
    leavingJobs((job) => (job.state === 'RUNNING' ? { ...job, queuedMs: 1 } : job)),
  ],
  'ends a run before its jobs': [
    /a run ends when its jobs have ended, and not before/,
    spoilt(({ after, marks }, _, slice) => {
      if (slice.run.state !== 'RUNNING' || after.run.state !== 'RUNNING') return {};
      return {
        marks: marks.with(-1, { run: 'SUCCEEDED', job: marks.at(-1)?.job }),
        after: { ...after, run: { ...after.run, state: 'SUCCEEDED' } },
      };
    }),
  ],
  'ends a run otherwise than its jobs': [
    /a run ends as its jobs did/,
    spoilt(({ after, marks }) => {
      const state = after.run.state === 'FAILED' ? 'SUCCEEDED' : after.run.state;
      return {
        marks: marks.map((mark) => ({ ...mark, run: mark.run === 'FAILED' ? 'SUCCEEDED' : mark.run })),
        after: { ...after, run: { ...after.run, state } },
      };
    }),
  ],
  'does not say when a run ended': [/a finished run says when/, leavingRun(({ finishedMs: _unsaid, ...run }) => run)],
  'does not say when a run began': [/a run starts with a job/, leavingRun(({ startedMs: _unsaid, ...run }) => run)],
  'does not say why a run is cancelled': [
    /a run that is being cancelled says why/,
    leavingRun(({ cancel, ...run }) => (run.state === 'CANCELLING' || cancel === undefined ? run : { ...run, cancel })),
  ],
  'loses a job': [
    /a run has the jobs of its plan/,
    spoilt(({ after }) => ({ after: { ...after, jobs: new Map([...after.jobs].slice(0, -1)) } })),
  ],
  'miscounts its jobs': [
    /the counts are those of the jobs/,
    leaving(({ counts }) => ({ counts: { ...counts, skipped: counts.skipped + 1 } })),
  ],

  // What a decision is made on.
  'changes what it was given': [
    /a decision leaves what it was given as it is/,
    (slice, command, nowMs) => {
      const decision = decide(slice, command, nowMs);
      Object.assign(slice.run, { lastMs: decision.after.run.lastMs });
      return decision;
    },
  ],
  'does not tell what it changed': [/a changed job is told as touched/, spoilt(() => ({ touched: new Set() }))],
  'looks at jobs that it did not ask for': [
    /AssertionError/,
    spoilt(({ reply }, _, { jobs, plan, run }) =>
      run.seq > 0 && jobs.size < plan.jobs.length ? { reply: { type: 'Stale' } } : { reply },
    ),
  ],

  'asks for jobs without a name': [
    /a decision that wants jobs names them/,
    (slice, command, nowMs) => {
      if (slice.jobs.size < slice.plan.jobs.length && slice.run.seq > 0) throw new JobsNotLoaded([]);
      return decide(slice, command, nowMs);
    },
  ],
  'asks for jobs that it has': [
    /a decision wants only jobs that it lacks/,
    (slice, command, nowMs) => {
      const [known] = slice.jobs.keys();
      if (known !== undefined && slice.jobs.size < slice.plan.jobs.length) throw new JobsNotLoaded([known]);
      return decide(slice, command, nowMs);
    },
  ],

  // Time.
  'never fires a timer': [
    /what is due does something/,
    misled((command) => (command.type === 'Timer' ? { type: 'ReleaseBackoff', job: command.job } : command)),
  ],
  'fires a timer too soon': [
    /what is not due does nothing/,
    (slice, command, nowMs) => decide(slice, command, command.type === 'Timer' ? nowMs + 1 : nowMs),
  ],
  'does not know that an attempt was heard of': [
    /an attempt that was heard of is not silent, and any other is/,
    misled((command) => {
      if (command.type !== 'Timer' || command.content === undefined) return command;
      const { heardMs: _unheard, ...content } = command.content;
      return { ...command, content };
    }),
  ],
  'fires a timer that nobody set': [
    /what is never due does nothing/,
    adding(({ events }, command, slice) => {
      if (command.type !== 'Timer' || events.length > 0) return undefined;
      const job = slice.jobs.get(command.job);
      return job?.state === 'OFFERED' ? { type: 'AttemptAdopted', job: command.job, attempt: job.attempt } : undefined;
    }),
  ],
};

test.each(Object.entries(faults))('a ledger that %s is caught', (_, [promise, decideWrongly]) => {
  expectCaught(promise, decideWrongly);
});

function queued(job: JobRecord): JobRecord {
  return job.state === 'WAITING' ? ({ ...job, state: 'QUEUED', queuedMs: 1 } as JobRecord) : job;
}
