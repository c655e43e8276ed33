// Types that a definition says before it runs: what of its expressions is refused by them, and what is not, since it is not sure.
import { describe, expect, it } from 'vitest';
import { checkDefinition, type JobInput } from './check-definition.ts';
import type { Found } from './check-fields.ts';
import type { JobDefinition } from './definition.ts';
import { checkAtOnce } from './testing/at-once.ts';
import { asWritten, jobNamed } from './testing/definitions.ts';

const paramsSchema = {
  properties: {
    environment: { enum: ['staging', 'production'] },
    n: { type: 'integer' },
    nested: { type: 'object', properties: { on: { type: 'boolean' } } },
    maybe: { type: ['string', 'null'] },
  },
};
const outputsSchema = { properties: { count: { type: 'integer' }, names: { type: 'array' } } };
const env = { plain: 'text', value: '${{ params.n }}', mixed: 'is ${{ params.n }}' };
const axes = { node: [22, 24], os: ['linux'], mixed: [1, 'a'], later: ['${{ params.n }}'], all: '${{ [1] }}' };

/** What is found of a job that needs others with a schema of their outputs. */
function findings(rest: Partial<JobDefinition>): readonly string[] {
  const found: Found = [];
  const typed = (name: string, more: Partial<JobDefinition> = {}): JobDefinition =>
    jobNamed(name, { outputsSchema, ...more });
  const jobs = [
    typed('a'),
    typed('allowed', { allowFailure: true }),
    typed('cells', { matrix: { axes: { n: [1] } } }),
    jobNamed('last', { needs: ['a', 'allowed', 'cells'], ...rest }),
  ].map((job): JobInput => {
    const matrix = job.matrix && { matrix: { ...job.matrix, maxParallel: 0, failFast: false } };
    return { ...asWritten(job), ...matrix };
  });
  const input = { jobs, labels: {}, stages: [], env, failFast: false, paramsSchema };
  checkAtOnce(checkDefinition, found, 'definition', input);
  return found.map(({ field, description }) => `${field.replace('definition.jobs[3].', '')} ${description}`);
}

describe('is refused', () => {
  it.each<[string, string]>([
    ['params.environment', 'must be true or false; "params.environment" is of type string'],
    ['params["n"] + "a" == ""', 'cannot apply + to number and string'],
    ['params.environment.foo', 'cannot read the field "foo" of string'],
    ['has(params.environment.foo)', 'cannot read the field "foo" of string'],
    ['!params.nested', 'cannot apply ! to map'],
    ['params.nested.on > 1', 'cannot apply > to bool and int'],
    ['labels.branch', 'is of type string'],
    ['trigger.actor + 1 == ""', 'cannot apply + to string and int'],
    ['run.status', 'is of type string'],
    ['run.revision + "" == ""', 'cannot apply + to int and string'],
    ['env.plain > 1', 'cannot apply > to string and int'],
    ['needs.a.outcome', 'is of type string'],
    ['needs.a.outputs', 'is of type map'],
    ['needs.a.outputs.count == 1 && needs.a.outputs.names', 'expected a bool, got list'],
    ['params.n + params.n', 'is of type number'],
    ['params.anything ? params.n : 1', 'is of type number'],
  ])('if: %s', (source, problem) => {
    expect(findings({ if: source })).toEqual([expect.stringContaining(problem)]);
  });

  it('at its place, of values that a matrix has written out', () => {
    const spec = { a: '${{ matrix.os + 1 }}', b: 'on ${{ matrix.node.x }}' };
    expect(findings({ matrix: { axes }, spec })).toEqual([
      expect.stringMatching(/^spec\.a .*cannot apply \+ to string and int/),
      expect.stringMatching(/^spec\.b .*cannot read the field "x" of number/),
    ]);
  });

  it('where it is an axis that comes to no list', () => {
    expect(findings({ matrix: { axes: { n: '${{ params.environment }}' } } })).toEqual([
      expect.stringMatching(/^matrix\.axes\.n must be a list; .* is of type string$/),
    ]);
  });

  it('in a value of env, too', () => {
    const found: Found = [];
    const jobs = [asWritten(jobNamed('a'))];
    const input = { jobs, labels: {}, stages: [], env: { bad: '${{ !params.n }}' }, failFast: false, paramsSchema };
    checkAtOnce(checkDefinition, found, 'definition', input);
    expect(found).toMatchObject([{ field: 'definition.env.bad' }]);
  });
});

describe('is left to the run', () => {
  it.each([
    ['what the schema does not say', { if: 'params.maybe + 1 == params.other' }],
    ['a number that may be whole', { if: 'params.n % 2 == 0 && params.n / 2.5 > 1 && [1, 2][params.n] == 1' }],
    ['a value of env that is an expression', { if: 'env.value + 1 == 2' }],
    ['outputs of a failure that is allowed', { if: 'needs.allowed.outputs.count' }],
    ['outputs where a failure may be read', { if: 'needs.a.outputs.count', when: 'ALWAYS' }],
    ['outputs by the keys of cells', { if: 'needs.cells.outputs.count' }],
    [
      'values of a matrix that differ, or are worked out',
      { matrix: { axes }, spec: { a: '${{ matrix.mixed + 1 }}', b: '${{ !matrix.later }}', c: '${{ !matrix.all }}' } },
    ],
    [
      'a value that an inclusion has otherwise',
      { matrix: { axes, include: [{ os: 1 }] }, spec: { a: '${{ matrix.os + 1 }}' } },
    ],
  ] satisfies [string, Partial<JobDefinition>][])('%s', (_, job) => {
    expect(findings(job)).toEqual([]);
  });
});
