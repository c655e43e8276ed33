// Runs that are to start later: they are there at once, and wait.
import { describe, expect, test } from 'vitest';
import { DEFAULT_TIMEOUTS, type JobTimeouts } from './definition.ts';
import { jobOf } from './run-state.ts';
import { dueOf } from './alarms.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { pass } from './testing/driver.ts';
import { checkReplay } from './testing/invariants.ts';
import { openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';

const asker = { reason: 'not yet', actor: 'ops' };
const trigger = { kind: 'api', actor: '', reference: '' };

function delayedRun(startMs: number, timeouts: Partial<JobTimeouts> = {}): SimulatedLedger {
  const first = jobNamed('first', { timeouts: { ...DEFAULT_TIMEOUTS, ...timeouts } });
  const ledger = openLedger(definitionOf(first, jobNamed('then', { needs: ['first'] })));
  submit(ledger, { type: 'Create', trigger, startMs });
  return ledger;
}

describe('a run that is to start later', () => {
  test('waits with a reason and a time, and only jobs without needs do', () => {
    const ledger = delayedRun(61_000);
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'WAITING', wait: { reason: 'DELAY', untilMs: 61_000 } });
    expect(jobOf(ledger.slice, 1).state).toBe('BLOCKED');
    expect(ledger.slice.run.state).toBe('PENDING');
    expect(dueOf(ledger.slice, 0, jobOf(ledger.slice, 0))).toBe(61_000);
    checkReplay(ledger);
  });

  test('is queued when its time has come, and not before', () => {
    const ledger = delayedRun(61_000);
    pass(ledger, 59_999, 0);
    expect(jobOf(ledger.slice, 0).state).toBe('WAITING');
    pass(ledger, 1, 0);
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'QUEUED', queuedMs: 61_000, readyMs: 61_000 });
    checkReplay(ledger);
  });

  test('has its time limits counted from its start', () => {
    const ledger = delayedRun(61_000, { queueMs: 5_000, totalMs: 7_000 });
    expect(dueOf(ledger.slice, 0, jobOf(ledger.slice, 0))).toBe(61_000);
    pass(ledger, 60_000, 0);
    expect(dueOf(ledger.slice, 0, jobOf(ledger.slice, 0))).toBe(66_000);
  });

  test('is released by hand before its time', () => {
    const ledger = delayedRun(61_000);
    submit(ledger, { type: 'ReleaseBackoff', job: 0 });
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'QUEUED', queuedMs: 1_000 });
  });

  test('that is released by hand has its time limits counted from then', () => {
    const ledger = delayedRun(61_000, { totalMs: 7_000 });
    submit(ledger, { type: 'ReleaseBackoff', job: 0 });
    expect(dueOf(ledger.slice, 0, jobOf(ledger.slice, 0))).toBe(8_000);
    checkReplay(ledger);
  });

  test('that is paused meanwhile waits out the rest when it is resumed', () => {
    const ledger = delayedRun(61_000);
    submit(ledger, { type: 'PauseRun', ...asker });
    expect(jobOf(ledger.slice, 0)).toMatchObject({ wait: { reason: 'PAUSED', behind: { reason: 'DELAY' } } });
    submit(ledger, { type: 'ResumeRun', ...asker });
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'WAITING', wait: { reason: 'DELAY', untilMs: 61_000 } });
    checkReplay(ledger);
  });

  test('that is held beyond its time goes on when it is released', () => {
    const ledger = delayedRun(61_000);
    submit(ledger, { type: 'HoldJob', job: 0, ...asker });
    pass(ledger, 60_001, 0);
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'WAITING', wait: { reason: 'HELD' } });
    submit(ledger, { type: 'ReleaseJob', job: 0, ...asker });
    expect(jobOf(ledger.slice, 0).state).toBe('QUEUED');
    checkReplay(ledger);
  });

  test('is cancelled like any other', () => {
    const ledger = delayedRun(61_000);
    submit(ledger, { type: 'CancelRun', reason: 'not wanted', force: false });
    expect(ledger.slice.run.state).toBe('CANCELLED');
    checkReplay(ledger);
  });

  test('of a time that has come already is none', () => {
    const ledger = delayedRun(1_000);
    expect(jobOf(ledger.slice, 0).state).toBe('QUEUED');
    expect(ledger.entries[0]?.event).not.toHaveProperty('startMs');
  });
});
