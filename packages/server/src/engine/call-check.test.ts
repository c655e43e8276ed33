// Calls against the pipelines that are stored: what is refused, what only warns, and how much is read.
import { afterAll, beforeAll, beforeEach, describe, expect, it, test } from 'vitest';
import type { Definition, JobDefinition, PipelineCall } from '../core/definition.ts';
import type { JsonObject } from '../core/json.ts';
import type { Warning } from '../core/refusal.ts';
import { asWritten, definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createCallCheck } from './call-check.ts';
import type { RunningEngine } from './start-engine.ts';
import { beginAttempt, connectDriver } from './testing/driver-session.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';

let fixture: EngineFixture;
let engine: RunningEngine;
let count = 0;
let project: string;

beforeAll(async () => {
  fixture = await openEngineFixture();
  ({ engine } = fixture);
});
afterAll(() => fixture[Symbol.asyncDispose]());
beforeEach(() => {
  project = `project-${count++}`;
});

const calling = (
  pipeline: string,
  params: JsonObject = {},
  change: Partial<PipelineCall> = {},
): Partial<JobDefinition> => ({
  driver: '',
  call: { pipeline, params, ...change },
});
const schema: JsonObject = {
  required: ['target'],
  properties: { target: { type: 'string' }, count: { type: 'integer', default: 1 } },
  additionalProperties: false,
};

async function apply(name: string, definition: Definition): Promise<readonly Warning[]> {
  return (await engine.pipelines.apply(project, name, definition, undefined)).warnings;
}

async function applyChild(): Promise<void> {
  await apply('child', { ...definitionOf(jobNamed('work')), paramsSchema: schema });
}

const invalid = (...violations: readonly object[]) => ({ refusal: { refused: 'INVALID_FIELD', violations } });

describe('params of a call that its pipeline would refuse', () => {
  const wrong = definitionOf(
    jobNamed('first', calling('child', { target: 'eu' })),
    jobNamed('none', calling('child')),
    jobNamed('wrong', calling('child', { target: 1, count: '${{ params.n }}' })),
    jobNamed('unknown', calling('child', { target: '${{ params.x }}', tarket: 1 })),
  );
  const at = (prefix: string) =>
    invalid(
      { field: `${prefix}[1].call.params.target`, description: 'is required' },
      { field: `${prefix}[2].call.params.target`, description: 'must be string; got 1' },
      {
        field: `${prefix}[3].call.params.tarket`,
        description: 'is not known to the schema; did you mean "target"?',
      },
    );

  it('are refused when it is applied, validated, run inline and planned', async () => {
    await applyChild();
    await expect(apply('parent', wrong)).rejects.toMatchObject(at('definition.jobs'));
    await expect(engine.pipelines.get(project, 'parent')).rejects.toMatchObject({
      refusal: { refused: 'PIPELINE_NOT_FOUND' },
    });
    const validated = engine.pipelines.validate(project, 'parent', wrong, { expectedRevision: undefined, found: [] });
    await expect(validated).rejects.toMatchObject(at('definition.jobs'));
    const run = { definition: wrong, params: {}, labels: {}, trigger: { kind: 'api', actor: '', reference: '' } };
    await expect(engine.runs.create(project, run)).rejects.toMatchObject(at('run.definition.jobs'));
    const { signal } = new AbortController();
    await expect(engine.runs.plan(project, run, new Map(), signal)).rejects.toMatchObject(at('run.definition.jobs'));
  });

  it('are told together with all else that is wrong', async () => {
    await applyChild();
    const found = [{ field: 'definition.jobs[0].name', description: 'is odd' }];
    const validated = engine.pipelines.validate(project, 'parent', wrong, { expectedRevision: undefined, found });
    await expect(validated).rejects.toMatchObject(invalid(...found, {}, {}, {}));
  });

  it('are refused when a job appends such a call', async () => {
    project = 'default';
    await applyChild();
    const driver = await connectDriver(engine);
    const key = await beginAttempt(engine, driver);
    driver.session.receive([{ type: 'AppendJobs', key, number: 1, jobs: wrong.jobs.map(asWritten) }]);
    await expect.poll(() => driver.find('AppendAnswer')?.refusal).toMatchObject(at('jobs').refusal);
    const right = [jobNamed('right', calling('child', { target: 'eu' }))];
    driver.session.receive([{ type: 'AppendJobs', key, number: 2, jobs: right.map(asWritten) }]);
    await expect.poll(() => driver.count('AppendAnswer')).toBe(2);
    await expect.poll(async () => (await engine.runs.get('default', key.runId)).counts.total).toBe(2);
  });
});

