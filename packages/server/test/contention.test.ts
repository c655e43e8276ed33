// Two replicas over one database decide on the same runs at the same time: drivers of both hold jobs of each run, sessions move between
// them, and everything is cancelled, repeated and reported at both. Whatever the order, the ledger must hold together.
import { randomBytes } from 'node:crypto';
import { crc32c } from '@node-rs/crc32';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEFAULT_RETRY, DEFAULT_TIMEOUTS, type JobDefinition } from '../src/core/definition.ts';
import type { DriverFrame, HeldAttempt, ServerFrame } from '../src/core/frames.ts';
import { type AttemptKey, formatAttemptId } from '../src/core/ids.ts';
import { RefusedError } from '../src/core/refusal.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import { randomFrom } from '../src/core/testing/random-from.ts';
import type { DriverSession } from '../src/engine/driver-operations.ts';
import { startTwoEngines, type TwoEngines } from './two-engines.ts';
import { checkLedger } from '../src/store/testing/check-ledger.ts';

const RUNS = 60;

let both: TwoEngines;
beforeAll(async () => {
  both = await startTwoEngines();
});
afterAll(() => both[Symbol.asyncDispose]());

/** A graph in which jobs wait for each other, fail, are retried and run always. */
function contendedJobs(): readonly JobDefinition[] {
  const retry = {
    ...DEFAULT_RETRY,
    budgets: { ...DEFAULT_RETRY.budgets, WORKLOAD: 3 },
    initialBackoffMs: 5,
    maxBackoffMs: 20,
  };
  const timeouts = { ...DEFAULT_TIMEOUTS, cancelGraceMs: 100 };
  const job = (name: string, change: Partial<JobDefinition> = {}): JobDefinition =>
    jobNamed(name, { driver: 'contended', retry, timeouts, ...change });
  return [
    job('a'),
    job('b'),
    job('c', { needs: ['a'], allowFailure: true }),
    job('d', { needs: ['a', 'b'] }),
    job('e', { needs: ['c', 'd'] }),
    job('f', { needs: ['a', 'b', 'c', 'd', 'e'], when: 'ALWAYS' }),
  ];
}

/**
 * A driver that takes what it is offered or not, ends it well or badly, says much twice, and now and then goes over to the other
 * replica with what it holds.
 */
function openErraticDriver(instance: string, random: () => number) {
  const incarnation = randomBytes(16);
  const held = new Map<string, HeldAttempt>();
  const finishes = new Map<string, DriverFrame>();
  let at = random() < 0.5 ? 0 : 1;
  let session: DriverSession | undefined;
  let stopped = false;
  let moves = 0;
  let moving = Promise.resolve();

  function say(...frames: DriverFrame[]): void {
    session?.receive(random() < 0.2 ? [...frames, ...frames] : frames);
  }

  function hold(key: AttemptKey, phase: HeldAttempt['phase']): void {
    held.set(formatAttemptId(key), { key, phase, logOffset: 0 });
  }

  function forget(attemptId: string): void {
    held.delete(attemptId);
    finishes.delete(attemptId);
  }

  function work(key: AttemptKey): void {
    hold(key, 'RUNNING');
    const data = Buffer.from(`${instance} works on ${formatAttemptId(key)}\n`.repeat(1 + Math.floor(random() * 5)));
    const split = Math.floor(random() * data.length);
    say(
      { type: 'Log', key, offset: 0, channel: 'STDOUT', unixMs: 0, data: data.subarray(0, split + 1) },
      { type: 'Output', key, name: 'by', value: instance },
      { type: 'Log', key, offset: split, channel: 'STDERR', unixMs: 0, data: data.subarray(split) },
      { type: 'Annotation', key, number: 1, annotation: { level: 'INFO', text: 'at work', link: '' } },
    );
    finish(key, data, random() < 0.75 ? 'SUCCEEDED' : 'FAILED');
    if (random() < 0.1) move();
  }

  function finish(key: AttemptKey, data: Uint8Array, outcome: 'SUCCEEDED' | 'FAILED' | 'CANCELLED'): void {
    hold(key, 'FINISHED');
    const frame: DriverFrame = {
      type: 'Finish',
      key,
      outcome,
      failureClass: 'WORKLOAD',
      message: '',
      logSize: data.length,
      logCrc32c: crc32c(data),
      // After a move the bytes are not sent again.
      logLost: true,
    };
    finishes.set(formatAttemptId(key), frame);
    say(frame);
  }

  function hear(from: number, frame: ServerFrame): void {
    // What a session that was left still says does not count.
    if (from !== moves) return;
    switch (frame.type) {
      case 'Welcome':
        for (const verdict of frame.verdicts) {
          const { key, kind } = verdict;
          if (kind === 'START') work(key);
          else if (kind === 'KEEP') say(finishes.get(formatAttemptId(key)) ?? { type: 'Heartbeat', seq: 1 });
          else forget(formatAttemptId(key));
        }
        return;
      case 'Offer':
        if (random() < 0.15) return say({ type: 'Reject', key: frame.key, reason: 'not now', invalid: false });
        hold(frame.key, 'ACCEPTED');
        return say({ type: 'Accept', key: frame.key });
      case 'Start':
        return work(frame.key);
      case 'FinishAck':
        return forget(formatAttemptId(frame.key));
      case 'Revoke':
        return forget(frame.attemptId);
      case 'LogMissing':
      case 'Pulse':
      case 'LogAck':
      case 'Cancel':
      case 'Drain':
      case 'ValueAnswer':
      case 'AppendAnswer':
        return;
    }
  }

  /** Leaves the session without a word, and opens one at the other replica. */
  function move(): void {
    moving = moving.then(connect);
  }

  async function connect(): Promise<void> {
    if (stopped) return;
    session?.disconnected();
    session = undefined;
    at = 1 - at;
    const from = ++moves;
    const early: ServerFrame[] = [];
    let opened = false;
    const link = {
      // What is said before the session is in hand is heard right after.
      send: (frame: ServerFrame) => (opened ? hear(from, frame) : void early.push(frame)),
      queuedBytes: () => 0,
      end: () => {
        if (from === moves && !stopped) move();
      },
    };
    const offers = { labels: {}, slots: 6, pools: {} };
    const hello = { driver: 'contended', instance, incarnation, capabilities: [], ...offers, version: '' };
    session = await both.engines[at]!.drivers.openSession(
      { role: 'driver', id: 'test' },
      { ...hello, held: [...held.values()] },
      link,
    );
    opened = true;
    for (const frame of early) hear(from, frame);
  }

  move();
  return {
    moves: () => moves,
    async stop() {
      stopped = true;
      await moving;
      session?.disconnected();
    },
  };
}

