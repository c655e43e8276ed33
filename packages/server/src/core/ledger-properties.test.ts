// What may never happen in a ledger, looked for with arbitrary graphs and arbitrary commands: early, late, repeated, reordered, from
// the wrong instance, with clocks that go back. Each checker is shown to catch a decision that is wrong on purpose.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Command } from './commands.ts';
import { decide, decideInSlices, type Decision } from './decide.ts';
import type { Definition } from './definition.ts';
import { EVENT_VERSION } from './event-versions.ts';
import { type JobRecord, JobsNotLoaded, liveOf, type RunHeader } from './run-state.ts';
import { dueOf } from './alarms.ts';
import { type FinishedJobState, isJobFinished } from './states.ts';
import { definitions, richDefinitions } from './testing/definitions.ts';
import { timerOf } from './testing/driver.ts';
import { checkReplay, checkStep } from './testing/invariants.ts';
import { commandFor, type RandomStep, randomSteps, richSteps } from './testing/random-commands.ts';
import { attemptKey, type Decide, openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';
import { misled, spoilt, withJobs } from './testing/wrong-decisions.ts';

/** What a rerun inherits: some of the first jobs. DELAYED: it is no rerun, and is to start later. */
const inheritances = fc.oneof(
  { weight: 4, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.constant(['DELAYED' as const]) },
  { weight: 1, arbitrary: fc.array(fc.constantFrom('SUCCEEDED' as const, 'FAILED' as const, 'SKIPPED' as const)) },
);

function live(
  definition: Definition,
  inherited: readonly (FinishedJobState | 'DELAYED')[],
  steps: readonly RandomStep[],
  decideWith: Decide = decide,
): SimulatedLedger {
  const ledger = openLedger(definition, decideWith);
  const history: Command[] = [];
  checkedSubmit(ledger, createInheriting(inherited.slice(0, definition.jobs.length)), ledger.nowMs);
  for (const step of steps) {
    const meant = commandFor(ledger, step, history);
    if (meant === undefined) continue;
    ledger.nowMs = Math.max(ledger.nowMs, meant.nowMs);
    history.push(meant.command);
    checkedSubmit(ledger, meant.command, meant.nowMs);
  }
  checkReplay(ledger);
  return ledger;
}

function createInheriting(states: readonly (FinishedJobState | 'DELAYED')[]): Command {
  const trigger = { kind: 'api', actor: '', reference: '' };
  if (states.includes('DELAYED')) return { type: 'Create', trigger, startMs: 1_020 };
  if (states.length === 0) return { type: 'Create', trigger };
  const inherited = states.filter((state) => state !== 'DELAYED');
  return {
    type: 'Create',
    trigger,
    inherited: inherited.map((state, job) => ({ job, from: `origin.${job}`, state })),
  };
}

function checkedSubmit(ledger: SimulatedLedger, command: Command, nowMs: number): void {
  const attemptsBefore = new Map(ledger.attempts);
  const step = submit(ledger, command, nowMs);
  checkStep(ledger, attemptsBefore, step);
}

const FREE_PLACE = { hasRoom: true, isReplaced: false, mustYield: false, holders: 0, limit: 1 };

/** Goes on with drivers that do all that is asked of them, until the run has finished or nothing is left to do. */
function workOff(ledger: SimulatedLedger): void {
  for (let turn = 0; turn < 1_000; turn++) {
    const next = obedientCommand(ledger);
    if (next === undefined) return;
    checkedSubmit(ledger, next, ledger.nowMs);
  }
  throw new Error('the run does not come to an end');
}

const ASKER = { reason: 'go on', actor: 'ada' };

function obedientCommand(ledger: SimulatedLedger): Command | undefined {
  for (const [job, record] of ledger.slice.jobs) {
    const { attempt } = record;
    const instance = liveOf(record)?.instance ?? 1;
    const content = ledger.attempts.get(attemptKey(job, attempt));
    switch (record.state) {
      case 'BLOCKED':
        continue;
      case 'WAITING':
        if (record.wait.reason === 'PAUSED') return { type: 'ResumeRun', ...ASKER };
        if (record.wait.reason === 'HELD') return { type: 'ReleaseJob', job, ...ASKER };
        if (record.wait.reason === 'MATRIX') continue;
        if (record.wait.reason === 'CONCURRENCY' || record.wait.reason === 'RATE') {
          return { type: 'ClaimPlace', job, place: FREE_PLACE, rate: { allowed: true, expectedMs: ledger.nowMs } };
        }
        if (record.wait.reason === 'APPROVAL') return approval(job, record);
        if (record.wait.reason === 'CHILD_RUN') {
          const childRun = `child-${job}`;
          if (record.details?.childRun === undefined) return { type: 'StartChild', job, childRun };
          return { type: 'FinishChild', job, childRun, state: 'SUCCEEDED', outputs: {} };
        }
        ledger.nowMs = Math.max(ledger.nowMs, dueOf(ledger.slice, job, record) ?? 0);
        return { ...timerOf(job), content };
      case 'QUEUED':
        return { type: 'Offer', job, instance: 1, instanceId: 'obedient' };
      case 'OFFERED':
        return { type: 'Accept', job, attempt, instance };
      case 'RUNNING':
      case 'CANCELLING':
        return {
          type: 'Finish',
          job,
          attempt,
          instance,
          outcome: record.live.stop === undefined ? 'SUCCEEDED' : 'CANCELLED',
          failureClass: 'WORKLOAD',
          message: '',
          logSize: content?.logSize ?? 0,
          logCrc32c: content?.logCrc32c ?? 0,
          logLost: false,
          random: 0,
          content,
        };
      case 'SUCCEEDED':
      case 'FAILED':
      case 'SKIPPED':
      case 'CANCELLED':
        continue;
    }
  }
  return undefined;
}

/** The answer of somebody who has not given one. */
function approval(job: number, { details }: JobRecord): Command {
  const actor = `person-${details?.answers?.length ?? 0}`;
  return { type: 'AnswerGate', job, actor, verdict: 'APPROVE', answers: {}, comment: '', groups: [] };
}

const lives = fc.oneof(fc.tuple(definitions, randomSteps), fc.tuple(richDefinitions, richSteps));

test('a run keeps every promise, whatever is asked of it and in whatever order', () => {
  fc.assert(
    fc.property(lives, inheritances, ([definition, steps], inherited) => {
      live(definition, inherited, steps);
    }),
    { numRuns: 600 },
  );
});

test('a decision is the same however it is cut into slices', () => {
  let cut = 0;
  fc.assert(
    fc.property(lives, inheritances, fc.integer({ min: 1, max: 500 }), ([definition, steps], inherited, sliceSteps) => {
      live(definition, inherited, steps, (slice, command, nowMs) => {
        const whole = decide(slice, command, nowMs, Number.POSITIVE_INFINITY);
        const slices = decideInSlices(slice, command, nowMs, sliceSteps);
        let made = slices.next();
        for (; made.done !== true; made = slices.next()) cut++;
        expect(outcomeOf(made.value)).toEqual(outcomeOf(whole));
        return made.value;
      });
    }),
    { numRuns: 150 },
  );
  expect(cut).toBeGreaterThan(500);
});

function outcomeOf({ after: { run, jobs, plan }, ...decision }: Decision) {
  return { ...decision, run, jobs, definition: plan.definition };
}

test('a run ends once its drivers do what they are asked, and what is held back is let go', () => {
  fc.assert(
    fc.property(lives, inheritances, ([definition, steps], inherited) => {
      const ledger = live(definition, inherited, steps);
      workOff(ledger);
      expect(ledger.slice.run.counts.open).toBe(0);
      expect(ledger.slice.run.finishedMs).toBeDefined();
      checkReplay(ledger);
    }),
    { numRuns: 300 },
  );
});

test('a cancelled run ends by time alone when its drivers are deaf', () => {
  fc.assert(
    fc.property(lives, inheritances, ([definition, steps], inherited) => {
      const ledger = live(definition, inherited, steps);
      checkedSubmit(ledger, { type: 'CancelRun', reason: 'enough', force: true }, ledger.nowMs);
      waitOut(ledger);
      expect(ledger.slice.run.finishedMs).toBeDefined();
    }),
    { numRuns: 200 },
  );
});

/** Lets time alone end every job. */
function waitOut(ledger: SimulatedLedger): void {
  for (let turn = 0; turn < 100; turn++) {
    // A matrix waits for its cells, and a call for what its run does.
    const open = [...ledger.slice.jobs].find(([, job]) => !isJobFinished(job.state) && !waitsForOthers(job));
    const calling = [...ledger.slice.jobs].find(([, job]) => waitsForOthers(job) && job.unmet === 0);
    if (open === undefined && calling !== undefined) {
      checkedSubmit(ledger, { type: 'RefuseChild', job: calling[0], message: 'cancelled' }, ledger.nowMs);
      const end = { childRun: `child-${calling[0]}`, state: 'CANCELLED', outputs: {} } as const;
      checkedSubmit(ledger, { type: 'FinishChild', job: calling[0], ...end }, ledger.nowMs);
      continue;
    }
    if (open === undefined) return;
    const [job, record] = open;
    ledger.nowMs = Math.max(ledger.nowMs, dueOf(ledger.slice, job, record) ?? Number.NaN);
    const content = ledger.attempts.get(attemptKey(job, record.attempt));
    checkedSubmit(ledger, { ...timerOf(job), content }, ledger.nowMs);
  }
  throw new Error('the run does not come to an end');
}

function waitsForOthers(job: JobRecord): boolean {
  return job.state === 'WAITING' && (job.wait.reason === 'MATRIX' || job.wait.reason === 'CHILD_RUN');
}

describe('the checkers catch a decision that', () => {
  const faults: Readonly<Record<string, Decide>> = {
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

  test.each(Object.entries(faults))('%s', (_, decideWrongly) => {
    const property = fc.property(definitions, inheritances, randomSteps, (definition, inherited, steps) => {
      live(definition, inherited, steps, decideWrongly);
    });
    // Most are caught within a few dozen; some need a rare turn of events.
    const { failed, errorInstance } = fc.check(property, { numRuns: 5_000, endOnFailure: true });
    expect(failed).toBe(true);
    expect(String(errorInstance)).toMatch(/^(Error: broken:|AssertionError:)/);
  });
});

function unblocked(job: JobRecord): JobRecord {
  return job.state === 'BLOCKED' ? { ...job, state: 'QUEUED' } : job;
}

function letGo({ hold: _ended, ...job }: JobRecord): JobRecord {
  return job.state === 'WAITING' && job.wait.reason === 'HELD' ? { ...job, state: 'QUEUED' } : job;
}

function unpaused({ pause: _ended, ...run }: RunHeader): RunHeader {
  return run;
}
