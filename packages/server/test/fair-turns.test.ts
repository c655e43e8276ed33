// Turns and ageing on two replicas, while jobs are cancelled, held, declined and left unanswered, and one replica dies and is replaced: who got
// what is read from the ledger afterwards.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEFAULT_RETRY, DEFAULT_TIMEOUTS, type JobDefinition } from '../src/core/definition.ts';
import type { ServerFrame } from '../src/core/frames.ts';
import type { RunId } from '../src/core/ids.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import { randomFrom } from '../src/core/testing/random-from.ts';
import type { DriverSession } from '../src/engine/driver-operations.ts';
import type { Engine } from '../src/engine/engine.ts';
import { startTwoEngines, type TwoEngines } from './two-engines.ts';

const random = randomFrom(20_261_130);
const weightBelow = (most: number): number => 1 + Math.floor(random() * most);

interface Line {
  readonly project: string;
  readonly pipeline: string;
  /** Of the project among all, and of the pipeline in its project. */
  readonly weights: readonly [number, number];
  readonly jobs: number;
}

const projects = ['a', 'b', 'c'].map((project) => ({ project, weight: weightBelow(4) }));
const lines: readonly Line[] = projects.flatMap(({ project, weight }) => {
  const own = (project === 'c' ? ['x', 'y'] : ['x']).map((pipeline) => ({ pipeline, weight: weightBelow(3) }));
  const all = own.reduce((sum, one) => sum + one.weight, 0);
  // About as many as its share of the turns.
  return own.map((one) => ({
    project,
    pipeline: one.pipeline,
    weights: [weight, one.weight],
    jobs: 20 + Math.ceil((25 * weight * one.weight) / all),
  }));
});

const driver = 'shell';
const trigger = { kind: 'api', actor: '', reference: '' };
const SLOTS = 2;
/** Queued long ago with a priority so low that only their age brings them to the front. */
const OLD_OF_EACH = 5;
const OLD_PRIORITY = -2;
const YOUNG_PRIORITY = 1;
const AGE_MS = 4 * 60_000;

let both: TwoEngines;
beforeAll(async () => {
  const shares = lines.map(({ project, pipeline, weights }) => [`${project}/${pipeline}`, weights[1]]);
  const ofProjects = projects.map(({ project, weight }) => [project, weight]);
  both = await startTwoEngines({ queueShares: Object.fromEntries([...shares, ...ofProjects]) });
});
afterAll(() => both[Symbol.asyncDispose]());

function definition(priority: number) {
  const job: Partial<JobDefinition> = {
    driver,
    priority,
    timeouts: { ...DEFAULT_TIMEOUTS, offerMs: 200 },
    retry: { ...DEFAULT_RETRY, initialBackoffMs: 50, maxBackoffMs: 50 },
  };
  return definitionOf(jobNamed('one', job));
}

async function createRuns({ project, pipeline }: Line, count: number): Promise<readonly RunId[]> {
  const run = { pipeline: { name: pipeline }, params: {}, labels: {}, trigger };
  const made = await both.engines[0].runs.createBatch(
    project,
    Array.from({ length: count }, () => run),
  );
  return made.filter((one) => typeof one === 'string');
}

/** An instance that finishes most of what it is offered at once, declines some, and says nothing to some. */
async function connectWorker({ drivers }: Engine, instance: string): Promise<void> {
  const opened = Promise.withResolvers<DriverSession>();
  const hear = (frame: ServerFrame): void => {
    if (frame.type !== 'Offer' && frame.type !== 'Start') return;
    const { type, key } = frame;
    const luck = random();
    void opened.promise.then((session) => {
      if (type === 'Start') {
        const log = { logSize: 0, logCrc32c: 0, logLost: false };
        session.receive([{ type: 'Finish', key, outcome: 'SUCCEEDED', failureClass: 'WORKLOAD', message: '', ...log }]);
      } else if (luck < 0.1) session.receive([{ type: 'Reject', key, reason: 'no', invalid: false }]);
      else if (luck < 0.98) session.receive([{ type: 'Accept', key }]);
    });
  };
  const hello = { driver, instance, incarnation: randomBytes(16), slots: SLOTS };
  const rest = { capabilities: [], labels: {}, pools: {}, held: [], version: '' };
  const link = { send: hear, queuedBytes: () => 0, end: () => undefined };
  opened.resolve(await drivers.openSession({ role: 'driver', id: 'test' }, { ...hello, ...rest }, link));
}

interface Offered {
  readonly ms: number;
  readonly run_id: RunId;
  readonly project: string;
  readonly pipeline: string;
  readonly attempt: number;
}

async function readOffers(): Promise<readonly Offered[]> {
  const { rows } = await both.sql.query<Offered>(
    `select a.offered_ms::float8 as ms, a.run_id, r.project, r.pipeline, a.attempt
     from attempts a join runs r using (run_id) order by a.offered_ms`,
  );
  return rows;
}

