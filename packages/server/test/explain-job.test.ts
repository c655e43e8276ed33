// Whatever is in the way of a job: as long as one thing of what is told of it is left it does not start, and once nothing is left it does. It
// is told by a replica that the drivers are not connected to.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Blocker, JobExplanation } from '../src/core/blockers.ts';
import type { JobDefinition } from '../src/core/definition.ts';
import type { JobKey, RunId } from '../src/core/ids.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import { randomFrom } from '../src/core/testing/random-from.ts';
import type { RunningEngine } from '../src/engine/start-engine.ts';
import { connectObedient, type ObedientDriver } from './obedient-driver.ts';
import { drawSituation, type Situation, type Stage, stage } from './situations.ts';
import { startTwoEngines, type TwoEngines } from './two-engines.ts';

/** Situations that are tried, so many at a time. CONVEYOR_SITUATIONS asks for more. */
const SITUATIONS = Number(process.env['CONVEYOR_SITUATIONS'] ?? 30);
const AT_A_TIME = 12;
const project = 'default';
const trigger = { kind: 'api', actor: '', reference: '' };

let both: TwoEngines;
/** Where the drivers are; the other one is asked. */
let engine: RunningEngine;
let other: RunningEngine;
let canary: ObedientDriver;
beforeAll(async () => {
  both = await startTwoEngines();
  [engine, other] = both.engines;
  canary = await connectObedient(engine, { driver: 'canary', instance: 'i-1', slots: 1_000 });
});
afterAll(async () => {
  canary.leave();
  await both[Symbol.asyncDispose]();
});

type Explain = (job: JobKey) => Promise<JobExplanation>;
const explain: Explain = (job) => other.jobs.explain(project, job);

let canaries = 0;

/** Waits until whatever could start has: a job goes the whole way that jobs go, by a place in a group and a slot, and starts. */
async function settle(): Promise<void> {
  const key = `canary-${canaries++}`;
  const definition = definitionOf(
    jobNamed('canary', { driver: 'canary', concurrency: { key, limit: 1, policy: 'QUEUE' } }),
  );
  const { runId } = await engine.runs.create(project, { definition, params: {}, labels: {}, trigger });
  await expect.poll(() => canary.holds({ runId, job: 0 }), { interval: 5 }).toBe(true);
  canary.finish({ runId, job: 0 }, 'SUCCEEDED');
}

async function hasStarted(job: JobKey): Promise<boolean> {
  return (await engine.jobs.get(project, job)).state === 'RUNNING';
}

/** Waits for a start, for so long. */
async function starts(job: JobKey, withinMs: number): Promise<boolean> {
  return await expect
    .poll(() => hasStarted(job), { interval: 10, timeout: withinMs })
    .toBe(true)
    .then(() => true)
    .catch(() => false);
}

const nameOf = (blocker: Blocker): string => (blocker.kind === 'INSTANCES' ? blocker.cause : blocker.kind);
const namesOf = (blockers: readonly Blocker[]): string => blockers.map(nameOf).join(' ');

/** Takes away what is told, one thing after the other in any order. Returns what is wrong with what was told, if anything. */
async function problemOf(
  staged: Stage,
  tell: Explain,
  random: () => number,
  withinMs: number,
  seen = new Set<string>(),
): Promise<string | undefined> {
  const { job } = staged;
  // What is offered is accepted at once.
  const read = async () => (await tell(job)).blockers.filter(({ kind }) => kind !== 'OFFER');
  const first = await read();
  for (const blocker of first) seen.add(nameOf(blocker));
  let left = first;
  while (left.length > 0) {
    await settle();
    if (await hasStarted(job)) return `started although there was still told: ${namesOf(left)}`;
    const next = left[Math.floor(random() * left.length)] as Blocker;
    await staged.remove(next);
    const expected = left.filter((blocker) => blocker !== next);
    if (expected.length === 0) break;
    left = await read();
    if (namesOf(left) !== namesOf(expected)) {
      return `without ${nameOf(next)} of ${namesOf([...expected, next])} there is told: ${namesOf(left)}`;
    }
  }
  return (await starts(job, withinMs)) ? undefined : `does not start without ${namesOf(first)}`;
}

interface Trial {
  readonly withinMs: number;
  /** In which order things are taken away. Default: any. */
  readonly random?: () => number;
  readonly seen?: Set<string>;
}

