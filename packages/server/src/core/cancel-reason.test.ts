// Why a job was cancelled: what is recorded of it when it ends, and kept with it.
import { describe, expect, it } from 'vitest';
import type { Command } from './commands.ts';
import type { Definition } from './definition.ts';
import { CANCEL_REASON_VERSION } from './event-versions.ts';
import { jobOf } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { create, finish, start, work } from './testing/driver.ts';
import { checkReplay } from './testing/invariants.ts';
import { openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';

const JOBS = definitionOf(
  jobNamed('queued'),
  jobNamed('blocked', { needs: ['queued'] }),
  jobNamed('cells', { matrix: { axes: { n: [1] } } }),
  jobNamed('asks', { gate: { message: '', approvers: [], quorum: 1, onTimeout: 'SKIP' } }),
  jobNamed('calls', { call: { pipeline: 'other', params: {} } }),
);

function created(definition: Definition): SimulatedLedger {
  const ledger = openLedger(definition);
  create(ledger);
  return ledger;
}

/** What its last event says of a job, and what is kept with it. */
function reasonsOf(ledger: SimulatedLedger, job: number): readonly (string | undefined)[] {
  checkReplay(ledger);
  const ends = ledger.entries.flatMap(({ event }) => (event.type === 'JobFinished' && event.job === job ? event : []));
  expect(ends.map(({ state }) => state)).toEqual(['CANCELLED']);
  return [ends[0]?.cancelReason, jobOf(ledger.slice, job).details?.cancelReason];
}

describe('the reason for which a job is cancelled', () => {
  const reason = 'a typo';
  const cancelJob = (job: number): Command => ({ type: 'CancelJob', job, reason });
  const cancelRun = (because: string, force = true): Command => ({ type: 'CancelRun', reason: because, force });

  it.each(['queued', 'blocked', 'cells', 'asks'])('is kept of one that never started: %s', (name) => {
    const ledger = created(JOBS);
    const job = JOBS.jobs.findIndex((defined) => defined.name === name);
    submit(ledger, cancelJob(job));
    expect(reasonsOf(ledger, job)).toEqual([reason, reason]);
  });

  it('is kept of an offer, of an attempt that ran, and of the run of a call', () => {
    const ledger = created(definitionOf(jobNamed('offered'), jobNamed('runs'), JOBS.jobs[4]!));
    submit(ledger, { type: 'Offer', job: 0, instance: 1, instanceId: 'a' });
    start(ledger, 1);
    submit(ledger, { type: 'StartChild', job: 2, childRun: 'child' });
    for (const job of [0, 1, 2]) submit(ledger, cancelJob(job));
    finish(ledger, 1, { outcome: 'CANCELLED' });
    submit(ledger, { type: 'FinishChild', job: 2, childRun: 'child', state: 'CANCELLED', outputs: {} });
    for (const job of [0, 1, 2]) expect(reasonsOf(ledger, job)).toEqual([reason, reason]);
  });

  it('is that of its run, and not repeated for each job when that is cancelled by force', () => {
    const ledger = created(JOBS);
    submit(ledger, cancelRun(reason));
    for (const job of [0, 1, 2, 3]) expect(reasonsOf(ledger, job)).toEqual([undefined, undefined]);
  });

  it('stays when its run is then cancelled by force, for another one', () => {
    const after = jobNamed('after', { needs: ['b'] });
    const ledger = created(definitionOf(jobNamed('a'), jobNamed('b'), after, jobNamed('last', { when: 'ALWAYS' })));
    start(ledger, 0);
    submit(ledger, cancelRun('first', false));
    submit(ledger, cancelRun('second'));
    finish(ledger, 0, { outcome: 'CANCELLED' });
    expect(ledger.slice.run.cancel?.reason).toBe('second');
    for (const job of [0, 1, 2]) expect(reasonsOf(ledger, job)).toEqual(['first', 'first']);
    expect(reasonsOf(ledger, 3)).toEqual([undefined, undefined]);
  });

  it('stays its own when its run is cancelled for another one before it ends', () => {
    const ledger = created(definitionOf(jobNamed('a'), jobNamed('b')));
    start(ledger, 0);
    submit(ledger, cancelJob(0));
    submit(ledger, cancelRun('enough'));
    finish(ledger, 0, { outcome: 'CANCELLED' });
    expect(reasonsOf(ledger, 0)).toEqual([reason, reason]);
  });

  it('is left out while a replica serves that does not know of it', () => {
    const ledger = created(JOBS);
    ledger.slice = { ...ledger.slice, eventVersion: CANCEL_REASON_VERSION - 1 };
    submit(ledger, cancelJob(0));
    expect(reasonsOf(ledger, 0)).toEqual([undefined, undefined]);
    submit(ledger, cancelJob(2));
    expect(reasonsOf(ledger, 2)).toEqual([reason, reason]);
  });

  it('is none when nobody said one', () => {
    const ledger = created(JOBS);
    submit(ledger, { type: 'CancelJob', job: 0, reason: '' });
    expect(reasonsOf(ledger, 0)).toEqual([undefined, undefined]);
  });

  it('names the job whose failure stopped it', () => {
    const ledger = created({ ...definitionOf(jobNamed('a'), jobNamed('b')), failFast: true });
    work(ledger, 0, 'FAILED');
    expect(reasonsOf(ledger, 1)).toEqual(['a failed', 'a failed']);
  });
});
