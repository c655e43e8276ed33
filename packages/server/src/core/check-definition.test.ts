import { describe, expect, it } from 'vitest';
import { checkDefinition, checkLoneJob, type DefinitionInput } from './check-definition.ts';
import { DEFAULT_RETRY, DEFAULT_TIMEOUTS } from './definition.ts';
import type { Found } from './check-fields.ts';
import { LIMITS } from './limits.ts';
import { checkAtOnce } from './testing/at-once.ts';
import { definitionInput as definition, jobInput as job } from './testing/inputs.ts';

function findings(input: DefinitionInput): Found {
  const found: Found = [];
  checkAtOnce(checkDefinition, found, 'definition', input);
  return found;
}

describe('checkDefinition', () => {
  it('fills in every default', () => {
    const found: Found = [];
    const checked = checkAtOnce(checkDefinition, found, 'definition', definition([job('build')]));
    expect(found).toEqual([]);
    expect(checked).toEqual({
      labels: {},
      jobs: [
        {
          name: 'build',
          driver: 'shell',
          spec: {},
          needs: [],
          when: 'SUCCESS',
          retry: DEFAULT_RETRY,
          timeouts: DEFAULT_TIMEOUTS,
          onLeaseDoubt: 'CONTINUE',
          allowFailure: false,
          secrets: [],
        },
      ],
    });
  });

  it('keeps what was set, also zero', () => {
    const found: Found = [];
    const retry = {
      workload: 3,
      infrastructure: 0,
      initialBackoffMs: 0,
      maxBackoffMs: 500,
      backoffFactor: 1,
      jitter: 0,
    };
    const timeouts = { queueMs: 1, offerMs: 2, runMs: 3.2, totalMs: 4, cancelGraceMs: 5 };
    const input = job('build', { when: 'ALWAYS', onLeaseDoubt: 'STOP', retry, timeouts, allowFailure: true });
    const [checked] = checkAtOnce(checkDefinition, found, 'definition', definition([input])).jobs;
    expect(found).toEqual([]);
    expect(checked).toMatchObject({ when: 'ALWAYS', onLeaseDoubt: 'STOP', allowFailure: true });
    expect(checked?.retry).toEqual({
      budgets: { ...DEFAULT_RETRY.budgets, WORKLOAD: 3, INFRASTRUCTURE: 0 },
      initialBackoffMs: 0,
      maxBackoffMs: 500,
      backoffFactor: 1,
      jitter: 0,
    });
    expect(checked?.timeouts).toEqual({ ...timeouts, runMs: 4 });
  });

  it('accepts a diamond, and a chain as long as a definition may be', () => {
    const diamond = [job('a'), job('b', { needs: ['a'] }), job('c', { needs: ['a'] }), job('d', { needs: ['b', 'c'] })];
    expect(findings(definition(diamond))).toEqual([]);
    const chain = Array.from({ length: LIMITS.jobsPerRun }, (_, i) =>
      job(`j${i}`, { needs: i + 1 < LIMITS.jobsPerRun ? [`j${i + 1}`] : [] }),
    );
    expect(findings(definition(chain)).filter(({ field }) => field !== 'definition')).toEqual([]);
  });

  const cases: [string, DefinitionInput, string, RegExp][] = [
    ['no job', definition([]), 'definition.jobs', /is required/],
    [
      'too many jobs',
      definition(Array.from({ length: 10_001 }, (_, i) => job(`j${i}`))),
      'definition.jobs',
      /at most 10000 entries; has 10001/,
    ],
    ['a job without a name', definition([job('')]), 'definition.jobs[0].name', /is required/],
    [
      'a malformed name',
      definition([job('-x')]),
      'definition.jobs[0].name',
      /beginning with a letter or digit; got "-x"/,
    ],
    ['a name of 101 characters', definition([job('x'.repeat(101))]), 'definition.jobs[0].name', /1 to 100 characters/],
    ['a malformed driver', definition([job('a', { driver: 'Shell' })]), 'definition.jobs[0].driver', /got "Shell"/],
    ['no driver', definition([job('a', { driver: '' })]), 'definition.jobs[0].driver', /is required/],
    [
      'a repeated name',
      definition([job('a'), job('b'), job('a')]),
      'definition.jobs[2].name',
      /also the name of jobs\[0\]$/,
    ],
    [
      'an unknown need',
      definition([job('a', { needs: ['zzz'] })]),
      'definition.jobs[0].needs[0]',
      /^there is no job "zzz"$/,
    ],
    [
      'a misspelt need',
      definition([job('package'), job('b', { needs: ['pakcage'] })]),
      'definition.jobs[1].needs[0]',
      /did you mean "package"\?/,
    ],
    [
      'a repeated need',
      definition([job('a'), job('b', { needs: ['a', 'a'] })]),
      'definition.jobs[1].needs[1]',
      /names "a" again/,
    ],
    ['a job that needs itself', definition([job('a', { needs: ['a'] })]), 'definition.jobs[0].needs[0]', /a -> a$/],
    [
      'a cycle',
      definition([job('x'), job('a', { needs: ['x', 'c'] }), job('b', { needs: ['a'] }), job('c', { needs: ['b'] })]),
      'definition.jobs[2].needs[0]',
      /closes a cycle: a -> c -> b -> a$/,
    ],
    [
      'too many needs',
      definition([job('a', { needs: Array.from({ length: 1_001 }, () => 'a') })]),
      'definition.jobs[0].needs',
      /at most 1000/,
    ],
    [
      'an unknown condition',
      definition([job('a', { when: '7' })]),
      'definition.jobs[0].when',
      /SUCCESS, ALWAYS, FAILURE, FINALLY; got "7"/,
    ],
    [
      'an unknown lease doubt',
      definition([job('a', { onLeaseDoubt: '9' })]),
      'definition.jobs[0].on_lease_doubt',
      /CONTINUE, STOP/,
    ],
    [
      'a budget out of bounds',
      definition([job('a', { retry: { workload: 101 } })]),
      'definition.jobs[0].retry.workload',
      /0 to 100; got 101/,
    ],
    [
      'a negative budget',
      definition([job('a', { retry: { rejected: -1 } })]),
      'definition.jobs[0].retry.rejected',
      /0 to 1000; got -1/,
    ],
    [
      'a backoff over a day',
      definition([job('a', { retry: { maxBackoffMs: 86_400_001 } })]),
      'definition.jobs[0].retry.max_backoff',
      /0 s to 24 h/,
    ],
    [
      'a backoff that is no number',
      definition([job('a', { retry: { initialBackoffMs: NaN } })]),
      'definition.jobs[0].retry.initial_backoff',
      /0 s to 24 h/,
    ],
    [
      'a factor below 1',
      definition([job('a', { retry: { backoffFactor: 0.5 } })]),
      'definition.jobs[0].retry.backoff_factor',
      /1 to 10/,
    ],
    [
      'a jitter above 1',
      definition([job('a', { retry: { jitter: 1.5 } })]),
      'definition.jobs[0].retry.jitter',
      /0 to 1/,
    ],
    [
      'a timeout of zero',
      definition([job('a', { timeouts: { runMs: 0 } })]),
      'definition.jobs[0].timeouts.run_timeout',
      /1 ms to 365 days/,
    ],
    [
      'a silence timeout below a second',
      definition([job('a', { timeouts: { silenceMs: 999 } })]),
      'definition.jobs[0].timeouts.silence_timeout',
      /1 s to 365 days; got 0.999 s/,
    ],
    [
      'a silence timeout over a year',
      definition([job('a', { timeouts: { silenceMs: 366 * 86_400_000 } })]),
      'definition.jobs[0].timeouts.silence_timeout',
      /1 s to 365 days/,
    ],
    [
      'an offer timeout over 10 min',
      definition([job('a', { timeouts: { offerMs: 600_001 } })]),
      'definition.jobs[0].timeouts.offer_timeout',
      /1 ms to 10 min/,
    ],
    [
      'a grace period over 1 h',
      definition([job('a', { timeouts: { cancelGraceMs: 3_600_001 } })]),
      'definition.jobs[0].timeouts.cancel_grace_period',
      /1 ms to 1 h/,
    ],
    [
      'an oversize spec',
      definition([job('a', { spec: { run: 'x'.repeat(65_536) } })]),
      'definition.jobs[0].spec',
      /at most 65536 bytes as JSON/,
    ],
    [
      'NUL in a spec',
      definition([job('a', { spec: { env: [{ A: 'x\0y' }] } })]),
      'definition.jobs[0].spec.env[0].A',
      /NUL/,
    ],
    [
      'half a surrogate pair in a spec',
      definition([job('a', { spec: { a: '\ud800' } })]),
      'definition.jobs[0].spec.a',
      /valid Unicode/,
    ],
    [
      'a number that is none in a spec',
      definition([job('a', { spec: { a: [NaN] } })]),
      'definition.jobs[0].spec.a[0]',
      /finite/,
    ],
    [
      'an oversize definition',
      definition(Array.from({ length: 20 }, (_, i) => job(`j${i}`, { spec: { x: 'y'.repeat(60_000) } }))),
      'definition',
      /at most 1048576 bytes/,
    ],
    [
      'too many secrets',
      definition([job('a', { secrets: Array.from({ length: 65 }, (_, i) => `s${i}`) })]),
      'definition.jobs[0].secrets',
      /at most 64/,
    ],
    ['an empty secret', definition([job('a', { secrets: [''] })]), 'definition.jobs[0].secrets[0]', /is required/],
    [
      'a repeated secret',
      definition([job('a', { secrets: ['s', 's'] })]),
      'definition.jobs[0].secrets[1]',
      /names "s" again/,
    ],
    ['a malformed label key', definition([job('a')], { labels: { 'a b': 'x' } }), 'definition.labels', /"a b"/],
    [
      'a long label value',
      definition([job('a')], { labels: { a: 'x'.repeat(257) } }),
      'definition.labels["a"]',
      /at most 256/,
    ],
    [
      'a wrong value behind a long key',
      definition([job('a')], { labels: { ['k'.repeat(128)]: '\0' } }),
      `definition.labels["${'k'.repeat(128)}"]`,
      /NUL/,
    ],
    [
      'a key that is too long',
      definition([job('a')], { labels: { ['k'.repeat(100_000)]: '' } }),
      'definition.labels',
      /has the key "k{63}…"; keys are 1 to 128/,
    ],
    ['NUL in a label', definition([job('a')], { labels: { a: '\0' } }), 'definition.labels["a"]', /NUL/],
    [
      'too many labels',
      definition([job('a')], { labels: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ''])) }),
      'definition.labels',
      /at most 64/,
    ],
    [
      'a bad params schema',
      definition([job('a')], { paramsSchema: { properties: { n: { type: 'integr' } } } }),
      'definition.params_schema.properties.n.type',
      /must be/,
    ],
    [
      'a params schema of no object',
      definition([job('a')], { paramsSchema: { type: 'array' } }),
      'definition.params_schema.type',
      /"object"/,
    ],
    [
      'a bad outputs schema',
      definition([job('a'), job('b', { outputsSchema: { properties: { n: { pattern: '(?=x)' } } } })]),
      'definition.jobs[1].outputs_schema.properties.n.pattern',
      /RE2/,
    ],
    [
      'an outputs schema of no object',
      definition([job('a', { outputsSchema: { type: 'array' } })]),
      'definition.jobs[0].outputs_schema.type',
      /"object": outputs/,
    ],
    [
      'a large outputs schema',
      definition([job('a', { outputsSchema: { title: 'x'.repeat(65_536) } })]),
      'definition.jobs[0].outputs_schema',
      /at most 65536 bytes/,
    ],
    [
      'too many different outputs schemas',
      definition(Array.from({ length: 501 }, (_, i) => job(`j${i}`, { outputsSchema: { title: String(i) } }))),
      'definition.jobs[500].outputs_schema',
      /at most 500 different/,
    ],
  ];
  it.each(cases)('refuses %s', (_, input, field, description) => {
    expect(findings(input)).toContainEqual({ field, description: expect.stringMatching(description) });
  });

  it('speaks of needs that stages stand for only where there are stages', () => {
    const large = Array.from({ length: 20 }, (_, i) => job(`j${i}`, { spec: { run: 'x'.repeat(60_000) } }));
    const told = (stages: string[]) => findings(definition(large, { stages })).map(({ description }) => description);
    expect(told([])).toEqual([expect.stringMatching(/^must have at most 1048576 bytes as JSON; has \d+$/)]);
    expect(told(['one'])).toEqual([
      expect.stringMatching(/^must have at most 1048576 bytes as JSON, with the needs that its stages stand for; has/),
    ]);
  });

  it('tells a condition that is too long once', () => {
    const input = definition([job('a', { if: `true${' && true'.repeat(200)}` })]);
    expect(findings(input)).toEqual([
      { field: 'definition.jobs[0].if', description: 'must have at most 1024 characters; has 1604' },
    ]);
  });

  it('says what a job without a driver may be else', () => {
    expect(findings(definition([job('a', { driver: '' })]))).toEqual([
      {
        field: 'definition.jobs[0].driver',
        description: expect.stringMatching(/^is required, or else gate or call: 1 to/),
      },
    ]);
  });

  it('reports everything that is wrong at once, but no more than anybody reads', () => {
    const input = definition([job('a', { driver: '', needs: ['b'] }), job('a', { retry: { jitter: 2 } })]);
    expect(findings(input).map(({ field }) => field)).toEqual([
      'definition.jobs[0].driver',
      'definition.jobs[1].retry.jitter',
      'definition.jobs[1].name',
      'definition.jobs[0].needs[0]',
    ]);
    const wrong = Array.from({ length: 10_000 }, (_, i) => job(`j${i}`, { needs: ['nowhere'] }));
    expect(findings(definition(wrong))).toHaveLength(100);
  });

  it('shortens a long cycle', () => {
    const ring = Array.from({ length: 100 }, (_, i) => job(`j${i}`, { needs: [`j${(i + 1) % 100}`] }));
    expect(findings(definition(ring))[0]?.description).toBe(
      'closes a cycle: j0 -> j1 -> j2 -> j3 -> j4 -> (91 more) -> j96 -> j97 -> j98 -> j99 -> j0',
    );
  });
});

describe('checkLoneJob', () => {
  it('names fields under the job itself and refuses needs', () => {
    const found: Found = [];
    checkAtOnce(checkLoneJob, found, 'job', job('', { needs: ['x'] }));
    expect(found.map(({ field }) => field)).toEqual(['job.needs', 'job.name']);
  });

  it('checks the schema of its outputs', () => {
    const found: Found = [];
    checkAtOnce(checkLoneJob, found, 'job', job('only', { outputsSchema: { type: 'string' } }));
    expect(found.map(({ field }) => field)).toEqual(['job.outputs_schema.type']);
  });

  it('makes a definition of one job', () => {
    const found: Found = [];
    expect(checkAtOnce(checkLoneJob, found, 'job', job('only')).jobs.map(({ name }) => name)).toEqual(['only']);
    expect(found).toEqual([]);
  });
});
