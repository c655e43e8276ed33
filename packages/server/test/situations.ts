// Owns situations in which a job does not start, made of several obstacles at a running engine, and the ways to take away what is told of
// them. What is taken away goes by the explanation alone.
import { expect } from 'vitest';
import type { Blocker } from '../src/core/blockers.ts';
import { DEFAULT_RETRY, type Definition, type JobDefinition } from '../src/core/definition.ts';
import { formatJobId, type JobKey, type RunId } from '../src/core/ids.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import type { RunningEngine } from '../src/engine/start-engine.ts';
import { type Pool, withConnection } from '../src/store/pool.ts';
import { connectObedient, type ObedientDriver } from './obedient-driver.ts';

/** What is in the way of one job. */
export interface Situation {
  /** What comes before its start. */
  readonly before: 'NOTHING' | 'DELAY' | 'NEED' | 'GATE' | 'BACKOFF' | 'CELL';
  readonly paused: boolean;
  readonly held: boolean;
  readonly matrixHeld: boolean;
  readonly queuePaused: 'NO' | 'DRIVER' | 'PROJECT';
  readonly group: boolean;
  readonly rate: boolean;
  /** How the only instance of its driver is; NONE: there is none. */
  readonly fleet: 'FREE' | 'NONE' | 'UNFIT' | 'DRAINING' | 'FULL' | 'POOL_FULL' | 'PASSED_OVER';
}

export interface Grounds {
  readonly engine: RunningEngine;
  readonly pool: Pool;
}

/** A job in its situation. */
export interface Stage {
  readonly job: JobKey;
  /** Takes one thing away that was told to be in the way. */
  remove(blocker: Blocker): Promise<void>;
  leave(): Promise<void>;
}

const project = 'default';
const asker = { reason: 'wait', actor: 'ada' };
const trigger = { kind: 'api', actor: '', reference: '' };
const HOUR_MS = 3_600_000;
const DONE = new AbortController().signal;