async function tryOut(situation: Situation, tell: Explain, seed: number, trial: Trial): Promise<string | undefined> {
  const { withinMs, random = randomFrom(seed), seen } = trial;
  const staged = await stage({ engine, pool: both.pools[0].pool }, `${seed}`, situation);
  try {
    const problem = await problemOf(staged, tell, random, withinMs, seen);
    return problem && `${problem} (seed ${seed}: ${JSON.stringify(situation)})`;
  } finally {
    await staged.leave();
  }
}

test('without exactly what is told a job starts, and with any of it it does not', { timeout: 600_000 }, async () => {
  const seen = new Set<string>();
  const problems: string[] = [];
  let seed = 0;
  const tryMany = async (): Promise<void> => {
    while (seed < SITUATIONS) {
      const own = ++seed;
      const problem = await tryOut(drawSituation(randomFrom(own)), explain, own, { withinMs: 10_000, seen });
      if (problem !== undefined) problems.push(problem);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, tryMany));
  expect(problems).toEqual([]);
  // Everything that is staged was in the way of something.
  const staged = [
    'BACKOFF',
    'DELAY',
    'DRAINING',
    'FULL',
    'GROUP',
    'HELD',
    'MATRIX',
    'NEEDS',
    'NONE_CONNECTED',
    'NONE_FITS',
    'PASSED_OVER',
    'QUEUE_PAUSED',
    'RATE',
    'RUN_PAUSED',
  ];
  expect([...seen].toSorted()).toEqual(staged);
});

/** Creates a run of these jobs. */
async function createRun(...jobs: readonly JobDefinition[]): Promise<RunId> {
  const definition = definitionOf(...jobs);
  return (await engine.runs.create(project, { definition, params: { env: 'prod' }, labels: {}, trigger })).runId;
}

async function kindsOf(runId: RunId, job = 0): Promise<string> {
  return namesOf((await explain({ runId, job })).blockers);
}

test('a job that is not there, or another project asks for, is not found', async () => {
  const runId = await createRun(jobNamed('one', { driver: 'nobody' }));
  await expect(explain({ runId, job: 1 })).rejects.toMatchObject({ refusal: { refused: 'JOB_NOT_FOUND' } });
  const elsewhere = engine.jobs.explain('other', { runId, job: 0 });
  await expect(elsewhere).rejects.toMatchObject({ refusal: { refused: 'JOB_NOT_FOUND' } });
});

test('an offer is told with whom it went to, and that it starts when that is accepted', async () => {
  const slow = await connectObedient(engine, { driver: 'slow', instance: 'host-1' }, 'Nothing');
  const runId = await createRun(jobNamed('one', { driver: 'slow' }));
  const offered = async () => (await explain({ runId, job: 0 })).blockers;
  await expect.poll(offered, { interval: 5 }).toMatchObject([{ kind: 'OFFER', instance: 'host-1' }]);
  const [told] = await offered();
  expect(told?.kind === 'OFFER' && told.untilMs - told.sinceMs).toBe(15_000);
  slow.leave();
});

test('what no driver runs waits for people, for its run, and for its cells', async () => {
  const gate = { message: '', approvers: ['ada'], quorum: 2, onTimeout: 'FAIL' as const };
  const gated = await createRun(jobNamed('ask', { driver: '', gate }));
  const answer = { actor: 'ada', verdict: 'APPROVE' as const, answers: {}, comment: '', groups: [] };
  await engine.jobs.answerGate(project, { runId: gated, job: 0 }, answer);
  expect(await explain({ runId: gated, job: 0 })).toMatchObject({
    standing: 'BEGUN',
    blockers: [{ kind: 'GATE', approved: 1, quorum: 2, approvers: ['ada'] }],
  });
  await engine.pipelines.apply(project, 'called', definitionOf(jobNamed('one', { driver: 'nobody' })));
  const calling = await createRun(jobNamed('call', { driver: '', call: { pipeline: 'called', params: {} } }));
  const child = { kind: 'CHILD_RUN', pipeline: 'called', run: { state: 'PENDING' } };
  await expect.poll(async () => (await explain({ runId: calling, job: 0 })).blockers).toMatchObject([child]);
  const matrix = await createRun(jobNamed('all', { driver: 'nobody', matrix: { axes: { n: [1, 2] } } }));
  expect((await explain({ runId: matrix, job: 0 })).blockers).toMatchObject([
    { kind: 'CELLS', open: 2, jobs: [{ name: 'all[1]', state: 'QUEUED' }, { name: 'all[2]' }] },
  ]);
});

