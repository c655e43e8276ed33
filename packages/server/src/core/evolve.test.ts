import { describe, expect, test } from 'vitest';
import type { RunEvent } from './events.ts';
import { beforeFirstEvent, evolve } from './evolve.ts';
import type { Evolving } from './evolving.ts';
import { compilePlan } from './plan.ts';
import { jobOf } from './run-state.ts';
import { ATTEMPT_GRAPH, JOB_GRAPH, RUN_GRAPH } from './states.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { create, finish, pass, start } from './testing/driver.ts';
import { attemptMoves, jobMoves, runMoves } from './testing/moves.ts';
import { openLedger, submit } from './testing/simulated-ledger.ts';

const created: RunEvent = { type: 'RunCreated', jobs: 2, trigger: { kind: 'api', actor: '', reference: '' } };
const offered: RunEvent = { type: 'AttemptOffered', job: 0, attempt: 1, instance: 'runner', instanceNo: 1 };
const started: RunEvent = { type: 'AttemptStarted', job: 0, attempt: 1 };
const ended: RunEvent = {
  type: 'AttemptEnded',
  job: 0,
  attempt: 1,
  state: 'SUCCEEDED',
  logSize: 0,
  logState: 'SEALED',
};
const succeeded: RunEvent = { type: 'JobFinished', job: 0, state: 'SUCCEEDED' };
const done = [created, offered, started, ended, succeeded];

/** What the last event does to a run that the others made. */
function applying(...events: readonly RunEvent[]): () => void {
  const plan = compilePlan(definitionOf(jobNamed('one'), jobNamed('other')));
  const slice: Evolving = { ...beforeFirstEvent(plan), jobs: new Map() };
  for (const event of events.slice(0, -1)) evolve(slice, event, 0);
  return () => evolve(slice, events.at(-1)!, 0);
}

describe('an event that does not fit is a broken invariant:', () => {
  test.each<[string, readonly RunEvent[]]>([
    ['anything before the creation', [offered]],
    ['a second creation', [created, created]],
    ['the end of a run that nothing started', [created, { type: 'RunFinished', state: 'SUCCEEDED' }]],
    ['anything after the end of the run', [...done, { type: 'RunFinished', state: 'FAILED' }, offered]],
    ['a run that was not cancelled and ends so', [...done, { type: 'RunFinished', state: 'CANCELLED' }]],
    ['a fence that repeats', [created, offered, { ...ended, state: 'EXPIRED' }, offered]],
    ['a fence that skips', [created, { ...offered, attempt: 2 }]],
    ['a second offer', [created, offered, { ...offered, attempt: 2 }]],
    ['a start without an offer', [created, started]],
    ['a second start', [created, offered, started, started]],
    ['the start of another attempt', [created, offered, { ...started, attempt: 2 }]],
    ['a result before the start', [created, offered, ended]],
    ['a rejection after the start', [created, offered, started, { ...ended, state: 'REJECTED' }]],
    ['a note on an attempt that is not in hand', [created, { type: 'AttemptAdopted', job: 0, attempt: 1 }]],
    ['a timeout without an attempt', [created, { type: 'AttemptTimedOut', job: 0, attempt: 1 }]],
    ['a kill of what nobody stops', [created, offered, started, { type: 'JobKillRequested', job: 0 }]],
    ['a cancel that waits for nothing', [created, { type: 'JobCancelRequested', job: 0, reason: '' }]],
    ['success without an attempt', [created, succeeded]],
    ['a job that finishes twice', [...done, succeeded]],
    ['a finished job that goes on', [...done, { type: 'JobQueued', job: 0 }]],
  ])('%s', (_, events) => {
    expect(applying(...events)).toThrow(/cannot go|as event|after|while the job is|without|no attempt in hand/);
  });

  test('and one that fits is none', () => {
    for (let length = 1; length <= done.length; length++) expect(applying(...done.slice(0, length))).not.toThrow();
  });
});

test('the graphs are the ones that tests check moves by', () => {
  const moves = (graph: Readonly<Record<string, readonly string[]>>): string[] =>
    Object.entries(graph).flatMap(([from, all]) => all.map((to) => `${from} ${to}`));
  expect(moves(RUN_GRAPH)).toEqual([...runMoves]);
  expect(moves(JOB_GRAPH)).toEqual([...jobMoves]);
  expect(moves(ATTEMPT_GRAPH)).toEqual([...attemptMoves]);
});

describe('the start of a run', () => {
  const queueMs = 1_000;
  const timeouts = { offerMs: 1, cancelGraceMs: 1, queueMs };

  test('is that of its first attempt, also after a cancel', () => {
    const ledger = openLedger(definitionOf(jobNamed('usual'), jobNamed('always', { when: 'ALWAYS' })));
    create(ledger);
    submit(ledger, { type: 'CancelRun', reason: '', force: false });
    ledger.nowMs += 5;
    start(ledger, 1);
    expect(ledger.slice.run).toMatchObject({ state: 'CANCELLING', startedMs: ledger.nowMs });
    const startedMs = ledger.nowMs;
    ledger.nowMs += 5;
    finish(ledger, 1);
    expect(ledger.slice.run).toMatchObject({ state: 'CANCELLED', startedMs, finishedMs: ledger.nowMs });
  });

  test('never comes when a job fails in the queue, but the run is no longer pending', () => {
    const ledger = openLedger(definitionOf(jobNamed('late', { timeouts }), jobNamed('other')));
    create(ledger);
    pass(ledger, queueMs, 0);
    expect(jobOf(ledger.slice, 0).state).toBe('FAILED');
    expect(ledger.slice.run.state).toBe('RUNNING');
    expect(ledger.slice.run.startedMs).toBeUndefined();
  });
});
