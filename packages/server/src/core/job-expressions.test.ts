import { describe, expect, it } from 'vitest';
import { decide } from './decide.ts';
import { jsonBytes } from './check-fields.ts';
import type { Definition, JobDefinition } from './definition.ts';
import { beforeFirstEvent } from './evolve.ts';
import type { JsonObject } from './json.ts';
import { LIMITS } from './limits.ts';
import { compilePlan } from './plan.ts';
import { FactsNotLoaded, type JobRecord, jobOf, type RunFacts, type RunSlice } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { create, finish, INSTANCE, newest, start, work } from './testing/driver.ts';
import { checkReplay } from './testing/invariants.ts';
import { openLedger, PARAMS, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';

const trigger = { kind: 'api', actor: '', reference: '' };
const FACTS = { runId: 'run', project: 'default', params: PARAMS, labels: {}, trigger, outputs: new Map() };

function created(definition: Definition): SimulatedLedger {
  const ledger = openLedger(definition);
  create(ledger);
  return ledger;
}

function messageOf(job: JobRecord): string | undefined {
  return 'failure' in job ? job.failure?.message : undefined;
}

describe('expressions that fail', () => {
  const shares: Partial<JobDefinition> = { concurrency: { key: 'at-${{ params.at }}', limit: 1, policy: 'QUEUE' } };
  const fieldsOf = (job: JobRecord): readonly string[] | undefined =>
    job.details?.expressionFailures?.first.map(({ field }) => field);

  it('are told all at once, with their parts, and the message of the first says how many more there are', () => {
    const spec = { a: '${{ params.count + params.list }}', b: ['${{ params.yes }}', 'is ${{ params.list[2] }}'] };
    const ledger = created(definitionOf(jobNamed('a', { if: 'params.yes', ...shares, spec })));
    const told = {
      count: 3,
      first: [
        {
          field: 'concurrency.key',
          expression: 'params.at',
          error: 'there is no field "at"',
          parts: [{ expression: 'params', value: PARAMS }],
        },
        {
          field: 'spec.a',
          expression: 'params.count + params.list',
          error: 'cannot apply + to int and list',
          parts: [
            { expression: 'params.count', value: 3 },
            { expression: 'params.list', value: ['a', 'b'] },
          ],
        },
        {
          field: 'spec.b[1]',
          expression: 'params.list[2]',
          error: 'there is no entry 2 in a list of 2',
          parts: [{ expression: 'params.list', value: ['a', 'b'] }],
        },
      ],
    };
    const condition = { expression: 'params.yes', held: true, parts: [] };
    expect(ledger.entries.slice(1, 3).map(({ event }) => event)).toEqual([
      { type: 'JobEvaluated', job: 0, condition, expressionFailures: told },
      {
        type: 'JobFinished',
        job: 0,
        state: 'FAILED',
        failure: { class: 'INVALID', message: 'concurrency.key: "params.at": there is no field "at" (and 2 more)' },
      },
    ]);
    expect(jobOf(ledger.slice, 0).details).toEqual({ condition, expressionFailures: told });
    checkReplay(ledger);
  });

  it('do not hide what is wrong with a key, nor does that hide them', () => {
    const key = { concurrency: { key: '${{ params.list }}', limit: 1, policy: 'QUEUE' } as const };
    const ledger = created(definitionOf(jobNamed('a', { ...key, spec: { a: '${{ params.missing }}' } })));
    expect(messageOf(jobOf(ledger.slice, 0))).toMatch(
      /^the key of a group or rate limit must become .* \(and 1 more\)$/,
    );
    expect(fieldsOf(jobOf(ledger.slice, 0))).toEqual(['spec.a']);
  });

  it('repeat no large value that is no condition', () => {
    const ledger = created(
      definitionOf(jobNamed('a', { if: 'params.list.map(n, "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀")' })),
    );
    const { error = '' } = jobOf(ledger.slice, 0).details?.condition ?? {};
    expect(error).toMatch(/^it must be true or false; it is \["😀.*…$/);
    expect(error.length).toBeLessThan(120);
    expect(error.isWellFormed()).toBe(true);
  });

  it('of a matrix are kept with its job', () => {
    const axes = { n: '${{ params.missing }}', m: ['${{ params.count.x }}'] };
    const ledger = created(definitionOf(jobNamed('a', { matrix: { axes, maxParallel: '${{ params.count / 0 }}' } })));
    expect(messageOf(jobOf(ledger.slice, 0))).toMatch(
      /^its matrix: matrix\.axes\.n: "params\.missing": .*\(and 2 more\)$/,
    );
    expect(fieldsOf(jobOf(ledger.slice, 0))).toEqual([
      'matrix.axes.n',
      'matrix.axes.m[0]',
      'matrix.max_parallel_expression',
    ]);
    checkReplay(ledger);
  });

  it.each<[string, JsonObject, RegExp]>([
    [
      'has equal values',
      { n: '${{ params.list + ["b", "a"] }}' },
      /^its matrix: axis n has "b" twice: the values of an axis must be different ones$/,
    ],
    [
      'has axes that are no lists, beside one that fails',
      { a: '${{ params.count }}', b: '${{ params.missing }}', c: ['${{ params.missing }}'] },
      /^its matrix: matrix\.axes\.b: "params\.missing": .* \(and 2 more\)$/,
    ],
  ])('of a matrix that %s', (_, axes, message) => {
    const { slice } = created(definitionOf(jobNamed('a', { matrix: { axes } })));
    expect(jobOf(slice, 0)).toMatchObject({ state: 'FAILED', failure: { class: 'INVALID' } });
    expect(messageOf(jobOf(slice, 0))).toMatch(message);
  });

  it('of a matrix are told with the axes that are no lists', () => {
    const axes = { a: '${{ params.missing }}', b: '${{ params.count }}', c: '${{ params.list[0] }}' };
    const { slice } = created(definitionOf(jobNamed('a', { matrix: { axes } })));
    expect(jobOf(slice, 0).details?.expressionFailures).toMatchObject({
      count: 3,
      first: [
        { field: 'matrix.axes.a', error: 'there is no field "missing"' },
        { field: 'matrix.axes.b', expression: 'params.count', error: 'must be a list; it is 3' },
        { field: 'matrix.axes.c', error: 'must be a list; it is "a": fromJSON or split makes a list of a text' },
      ],
    });
  });

  it('count as what the decision worked out', () => {
    const plan = compilePlan(
      definitionOf(
        jobNamed('a', { spec: { a: '${{ params.missing }}' } }),
        jobNamed('b', { matrix: { axes: { n: '${{ params.missing }}' } } }),
      ),
    );
    const { after } = decide({ ...beforeFirstEvent(plan), facts: FACTS }, { type: 'Create', trigger }, 1_000);
    const kept = [0, 1].map((job) => jobOf(after, job).details?.expressionFailures);
    expect(kept).toMatchObject([{ count: 1 }, { count: 1 }]);
    expect(after.working?.bytes).toBeGreaterThan(jsonBytes(kept));
  });
});

describe('a spec that its driver does not take', () => {
  const spec = {
    size: '${{ params.count + 1 }}',
    deep: { items: '${{ params.list }}' },
    name: '${{ params.count }}-${{ params.yes }}',
    flag: true,
  };
  const found = [
    { field: 'spec.deep.items[1]', description: 'must be integer; got "b"' },
    { field: 'spec.size', description: 'must be string; got 4' },
    { field: 'spec.missing', description: 'is required' },
    { field: 'spec.flag', description: 'must be null; got true' },
    { field: 'spec.name', description: 'must match pattern; got "3-true"' },
  ];
  const plan = compilePlan(definitionOf(jobNamed('a', { spec })));
  const begin = (whyUnfit: RunFacts['whyUnfit'] & object) =>
    decide({ ...beforeFirstEvent(plan), facts: { ...FACTS, whyUnfit } }, { type: 'Create', trigger }, 1_000);

  it('is kept, and so are the expressions that it comes of, each with its place and what is there', () => {
    const { after } = begin(() => found);
    const record = jobOf(after, 0);
    expect(record).toMatchObject({ state: 'FAILED', failure: { class: 'INVALID' } });
    expect(messageOf(record)).toBe(
      'spec.deep.items[1] must be integer; got "b"; spec.size must be string; got 4; spec.missing is required; ' +
        'spec.flag must be null; got true; spec.name must match pattern; got "3-true"',
    );
    expect(record.details?.spec).toEqual({
      size: 4,
      deep: { items: ['a', 'b'] },
      name: '3-true',
      flag: true,
    });
    const { first, count } = record.details!.expressionFailures!;
    expect(count).toBe(4);
    expect(first.map(({ field, expression, error }) => [field, expression, error])).toEqual([
      ['spec.size', 'params.count + 1', 'must be string; got 4'],
      ['spec.deep.items[1]', 'params.list', 'must be integer; got "b"'],
      ['spec.name', 'params.count', 'must match pattern; got "3-true"'],
      ['spec.name', 'params.yes', 'must match pattern; got "3-true"'],
    ]);
    expect(first[0]?.parts).toEqual([{ expression: 'params.count', value: 3 }]);
  });

  it('is told by five problems and how many more there are, beside what else is wrong', () => {
    const many = Array.from({ length: 7 }, (_, n) => ({ field: `spec.x${n}`, description: 'is required' }));
    expect(messageOf(jobOf(begin(() => many).after, 0))).toBe(
      `${many
        .slice(0, 5)
        .map(({ field }) => `${field} is required`)
        .join('; ')}; 2 more`,
    );
  });

  it('is only looked at when all of its expressions have a value', () => {
    const broken = compilePlan(definitionOf(jobNamed('a', { spec: { ...spec, size: '${{ params.missing }}' } })));
    const facts = { ...FACTS, whyUnfit: () => found };
    const { after } = decide({ ...beforeFirstEvent(broken), facts }, { type: 'Create', trigger }, 1_000);
    expect(messageOf(jobOf(after, 0))).toBe('spec.size: "params.missing": there is no field "missing"');
    expect(jobOf(after, 0).details?.spec).toBeUndefined();
  });
});

describe('env', () => {
  const env = { good: 'yes', bad: '${{ params.nothing }}' };

  it('that cannot be worked out says why to whoever reads any of it, and harms nobody else', () => {
    const ledger = created({
      ...definitionOf(
        jobNamed('reads', { spec: { x: '${{ env.good }}' } }),
        jobNamed('asks', { if: 'has(env.bad)' }),
        jobNamed('aside', { spec: { x: '${{ params.count }}' } }),
      ),
      env,
    });
    const why = /env\.bad: "params\.nothing": there is no field "nothing"$/;
    expect(messageOf(jobOf(ledger.slice, 0))).toMatch(why);
    expect(messageOf(jobOf(ledger.slice, 1))).toMatch(why);
    expect(jobOf(ledger.slice, 2).state).toBe('QUEUED');
  });

  it('that cannot be worked out is told once, beside what else fails, and with its parts', () => {
    const ledger = created({
      ...definitionOf(
        jobNamed('spec', {
          concurrency: { key: '${{ env.good }}', limit: 1, policy: 'QUEUE' },
          rateLimits: [{ key: 'r', limit: '${{ params.missing }}', periodMs: 1_000, cost: 1 }],
          spec: { x: '${{ env.good }}' },
        }),
        jobNamed('condition', { if: 'env.good == "yes"' }),
        jobNamed('cells', { matrix: { axes: { n: '${{ env.good }}' } } }),
      ),
      env: { ...env, worse: '${{ params.count.x }}' },
    });
    const bad = { field: 'env.bad', expression: 'params.nothing', parts: [{ expression: 'params', value: PARAMS }] };
    const worse = {
      field: 'env.worse',
      expression: 'params.count.x',
      parts: [{ expression: 'params.count', value: 3 }],
    };
    for (const job of [0, 1, 2]) {
      const record = jobOf(ledger.slice, job);
      expect(record.details?.expressionFailures).toMatchObject({ count: 2, first: [bad, worse] });
      expect(messageOf(record)).toMatch(/env\.bad: "params\.nothing": .* \(and 1 more\)$/);
    }
  });

  it('has the status of the run as it is when it is read', () => {
    const ledger = created({
      ...definitionOf(jobNamed('fails'), jobNamed('after', { when: 'FINALLY', spec: { x: '${{ env.so }}' } })),
      env: { so: '${{ run.status }}' },
    });
    work(ledger, 0, 'FAILED');
    expect(jobOf(ledger.slice, 1).details?.spec).toEqual({ x: 'failed' });
  });
});

it('the status of a run one of whose jobs was cancelled is failed, as the run will be', () => {
  const ledger = created(
    definitionOf(jobNamed('gone'), jobNamed('after', { when: 'FINALLY', if: 'run.status == "failed"' })),
  );
  submit(ledger, { type: 'CancelJob', job: 0, reason: '' });
  expect(jobOf(ledger.slice, 1).state).toBe('QUEUED');
  work(ledger, 1, 'SUCCEEDED');
  expect(ledger.slice.run.state).toBe('FAILED');
});

it('a decision asks at once for all that the jobs that begin by it read', () => {
  const builds = Array.from({ length: 50 }, (_, n) => `build${n}`);
  const ledger = created(
    definitionOf(
      jobNamed('go'),
      ...builds.map((name) => jobNamed(name)),
      ...builds.map((name) =>
        jobNamed(`of-${name}`, { needs: ['go', name], spec: { x: `\${{ needs.${name}.outcome }}` } }),
      ),
    ),
  );
  for (const index of builds.keys()) work(ledger, index + 1, 'SUCCEEDED');
  start(ledger, 0);
  const { facts, ...bare } = ledger.slice;
  const decideOn = (slice: RunSlice): readonly number[] => {
    const attempt = { ...newest(ledger, 0), instance: INSTANCE };
    const content = ledger.attempts.get('0.1');
    const log = { logSize: 0, logCrc32c: 0, logLost: false };
    try {
      decide(
        slice,
        {
          type: 'Finish',
          ...attempt,
          outcome: 'SUCCEEDED',
          failureClass: 'WORKLOAD',
          message: '',
          ...log,
          random: 0,
          content,
        },
        ledger.nowMs,
      );
    } catch (error) {
      if (error instanceof FactsNotLoaded) return error.outputsOf;
      throw error;
    }
    return [];
  };
  expect(decideOn(bare)).toHaveLength(50);
  expect(decideOn({ ...bare, facts: { ...facts!, outputs: new Map() } })).toHaveLength(50);
  finish(ledger, 0);
  expect(jobOf(ledger.slice, 51).details?.spec).toEqual({ x: 'succeeded' });
});

it('what the expressions of one decision cost together is bounded, and the jobs beyond it say so', () => {
  const plan = compilePlan(
    definitionOf(
      jobNamed('many', {
        matrix: { axes: { n: Array.from({ length: 1_000 }, (_, n) => n) } },
        if: 'matrix.n >= 0 && params.list.filter(x, x.endsWith("zz") || x.startsWith("99")).size() == 0',
      }),
    ),
  );
  const list = Array.from({ length: 5_000 }, (_, n) => `entry${n}`);
  const facts = { ...FACTS, params: { list } };
  const { after } = decide({ ...beforeFirstEvent(plan), facts }, { type: 'Create', trigger }, 1_000);
  expect(jobOf(after, 1).state).toBe('QUEUED');
  expect(messageOf(jobOf(after, 1_000))).toMatch(/cost more than 10000000 steps at once.*max_parallel/);
  expect(after.working?.steps).toBeLessThan(
    LIMITS.decisionSteps + LIMITS.expressionSteps + LIMITS.expressionTraceSteps,
  );
});

it('what one decision works out is bounded in bytes, and the jobs beyond it say so', () => {
  const spec = { n: '${{ matrix.n }}', large: 'x'.repeat(60_000) };
  const { slice } = created(
    definitionOf(jobNamed('many', { matrix: { axes: { n: Array.from({ length: 400 }, (_, n) => n) } }, spec })),
  );
  const queued = [...slice.jobs.values()].filter(({ state }) => state === 'QUEUED');
  expect(queued.length).toBe(Math.ceil(LIMITS.decisionBytes / 60_000));
  expect(messageOf(jobOf(slice, 400))).toMatch(/come to more than 16777216 bytes at once.*max_parallel/);
});

it('the cells of a run are bounded in bytes', () => {
  const axes = { n: Array.from({ length: 100 }, (_, n) => `${n}${'x'.repeat(2_400)}`) };
  const { slice } = created(
    definitionOf(...Array.from({ length: 10 }, (_, n) => jobNamed(`m${n}`, { matrix: { axes } }))),
  );
  expect(messageOf(jobOf(slice, 9))).toMatch(/the cells of the run are 2\d{6} bytes as JSON, at most 2097152/);
  expect(jobOf(slice, 0).state).toBe('WAITING');
});

it('a run that stops at its first failure is stopped once, however many jobs fail together', () => {
  const jobs = Array.from({ length: 5_000 }, (_, n) => jobNamed(`j${n}`, { if: 'params.nothing' }));
  const { slice } = created({ ...definitionOf(...jobs), failFast: true });
  expect(slice.run).toMatchObject({ state: 'FAILED', counts: { failed: 5_000 } });
});