export async function stage({ engine, pool }: Grounds, name: string, situation: Situation): Promise<Stage> {
  const { before, fleet } = situation;
  const { runs, jobs, drivers } = engine;
  const [own, other] = [`own-${name}`, `other-${name}`];
  const everyDriver: ObedientDriver[] = [];
  let connected = 0;

  async function connect(driver: string, hello: object, answer?: 'Accept' | 'Reject'): Promise<ObedientDriver> {
    const instance = `i-${connected++}`;
    const session = await connectObedient(engine, { driver, instance, ...hello }, answer);
    everyDriver.push(session);
    return session;
  }

  async function create(definition: Definition, startMs?: number): Promise<RunId> {
    const run = { definition, params: { name }, labels: {}, trigger, ...(startMs !== undefined && { startMs }) };
    return (await runs.create(project, run)).runId;
  }

  async function begin(key: JobKey): Promise<void> {
    await expect.poll(() => everyDriver.some((driver) => driver.holds(key)), { interval: 5 }).toBe(true);
  }

  async function end(key: JobKey): Promise<void> {
    await begin(key);
    for (const driver of everyDriver) if (driver.holds(key)) driver.finish(key, 'SUCCEEDED');
    await expect.poll(() => stateOf(key), { interval: 5 }).toBe('SUCCEEDED');
  }

  async function beside(change: Partial<JobDefinition>): Promise<JobKey> {
    const key = { runId: await create(definitionOf(jobNamed('beside', change))), job: 0 };
    await begin(key);
    return key;
  }

  async function stateOf(key: JobKey): Promise<string> {
    return (await jobs.get(project, key)).state;
  }

  const shared = {
    ...(situation.group && { concurrency: { key: 'group-${{ params.name }}', limit: 1, policy: 'QUEUE' as const } }),
    ...(situation.rate && { rateLimits: [{ key: `rate-${name}`, limit: 1, periodMs: 24 * HOUR_MS, cost: 1 }] }),
  };
  const definition = targetOf(situation, own, other, shared);
  await connect(other, { slots: 9 });
  const fits = { labels: { gpu: '2' }, pools: { gpu: 1 } };
  let occupant: JobKey | undefined;

  /** Has it start once, for what comes only after that. */
  async function stageBegun(): Promise<JobKey> {
    const instance = await connect(own, fits, fleet === 'PASSED_OVER' ? 'Reject' : 'Accept');
    const runId = await create(definition);
    if (before === 'CELL') {
      const cell = { runId, job: 1 };
      await begin(cell);
      if (situation.matrixHeld) await jobs.hold(project, { runId, job: 0 }, asker);
      return { runId, job: 2 };
    }
    const key = { runId, job: 0 };
    if (fleet === 'PASSED_OVER') {
      await expect
        .poll(async () => (await jobs.explain(project, key)).blockers.map((told) => told.kind), { interval: 5 })
        .toEqual(['INSTANCES']);
      return key;
    }
    await begin(key);
    instance.finish(key, 'FAILED');
    await expect.poll(() => stateOf(key), { interval: 5 }).toBe('WAITING');
    if (fleet === 'NONE') {
      instance.leave();
      await expect.poll(async () => (await drivers.get(own, 'i-1')).state, { interval: 5 }).toBe('GONE');
    }
    return key;
  }

  /** Has it wait, until all the rest is in its way. */
  async function stageDelayed(): Promise<JobKey> {
    const runId = await create(definition, Date.now() + HOUR_MS);
    if (fleet !== 'NONE')
      await connect(own, fleet === 'UNFIT' ? { pools: fits.pools } : { ...fits, slots: fleet === 'POOL_FULL' ? 2 : 1 });
    return { runId, job: before === 'NEED' || before === 'GATE' ? 1 : 0 };
  }

  const isBegun = before === 'BACKOFF' || before === 'CELL' || fleet === 'PASSED_OVER';
  const job = await (isBegun ? stageBegun() : stageDelayed());
  if (situation.group && before !== 'CELL') {
    await beside({ driver: other, concurrency: { key: `group-${name}`, limit: 1, policy: 'QUEUE' } });
  }
  if (situation.rate && !isBegun)
    await beside({ driver: other, ...(shared.rateLimits && { rateLimits: shared.rateLimits }) });
  if ((fleet === 'FULL' || fleet === 'POOL_FULL') && before !== 'CELL') {
    occupant = await beside({ driver: own, ...(fleet === 'POOL_FULL' && { pool: 'gpu' }) });
  }
  if (fleet === 'DRAINING') await drivers.drain({ name: own, instance: '*', undo: false, evict: false }, DONE);
  if (before === 'NEED' || before === 'GATE') {
    const needed = { runId: job.runId, job: 0 };
    await jobs.retry(project, needed, trigger);
    if (before === 'NEED') await begin(needed);
  }
  if (situation.queuePaused !== 'NO') await drivers.pauseQueue({ ...queueOf(situation, own), ...asker });
  if (situation.paused) await runs.pause(project, job.runId, asker);
  if (situation.held) await jobs.hold(project, job, asker);
  if (before === 'NOTHING' && !isBegun) await jobs.retry(project, job, trigger);

  async function need(key: JobKey): Promise<void> {
    if (before === 'GATE') {
      await jobs.answerGate(project, key, { actor: 'ada', verdict: 'APPROVE', answers: {}, comment: '', groups: [] });
    } else await end(key);
  }

  return {
    job,
    async remove(blocker) {
      switch (blocker.kind) {
        case 'DELAY':
        case 'BACKOFF':
          await jobs.retry(project, job, trigger);
          return;
        case 'RUN_PAUSED':
          await runs.resume(project, job.runId, asker);
          return;
        case 'HELD':
          await jobs.release(project, blocker.job, asker);
          return;
        case 'NEEDS':
          for (const needed of blocker.jobs) await need(needed);
          return;
        case 'MATRIX':
          for (const cell of blocker.jobs) await end(cell);
          return;
        case 'GROUP':
          for (const holder of blocker.holders) await end(holder);
          return;
        case 'RATE':
          // Time goes on for a day.
          await withConnection(pool, (tx) =>
            tx.query('update rate_buckets set full_ms = 0 where key = $1', [blocker.key]),
          );
          return;
        case 'QUEUE_PAUSED':
          await drivers.resumeQueue(blocker.pause);
          return;
        case 'INSTANCES':
          if (blocker.cause === 'DRAINING') {
            await drivers.drain({ name: blocker.driver, instance: '*', undo: true, evict: false }, DONE);
          } else if (blocker.cause === 'FULL' && occupant !== undefined) {
            await end(occupant);
          } else await connect(blocker.driver, helloFor(blocker.requirements));
          return;
        case 'OFFER':
        case 'GATE':
        case 'CELLS':
        case 'CHILD_RUN':
          throw new Error(`${formatJobId(job)} is not staged to wait for ${blocker.kind}`);
      }
    },
    async leave() {
      await runs.cancel(project, job.runId, 'over', true).catch(() => undefined);
      for (const driver of everyDriver) driver.leave();
    },
  };
}