/**
 * How far any two of some were from their shares at worst, over any time in which all had jobs waiting, by what their weights allow. Offers
 * of one moment have no order among them.
 */
function worstLag(
  offers: readonly Offered[],
  weights: ReadonlyMap<string, number>,
  nameOf: (offer: Offered) => string,
): number {
  const got = new Map([...weights.keys()].map((name) => [name, 0]));
  const widest = new Map<string, { least: number; most: number }>();
  let lag = 0;
  for (const moment of Map.groupBy(offers, ({ ms }) => ms).values()) {
    for (const offer of moment) got.set(nameOf(offer), (got.get(nameOf(offer)) ?? 0) + 1);
    for (const [one, weight] of weights) {
      for (const [other, otherWeight] of weights) {
        if (one >= other) continue;
        const ahead = (got.get(one) ?? 0) / weight - (got.get(other) ?? 0) / otherWeight;
        const range = widest.get(`${one} ${other}`) ?? { least: 0, most: 0 };
        const wider = { least: Math.min(range.least, ahead), most: Math.max(range.most, ahead) };
        widest.set(`${one} ${other}`, wider);
        lag = Math.max(lag, (wider.most - wider.least) / (1 / weight + 1 / otherWeight));
      }
    }
  }
  return lag;
}

test('whoever dies, declines or is taken away, turns stay within their lag and the old come before the young', async () => {
  const old = new Map<Line, ReadonlySet<RunId>>();
  const young = new Map<Line, RunId[]>();
  for (const line of lines) {
    await both.engines[0].pipelines.apply(line.project, line.pipeline, definition(OLD_PRIORITY));
    const runIds = await createRuns(line, OLD_OF_EACH);
    await both.sql.query('update queue set rank = rank - $1 where run_id = any($2)', [AGE_MS, runIds]);
    old.set(line, new Set(runIds));
    await both.engines[0].pipelines.apply(line.project, line.pipeline, definition(YOUNG_PRIORITY));
    young.set(line, [...(await createRuns(line, line.jobs))]);
  }
  await Promise.all(both.engines.map((engine, n) => connectWorker(engine, `worker-${n}`)));

  const left = new Map(lines.map((line) => [line, line.jobs + OLD_OF_EACH]));
  const offersOf = (offers: readonly Offered[], { project, pipeline }: Line) =>
    offers.filter((offer) => offer.project === project && offer.pipeline === pipeline);
  let offers: readonly Offered[] = [];
  let dying: PromiseLike<void> | undefined;
  const away = new Set<RunId>();
  const [first] = both.engines;
  for (;;) {
    offers = await readOffers();
    // As long as all have some that are neither offered nor taken away.
    const shortest = Math.min(...lines.map((line) => (left.get(line) ?? 0) - offersOf(offers, line).length));
    if (shortest < 10) break;
    if (dying === undefined && offers.length > 40) {
      // It dies with its connections.
      both.pools[1].sever();
      dying = both.engines[1][Symbol.asyncDispose]();
      await connectWorker(await both.startAnother(), 'worker-2');
    }
    const line = lines[Math.floor(random() * lines.length)]!;
    const { project } = line;
    const offered = new Set(offers.map(({ run_id: runId }) => runId));
    const waiting = (young.get(line) ?? []).filter((runId) => !offered.has(runId) && !away.has(runId));
    const runId = waiting[Math.floor(random() * 10)];
    if (runId === undefined) continue;
    away.add(runId);
    left.set(line, (left.get(line) ?? 0) - 1);
    // It may have been offered meanwhile.
    if (random() < 0.5) await first.runs.cancel(project, runId, '', false).catch(() => undefined);
    else await first.jobs.hold(project, { runId, job: 0 }, { reason: '', actor: '' }).catch(() => undefined);
  }
  expect(dying).toBeDefined();
  await Promise.allSettled([dying]);
  expect(away.size).toBeGreaterThan(5);

  const byProject = new Map(projects.map(({ project, weight }) => [project, weight]));
  const byPipeline = new Map(
    lines.filter(({ project }) => project === 'c').map((line) => [line.pipeline, line.weights[1]]),
  );
  const lags = {
    projects: worstLag(offers, byProject, ({ project }) => project),
    pipelines: worstLag(
      offers.filter(({ project }) => project === 'c'),
      byPipeline,
      ({ pipeline }) => pipeline,
    ),
  };
  // One for each replica that has served.
  expect(lags.projects).toBeLessThanOrEqual(3 + 1e-6);
  expect(lags.pipelines).toBeLessThanOrEqual(3 + 1e-6);
  for (const line of lines) {
    const firsts = offersOf(offers, line).filter(({ attempt }) => attempt === 1);
    const lastOld = firsts.findLastIndex(({ run_id: runId }) => old.get(line)?.has(runId));
    expect(firsts.filter(({ run_id: runId }) => old.get(line)?.has(runId))).toHaveLength(OLD_OF_EACH);
    expect(lastOld).toBeLessThan(OLD_OF_EACH + 2 * SLOTS);
  }
});
