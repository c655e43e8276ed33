import { describe, expect, test } from 'vitest';
import type { Command } from './commands.ts';
import { decide } from './decide.ts';
import type { RunCondition } from './definition.ts';
import { jobOf, JobsNotLoaded } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { create, finish, INSTANCE, newest, start, work } from './testing/driver.ts';
import { openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';

type Outcome = 'SUCCEEDED' | 'FAILED' | 'ALLOWED' | 'SKIPPED' | 'CANCELLED';

/** A run whose job `need` came to the outcome, with a job that needs it, and one that keeps the run open. */
function afterNeed(outcome: Outcome, when: RunCondition): SimulatedLedger {
  const ledger = openLedger(
    definitionOf(
      jobNamed('cause'),
      jobNamed('need', { needs: ['cause'], allowFailure: outcome === 'ALLOWED' }),
      jobNamed('job', { needs: ['need'], when }),
      jobNamed('aside'),
    ),
  );
  create(ledger);
  work(ledger, 0, outcome === 'SKIPPED' ? 'FAILED' : 'SUCCEEDED');
  if (outcome === 'CANCELLED') submit(ledger, { type: 'CancelJob', job: 1, reason: '' });
  else if (outcome !== 'SKIPPED') work(ledger, 1, outcome === 'SUCCEEDED' ? 'SUCCEEDED' : 'FAILED');
  return ledger;
}

describe('a job whose need', () => {
  test.each<[Outcome, RunCondition, string]>([
    ['SUCCEEDED', 'SUCCESS', 'QUEUED'],
    ['FAILED', 'SUCCESS', 'SKIPPED'],
    ['ALLOWED', 'SUCCESS', 'QUEUED'],
    ['SKIPPED', 'SUCCESS', 'SKIPPED'],
    ['CANCELLED', 'SUCCESS', 'SKIPPED'],
    ['SUCCEEDED', 'ALWAYS', 'QUEUED'],
    ['FAILED', 'ALWAYS', 'QUEUED'],
    ['ALLOWED', 'ALWAYS', 'QUEUED'],
    ['SKIPPED', 'ALWAYS', 'QUEUED'],
    ['CANCELLED', 'ALWAYS', 'QUEUED'],
  ])('is %s, with the condition %s, is %s', (outcome, when, expected) => {
    expect(jobOf(afterNeed(outcome, when).slice, 2).state).toBe(expected);
  });

  test('has not finished stays blocked, even if another one failed', () => {
    const job = jobNamed('job', { needs: ['one', 'other'] });
    const ledger = openLedger(definitionOf(jobNamed('one'), jobNamed('other'), job));
    create(ledger);
    work(ledger, 0, 'FAILED');
    expect(jobOf(ledger.slice, 2)).toMatchObject({ state: 'BLOCKED', unmet: 1, badNeeds: 1 });
  });
});

test('an allowed failure fails no run', () => {
  const ledger = openLedger(definitionOf(jobNamed('only', { allowFailure: true })));
  create(ledger);
  work(ledger, 0, 'FAILED');
  expect(ledger.slice.run).toMatchObject({ state: 'SUCCEEDED', counts: { failed: 0, failureAllowed: 1 } });
  expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'FAILED', failureAllowed: true });
});

test('a failure skips all that hangs on it, and what always runs still runs', () => {
  const ledger = openLedger(
    definitionOf(
      jobNamed('clean', { needs: ['c', 'a'], when: 'ALWAYS' }),
      jobNamed('c', { needs: ['b', 'a'] }),
      jobNamed('b', { needs: ['a'] }),
      jobNamed('a'),
    ),
  );
  create(ledger);
  work(ledger, 3, 'FAILED');
  expect([0, 1, 2, 3].map((job) => jobOf(ledger.slice, job).state)).toEqual(['QUEUED', 'SKIPPED', 'SKIPPED', 'FAILED']);
  work(ledger, 0, 'SUCCEEDED');
  expect(ledger.slice.run.state).toBe('FAILED');
});

test('a cancelled run goes on with what always runs, until it is cancelled by force', () => {
  const ledger = openLedger(definitionOf(jobNamed('build'), jobNamed('clean', { needs: ['build'], when: 'ALWAYS' })));
  create(ledger);
  start(ledger, 0);
  submit(ledger, { type: 'CancelRun', reason: '', force: false });
  expect(jobOf(ledger.slice, 1).state).toBe('BLOCKED');
  submit(ledger, {
    type: 'Lose',
    ...newest(ledger, 0),
    failureClass: 'INFRASTRUCTURE',
    message: '',
    random: 0,
    content: undefined,
  });
  start(ledger, 1);
  expect(ledger.slice.run).toMatchObject({ state: 'CANCELLING', counts: { cancelled: 1, open: 1 } });
  submit(ledger, { type: 'CancelRun', reason: '', force: true });
  expect(jobOf(ledger.slice, 1).state).toBe('CANCELLING');
});

