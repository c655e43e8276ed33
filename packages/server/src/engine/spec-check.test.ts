import { afterAll, beforeAll, expect, test } from 'vitest';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createCallCheck } from './call-check.ts';
import { createPipelines } from './pipelines.ts';
import { createDriverSchemas } from './driver-schemas.ts';
import { createSpecCheck, specProblems } from './spec-check.ts';
import { type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';

let ledger: LedgerFixture;

beforeAll(async () => {
  ledger = await openTestLedger();
});
afterAll(() => ledger[Symbol.asyncDispose]());

function requires(...required: string[]) {
  return { type: 'object', required, additionalProperties: false, properties: { script: {}, image: {} } };
}

function jobFor(driver: string, spec: Record<string, string>) {
  return jobNamed('build', { driver, spec });
}

/** Checks with an empty cache. */
function check(...jobs: ReturnType<typeof jobNamed>[]) {
  return createSpecCheck(createDriverSchemas(ledger.pool))(definitionOf(...jobs), 'definition');
}

test('a driver that never connected makes a warning, one for all of its jobs', async () => {
  const jobs = ['a', 'b', 'c'].map((name) => jobNamed(name, { driver: 'nobody' }));
  expect(await check(...jobs)).toEqual({
    violations: [],
    warnings: [
      {
        field: 'definition.jobs[0].driver',
        message: 'driver nobody has never connected: the spec of job a and 2 more is not checked until it does',
      },
    ],
  });
});

test('a driver that never connected is told with the one that was meant, the first hundred by name', async () => {
  await ledger.connect('shell', 'i-1', {});
  await ledger.connect('shell', 'i-2', {});
  await ledger.connect('docker', 'i-1', {});
  const { warnings } = await check(
    jobNamed('a', { driver: 'docker' }),
    jobNamed('b', { driver: 'shel' }),
    ...Array.from({ length: 102 }, (_, i) => jobNamed(`c-${i}`, { driver: `other-${i}` })),
  );
  expect(warnings).toHaveLength(101);
  expect(warnings[0]).toEqual({
    field: 'definition.jobs[1].driver',
    message: 'driver shel has never connected: the spec of job b is not checked until it does; did you mean "shell"?',
  });
  expect(warnings.at(-1)).toEqual({
    field: 'definition.jobs',
    message: '3 other drivers have never connected either',
  });
});

test('a spec that fits no schema of its driver is refused by the path of the field', async () => {
  await ledger.connect('strict', 'i-1', { specSchema: requires('script') });
  const jobs = [
    jobFor('strict', { script: 'make' }),
    jobNamed('other', { driver: 'strict', spec: { scirpt: 'make' } }),
  ];
  const { violations, warnings } = await check(...jobs);
  expect(violations.map(({ field }) => field).toSorted()).toEqual([
    'definition.jobs[1].spec.scirpt',
    'definition.jobs[1].spec.script',
  ]);
  expect(warnings).toEqual([]);
  const pipelines = createPipelines({
    pool: ledger.pool,
    checkSpecs: createSpecCheck(createDriverSchemas(ledger.pool)),
    checkCalls: createCallCheck(ledger.pool),
    replica: { oldest: () => undefined },
  });
  await expect(pipelines.apply('default', 'ci', definitionOf(...jobs))).rejects.toMatchObject({
    refusal: { refused: 'SPEC_MISMATCH', violations },
  });
  await expect(pipelines.get('default', 'ci')).rejects.toMatchObject({ refusal: { refused: 'PIPELINE_NOT_FOUND' } });
});

test('where live instances differ, a spec has to fit one of them', async () => {
  await ledger.connect('mixed', 'old', { specSchema: requires('script') });
  await ledger.connect('mixed', 'new', { specSchema: requires('image') });
  expect((await check(jobFor('mixed', { script: 'make' }))).violations).toEqual([]);
  expect((await check(jobFor('mixed', { image: 'alpine' }))).violations).toEqual([]);
  expect((await check(jobFor('mixed', {}))).violations).not.toEqual([]);
});

test('what only instances of the past accepted is refused while others live', async () => {
  await ledger.connect('upgraded', 'old', { specSchema: requires('script'), leaseMs: -1 });
  expect((await check(jobFor('upgraded', { image: 'alpine' }))).violations).not.toEqual([]);
  expect((await check(jobFor('upgraded', { script: 'make' }))).violations).toEqual([]);
  await ledger.connect('upgraded', 'new', { specSchema: requires('image') });
  expect((await check(jobFor('upgraded', { image: 'alpine' }))).violations).toEqual([]);
  expect((await check(jobFor('upgraded', { script: 'make' }))).violations).not.toEqual([]);
});

test('a spec with expressions is held against what is known of it', async () => {
  const items = { type: 'string' };
  const specSchema = { required: ['commands'], properties: { commands: { items } }, additionalProperties: false };
  await ledger.connect('expressed', 'i-1', { specSchema });
  const spec = { comands: ['${{ params.a }}'], commands: ['echo ${{ params.a }}', '${{ params.b }}', 5] };
  const { violations } = await check(jobNamed('build', { driver: 'expressed', spec }));
  expect(violations).toEqual([
    {
      field: 'definition.jobs[0].spec.comands',
      description: 'is not known to the schema; did you mean "commands"?',
    },
    { field: 'definition.jobs[0].spec.commands[2]', description: 'must be string; got 5' },
  ]);
});

test('an instance without a schema takes any spec', async () => {
  await ledger.connect('open', 'strict', { specSchema: requires('script') });
  await ledger.connect('open', 'lax');
  expect(await check(jobFor('open', {}))).toEqual({ violations: [], warnings: [] });
});

test('a driver that connects for the first time is known at once', async () => {
  const checkSpecs = createSpecCheck(createDriverSchemas(ledger.pool));
  const definition = definitionOf(jobFor('late', {}));
  expect((await checkSpecs(definition, 'definition')).warnings).toHaveLength(1);
  await ledger.connect('late', 'i-1', { specSchema: requires('script') });
  expect(await checkSpecs(definition, 'definition')).toMatchObject({ warnings: [], violations: [{}] });
});

test('all that is wrong with a spec in a run is told', async () => {
  await ledger.connect('told', 'i-1', { specSchema: { properties: {}, additionalProperties: false, required: ['z'] } });
  const whyUnfit = await specProblems(createDriverSchemas(ledger.pool), new Set(['told']));
  const description = 'is not known to the schema';
  expect(whyUnfit('told', { z: 1 })).toEqual([{ field: 'spec.z', description }]);
  expect(whyUnfit('told', { a: 1, b: 1 })).toHaveLength(3);
  expect(whyUnfit('other', { a: 1 })).toEqual([]);
});

test('what takes long to check in all is not checked to the end, and leaves turns to others', async () => {
  const doubling = Array.from({ length: 60 }, (_, n) => {
    const next = { $ref: `#/$defs/d${n + 1}` };
    return [`d${n}`, n === 59 ? { type: 'string' } : { anyOf: [next, next] }];
  });
  const specSchema = { $ref: '#/$defs/d0', $defs: Object.fromEntries(doubling) };
  await ledger.connect('endless', 'i-1', { specSchema });
  let turns = 0;
  const other = setInterval(() => turns++, 1);
  const { violations, warnings } = await check(
    ...Array.from({ length: 30 }, (_, n) => jobNamed(`job-${n}`, { driver: 'endless' })),
  );
  clearInterval(other);
  expect(violations.length).toBeLessThan(30);
  expect(warnings).toMatchObject([
    { message: expect.stringMatching(/^the specs of the last \d+ jobs were not checked/) },
  ]);
  expect(turns).toBeGreaterThan(5);
});