test('the params are held against the revision that would run', async () => {
  await applyChild();
  await apply('child', definitionOf(jobNamed('work', { spec: { n: 2 } })));
  expect(await apply('newest', definitionOf(jobNamed('a', calling('child'))))).toEqual([]);
  const pinned = definitionOf(jobNamed('a', calling('child', {}, { revision: 1 })));
  await expect(apply('pinned', pinned)).rejects.toMatchObject(
    invalid({ field: 'definition.jobs[0].call.params.target', description: 'is required' }),
  );
  const missing = definitionOf(jobNamed('a', calling('child', {}, { revision: 7 })));
  await expect(apply('missing', missing)).rejects.toMatchObject(
    invalid({
      field: 'definition.jobs[0].call.revision',
      description: 'pipeline child has no revision 7; its newest is 2',
    }),
  );
});

test('a pipeline that calls itself is held against the params that it will have', async () => {
  const ends = { if: 'params.count > 0' };
  const before = definitionOf(jobNamed('again', { ...calling('loop', { target: 1 }), ...ends }));
  expect(await apply('loop', before)).toEqual([]);
  await expect(apply('loop', { ...before, paramsSchema: schema })).rejects.toMatchObject(
    invalid({ field: 'definition.jobs[0].call.params.target' }),
  );
});

test('a run is created with what could not be checked, and a repetition of the request says nothing of it', async () => {
  const jobs = definitionOf(jobNamed('a', calling('nowhere')), jobNamed('b', { driver: 'nobody' }));
  const run = { params: {}, labels: {}, trigger: { kind: 'API', actor: '', reference: '' } } as const;
  const inline = { ...run, definition: jobs, requestId: 'once' };
  expect((await engine.runs.create(project, inline)).warnings).toMatchObject([
    { field: 'run.definition.jobs[1].driver', message: expect.stringContaining('nobody has never connected') },
    { field: 'run.definition.jobs[0].call.pipeline', message: expect.stringContaining('nowhere does not exist') },
  ]);
  expect((await engine.runs.create(project, inline)).warnings).toEqual([]);
  await apply('parent', jobs);
  const stored = await engine.runs.create(project, { ...run, pipeline: { name: 'parent' } });
  expect(stored.warnings).toMatchObject([{ field: 'run.definition.jobs[1].driver' }]);
});

test('a pipeline that is not there may be applied later, and warns with the name that was meant', async () => {
  await applyChild();
  await engine.pipelines.delete(project, 'child');
  const definition = definitionOf(
    jobNamed('a', calling('cihld')),
    jobNamed('b', calling('cihld', { x: 1 })),
    jobNamed('c', calling('child', {}, { revision: 1 })),
  );
  const fails = 'is not checked, and fails until it is applied';
  const warnings = [
    {
      field: 'definition.jobs[0].call.pipeline',
      message: `pipeline cihld does not exist: the call of job a and 1 more ${fails}`,
    },
    { field: 'definition.jobs[2].call.pipeline', message: `pipeline child does not exist: the call of job c ${fails}` },
  ];
  expect(await apply('parent', definition)).toEqual(warnings);
  await applyChild();
  const { warnings: later } = await engine.pipelines.validate(
    project,
    'parent',
    definitionOf(jobNamed('a', calling('cihld'))),
    {
      expectedRevision: undefined,
      found: [],
    },
  );
  expect(later.map(({ message }) => message)).toEqual([
    `pipeline cihld does not exist: the call of job a ${fails}; did you mean "child"?`,
  ]);
  // Nor does anything of another project show.
  project = 'elsewhere';
  expect(await apply('parent', definitionOf(jobNamed('a', calling('child', { target: 1 }))))).toHaveLength(1);
});

test('whoever asks for a pipeline that is not there is told the name that was meant', async () => {
  await applyChild();
  const refusal = { refused: 'PIPELINE_NOT_FOUND', message: expect.stringMatching(/; did you mean "child"\?$/) };
  await expect(engine.pipelines.get(project, 'cihld')).rejects.toMatchObject({ refusal });
  await expect(engine.pipelines.delete(project, 'cihld')).rejects.toMatchObject({ refusal });
  await expect(engine.pipelines.listRevisions(project, 'cihld', { size: 1 })).rejects.toMatchObject({ refusal });
  const run = {
    pipeline: { name: 'cihld' },
    params: {},
    labels: {},
    trigger: { kind: 'api', actor: '', reference: '' },
  };
  await expect(engine.runs.create(project, run)).rejects.toMatchObject({ refusal });
});

