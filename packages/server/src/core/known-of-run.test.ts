// What appended jobs may read is known by the definition of their run, and by the jobs that come with them.
import { describe, expect, it } from 'vitest';
import { checkAppendedJobs } from './check-definition.ts';
import type { Found } from './check-fields.ts';
import type { Definition, JobDefinition } from './definition.ts';
import type { JsonObject } from './json.ts';
import { type KnownOfRun, knownOfRun } from './known-of-run.ts';
import { checkAtOnce } from './testing/at-once.ts';
import { asWritten, jobNamed } from './testing/definitions.ts';

function closed(...names: string[]): JsonObject {
  const properties = Object.fromEntries(names.map((name) => [name, { type: 'string' }]));
  return { type: 'object', properties, additionalProperties: false };
}

const run: Definition = {
  jobs: [
    jobNamed('build', { outputsSchema: closed('image') }),
    jobNamed('open'),
    jobNamed('many', { matrix: { axes: { n: [1] } }, outputsSchema: closed('image') }),
  ],
  labels: {},
  env: { registry: 'example.org' },
  paramsSchema: closed('target'),
  added: [
    { job: 2, cells: [{ key: '1', values: { n: 1 } }] },
    { by: 0, jobs: [jobNamed('pack', { outputsSchema: closed('digest') })] },
  ],
};

function wrongIn(known: KnownOfRun, ...jobs: JobDefinition[]): readonly string[] {
  const found: Found = [];
  checkAtOnce(checkAppendedJobs, found, 'jobs', jobs.map(asWritten), known);
  return found.map(({ field, description }) => `${field}: ${description}`);
}

describe('an appended job', () => {
  it.each<[string, Partial<JobDefinition>, RegExp]>([
    ['a param', { spec: { a: '${{ params.taget }}' } }, /^jobs\[0\]\.spec\.a: .*"taget"; did you mean "target"/],
    ['env', { if: 'env.registy == ""' }, /^jobs\[0\]\.if: .*"registy"; did you mean "registry"/],
    [
      'an output of a job of the definition',
      { needs: ['build'], if: 'needs.build.outputs.imag == ""' },
      /"imag"; did you mean "image"/,
    ],
    [
      'an output of a job that was appended before',
      { needs: ['pack'], if: 'needs.pack.outputs.digst == ""' },
      /"digst"; did you mean "digest"/,
    ],
    [
      'an output of a job that is appended with it',
      { needs: ['sign'], if: 'needs.sign.outputs.signatur == ""' },
      /"signatur"; did you mean "signature"/,
    ],
  ])('is refused when it misspells %s', (_, change, expected) => {
    const sign = jobNamed('sign', { outputsSchema: closed('signature') });
    expect(wrongIn(knownOfRun(run), jobNamed('a', change), sign)).toEqual([expect.stringMatching(expected)]);
  });

  it.each<[string, Partial<JobDefinition>, RegExp]>([
    ['of a param', { if: 'params.target' }, /is of type string$/],
    ['of a job that was appended before', { needs: ['pack'], if: 'needs.pack.outputs.digest' }, /is of type string$/],
    ['of a job that comes with it', { needs: ['sign'], if: 'needs.sign.outputs.signature' }, /is of type string$/],
  ])('is refused when the type %s does not fit', (_, change, expected) => {
    const sign = jobNamed('sign', { outputsSchema: closed('signature') });
    expect(wrongIn(knownOfRun(run), jobNamed('a', change), sign)).toEqual([expect.stringMatching(expected)]);
  });

  it('may read what is there, and whatever may be there', () => {
    const job = jobNamed('a', {
      needs: ['build', 'open', 'many', 'pack', 'unknown'],
      if: 'env.registry == params.target && has(needs.open.outputs.x) && has(needs.unknown.outputs.x)',
      spec: { image: '${{ needs.build.outputs.image }}', cell: '${{ needs.many.outputs["1"].image }}' },
    });
    expect(wrongIn(knownOfRun(run), job)).toEqual([]);
    expect(wrongIn(knownOfRun({ jobs: [], labels: {} }), jobNamed('a', { if: 'params.anything == 1' }))).toEqual([]);
  });

  it('has no env when its run has none', () => {
    const job = jobNamed('a', { if: 'env.registry == ""' });
    expect(wrongIn(knownOfRun({ jobs: [], labels: {} }), job)).toEqual([
      expect.stringContaining('env has no field "registry"'),
    ]);
  });

  it('of a run that is not there is held against what every run has', () => {
    expect(wrongIn({}, jobNamed('a', { if: 'env.FOO == params.bar' }))).toEqual([]);
    expect(wrongIn({}, jobNamed('a', { if: 'run.foo == 1' }))).toEqual([expect.stringContaining('"foo"')]);
  });
});
