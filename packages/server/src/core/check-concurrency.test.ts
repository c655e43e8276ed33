import { describe, expect, it } from 'vitest';
import type { ConcurrencyInput, RateLimitInput } from './check-concurrency.ts';
import { checkDefinition, type JobInput } from './check-definition.ts';
import type { Found } from './check-fields.ts';

function check(job: Partial<JobInput>) {
  const found: Found = [];
  const base = { name: 'job', driver: 'shell', needs: [], secrets: [], allowFailure: false };
  const jobs = [{ ...base, ...job }];
  const definition = checkDefinition(found, 'd', { jobs, labels: {}, stages: [], env: {}, failFast: false });
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
  });

  it.each([
    [[rate({ limit: 0 })], ['d.jobs[0].rate_limits[0].limit must be']],
    [[rate({ periodMs: undefined })], ['d.jobs[0].rate_limits[0].period is required: 1 s to 31 days']],
    [[rate({ periodMs: 999 })], ['d.jobs[0].rate_limits[0].period must be']],
    [[rate({ cost: 6 })], ['d.jobs[0].rate_limits[0].cost must be']],
    [[rate({}), rate({})], ['d.jobs[0].rate_limits[1].key names "k" again']],
    [[rate({}), rate({ key: '${{ nobody }}' })], ['d.jobs[0].rate_limits[1].key ']],
    [Array.from({ length: 9 }, (_, n) => rate({ key: `k${n}` })), ['d.jobs[0].rate_limits ']],
  ])('says what is wrong with %j', (rateLimits, told) => {
    expect(check({ rateLimits }).found).toEqual(told.map((text) => expect.stringContaining(text)));
  });
});
