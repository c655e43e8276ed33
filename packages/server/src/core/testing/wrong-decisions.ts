// Owns ways to decide wrongly on purpose, by which a checker is shown to catch what it is there for.
import fc from 'fast-check';
import { expect } from 'vitest';
import type { Command } from '../commands.ts';
import { decide, type Decision } from '../decide.ts';
import type { JobDefinition } from '../definition.ts';
import { compilePlan } from '../plan.ts';
import type { RunEvent } from '../events.ts';
import type { JobRecord, RunSlice } from '../run-state.ts';
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
