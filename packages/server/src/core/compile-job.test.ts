// Fields that are known before a run, as a definition has them.
import { describe, expect, it } from 'vitest';
import { checkDefinition, type DefinitionInput, type JobInput } from './check-definition.ts';
import type { Found } from './check-fields.ts';
import type { JsonValue } from './json.ts';
import { checkAtOnce } from './testing/at-once.ts';
import { definitionInput as definition, jobInput as job } from './testing/inputs.ts';

const matrix = { axes: { n: [1, 2] }, maxParallel: 0, failFast: false };

function findings(jobs: readonly JobInput[], rest: Partial<DefinitionInput> = {}): Found {
  const found: Found = [];
  checkAtOnce(checkDefinition, found, 'definition', definition(jobs, rest));
  return found;
}

describe('what an expression reads', () => {
  it.each<[string, readonly JobInput[], Partial<DefinitionInput>, string, RegExp]>([
    [
      'a misspelt field of a need',
      [job('a'), job('b', { needs: ['a'], if: 'needs.a.outcom == "failed"' })],
      {},
      'jobs[1].if',
      /no field "outcom"; did you mean "outcome"/,
    ],
    [
      'a field that no run has',
      [job('a', { spec: { x: '${{ run.foo }}' } })],
      {},
      'jobs[0].spec.x',
      /"foo"; known are id/,
    ],
    [
      'a misspelt field of the trigger',
      [job('a', { if: 'trigger.knd == ""' })],
      {},
      'jobs[0].if',
      /did you mean "kind"/,
    ],
    ['a value that env lacks', [job('a', { if: 'has(env.FOO)' })], { env: { FOOD: '' } }, 'jobs[0].if', /mean "FOOD"/],
    ['a value of no env', [job('a', { if: 'env.FOO == ""' })], {}, 'jobs[0].if', /env has no field "FOO"/],
    ['a field that no run has in env', [job('a')], { env: { x: '${{ run.foo }}' } }, 'env.x', /"foo"/],
    ['what no cell has', [job('a', { matrix, if: 'has(matrix.y)' })], {}, 'jobs[0].if', /"y"; known are n$/],
    [
      'what no included cell has',
      [job('a', { matrix: { ...matrix, include: [{ n: 3, os: 'x' }] }, spec: { x: '${{ matrix.y }}' } })],
      {},
      'jobs[0].spec.x',
      /"y"; known are n, os$/,
    ],
  ])('is refused: %s', (_, jobs, rest, field, description) => {
    expect(findings(jobs, rest)).toMatchObject([
      { field: `definition.${field}`, description: expect.stringMatching(description) },
    ]);
  });

  it.each<[string, JsonValue]>([
    ['an entry', [{ y: 1 }]],
    ['an expression', '${{ needs.p.outputs.cells }}'],
    ['an entry that is an expression', ['${{ needs.p.outputs.cell }}']],
  ])('is taken where %s may bring what a cell has', (_, include) => {
    const found = findings([job('p'), job('a', { needs: ['p'], matrix: { ...matrix, include }, if: 'has(matrix.y)' })]);
    expect(found).toEqual([]);
  });
});
