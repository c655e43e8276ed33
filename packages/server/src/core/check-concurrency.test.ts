import { describe, expect, it } from 'vitest';
import type { ConcurrencyInput, RateLimitInput } from './check-concurrency.ts';
import { checkDefinition, type JobInput } from './check-definition.ts';
import type { Found } from './check-fields.ts';
import { checkAtOnce } from './testing/at-once.ts';

function check(job: Partial<JobInput>) {
  const found: Found = [];
  const base = { name: 'job', driver: 'shell', needs: [], secrets: [], allowFailure: false };
  const jobs = [{ ...base, ...job }];
  const definition = checkAtOnce(checkDefinition, found, 'd', {
    jobs,
    labels: {},
    stages: [],
    env: {},
    failFast: false,
  });
  return { job: definition.jobs[0], found: found.map(({ field, description }) => `${field} ${description}`) };
}

const group = (change: Partial<ConcurrencyInput>) => ({ concurrency: { key: 'k', limit: 0, ...change } });
const rate = (change: Partial<RateLimitInput>) => ({ key: 'k', limit: 5, periodMs: 1_000, cost: 0, ...change });

describe('a concurrency group', () => {
  it('has a place for one job that waits in line, unless it says otherwise', () => {
    expect(check(group({}))).toMatchObject({
      found: [],
      job: { concurrency: { key: 'k', limit: 1, policy: 'QUEUE' } },
    });
    expect(check(group({ limitExpression: '${{ params.n }}' }))).toMatchObject({
      found: [],
      job: { concurrency: { limit: '${{ params.n }}' } },
    });
    expect(check(group({ limitExpression: ' ${{ 2 + 1 }}' })).found).toHaveLength(1);
    expect(check(group({ limitExpression: '${{ 2 + 1 }}' })).found).toEqual([]);
    const all = { key: 'k-${{ params.env }}', limit: 3, policy: 'REJECT' } as const;
    expect(check(group(all))).toMatchObject({ found: [], job: { concurrency: all } });
  });

  it.each([
    [{ key: '' }, 'd.jobs[0].concurrency.key must be a text of 1 to 256 characters without NUL; got ""'],
    [{ key: 'a\0' }, 'd.jobs[0].concurrency.key must be a text of 1 to 256 characters without NUL'],
    [{ key: '${{ params. }}' }, 'd.jobs[0].concurrency.key '],
    [{ key: '${{ matrix.n }}' }, 'd.jobs[0].concurrency.key '],
    [{ limit: 10_001 }, 'd.jobs[0].concurrency.limit must be'],
    [{ limit: -1 }, 'd.jobs[0].concurrency.limit must be'],
    [
      { limitExpression: '${{ params. }}' },
      'd.jobs[0].concurrency.limit_expression at column 12: "params." ends too early',
    ],
    [{ limitExpression: '${{ parms.n }}' }, 'd.jobs[0].concurrency.limit_expression '],
    [{ limitExpression: '${{ matrix.n }}' }, 'd.jobs[0].concurrency.limit_expression '],
    [
      { limitExpression: '${{ run.statsu }}' },
      'd.jobs[0].concurrency.limit_expression at column 9: run has no field "statsu"',
    ],
    [
      { limitExpression: '3' },
      'd.jobs[0].concurrency.limit_expression must be one expression and nothing else, as ${{',
    ],
    [
      { limitExpression: '1${{ params.n }}' },
      'd.jobs[0].concurrency.limit_expression must be one expression and nothing',
    ],
    [{ limitExpression: '${{ 3' }, 'd.jobs[0].concurrency.limit_expression '],
    [
      { limitExpression: '${{ 5 - 5 }}' },
      'concurrency.limit_expression must become a whole number from 1 to 10000; it became 0',
    ],
    [{ limitExpression: '${{ 7 / 0 }}' }, 'd.jobs[0].concurrency.limit_expression "7 / 0": '],
    [{ limitExpression: '${{ "3" }}' }, 'it became "3": int(…) makes a number of a text'],
    [
      { limit: 2, limitExpression: '${{ params.n }}' },
      'concurrency.limit_expression must not be set beside the number',
    ],
    [{ policy: '9' }, 'd.jobs[0].concurrency.policy must be one of QUEUE, REPLACE_PENDING, CANCEL_RUNNING, REJECT'],
  ])('says what is wrong with %j', (change, told) => {
    expect(check(group(change)).found).toEqual([expect.stringContaining(told)]);
  });

  it('is none of a job that no driver runs', () => {
    const call = { pipeline: 'other', revision: 0 };
    const { found } = check({ driver: '', call, ...group({}), rateLimits: [rate({})] });
    expect(found).toEqual([
      expect.stringContaining('d.jobs[0].concurrency must not be set: the job is a call'),
      expect.stringContaining('d.jobs[0].rate_limits must not be set: the job is a call'),
    ]);
  });
});

describe('a rate limit', () => {
  it('takes one token, unless it says otherwise', () => {
    expect(check({ rateLimits: [rate({})] })).toMatchObject({ found: [], job: { rateLimits: [{ cost: 1 }] } });
    const open = rate({ limit: 0, limitExpression: '${{ params.n }}', cost: 6 });
    expect(check({ rateLimits: [open] })).toMatchObject({
      found: [],
      job: { rateLimits: [{ limit: '${{ params.n }}', cost: 6 }] },
    });
  });

  it.each([
    [[rate({ limit: 0 })], ['d.jobs[0].rate_limits[0].limit must be']],
    [
      [rate({ limit: 0, limitExpression: '${{ 0 }}' })],
      ['d.jobs[0].rate_limits[0].limit_expression must become a whole'],
    ],
    [
      [rate({ limitExpression: '${{ params.n }}' })],
      ['d.jobs[0].rate_limits[0].limit_expression must not be set beside'],
    ],
    [
      [rate({}), rate({ key: 'l', limit: 0, limitExpression: '${{ nobody }}' })],
      ['d.jobs[0].rate_limits[1].limit_expression '],
    ],
    [[rate({ periodMs: undefined })], ['d.jobs[0].rate_limits[0].period is required: 1 s to 31 days']],
    [[rate({ periodMs: 999 })], ['d.jobs[0].rate_limits[0].period must be']],
    [
      [rate({ cost: 6 })],
      ['d.jobs[0].rate_limits[0].cost must be at most the limit, which is 5: else no job ever starts; got 6'],
    ],
    [[rate({}), rate({})], ['d.jobs[0].rate_limits[1].key names "k" again']],
    [[rate({}), rate({ key: '${{ nobody }}' })], ['d.jobs[0].rate_limits[1].key ']],
    [Array.from({ length: 9 }, (_, n) => rate({ key: `k${n}` })), ['d.jobs[0].rate_limits ']],
  ])('says what is wrong with %j', (rateLimits, told) => {
    expect(check({ rateLimits }).found).toEqual(told.map((text) => expect.stringContaining(text)));
  });
});
