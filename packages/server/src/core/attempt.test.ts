import { describe, expect, test } from 'vitest';
import { DEFAULT_RETRY } from './definition.ts';
import type { RunEvent } from './events.ts';
import { LIMITS } from './limits.ts';
import { jobOf } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { create, finish, INSTANCE, newest, offer, reject, start, work } from './testing/driver.ts';
import { attemptKey, openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';

/** A run of one job, with a running attempt of which a log and outputs are stored. */
function running(retry = DEFAULT_RETRY): SimulatedLedger {
  const ledger = openLedger(definitionOf(jobNamed('only', { retry })));
  create(ledger);
  start(ledger, 0);
  store(ledger, 1, { logSize: 100, logCrc32c: 0xabc, outputs: { image: 'sha' } });
  return ledger;
}

function store(ledger: SimulatedLedger, attempt: number, change: object): void {
  const content = ledger.attempts.get(attemptKey(0, attempt));
  if (content === undefined) throw new Error(`attempt ${attempt} was not offered`);
  ledger.attempts.set(attemptKey(0, attempt), { ...content, ...change });
}

function lastEnd(ledger: SimulatedLedger): Extract<RunEvent, { type: 'AttemptEnded' }> | undefined {
  return ledger.entries.map(({ event }) => event).findLast((event) => event.type === 'AttemptEnded');
}

describe('a result', () => {
  test('seals the stored log and outputs', () => {
    const ledger = running();
    expect(finish(ledger, 0)).toEqual({ type: 'Finished', logState: 'SEALED' });
    expect(lastEnd(ledger)).toMatchObject({
      state: 'SUCCEEDED',
      logSize: 100,
      logState: 'SEALED',
      outputs: { image: 'sha' },
    });
  });

  test('waits for log bytes that never arrived', () => {
    const ledger = running();
    expect(finish(ledger, 0, { logSize: 101 })).toEqual({ type: 'LogMissing', offset: 100 });
    expect(jobOf(ledger.slice, 0).state).toBe('RUNNING');
  });

  test.each([
    ['other bytes were stored than were written', { logCrc32c: 1 }, 'CORRUPT'],
    ['more bytes were stored than were written', { logSize: 99 }, 'CORRUPT'],
    ['the driver lost some', { logLost: true, logSize: 500 }, 'TRUNCATED'],
  ])('tells when %s', (_, change, logState) => {
    const ledger = running();
    expect(finish(ledger, 0, change)).toEqual({ type: 'Finished', logState });
    expect(lastEnd(ledger)).toMatchObject({ logSize: 100, logState });
  });

  describe('of a job with a schema of its outputs', () => {
    const outputsSchema = { required: ['image'] };
    const checked = { text: '{"image":"sha"}' };
    const bad = { ...checked, problem: 'outputs.image is wrong' };

    function withSchema(): SimulatedLedger {
      const retry = { ...DEFAULT_RETRY, budgets: { ...DEFAULT_RETRY.budgets, WORKLOAD: 9 } };
      const ledger = openLedger(definitionOf(jobNamed('only', { outputsSchema, retry })));
      create(ledger);
      start(ledger, 0);
      store(ledger, 1, { outputs: { image: 'sha' } });
      return ledger;
    }

    test('waits until they were held against it', () => {
      const ledger = withSchema();
      expect(finish(ledger, 0)).toEqual({ type: 'Unchecked', schema: outputsSchema, outputs: { image: 'sha' } });
      expect(jobOf(ledger.slice, 0).state).toBe('RUNNING');
      expect(finish(ledger, 0, { checked })).toEqual({ type: 'Finished', logState: 'SEALED' });
      expect(jobOf(ledger.slice, 0).state).toBe('SUCCEEDED');
    });

    test('waits again when they were replaced meanwhile', () => {
      const ledger = withSchema();
      store(ledger, 1, { outputs: { image: 'other' } });
      expect(finish(ledger, 0, { checked })).toMatchObject({ type: 'Unchecked', outputs: { image: 'other' } });
      store(ledger, 1, { outputs: undefined });
      expect(finish(ledger, 0, { checked })).toMatchObject({ type: 'Unchecked', outputs: {} });
    });

    test('is a failure for good when they do not fit, and stands when it is repeated', () => {
      const ledger = withSchema();
      const failure = { class: 'INVALID', message: 'outputs.image is wrong' };
      expect(finish(ledger, 0, { checked: bad })).toEqual({ type: 'Finished', logState: 'SEALED' });
      expect(lastEnd(ledger)).toMatchObject({ state: 'FAILED', failure, outputs: { image: 'sha' } });
      expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'FAILED', failure });
      expect(finish(ledger, 0)).toEqual({ type: 'Finished', logState: 'SEALED' });
    });

    test.each([
      ['fails', { outcome: 'FAILED', message: 'exit 1' }, { class: 'WORKLOAD', message: 'exit 1' }],
      ['stops by itself', { outcome: 'CANCELLED', message: 'had enough' }, { class: 'DRIVER', message: 'had enough' }],
    ] as const)('does not matter when its driver %s', (_, change, failure) => {
      const ledger = withSchema();
      expect(finish(ledger, 0, change)).toEqual({ type: 'Finished', logState: 'SEALED' });
      expect(lastEnd(ledger)).toMatchObject({ state: 'FAILED', failure });
    });
  });

  test('that is repeated is acknowledged again, also when the job has gone on', () => {
    const ledger = running({
      ...DEFAULT_RETRY,
      budgets: { ...DEFAULT_RETRY.budgets, WORKLOAD: 1 },
      initialBackoffMs: 0,
    });
    const failed = { outcome: 'FAILED', message: 'exit 1', exitCode: 1, attempt: 1 } as const;
    const log = { logSize: 100, logCrc32c: 0xabc };
    finish(ledger, 0, failed);
    offer(ledger, 0);
    expect(finish(ledger, 0, { ...failed, ...log })).toEqual({ type: 'Finished', logState: 'SEALED' });
    const wrong = [
      { outcome: 'SUCCEEDED' },
      { message: 'exit 2' },
      { exitCode: 2 },
      { logSize: 99 },
      { logCrc32c: 0 },
    ] as const;
    for (const change of wrong) {
      expect(finish(ledger, 0, { ...failed, ...log, ...change })).toEqual({ type: 'Stale', state: 'FAILED' });
    }
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'OFFERED', attempt: 2 });
  });

  test('of an attempt that the server ended is not accepted any more', () => {
    const ledger = running();
    submit(ledger, {
      type: 'Lose',
      ...newest(ledger, 0),
      failureClass: 'INFRASTRUCTURE',
      message: 'gone',
      random: 0,
      content: undefined,
    });
    expect(lastEnd(ledger)).toMatchObject({
      state: 'LOST',
      logSize: 100,
      logState: 'TRUNCATED',
      outputs: { image: 'sha' },
    });
    expect(finish(ledger, 0)).toEqual({ type: 'Stale', state: 'LOST' });
  });

  test('before the start is none', () => {
    const ledger = openLedger(definitionOf(jobNamed('only')));
    create(ledger);
    offer(ledger, 0);
    expect(finish(ledger, 0)).toEqual({ type: 'Stale', state: 'OFFERED' });
    expect(jobOf(ledger.slice, 0).state).toBe('OFFERED');
  });

  test('may ask that the retry comes later', () => {
    const ledger = running();
    finish(ledger, 0, { outcome: 'FAILED', failureClass: 'DRIVER', retryAfterMs: 60_000 });
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'WAITING', wait: { untilMs: ledger.nowMs + 60_000 } });
  });

  test('without what the store holds of its attempt is a defect, not an empty log', () => {
    const ledger = running();
    ledger.attempts.clear();
    expect(() => finish(ledger, 0)).toThrow('content of a started attempt is missing');
  });
});

