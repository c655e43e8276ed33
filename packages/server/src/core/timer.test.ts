import { describe, expect, test } from 'vitest';
import { DEFAULT_RETRY, DEFAULT_TIMEOUTS, type JobTimeouts, type RetryPolicy } from './definition.ts';
import { jobOf, liveOf } from './run-state.ts';
import { dueOf } from './alarms.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { create, finish, newest, offer, pass, reject, start, timerOf } from './testing/driver.ts';
import { attemptKey, openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';

function runOf(timeouts: Partial<JobTimeouts>, retry: Partial<RetryPolicy> = {}): SimulatedLedger {
  const job = jobNamed('only', {
    timeouts: { ...DEFAULT_TIMEOUTS, ...timeouts },
    retry: { ...DEFAULT_RETRY, jitter: 0, ...retry },
  });
  const ledger = openLedger(definitionOf(job));
  create(ledger);
  return ledger;
}

/** In how many milliseconds time alone changes the job. */
function dueIn(ledger: SimulatedLedger): number | undefined {
  const dueMs = dueOf(ledger.slice, 0, jobOf(ledger.slice, 0));
  return dueMs === undefined ? undefined : dueMs - ledger.nowMs;
}

const retryAll = { budgets: { WORKLOAD: 9, DRIVER: 9, INFRASTRUCTURE: 9, TIMEOUT: 9, REJECTED: 9 } };

describe('the queue timeout', () => {
  test('counts over all offers', () => {
    const ledger = runOf({ queueMs: 5_000 }, { initialBackoffMs: 1_000 });
    pass(ledger, 2_000, 0);
    offer(ledger, 0);
    reject(ledger, 0);
    expect(dueIn(ledger)).toBe(1_000);
    pass(ledger, 1_000, 0);
    expect(jobOf(ledger.slice, 0).state).toBe('QUEUED');
    expect(dueIn(ledger)).toBe(2_000);
    pass(ledger, 2_000, 0);
    const message = 'its queue timeout of 5 s ran out before any driver started it';
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'FAILED', failure: { class: 'TIMEOUT', message } });
  });

  test('stands still while an attempt runs and in the backoff after it, and then begins anew', () => {
    const ledger = runOf({ queueMs: 5_000 }, { ...retryAll, initialBackoffMs: 60_000 });
    start(ledger, 0);
    expect(dueIn(ledger)).toBeUndefined();
    ledger.nowMs += 50_000;
    finish(ledger, 0, { outcome: 'FAILED' });
    expect(dueIn(ledger)).toBe(60_000);
    pass(ledger, 60_000, 0);
    expect(jobOf(ledger.slice, 0).state).toBe('QUEUED');
    expect(dueIn(ledger)).toBe(5_000);
  });

  test('leaves an offer alone: it ends by its own timeout', () => {
    const ledger = runOf({ queueMs: 5_000 });
    offer(ledger, 0);
    expect(dueIn(ledger)).toBeUndefined();
    pass(ledger, 6_000, 0);
    expect(jobOf(ledger.slice, 0).state).toBe('OFFERED');
    submit(ledger, { type: 'Withdraw', ...newest(ledger, 0), expired: false, random: 0 });
    expect(dueIn(ledger)).toBe(-1_000);
  });
});