describe('a chain of calls that only a failure ends', () => {
  const cycle = (names: string) => ({
    field: 'definition.jobs[0].call.pipeline',
    description: expect.stringContaining(`closes a cycle of calls: ${names}; let an if end it`),
  });

  it('is refused by the way that it takes', async () => {
    await expect(apply('a', definitionOf(jobNamed('again', calling('a'))))).rejects.toMatchObject(
      invalid(cycle('a -> a')),
    );
    await apply('c', definitionOf(jobNamed('back', calling('a'))));
    await apply('b', definitionOf(jobNamed('work'), jobNamed('on', { needs: ['work'], ...calling('c') })));
    const first = definitionOf(jobNamed('on', calling('b')));
    await expect(apply('a', first)).rejects.toMatchObject(invalid(cycle('a -> b -> c -> a')));
    const validated = engine.pipelines.validate(project, 'a', first, { expectedRevision: undefined, found: [] });
    await expect(validated).rejects.toMatchObject(invalid(cycle('a -> b -> c -> a')));
  });

  it('is taken where a condition, or a revision of before, ends it', async () => {
    await apply('a', definitionOf(jobNamed('work')));
    expect(await apply('a', definitionOf(jobNamed('again', { ...calling('a'), if: 'params.n > 0' })))).toEqual([]);
    expect(await apply('a', definitionOf(jobNamed('once', calling('a', {}, { revision: 1 }))))).toEqual([]);
    await apply('b', definitionOf(jobNamed('back', { ...calling('c'), if: 'params.n > 0' })));
    expect(await apply('c', definitionOf(jobNamed('on', calling('b'))))).toEqual([]);
  });
});

describe('reads', () => {
  /** How many statements a check runs. */
  async function statementsOf(definition: Definition): Promise<number> {
    const { pool } = fixture.pools;
    let statements = 0;
    const counting = new Proxy(pool, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (name !== 'connect' || typeof value !== 'function')
          return typeof value === 'function' ? value.bind(target) : value;
        return async () => {
          const client = await target.connect();
          return new Proxy(client, {
            get(of, property) {
              const own: unknown = Reflect.get(of, property, of);
              if (property === 'query') statements++;
              return typeof own === 'function' ? own.bind(of) : own;
            },
          });
        };
      },
    });
    await createCallCheck(counting)(project, { ...definition, name: 'parent' }, 'definition');
    return statements;
  }

  it('nothing without calls, and one statement for all pipelines that make no calls themselves', async () => {
    expect(await statementsOf(definitionOf(jobNamed('work')))).toBe(0);
    for (const name of ['p1', 'p2', 'p3']) await apply(name, definitionOf(jobNamed('work')));
    const jobs = ['p1', 'p2', 'p3', 'p1'].map((name, n) => jobNamed(`job-${n}`, calling(name)));
    expect(await statementsOf(definitionOf(...jobs))).toBe(1);
  });

  it('are bounded, however many pipelines are called', async () => {
    const jobs = Array.from({ length: 150 }, (_, n) => jobNamed(`job-${n}`, calling(`none-${n}`)));
    const warnings = await apply('wide', definitionOf(...jobs));
    expect(warnings).toHaveLength(101);
    const message = 'only the first 100 pipelines that it calls were looked at, not 50 others';
    expect(warnings.at(-1)).toEqual({ field: 'definition.jobs', message });
  });
});

test('calls whose params take long to check in all are not checked to the end', async () => {
  const doubling = Array.from({ length: 60 }, (_, n) => {
    const next = { $ref: `#/$defs/d${n + 1}` };
    return [`d${n}`, n === 59 ? { type: 'string' } : { anyOf: [next, next] }];
  });
  const paramsSchema = { $ref: '#/$defs/d0', $defs: Object.fromEntries(doubling) };
  await apply('endless', { ...definitionOf(jobNamed('work')), paramsSchema });
  const jobs = Array.from({ length: 30 }, (_, n) => jobNamed(`job-${n}`, calling('endless')));
  const { violations, warnings } = await createCallCheck(fixture.pools.pool)(project, definitionOf(...jobs), '');
  expect(violations.length).toBeLessThan(30);
  expect(warnings).toMatchObject([
    { field: 'jobs', message: expect.stringMatching(/^not all params of calls were checked/) },
  ]);
});