test('a group is looked at before a job is ready if its key is known by then', async () => {
  const keyed = (key: string): Partial<JobDefinition> => ({
    driver: 'nobody',
    concurrency: { key, limit: 1, policy: 'QUEUE' },
  });
  await createRun(jobNamed('holder', keyed('deploy-prod')));
  const need = jobNamed('need', { driver: 'nobody' });
  const late = 'deploy-${{ needs.need.outputs.env }}';
  const waiting = (key: string) => createRun(need, jobNamed('deploy', { ...keyed(key), needs: ['need'] }));
  expect(await kindsOf(await waiting('deploy-${{ params.env }}'), 1)).toBe('NEEDS GROUP NONE_CONNECTED');
  expect(await explain({ runId: await waiting(late), job: 1 })).toMatchObject({
    blockers: [{ kind: 'NEEDS' }, { kind: 'INSTANCES' }],
    caveats: ['KEYS'],
  });
});

test('instances whose schema refuses the spec do not fit, where schemas differ', async () => {
  const picky = { type: 'object', required: ['image'] };
  const specs = { driver: 'picky', labels: { os: 'linux' } };
  const first = await connectObedient(engine, { ...specs, instance: 'a', specSchema: picky });
  const selector = { required: [{ key: 'os', operator: 'EQUALS', values: ['linux'] } as const], preferred: [] };
  await connectObedient(engine, { ...specs, instance: 'b', labels: { os: 'mac' } });
  const runId = await createRun(jobNamed('one', { driver: 'picky', selector }));
  expect((await explain({ runId, job: 0 })).blockers).toMatchObject([
    {
      cause: 'NONE_FITS',
      requirements: [
        { needed: { key: 'os' }, instances: 1 },
        { needed: 'SPEC', instances: 1 },
      ],
    },
  ]);
  expect(first.holds({ runId, job: 0 })).toBe(false);
});

test('those that are queued before a job are counted while no slot is free', async () => {
  const busy = await connectObedient(engine, { driver: 'busy', instance: 'i-1' });
  const held = await createRun(jobNamed('one', { driver: 'busy' }));
  await expect.poll(() => busy.holds({ runId: held, job: 0 })).toBe(true);
  const urgent = { driver: 'busy', priority: 10 };
  const last = await createRun(jobNamed('a', { driver: 'busy' }), jobNamed('b', urgent), jobNamed('c', urgent));
  const full = { kind: 'INSTANCES', cause: 'FULL', slots: 1, freeSlots: 0 };
  expect((await explain({ runId: last, job: 0 })).blockers).toMatchObject([{ ...full, ahead: 2 }]);
  expect((await explain({ runId: last, job: 1 })).blockers).toMatchObject([{ ...full, ahead: 0 }]);
});

/** A situation with two things in the way. */
const paused: Situation = {
  before: 'NOTHING',
  paused: true,
  held: false,
  matrixHeld: false,
  queuePaused: 'DRIVER',
  group: false,
  rate: false,
  fleet: 'FREE',
};

test('an explanation that leaves something out, or has something too much, is noticed', async () => {
  const without: Explain = async (job) => {
    const told = await explain(job);
    return { ...told, blockers: told.blockers.filter(({ kind }) => kind !== 'RUN_PAUSED') };
  };
  const [first, withinMs] = [() => 0, 500];
  expect(await tryOut(paused, without, 10_001, { withinMs })).toMatch(/^does not start without QUEUE_PAUSED/);

  const withMore: Explain = async (job) => {
    const told = await explain(job);
    const tooMuch: Blocker = { kind: 'HELD', job, ofMatrix: false, hold: { reason: '', actor: '', sinceMs: 0 } };
    return { ...told, blockers: [...told.blockers, tooMuch] };
  };
  const found = await tryOut({ ...paused, queuePaused: 'NO' }, withMore, 10_002, { withinMs, random: first });
  expect(found).toMatch(/^started although there was still told: HELD/);
});
