// Owns ways to decide wrongly on purpose, by which a checker is shown to catch what it is there for.
import fc from 'fast-check';
import { expect } from 'vitest';
import type { Command } from '../commands.ts';
import { decide, type Decision } from '../decide.ts';
import type { JobDefinition } from '../definition.ts';
import { EVENT_VERSION } from '../event-versions.ts';
import { compilePlan } from '../plan.ts';
import type { RunEvent } from '../events.ts';
import { type JobRecord, JobsNotLoaded, liveOf, type RunHeader, type RunSlice } from '../run-state.ts';
import { definitions } from './definitions.ts';
import { liveThrough } from './network.ts';
import { randomFrom } from './random-from.ts';
import type { Decide } from './simulated-ledger.ts';

const STEPS_OF_RUN = 400;

/** Decides rightly and then spoils what came out, unless nothing did. */
export function spoilt(
  spoil: (decision: Decision, command: Command, slice: RunSlice, nowMs: number) => Partial<Decision>,
): Decide {
  return (slice, command, nowMs) => {
    const decision = decide(slice, command, nowMs);
    return decision.events.length === 0 ? decision : { ...decision, ...spoil(decision, command, slice, nowMs) };
  };
}

/** Decides rightly on a command or a run that is not the one asked about. */
export function misled(
  mislead: (command: Command, slice: RunSlice) => Command,
  misread: (slice: RunSlice, command: Command) => RunSlice = (slice) => slice,
): Decide {
  return (slice, command, nowMs) => {
    const decision = decide(misread(slice, command), mislead(command, slice), nowMs);
    return { ...decision, after: { ...decision.after, plan: slice.plan } };
  };
}

/** Reads every job of the definition as another one. */
export function withJobs(change: (job: JobDefinition) => JobDefinition): (slice: RunSlice) => RunSlice {
  return (slice) => {
    const { definition } = slice.plan;
    return { ...slice, plan: compilePlan({ ...definition, jobs: definition.jobs.map(change) }) };
  };
}

/** Records other events than were decided on. */
export const recording = (change: (event: RunEvent, command: Command) => RunEvent): Decide =>
  spoilt(({ events }, command) => ({ events: events.map((event) => change(event, command)) }));

/** Tells other states than the events lead to. */
export const telling = (
  change: (mark: Decision['marks'][number], event: RunEvent) => Decision['marks'][number],
): Decide => spoilt(({ marks, events }) => ({ marks: marks.map((mark, i) => change(mark, events[i] as RunEvent)) }));

/** Leaves the run otherwise than the events do. */
export const leavingRun = (change: (run: RunSlice['run'], slice: RunSlice) => RunSlice['run']): Decide =>
  spoilt(({ after }, _, slice) => ({ after: { ...after, run: change(after.run, slice) } }));

/** Leaves some of the run otherwise than the events do. */
export const leaving = (change: (run: RunSlice['run'], slice: RunSlice) => Partial<RunSlice['run']>): Decide =>
  leavingRun((run, slice) => ({ ...run, ...change(run, slice) }));

/** Leaves the jobs that it touched otherwise than the events do. */
export const leavingJobs = (change: (job: JobRecord) => JobRecord): Decide =>
  spoilt(({ after, touched }) => ({
    after: {
      ...after,
      jobs: new Map([...after.jobs].map(([index, job]) => [index, touched.has(index) ? change(job) : job])),
    },
  }));

/** Adds an event to a decision, or makes one of none. */
export const adding =
  (more: (decision: Decision, command: Command, slice: RunSlice) => RunEvent | undefined): Decide =>
  (slice, command, nowMs) => {
    const decision = decide(slice, command, nowMs);
    const event = more(decision, command, slice);
    if (event === undefined) return decision;
    const { run, jobs, plan } = decision.after;
    const job = 'job' in event ? jobs.get(event.job)?.state : undefined;
    return {
      ...decision,
      events: [...decision.events, event],
      marks: [...decision.marks, { run: run.state, job }],
      after: { plan, jobs, run: { ...run, seq: run.seq + 1, lastMs: Math.max(nowMs, run.lastMs) } },
    };
  };

/** Answers otherwise than it decided. */
export const answering =
  (change: (decision: Decision, command: Command) => Decision['reply']): Decide =>
  (slice, command, nowMs) => {
    const decision = decide(slice, command, nowMs);
    return { ...decision, reply: change(decision, command) };
  };

/** Faults by what a ledger with them does, each with the promise that it breaks. */
export type Faults = Readonly<Record<string, readonly [promise: RegExp, decideWrongly: Decide]>>;

/** Fails unless the checkers catch, in one of many lives, a ledger that decides so, and by the promise that it breaks. */
export function expectCaught(promise: RegExp, decideWrongly: Decide): void {
  const isMissed = fc.property(definitions, fc.integer(), (definition, seed) => {
    try {
      liveThrough(definition, randomFrom(seed), STEPS_OF_RUN, decideWrongly);
      return true;
    } catch (error) {
      const told = String(error);
      return !/^(Error: broken:|AssertionError)/.test(told) || !promise.test(told);
    }
  });
  expect(fc.check(isMissed, { seed: 1, numRuns: 2_000, endOnFailure: true }).failed).toBe(true);
}