/** Tolerates what may be refused: the run has finished already. */
async function unlessFinished(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => {
    if (!(error instanceof RefusedError) || error.refusal.refused !== 'ALREADY_FINISHED') throw error;
  });
}

test('whatever two replicas do to the same runs at once, each ledger is gapless and rebuilds its rows', async () => {
  const random = randomFrom(7);
  const definition = definitionOf(...contendedJobs());
  const drivers = ['d-1', 'd-2', 'd-3', 'd-4'].map((instance, index) =>
    openErraticDriver(instance, randomFrom(index + 1)),
  );
  const created = await Promise.all(
    Array.from({ length: RUNS }, (_, index) =>
      both.engines[index % 2]!.runs.create('default', {
        definition,
        params: {},
        labels: {},
        trigger: { kind: 'api', actor: '', reference: '' },
      }),
    ),
  );
  const open = new Set(created.map(({ runId }) => runId));
  const stop = new AbortController();
  const ends = created.map(async ({ runId }, index) => {
    let state = '';
    for await (const events of both.engines[(index + 1) % 2]!.runs.watch('default', runId, 0, stop.signal)) {
      state = events.at(-1)?.runState ?? state;
    }
    open.delete(runId);
    return state;
  });

  // Both replicas are asked to cancel the same things at the same time, a few runs and many jobs, while they go on.
  for (const { runId } of created) {
    const job = Math.floor(random() * 6);
    const whole = random() < 0.15;
    await Promise.all(
      both.engines.map((engine) =>
        whole
          ? unlessFinished(engine.runs.cancel('default', runId, 'contended', random() < 0.3))
          : random() < 0.5
            ? unlessFinished(engine.jobs.cancel('default', { runId, job }, 'contended'))
            : engine.runs.get('default', runId),
      ),
    );
  }
  const states = await Promise.all(ends);
  for (const driver of drivers) await driver.stop();

  expect(open.size).toBe(0);
  expect(new Set(states)).toEqual(new Set(['SUCCEEDED', 'FAILED', 'CANCELLED']));
  expect(await checkLedger(both.sql)).toBe(RUNS);
  // It was contended: sessions moved, and attempts failed, were declined and were done by several instances of one run.
  expect(drivers.reduce((moves, driver) => moves + driver.moves(), 0)).toBeGreaterThan(10);
  const { rows } = await both.sql.query<{ outcomes: string[]; shared: number; live: number }>(
    `select array_agg(distinct state) as outcomes, count(*) filter (where finished_ms is null) as live,
       (select count(*) from (select from attempts group by run_id having count(distinct instance_no) > 1) r) as shared
     from attempts`,
  );
  expect(rows[0]!.outcomes).toEqual(expect.arrayContaining(['SUCCEEDED', 'FAILED', 'REJECTED']));
  expect(rows[0]!.shared).toBeGreaterThan(RUNS / 2);
  expect(rows[0]!.live).toBe(0);
});