describe('the run timeout', () => {
  test('stops each attempt softly, then kills it, then ends it, and spends a retry', () => {
    const ledger = runOf({ runMs: 3_000, cancelGraceMs: 500 }, { ...retryAll, initialBackoffMs: 0 });
    start(ledger, 0);
    expect(dueIn(ledger)).toBe(3_000);
    pass(ledger, 3_000, 0);
    expect(liveOf(jobOf(ledger.slice, 0))?.stop).toMatchObject({ cause: 'TIMEOUT', phase: 'SOFT' });
    expect(dueIn(ledger)).toBe(500);
    pass(ledger, 500, 0);
    expect(liveOf(jobOf(ledger.slice, 0))?.stop).toMatchObject({ cause: 'TIMEOUT', phase: 'KILL' });
    pass(ledger, 500, 0);
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'QUEUED', spent: { TIMEOUT: 1 } });
    start(ledger, 0);
    expect(dueIn(ledger)).toBe(3_000);
  });

  test('is named, and so is the total timeout where that ends the attempt', () => {
    const reasonOf = (timeouts: Parameters<typeof runOf>[0], afterMs: number) => {
      const ledger = runOf(timeouts);
      ledger.nowMs += 1_000;
      start(ledger, 0);
      pass(ledger, afterMs, 0);
      return liveOf(jobOf(ledger.slice, 0))?.stop?.reason;
    };
    expect(reasonOf({ runMs: 1_500, totalMs: 3_000 }, 1_500)).toBe('its run timeout of 1.5 s ran out');
    expect(reasonOf({ runMs: 2_500, totalMs: 3_000 }, 2_000)).toBe('its total timeout of 3 s ran out');
    expect(reasonOf({ totalMs: 3_000 }, 2_000)).toBe('its total timeout of 3 s ran out');
  });

  test('that came first gives a later cancel no more time', () => {
    const ledger = runOf({ runMs: 3_000, cancelGraceMs: 500 });
    start(ledger, 0);
    pass(ledger, 3_000, 0);
    pass(ledger, 500, 0);
    ledger.nowMs += 400;
    submit(ledger, { type: 'CancelJob', job: 0, reason: 'no' });
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'CANCELLING', live: { stop: { phase: 'KILL' } } });
    expect(dueIn(ledger)).toBe(100);
    pass(ledger, 100, 0);
    expect(jobOf(ledger.slice, 0).state).toBe('CANCELLED');
    expect(ledger.attempts.get('0.1')?.state).toBe('TIMED_OUT');
  });

  test('that came first stands when the driver is lost', () => {
    const ledger = runOf({ runMs: 3_000 });
    start(ledger, 0);
    pass(ledger, 3_000, 0);
    submit(ledger, {
      type: 'Lose',
      ...newest(ledger, 0),
      failureClass: 'INFRASTRUCTURE',
      message: 'gone',
      random: 0,
      content: undefined,
    });
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'FAILED', failure: { class: 'TIMEOUT' } });
  });
});

