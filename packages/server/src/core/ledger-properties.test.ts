// What may never happen in a ledger, looked for with arbitrary graphs and arbitrary commands: early, late, repeated, reordered, from
// the wrong instance, with clocks that go back. Each checker is shown to catch a decision that is wrong on purpose.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Command } from './commands.ts';
import { decide, decideInSlices, type Decision } from './decide.ts';
import type { Definition } from './definition.ts';
import { type JobRecord, liveOf } from './run-state.ts';
import { dueOf } from './alarms.ts';
import { type FinishedJobState, isJobFinished } from './states.ts';
import { definitions, richDefinitions } from './testing/definitions.ts';
import { timerOf } from './testing/driver.ts';
import { checkReplay, checkStep } from './testing/invariants.ts';
import { commandFor, type RandomStep, randomSteps, richSteps } from './testing/random-commands.ts';
import { attemptKey, type Decide, openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';
import { WRONG_DECISIONS } from './testing/wrong-decisions.ts';

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
  test.each(Object.entries(WRONG_DECISIONS))('%s', (_, decideWrongly) => {
    const property = fc.property(definitions, inheritances, randomSteps, (definition, inherited, steps) => {
      live(definition, inherited, steps, decideWrongly);
    });
    // Most are caught within a few dozen; some need a rare turn of events.
    const { failed, errorInstance } = fc.check(property, { numRuns: 5_000, endOnFailure: true });
    expect(failed).toBe(true);
    expect(String(errorInstance)).toMatch(/^(Error: broken:|AssertionError:)/);
  });
});
