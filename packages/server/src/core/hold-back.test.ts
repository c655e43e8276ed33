// What a pause and a hold do over time; what each command comes to in each state is in decide.test.ts.
import { describe, expect, test } from 'vitest';
import type { Command } from './commands.ts';
import { DEFAULT_RETRY, DEFAULT_TIMEOUTS, type JobDefinition } from './definition.ts';
import { type JobRecord, jobOf } from './run-state.ts';
import { dueOf } from './alarms.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { create, finish, offer, pass, reject, start, work } from './testing/driver.ts';
import { checkReplay } from './testing/invariants.ts';
import { openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';

const asker = { reason: 'maintenance', actor: 'ada' };
const pause: Command = { type: 'PauseRun', ...asker };
const resume: Command = { type: 'ResumeRun', ...asker };
const hold: Command = { type: 'HoldJob', job: 0, ...asker };
const release: Command = { type: 'ReleaseJob', job: 0, ...asker };
const cancel: Command = { type: 'CancelRun', reason: 'no', force: false };

const retry = {
  ...DEFAULT_RETRY,
  budgets: { ...DEFAULT_RETRY.budgets, WORKLOAD: 9 },
  initialBackoffMs: 1_000,
  jitter: 0,
};

function runOf(first: Partial<JobDefinition> = {}): SimulatedLedger {
  const job = jobNamed('first', { retry, ...first });
  const ledger = openLedger(definitionOf(job, jobNamed('second', { needs: ['first'] })));
  create(ledger);
  return ledger;
}

/** In how many milliseconds time alone changes the first job. */
function dueIn(ledger: SimulatedLedger): number | undefined {
  const dueMs = dueOf(ledger.slice, 0, jobOf(ledger.slice, 0));
  return dueMs === undefined ? undefined : dueMs - ledger.nowMs;
}

function first({ slice }: SimulatedLedger): JobRecord {
  return jobOf(slice, 0);
}

describe.each([
  ['a pause', 'PAUSED', pause, resume],
  ['a hold', 'HELD', hold, release],
] as const)('%s', (_, reason, begin, end) => {
  test('takes a queued job out of the queue, and gives it back', () => {
    const ledger = runOf();
    submit(ledger, begin);
    expect(first(ledger)).toMatchObject({ state: 'WAITING', wait: { reason } });
    expect(offer(ledger, 0)).toEqual({ type: 'Stale' });
    submit(ledger, end);
    expect(offer(ledger, 0)).toEqual({ type: 'Done' });
  });

  test('withdraws an offer that is under way, without spending a retry', () => {
    const ledger = runOf();
    offer(ledger, 0);
    submit(ledger, begin);
    expect(first(ledger)).toMatchObject({ state: 'WAITING', attempt: 1, spent: {} });
    expect(ledger.attempts.get('0.1')?.state).toBe('EXPIRED');
    expect(submit(ledger, { type: 'Accept', job: 0, attempt: 1, instance: 7 }).decision.reply.type).toBe('Stale');
  });

  test('lets what runs go on, and holds its retry back until its time has come', () => {
    const ledger = runOf();
    start(ledger, 0);
    submit(ledger, begin);
    finish(ledger, 0, { outcome: 'FAILED' });
    const until = { reason: 'BACKOFF', untilMs: ledger.nowMs + 1_000 };
    expect(first(ledger)).toMatchObject({ state: 'WAITING', wait: { reason, behind: until } });
    ledger.nowMs += 400;
    submit(ledger, end);
    expect(first(ledger)).toMatchObject({ state: 'WAITING', wait: until });
    pass(ledger, 600, 0);
    expect(first(ledger).state).toBe('QUEUED');
  });

  test('outlasts a backoff that ends in it', () => {
    const ledger = runOf();
    work(ledger, 0, 'FAILED');
    submit(ledger, begin);
    pass(ledger, 5_000, 0);
    expect(first(ledger)).toMatchObject({ state: 'WAITING', wait: { reason } });
    submit(ledger, end);
    expect(first(ledger).state).toBe('QUEUED');
  });

  test('outlasts the release of a backoff by hand', () => {
    const ledger = runOf();
    work(ledger, 0, 'FAILED');
    submit(ledger, begin);
    submit(ledger, { type: 'ReleaseBackoff', job: 0 });
    expect(first(ledger)).toMatchObject({ state: 'WAITING', wait: { reason } });
    submit(ledger, end);
    expect(first(ledger).state).toBe('QUEUED');
  });

  test('stops the clock of the queue timeout, and not that of the total timeout', () => {
    const timeouts = { ...DEFAULT_TIMEOUTS, queueMs: 5_000, totalMs: 60_000 };
    const ledger = runOf({ timeouts });
    ledger.nowMs += 2_000;
    submit(ledger, begin);
    expect(dueIn(ledger)).toBe(58_000);
    ledger.nowMs += 10_000;
    submit(ledger, end);
    expect(dueIn(ledger)).toBe(3_000);
    offer(ledger, 0);
    ledger.nowMs += 1_000;
    submit(ledger, begin);
    ledger.nowMs += 10_000;
    submit(ledger, end);
    expect(dueIn(ledger)).toBe(2_000);
    submit(ledger, begin);
    pass(ledger, 60_000 - 23_000, 0);
    expect(first(ledger)).toMatchObject({ state: 'FAILED', failure: { class: 'TIMEOUT' } });
    checkReplay(ledger);
  });

  test('stops it in the backoff after a rejected offer, too', () => {
    const ledger = runOf({ timeouts: { ...DEFAULT_TIMEOUTS, queueMs: 5_000 } });
    offer(ledger, 0);
    reject(ledger, 0, { retryAfterMs: 60_000 });
    ledger.nowMs += 1_000;
    submit(ledger, begin);
    expect(dueIn(ledger)).toBeUndefined();
    ledger.nowMs += 10_000;
    submit(ledger, end);
    expect(dueIn(ledger)).toBe(4_000);
  });

  test('is told with who, why and since when, until it ends', () => {
    const ledger = runOf();
    ledger.nowMs += 5;
    submit(ledger, begin);
    const told = { ...asker, sinceMs: ledger.nowMs };
    const heldBack = () => (reason === 'HELD' ? first(ledger).hold : ledger.slice.run.pause);
    expect(heldBack()).toEqual(told);
    ledger.nowMs += 5;
    submit(ledger, { ...begin, reason: 'again' });
    expect(heldBack()).toEqual(told);
    submit(ledger, end);
    expect(heldBack()).toBeUndefined();
    checkReplay(ledger);
  });
});

describe('a run', () => {
  test('that is paused holds back jobs as they become ready', () => {
    const ledger = runOf();
    start(ledger, 0);
    submit(ledger, pause);
    finish(ledger, 0);
    expect(jobOf(ledger.slice, 1)).toMatchObject({ state: 'WAITING', wait: { reason: 'PAUSED' } });
    submit(ledger, resume);
    expect(jobOf(ledger.slice, 1).state).toBe('QUEUED');
  });

  test('that is paused ends with its last job, and is paused no more', () => {
    const ledger = openLedger(definitionOf(jobNamed('only')));
    create(ledger);
    start(ledger, 0);
    submit(ledger, pause);
    finish(ledger, 0);
    expect(ledger.slice.run.state).toBe('SUCCEEDED');
    expect(ledger.slice.run.pause).toBeUndefined();
    for (const command of [pause, resume]) {
      expect(submit(ledger, command).decision.reply).toMatchObject({ refusal: { refused: 'ALREADY_FINISHED' } });
    }
  });

  test('that is resumed leaves held jobs waiting, and a released job waits for its run', () => {
    const ledger = runOf();
    for (const command of [hold, pause]) submit(ledger, command);
    submit(ledger, resume);
    expect(first(ledger)).toMatchObject({ state: 'WAITING', wait: { reason: 'HELD' } });
    submit(ledger, pause);
    submit(ledger, release);
    expect(first(ledger)).toMatchObject({ state: 'WAITING', wait: { reason: 'PAUSED' } });
    submit(ledger, resume);
    expect(first(ledger).state).toBe('QUEUED');
  });
});

describe('a cancel wins', () => {
  const withCleanUp = (): SimulatedLedger => {
    const ledger = openLedger(definitionOf(jobNamed('first', { when: 'ALWAYS' }), jobNamed('second')));
    create(ledger);
    return ledger;
  };

  test.each([
    ['a pause', pause],
    ['a hold', hold],
  ] as const)('over %s: what runs always is let go', (_, command) => {
    const ledger = withCleanUp();
    submit(ledger, command);
    submit(ledger, cancel);
    expect(ledger.slice.run).toMatchObject({ state: 'CANCELLING' });
    expect(ledger.slice.run.pause).toBeUndefined();
    expect(first(ledger).hold).toBeUndefined();
    expect(first(ledger).state).toBe('QUEUED');
    expect(jobOf(ledger.slice, 1).state).toBe('CANCELLED');
    work(ledger, 0, 'SUCCEEDED');
    expect(ledger.slice.run.state).toBe('CANCELLED');
    checkReplay(ledger);
  });

  test.each([pause, hold])('over a later $type, which is refused', (command) => {
    const ledger = withCleanUp();
    submit(ledger, cancel);
    const { reply, events } = submit(ledger, command).decision;
    expect(reply).toMatchObject({ type: 'Refused', refusal: { refused: 'CANCEL_REQUESTED' } });
    expect(events).toEqual([]);
  });
});

test('a matrix that is held begins no more cells until it is released', () => {
  const matrix = { axes: { n: [1, 2, 3] }, maxParallel: 1 };
  const ledger = openLedger(definitionOf(jobNamed('many', { matrix })));
  create(ledger);
  submit(ledger, { type: 'HoldJob', job: 0, reason: '', actor: '' });
  work(ledger, 1, 'SUCCEEDED');
  expect([2, 3].map((cell) => jobOf(ledger.slice, cell).state)).toEqual(['BLOCKED', 'BLOCKED']);
  submit(ledger, { type: 'ReleaseJob', job: 0, reason: '', actor: '' });
  expect([2, 3].map((cell) => jobOf(ledger.slice, cell).state)).toEqual(['QUEUED', 'BLOCKED']);
});