describe('the silence timeout', () => {
  /** As the log writer does when it has stored something of the attempt. */
  function hear(ledger: SimulatedLedger): void {
    const key = attemptKey(0, jobOf(ledger.slice, 0).attempt);
    const content = ledger.attempts.get(key);
    if (content !== undefined) ledger.attempts.set(key, { ...content, heardMs: ledger.nowMs });
  }

  const kinds = (ledger: SimulatedLedger): string[] => ledger.entries.slice(3).map(({ event }) => event.type);

  test('stops an attempt that was never heard of, and says why', () => {
    const ledger = runOf({ silenceMs: 3_000, cancelGraceMs: 500 });
    start(ledger, 0);
    expect(dueIn(ledger)).toBe(3_000);
    pass(ledger, 3_000, 0);
    expect(liveOf(jobOf(ledger.slice, 0))?.stop).toMatchObject({ cause: 'TIMEOUT', phase: 'SOFT' });
    pass(ledger, 500, 0);
    pass(ledger, 500, 0);
    const failure = { class: 'TIMEOUT', message: 'nothing was heard of it for 3 s' };
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'FAILED', failure });
    expect(ledger.attempts.get('0.1')?.state).toBe('TIMED_OUT');
  });

  test('counts from when the attempt was last heard of, and writes that down once a timeout', () => {
    const ledger = runOf({ silenceMs: 3_000 });
    start(ledger, 0);
    for (let time = 0; time < 29; time++) {
      ledger.nowMs += 100;
      hear(ledger);
    }
    pass(ledger, 100, 0);
    expect(kinds(ledger)).toEqual(['AttemptHeard']);
    expect(dueIn(ledger)).toBe(2_900);
    pass(ledger, 2_899, 0);
    expect(kinds(ledger)).toEqual(['AttemptHeard']);
    pass(ledger, 1, 0);
    expect(kinds(ledger)).toEqual(['AttemptHeard', 'AttemptTimedOut']);
  });

  test('hears an annotation, which goes by the ledger', () => {
    const ledger = runOf({ silenceMs: 3_000 });
    start(ledger, 0);
    ledger.nowMs += 2_000;
    const annotation = { level: 'INFO', text: 'still here', link: '' } as const;
    submit(ledger, { type: 'Annotate', ...newest(ledger, 0), number: 1, annotation, content: undefined });
    pass(ledger, 1_000, 0);
    expect(jobOf(ledger.slice, 0)).toMatchObject({ live: { heardMs: ledger.nowMs - 1_000 } });
  });

  test('counts anew in each attempt', () => {
    const ledger = runOf({ silenceMs: 3_000 }, { ...retryAll, initialBackoffMs: 0 });
    start(ledger, 0);
    ledger.nowMs += 2_000;
    hear(ledger);
    pass(ledger, 1_000, 0);
    finish(ledger, 0, { outcome: 'FAILED' });
    start(ledger, 0);
    expect(dueIn(ledger)).toBe(3_000);
  });

  test('gives an attempt that is being stopped no more time', () => {
    const ledger = runOf({ silenceMs: 3_000, cancelGraceMs: 10_000 });
    start(ledger, 0);
    submit(ledger, { type: 'CancelJob', job: 0, reason: 'no' });
    expect(dueIn(ledger)).toBe(10_000);
  });

  test('waits while a replica serves that would not know what it writes', () => {
    const ledger = runOf({ silenceMs: 3_000 });
    start(ledger, 0);
    ledger.nowMs += 60_000;
    submit(ledger, { ...timerOf(0), eventVersion: 1 });
    expect(kinds(ledger)).toEqual([]);
    pass(ledger, 0, 0);
    expect(kinds(ledger)).toEqual(['AttemptTimedOut']);
  });
});

describe('the total timeout', () => {
  test('counts from when the job could first run, over all attempts', () => {
    const ledger = runOf({ totalMs: 10_000 }, { ...retryAll, initialBackoffMs: 1_000 });
    pass(ledger, 4_000, 0);
    start(ledger, 0);
    expect(dueIn(ledger)).toBe(6_000);
    ledger.nowMs += 1_000;
    finish(ledger, 0, { outcome: 'FAILED' });
    pass(ledger, 1_000, 0);
    expect(dueIn(ledger)).toBe(4_000);
    pass(ledger, 4_000, 0);
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'FAILED', failure: { class: 'TIMEOUT' } });
  });

  test('stops an attempt, and leaves no retry after it', () => {
    const ledger = runOf({ totalMs: 10_000 }, { ...retryAll, initialBackoffMs: 0 });
    start(ledger, 0);
    pass(ledger, 10_000, 0);
    finish(ledger, 0, { outcome: 'CANCELLED' });
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'FAILED', failure: { class: 'TIMEOUT' } });
  });
});

test('a released backoff lets the job be offered at once', () => {
  const ledger = runOf({}, { ...retryAll, initialBackoffMs: 60_000 });
  start(ledger, 0);
  finish(ledger, 0, { outcome: 'FAILED' });
  expect(offer(ledger, 0)).toEqual({ type: 'Stale' });
  submit(ledger, { type: 'ReleaseBackoff', job: 0 });
  expect(offer(ledger, 0)).toEqual({ type: 'Done' });
});

test('a clock that goes back changes no order: events are never before the one before', () => {
  const ledger = runOf({});
  submit(ledger, { type: 'Offer', job: 0, instance: 1, instanceId: '' }, ledger.nowMs - 500);
  expect(ledger.entries.map(({ timeMs }) => timeMs)).toEqual([ledger.nowMs, ledger.nowMs]);
});