describe('an offer', () => {
  test('that is withdrawn spends no retry, one that is declined or expires does', () => {
    const budgets = { ...DEFAULT_RETRY.budgets, REJECTED: 1 };
    const ledger = openLedger(
      definitionOf(jobNamed('only', { retry: { ...DEFAULT_RETRY, budgets, initialBackoffMs: 0 } })),
    );
    create(ledger);
    for (let i = 0; i < 5; i++) {
      offer(ledger, 0);
      submit(ledger, { type: 'Withdraw', ...newest(ledger, 0), expired: false, random: 0 });
    }
    offer(ledger, 0);
    reject(ledger, 0, { reason: 'no disk' });
    expect(lastEnd(ledger)?.failure).toEqual({ class: 'REJECTED', message: 'the driver declined the offer: no disk' });
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'QUEUED', attempt: 6 });
    offer(ledger, 0);
    submit(ledger, { type: 'Withdraw', ...newest(ledger, 0), expired: true, random: 0 });
    expect(jobOf(ledger.slice, 0)).toMatchObject({ state: 'FAILED', attempt: 7, failure: { class: 'REJECTED' } });
  });

  test('that nobody could take fails with the words of who found out', () => {
    const ledger = openLedger(definitionOf(jobNamed('only')));
    create(ledger);
    offer(ledger, 0);
    submit(ledger, {
      type: 'Lose',
      ...newest(ledger, 0),
      failureClass: 'INVALID',
      message: 'the frame was malformed',
      random: 0,
      content: undefined,
    });
    expect(jobOf(ledger.slice, 0)).toMatchObject({
      state: 'FAILED',
      failure: { class: 'INVALID', message: 'the frame was malformed' },
    });
  });
});

