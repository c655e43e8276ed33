// Plans over a real database: what is refused as a creation would be, who would take jobs now, how long they took before, and that
// nothing is written.
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Assumptions } from '../core/assumptions.ts';
import type { Definition, JobDefinition } from '../core/definition.ts';
import { RefusedError } from '../core/refusal.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createCallCheck } from './call-check.ts';
import type { NewRun } from './engine.ts';
import { createPace } from './pace.ts';
import { createPipelines } from './pipelines.ts';
import { createRunCreation } from './run-creation.ts';
import { createRunPlans } from './run-plans.ts';
import { createDriverSchemas } from './driver-schemas.ts';
import { createSpecCheck } from './spec-check.ts';
import { type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';

let ledger: LedgerFixture;

beforeAll(async () => {
  ledger = await openTestLedger();
});
afterAll(() => ledger[Symbol.asyncDispose]());

const trigger = { kind: 'api', actor: '', reference: '' };
const { signal } = new AbortController();

/** With a creation that must not create. */
function plannerOptions() {
  const { pool, plans } = ledger;
  const create = async (): Promise<never> => {
    throw new Error('a plan has created a run');
  };
  const creates = { create, [Symbol.asyncDispose]: async () => {} } as unknown as Parameters<
    typeof createRunCreation
  >[0]['creates'];
  const replica = { oldest: () => undefined };
  const creation = createRunCreation({
    pool,
    creates,
    checkSpecs: createSpecCheck(createDriverSchemas(pool)),
    checkCalls: createCallCheck(pool),
    replica,
  });
  return { pool, plans, schemas: createDriverSchemas(pool), creation };
}

function planOf(source: Definition | string, assumed: Assumptions = new Map(), more: Partial<NewRun> = {}) {
  const from = typeof source === 'string' ? { pipeline: { name: source } } : { definition: source };
  return createRunPlans(plannerOptions()).plan(
    'default',
    { ...from, params: {}, labels: {}, trigger, ...more },
    assumed,
    signal,
  );
}

async function countRows(): Promise<unknown> {
  const { rows } = await ledger.pool.query(
    'select (select count(*) from runs) runs, (select count(*) from jobs) jobs, (select count(*) from events) events, (select count(*) from definitions) definitions',
  );
  return rows[0];
}

test('tells what every job would do and who would take it, and writes nothing', async () => {
  const schema = { type: 'object', required: ['script'] };
  await ledger.connect('taker', 'strict', { specSchema: schema });
  await ledger.connect('taker', 'other', { specSchema: { type: 'object', required: ['image'] } });
  await ledger.connect('taker', 'lax');
  await ledger.connect('taker', 'gone', { leaseMs: -1 });
  const draining = await ledger.connect('taker', 'draining');
  await ledger.pool.query('update instances set draining = true where no = $1', [draining]);
  const jobs = [
    jobNamed('build', { driver: 'taker', spec: { script: 'make' } }),
    jobNamed('test', { driver: 'taker', spec: { script: '${{ params.sha }}' }, needs: ['build'] }),
    jobNamed('skipped', { driver: 'taker', needs: ['build'], if: 'params.sha == "x"', spec: { script: '' } }),
    jobNamed('open', { driver: 'nobody', needs: ['build'], spec: { image: '${{ needs.build.outputs.image }}' } }),
  ];
  const before = await countRows();
  const plan = await planOf(definitionOf(...jobs), new Map(), { params: { sha: 'abc' } });
  expect(await countRows()).toEqual(before);
  expect(plan.state).toBeUndefined();
  expect(plan.jobs.map(({ job, fate, readyInstances }) => [job.name, fate, readyInstances])).toEqual([
    ['build', 'RUNS', 2],
    ['test', 'RUNS', 2],
    ['skipped', 'SKIPPED', undefined],
    ['open', 'UNKNOWN', 0],
  ]);
  expect(plan.jobs[1]?.spec).toEqual({ script: 'abc' });
  expect(plan.drivers).toEqual([
    { name: 'nobody', connected: 0, ready: 0, freeSlots: 0, jobs: 1 },
    { name: 'taker', connected: 4, ready: 3, freeSlots: 12, jobs: 2 },
  ]);
  expect(plan.warnings).toEqual([
    'driver nobody has never connected: the spec of job open is not checked until it does',
    'no instance of driver nobody is connected: what asks for it waits until one is',
  ]);
});

test('counts the instances that have the labels that a job requires', async () => {
  for (const [instance, cores] of [
    ['small', '2'],
    ['large', '16'],
    ['larger', '32'],
  ] as const) {
    await ledger.connect('labelled', instance, { labels: { cores } });
  }
  const atLeast = (cores: string) => ({
    driver: 'labelled',
    selector: { required: [{ key: 'cores', operator: 'GREATER_THAN' as const, values: [cores] }], preferred: [] },
  });
  const plan = await planOf(
    definitionOf(
      jobNamed('some', atLeast('8')),
      jobNamed('none', atLeast('64')),
      jobNamed('pooled', { driver: 'labelled', pool: 'gpu' }),
    ),
  );
  expect(plan.jobs.map(({ readyInstances }) => readyInstances)).toEqual([2, 0, 0]);
  expect(plan.drivers).toEqual([{ name: 'labelled', connected: 3, ready: 3, freeSlots: 12, jobs: 3 }]);
  expect(plan.warnings).toEqual([expect.stringContaining('would take job none and 1 more: ')]);
});

test('says what groups and rates jobs would share, by which limits, and whether a group is full now', async () => {
  const group = (key: string, limit: number | string) => ({ concurrency: { key, limit, policy: 'QUEUE' as const } });
  await ledger.create(definitionOf(jobNamed('waits', group('busy', 1))));
  const rate = { key: 'r-${{ params.n }}', limit: '${{ params.n * 2 }}', periodMs: 1_000, cost: 1 };
  const jobs = [
    jobNamed('busy', group('busy', '${{ params.n - 1 }}')),
    jobNamed('roomy', group('busy', '${{ params.n }}')),
    jobNamed('rated', { rateLimits: [rate], ...group('free-${{ params.n }}', 1) }),
    jobNamed('open', group('busy', '${{ needs.busy.outputs.n }}')),
    jobNamed('wrong', group('busy', '${{ params.n - 2 }}')),
  ].map((job) => (job.name === 'open' ? { ...job, needs: ['busy'] } : job));
  const plan = await planOf(definitionOf(...jobs), new Map(), { params: { n: 2 } });
  const busy = { holding: 0, waiting: 1 };
  expect(plan.jobs.map(({ fate, group: own, groupNow, rates }) => ({ fate, own, groupNow, rates }))).toEqual([
    { fate: 'RUNS', own: { key: 'busy', limit: 1 }, groupNow: { ...busy, isFull: true } },
    { fate: 'RUNS', own: { key: 'busy', limit: 2 }, groupNow: { ...busy, isFull: false } },
    {
      fate: 'RUNS',
      own: { key: 'free-2', limit: 1 },
      groupNow: { holding: 0, waiting: 0, isFull: false },
      rates: [{ key: 'r-2', limit: 4 }],
    },
    { fate: 'UNKNOWN' },
    { fate: 'INVALID' },
  ]);
  expect(plan.jobs[3]?.reason).toBe('its concurrency group or rate limit reads outputs of busy, which are not assumed');
  expect(plan.jobs[4]?.failure?.message).toMatch(
    /the limit of its concurrency group "busy" must become a whole number/,
  );
});

test('finds specs that nobody accepts once they are known, and warns of cells that are not made', async () => {
  await ledger.connect('numbers', 'i-1', {
    specSchema: { type: 'object', properties: { n: { type: ['string', 'number'], maxLength: 30 } } },
  });
  const jobs = [
    jobNamed('long', { driver: 'numbers', spec: { n: '${{ params.text }}' } }),
    jobNamed('cells', { driver: 'numbers', matrix: { axes: { os: ['linux'] } } }),
  ];
  const assumed: Assumptions = new Map([['cells[mac]', { outcome: 'FAILED' }]]);
  const plan = await planOf(definitionOf(...jobs), assumed, { params: { text: 'x'.repeat(40) } });
  expect(plan.jobs[0]).toMatchObject({
    failure: { class: 'INVALID', message: expect.stringMatching(/^spec\.n must/) },
  });
  expect(plan.warnings).toEqual(['nothing is assumed of cells[mac]: its matrix makes no such cell']);
});

describe('calls that could not be made', () => {
  const calling = (name: string, pipeline: string, more: Partial<JobDefinition['call'] & object> = {}) =>
    jobNamed(name, { driver: '', call: { pipeline, params: {}, ...more }, allowFailure: true });
  const fates = ({ jobs }: Awaited<ReturnType<typeof planOf>>) =>
    jobs.map(({ job, fate, state, failure }) => [job.name, fate, state, failure?.message]);

  test('fail without having run, unless something is assumed of them', async () => {
    const pipelines = createPipelines({
      pool: ledger.pool,
      checkSpecs: createSpecCheck(createDriverSchemas(ledger.pool)),
      checkCalls: createCallCheck(ledger.pool),
      replica: { oldest: () => undefined },
    });
    const paramsSchema = { properties: { n: { type: 'integer' } }, required: ['n'] };
    await pipelines.apply('default', 'called', { ...definitionOf(jobNamed('a')), paramsSchema });
    const definition = definitionOf(
      calling('missing', 'caled'),
      calling('unfit', 'called', { params: { n: '${{ params.text }}' } }),
      calling('fits', 'called', { params: { n: '${{ params.n }}' } }),
      jobNamed('after', { needs: ['missing', 'unfit'], if: 'needs.unfit.failure == "INVALID"' }),
    );
    const given = { params: { text: 'q', n: 1 } };
    const plan = await planOf(definition, new Map(), given);
    expect(fates(plan)).toEqual([
      ['missing', 'INVALID', 'FAILED', expect.stringMatching(/caled.*called/)],
      ['unfit', 'INVALID', 'FAILED', 'run.params.n: must be integer; got "q"'],
      ['fits', 'RUNS', 'SUCCEEDED', undefined],
      ['after', 'RUNS', 'SUCCEEDED', undefined],
    ]);
    expect(plan.state).toBe('SUCCEEDED');
    expect(plan.warnings.filter((warning) => warning.includes('caled'))).toEqual([]);

    const assumed: Assumptions = new Map([['missing', { outcome: 'SUCCEEDED' }]]);
    const sure = await planOf(definition, assumed, given);
    expect(fates(sure).slice(0, 2)).toEqual([
      ['missing', 'RUNS', 'SUCCEEDED', undefined],
      ['unfit', 'INVALID', 'FAILED', 'run.params.n: must be integer; got "q"'],
    ]);
    expect(sure.warnings).toContainEqual(expect.stringMatching(/^the call of job missing could not be made now: /));
  });

  test('are those of a revision that there is not, too', async () => {
    const pipelines = createPipelines({
      pool: ledger.pool,
      checkSpecs: createSpecCheck(createDriverSchemas(ledger.pool)),
      checkCalls: async () => ({ violations: [], warnings: [] }),
      replica: { oldest: () => undefined },
    });
    await pipelines.apply('default', 'calls-later', definitionOf(calling('later', 'calls-later', { revision: 7 })));
    expect(fates(await planOf('calls-later'))).toEqual([
      ['later', 'INVALID', 'FAILED', 'pipeline calls-later has no revision 7: its newest is 1'],
    ]);
  });
});

test('expects jobs to take as long as the median of their last successes in the pipeline', async () => {
  const definition = definitionOf(jobNamed('build'), jobNamed('deploy', { needs: ['build'] }));
  const pipelines = createPipelines({
    pool: ledger.pool,
    checkSpecs: createSpecCheck(createDriverSchemas(ledger.pool)),
    checkCalls: createCallCheck(ledger.pool),
    replica: { oldest: () => undefined },
  });
  await pipelines.apply('default', 'timed', definition);
  for (const ms of [500, 100, 9_000]) {
    const runId = await ledger.create(definition, { pipeline: 'timed' });
    await ledger.succeed(runId, 0);
    await ledger.pool.query('update attempts set started_ms = finished_ms - $2 where run_id = $1', [runId, ms]);
  }
  const plan = await planOf('timed');
  expect(plan.pipeline).toEqual({ name: 'timed', revision: 1 });
  expect(plan.path).toEqual({ steps: [{ name: 'build', durationMs: 500 }, { name: 'deploy' }], totalMs: 500 });
  expect((await planOf(definition)).path).toEqual({ steps: [{ name: 'build' }, { name: 'deploy' }], totalMs: 0 });
});

describe('refuses', () => {
  const gate = { message: '', approvers: [], quorum: 1, onTimeout: 'FAIL', timeoutMs: 1_000 } as const;
  const definition = {
    ...definitionOf(
      jobNamed('build', { outputsSchema: { type: 'object', properties: { size: { type: 'number' } } } }),
      jobNamed('cells', { matrix: { axes: { n: [1] } } }),
      jobNamed('ask', { driver: '', gate } satisfies Partial<JobDefinition>),
    ),
    paramsSchema: { type: 'object', required: ['sha'] },
  };
  const params = { sha: 'abc' };

  test.each<[string, Assumptions, string, RegExp]>([
    ['an unknown job', new Map([['biuld', { outcome: 'FAILED' }]]), 'assumed["biuld"]', /did you mean build/],
    ['a cell of no matrix', new Map([['build[1]', { outcome: 'FAILED' }]]), 'assumed["build[1]"]', /names no job/],
    [
      'a job that skips itself',
      new Map([['build', { outcome: 'SKIPPED' }]]),
      'assumed["build"].outcome',
      /assume the outputs/,
    ],
    ['a gate that time does not skip', new Map([['ask', { outcome: 'SKIPPED' }]]), 'assumed["ask"].outcome', /SKIPPED/],
    [
      'outputs of a rejection',
      new Map([['ask', { outcome: 'FAILED', outputs: {} }]]),
      'assumed["ask"].outputs',
      /left out/,
    ],
    [
      'outputs that their job may not have',
      new Map([['build', { outcome: 'SUCCEEDED', outputs: { size: 'large' } }]]),
      'assumed["build"].outputs.size',
      /number/,
    ],
    [
      'outputs that are too large',
      new Map([['build', { outcome: 'SUCCEEDED', outputs: { a: 'x'.repeat(70_000) } }]]),
      'assumed["build"].outputs',
      /at most 65536 bytes/,
    ],
    [
      'a malformed output',
      new Map([['build', { outcome: 'SUCCEEDED', outputs: { 'a b': 1 } }]]),
      'assumed["build"].outputs',
      /a b/,
    ],
  ])('%s', async (_, assumed, field, description) => {
    await expect(planOf(definition, assumed, { params })).rejects.toMatchObject({
      refusal: { refused: 'INVALID_FIELD', violations: [{ field, description: expect.stringMatching(description) }] },
    });
  });

  test('what CreateRun refuses', async () => {
    await expect(planOf(definition)).rejects.toMatchObject({
      refusal: { refused: 'INVALID_FIELD', violations: [{ field: 'run.params.sha' }] },
    });
    await expect(planOf('nowhere')).rejects.toMatchObject({ refusal: { refused: 'PIPELINE_NOT_FOUND' } });
    await ledger.connect('picky', 'i-1', { specSchema: { type: 'object', required: ['script'] } });
    await expect(planOf(definitionOf(jobNamed('a', { driver: 'picky' })))).rejects.toMatchObject({
      refusal: { refused: 'SPEC_MISMATCH' },
    });
  });
});

test('a large plan lets others go on', async () => {
  const jobs = Array.from({ length: 10_000 }, (_, n) => jobNamed(`job-${n}`));
  let turns = 0;
  const others = setInterval(() => turns++, 1);
  const plan = await planOf(definitionOf(...jobs)).finally(() => clearInterval(others));
  expect(plan.jobs.length).toBe(10_000);
  expect(plan.state).toBe('SUCCEEDED');
  expect(turns).toBeGreaterThan(10);
});

test('more plans than can wait are refused', async () => {
  const definition = definitionOf(...Array.from({ length: 2_000 }, (_, n) => jobNamed(`job-${n}`)));
  const options = plannerOptions();
  const run: NewRun = { definition, params: {}, labels: {}, trigger };
  // All come at the same time.
  const prepared = options.creation.prepare('default', run);
  const planner = createRunPlans({ ...options, creation: { ...options.creation, prepare: () => prepared } });
  const asked = Array.from({ length: 22 }, () => planner.plan('default', run, new Map(), signal));
  const refused = (await Promise.allSettled(asked)).filter(({ status }) => status === 'rejected');
  expect(refused).toMatchObject([{ reason: { refusal: { refused: 'LIMIT_REACHED', metadata: { limit: 'plans' } } } }]);
});

test('a plan that takes too long is refused, and one that nobody waits for ends', async () => {
  const refuse = () => new RefusedError({ refused: 'LIMIT_REACHED', message: 'too long' });
  const slow = createPace({ turnMs: 0, maxMs: 0, refuse }, signal);
  await setTimeout(5);
  expect(slow).toThrow('too long');
  const gone = new AbortController();
  const pace = createPace({ turnMs: 0, maxMs: 1_000, refuse }, gone.signal);
  gone.abort(new Error('gone'));
  await expect(pace()).rejects.toThrow('gone');
});