/** By what is wrong with them; an invariant of a ledger catches each. */
export const WRONG_DECISIONS: Readonly<Record<string, Decide>> = {
  'ignores the fence': misled((command, { jobs }) => {
    if (!('attempt' in command) || 'content' in command) return command;
    return { ...command, attempt: jobs.get(command.job)?.attempt ?? command.attempt };
  }),
  'ignores who speaks': misled((command, { jobs }) => {
    const job = 'instance' in command && 'attempt' in command ? jobs.get(command.job) : undefined;
    return { ...command, ...(job !== undefined && { instance: liveOf(job)?.instance }) } as Command;
  }),
  'repeats a fence': spoilt(({ events }) => ({
    events: events.map((event) => (event.type === 'AttemptOffered' ? { ...event, attempt: 1 } : event)),
  })),
  'loses an event': spoilt(({ events, marks }) => ({ events: events.slice(1), marks: marks.slice(1) })),
  'changes the state without an event': spoilt(({ after }) => ({
    after: { ...after, run: { ...after.run, lastMs: after.run.lastMs + 1 } },
  })),
  'counts wrong': spoilt(({ after: { run, ...after } }) => ({
    after: { ...after, run: { ...run, counts: { ...run.counts, skipped: run.counts.skipped + 1 } } },
  })),
  'hides a change': spoilt(({ touched }) => ({ touched: new Set([...touched].slice(1)) })),
  'invents outputs': spoilt(({ events }) => ({
    events: events.map((event) => (event.type === 'AttemptEnded' ? { ...event, outputs: { made: 'up' } } : event)),
  })),
  'offers what is blocked': misled(
    (command) => command,
    (slice) => ({ ...slice, jobs: new Map([...slice.jobs].map(([index, job]) => [index, unblocked(job)])) }),
  ),
  'ends a run too soon': spoilt(({ after }) => ({ after: { ...after, run: { ...after.run, state: 'SUCCEEDED' } } })),
  'acknowledges a cancel and forgets it': misled((command) =>
    command.type === 'CancelRun' ? { type: 'ReleaseBackoff', job: 0 } : command,
  ),
  'acknowledges the cancel of a job and forgets it': misled((command) =>
    command.type === 'CancelJob' ? { type: 'ReleaseBackoff', job: 0 } : command,
  ),
  'acknowledges a pause and forgets it': misled((command) =>
    command.type === 'PauseRun' ? { type: 'ReleaseBackoff', job: 0 } : command,
  ),
  'acknowledges a hold and forgets it': misled((command) =>
    command.type === 'HoldJob' ? { type: 'ReleaseBackoff', job: command.job } : command,
  ),
  'does not see that a run is paused': misled(
    (command) => command,
    (slice) => ({ ...slice, run: unpaused(slice.run) }),
  ),
  'offers what is held back': misled(
    (command) => command,
    (slice) => ({ ...slice, jobs: new Map([...slice.jobs].map(([index, job]) => [index, letGo(job)])) }),
  ),
  'does not hear an attempt': misled((command) => {
    if (command.type !== 'Timer' || command.content === undefined) return command;
    const { heardMs: _unheard, ...unheard } = command.content;
    return { ...command, content: unheard };
  }),
  'writes what older replicas do not know': misled((command) =>
    command.type === 'Timer' ? { ...command, eventVersion: EVENT_VERSION } : command,
  ),
  'retries beyond the budget': misled(
    (command) => command,
    withJobs(({ retry, ...job }) => {
      const budgets = { WORKLOAD: 100, DRIVER: 100, INFRASTRUCTURE: 100, TIMEOUT: 100, REJECTED: 100 };
      return { ...job, retry: { ...retry, budgets } };
    }),
  ),
  'waits too long before a retry': misled(
    (command) => command,
    withJobs(({ retry, ...job }) => {
      return { ...job, retry: { ...retry, initialBackoffMs: 200, maxBackoffMs: 20_000 } };
    }),
  ),
  'never fires a timer': misled((command) =>
    command.type === 'Timer' ? { type: 'ReleaseBackoff', job: command.job } : command,
  ),
  'fires a timer too soon': (slice, command, nowMs) =>
    decide(slice, command, command.type === 'Timer' ? nowMs + 1 : nowMs),
  'takes a job that it does not know for one that does not matter': (slice, command, nowMs) => {
    try {
      return decide(slice, command, nowMs);
    } catch (error) {
      if (!(error instanceof JobsNotLoaded)) throw error;
      return { reply: { type: 'Done' }, events: [], marks: [], after: slice, touched: new Set(), unknown: new Map() };
    }
  },
  'changes what it was given': (slice, command, nowMs) => {
    const decision = decide(slice, command, nowMs);
    Object.assign(slice.run, { seq: decision.after.run.seq });
    return decision;
  },
};

function unblocked(job: JobRecord): JobRecord {
  return job.state === 'BLOCKED' ? { ...job, state: 'QUEUED' } : job;
}

function letGo({ hold: _ended, ...job }: JobRecord): JobRecord {
  return job.state === 'WAITING' && job.wait.reason === 'HELD' ? { ...job, state: 'QUEUED' } : job;
}

function unpaused({ pause: _ended, ...run }: RunHeader): RunHeader {
  return run;
}