describe('an annotation', () => {
  const note = (ledger: SimulatedLedger, number: number): number =>
    submit(ledger, {
      type: 'Annotate',
      ...newest(ledger, 0),
      number,
      annotation: { level: 'INFO', text: `${number}`, link: '' },
      content: undefined,
    }).decision.events.length;

  test('is taken once, in order, and up to the limit', () => {
    const ledger = running();
    expect([1, 1, 3, 2, 2].map((number) => note(ledger, number))).toEqual([1, 0, 0, 1, 0]);
    for (let number = 3; number <= LIMITS.annotations; number++) expect(note(ledger, number)).toBe(1);
    expect(note(ledger, LIMITS.annotations + 1)).toBe(0);
  });
});

test('fences count up over every kind of end', () => {
  const ledger = running({ ...DEFAULT_RETRY, budgets: { ...DEFAULT_RETRY.budgets, WORKLOAD: 9 }, initialBackoffMs: 0 });
  finish(ledger, 0, { outcome: 'FAILED' });
  offer(ledger, 0);
  reject(ledger, 0);
  work(ledger, 0, 'FAILED');
  start(ledger, 0);
  expect(newest(ledger, 0)).toEqual({ job: 0, attempt: 4, instance: INSTANCE });
});

describe('an artifact', () => {
  function declare(ledger: SimulatedLedger, number: number, change: object = {}): number {
    const artifact = { name: `${number}`, digest: 'crc32c:00000000', sizeBytes: 1, uri: '', mediaType: '' };
    const command = { type: 'Declare', ...newest(ledger, 0), number, artifact, content: undefined, ...change } as const;
    return submit(ledger, command).decision.events.length;
  }

  test('is recorded once by its number, up to a bound', () => {
    const ledger = running();
    expect([declare(ledger, 1), declare(ledger, 1), declare(ledger, 3), declare(ledger, 2)]).toEqual([1, 0, 0, 1]);
    for (let number = 3; number <= LIMITS.artifacts; number++) expect(declare(ledger, number)).toBe(1);
    expect(declare(ledger, LIMITS.artifacts + 1)).toBe(0);
  });

  test('of an attempt that is not, or no longer, in the hand of who speaks is not recorded', () => {
    const ledger = running();
    expect(declare(ledger, 1, { instance: INSTANCE + 1 })).toBe(0);
    expect(declare(ledger, 1, { attempt: 2 })).toBe(0);
    finish(ledger, 0);
    expect(declare(ledger, 1)).toBe(0);
  });
});