describe('a rerun', () => {
  const definition = definitionOf(
    jobNamed('good'),
    jobNamed('bad', { allowFailure: true }),
    jobNamed('again', { needs: ['good', 'bad'] }),
    jobNamed('skipped', { needs: ['good'] }),
    jobNamed('never', { needs: ['skipped'] }),
  );
  const failure = { class: 'WORKLOAD', message: 'broke' } as const;

  test('takes over outcomes and outputs, and goes on with what they allow', () => {
    const ledger = openLedger(definition);
    submit(ledger, {
      type: 'Create',
      rerunOf: 'origin',
      trigger: { kind: 'api', actor: '', reference: '' },
      inherited: [
        { job: 0, from: 'origin.0', state: 'SUCCEEDED', outputs: { image: 'sha' } },
        { job: 1, from: 'origin.1', state: 'FAILED', failure },
        { job: 3, from: 'origin.3', state: 'SKIPPED' },
      ],
    });
    expect(jobOf(ledger.slice, 0)).toMatchObject({ inheritedFrom: 'origin.0', outputs: { image: 'sha' } });
    expect(jobOf(ledger.slice, 1)).toMatchObject({ inheritedFrom: 'origin.1', failure, failureAllowed: true });
    expect(jobOf(ledger.slice, 2).state).toBe('QUEUED');
    expect(jobOf(ledger.slice, 4).state).toBe('SKIPPED');
    expect(ledger.slice.run.counts).toMatchObject({ total: 5, open: 1, succeeded: 1, failureAllowed: 1, skipped: 2 });
    work(ledger, 2, 'SUCCEEDED');
    expect(ledger.slice.run.state).toBe('SUCCEEDED');
  });

  test('of nothing has finished at once, and has never started', () => {
    const ledger = openLedger(definitionOf(jobNamed('only')));
    submit(ledger, {
      type: 'Create',
      trigger: { kind: 'api', actor: '', reference: '' },
      inherited: [{ job: 0, from: 'origin.0', state: 'SUCCEEDED' }],
    });
    expect(ledger.slice.run.state).toBe('SUCCEEDED');
    expect(ledger.slice.run.startedMs).toBeUndefined();
  });
});

describe('a decision on a part of a run', () => {
  const leaves = Array.from({ length: 50 }, (_, index) => jobNamed(`leaf-${index}`, { needs: ['root'] }));
  const definition = definitionOf(jobNamed('root'), ...leaves);

  function missingIn(
    ledger: SimulatedLedger,
    loaded: readonly number[],
    type: 'CancelJob' | 'CancelRun',
  ): readonly number[] {
    const jobs = new Map(loaded.map((job) => [job, jobOf(ledger.slice, job)]));
    try {
      decide({ ...ledger.slice, jobs }, { type, job: 0, reason: '', force: false }, ledger.nowMs);
      return [];
    } catch (error) {
      if (error instanceof JobsNotLoaded) return error.jobs;
      throw error;
    }
  }

  test('asks at once for all dependants of a job that ends', () => {
    const ledger = openLedger(definition);
    create(ledger);
    expect(missingIn(ledger, [], 'CancelJob')).toEqual([0]);
    expect(missingIn(ledger, [0, 1, 2], 'CancelJob')).toEqual(leaves.map((_, index) => index + 1).slice(2));
  });

  test('asks at once for all jobs that a cancel of the run stops', () => {
    const ledger = openLedger(definition);
    create(ledger);
    expect(missingIn(ledger, [5], 'CancelRun')).toHaveLength(50);
  });

  test('needs no dependants while a job goes on', () => {
    const ledger = openLedger(definition);
    create(ledger);
    const jobs = new Map([[0, jobOf(ledger.slice, 0)]]);
    const offered = decide({ ...ledger.slice, jobs }, { type: 'Offer', job: 0, instance: INSTANCE, instanceId: '' }, 0);
    const accepted = decide(offered.after, { type: 'Accept', job: 0, attempt: 1, instance: INSTANCE }, 0);
    expect(accepted.after.jobs.size).toBe(1);
    expect(accepted.after.run.state).toBe('RUNNING');
  });
});

describe('a FINALLY job', () => {
  const chain = definitionOf(
    jobNamed('use'),
    jobNamed('after', { needs: ['use'] }),
    jobNamed('tidy', { when: 'FINALLY' }),
  );

  test.each<[string, Command]>([
    ['its run', { type: 'CancelRun', reason: '', force: false }],
    ['a job that was blocked', { type: 'CancelJob', job: 1, reason: '' }],
  ])('waits for what still runs after a cancel of %s', (_, cancel) => {
    const ledger = openLedger(chain);
    create(ledger);
    start(ledger, 0);
    submit(ledger, cancel);
    expect(jobOf(ledger.slice, 1).state).toBe('CANCELLED');
    expect(jobOf(ledger.slice, 2).state).toBe('BLOCKED');
    finish(ledger, 0);
    expect(jobOf(ledger.slice, 2).state).toBe('QUEUED');
  });

  test('waits for what still runs after the first failure', () => {
    const [use, after, tidy] = chain.jobs;
    if (use === undefined || after === undefined || tidy === undefined) throw new Error('a chain of three');
    const ledger = openLedger({ ...definitionOf(use, after, tidy, jobNamed('fails')), failFast: true });
    create(ledger);
    start(ledger, 0);
    work(ledger, 3, 'FAILED');
    expect(jobOf(ledger.slice, 0).state).toBe('CANCELLING');
    expect(jobOf(ledger.slice, 2).state).toBe('BLOCKED');
  });
});