/** What an instance publishes that has everything that was told to be asked for. */
function helloFor(requirements: Extract<Blocker, { kind: 'INSTANCES' }>['requirements']): object {
  const labels: Record<string, string> = {};
  const pools: Record<string, number> = {};
  for (const { needed } of requirements) {
    if (needed === 'SPEC') throw new Error('no schema is staged');
    if ('pool' in needed) pools[needed.pool] = 1;
    else labels[needed.key] = String(Number(needed.values[0]) + 1);
  }
  return { labels, pools };
}

function targetOf(
  { before, fleet }: Situation,
  own: string,
  other: string,
  shared: Partial<JobDefinition>,
): Definition {
  const budgets = { ...DEFAULT_RETRY.budgets, WORKLOAD: 1 };
  const initialBackoffMs = fleet === 'PASSED_OVER' ? 0 : HOUR_MS;
  const target = jobNamed('target', {
    driver: own,
    ...shared,
    retry: { ...DEFAULT_RETRY, budgets, initialBackoffMs, maxBackoffMs: HOUR_MS },
    selector: { required: [{ key: 'gpu', operator: 'GREATER_THAN', values: ['1'] }], preferred: [] },
    ...(fleet === 'POOL_FULL' && { pool: 'gpu' }),
  });
  switch (before) {
    case 'NOTHING':
    case 'DELAY':
    case 'BACKOFF':
      return definitionOf(target);
    case 'CELL':
      return definitionOf({ ...target, matrix: { axes: { n: [1, 2] }, maxParallel: 1 } });
    case 'NEED':
      return definitionOf(jobNamed('need', { driver: other }), { ...target, needs: ['need'] });
    case 'GATE': {
      const gate = { message: '', approvers: [], quorum: 1, onTimeout: 'FAIL' as const };
      return definitionOf(jobNamed('need', { driver: '', gate }), { ...target, needs: ['need'] });
    }
  }
}

function queueOf({ queuePaused }: Situation, driver: string) {
  return { driver, project: queuePaused === 'PROJECT' ? project : '', pipeline: '' };
}

const ANY_TIME = ['NOTHING', 'DELAY', 'NEED', 'GATE'] as const;

/** What can be staged before a start with such a fleet. */
const STAGED: Readonly<Record<Situation['fleet'], readonly Situation['before'][]>> = {
  FREE: [...ANY_TIME, 'BACKOFF'],
  NONE: [...ANY_TIME, 'BACKOFF'],
  UNFIT: ANY_TIME,
  DRAINING: [...ANY_TIME, 'BACKOFF', 'CELL', 'CELL'],
  FULL: [...ANY_TIME, 'BACKOFF', 'CELL', 'CELL'],
  POOL_FULL: ANY_TIME,
  PASSED_OVER: ['NOTHING'],
};

/** A situation that can be staged, drawn at random. */
export function drawSituation(random: () => number): Situation {
  const one = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T;
  const sometimes = (): boolean => random() < 0.4;
  const fleet = one(Object.keys(STAGED) as Situation['fleet'][]);
  const before = one(STAGED[fleet]);
  // Each time that it is sent back it would take a place, and tokens, again.
  const isPassedOver = fleet === 'PASSED_OVER';
  return {
    before,
    paused: sometimes(),
    held: sometimes(),
    matrixHeld: before === 'CELL' && sometimes(),
    queuePaused: sometimes() ? one(['DRIVER', 'PROJECT'] as const) : 'NO',
    group: !isPassedOver && sometimes(),
    rate: !isPassedOver && sometimes(),
    fleet,
  };
}
