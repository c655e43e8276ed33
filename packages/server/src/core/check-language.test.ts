// What is wrong with the parts of a definition that a run works out, all of it at once and each at its place.
import { describe, expect, it } from 'vitest';
import { checkDefinition, type DefinitionInput, type JobInput } from './check-definition.ts';
import type { Found } from './check-fields.ts';
import { checkAtOnce } from './testing/at-once.ts';

function job(name: string, rest: Partial<JobInput> = {}): JobInput {
  return {
    name,
    driver: 'shell',
    needs: [],
    secrets: [],
    allowFailure: false,
    ...rest,
  };
}

const undriven = (name: string, rest: Partial<JobInput>): JobInput => job(name, { driver: '', ...rest });

function findings(jobs: readonly JobInput[], rest: Partial<DefinitionInput> = {}): Found {
  const found: Found = [];
  checkAtOnce(checkDefinition, found, 'definition', {
    jobs,
    labels: {},
    stages: [],
    env: {},
    failFast: false,
    ...rest,
  });
  return found;
}

const matrix = { axes: { n: [1, 2] }, maxParallel: 0, failFast: false };
const countTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
const gate = { message: '', approvers: [], quorum: 0 };
const call = { pipeline: 'other', revision: 0 };

describe('what a run works out', () => {
  it('is not told by a need that there is none of', () => {
    const told = findings([job('build'), job('test', { needs: ['biuld'], if: "needs.buidl.outcome == 'succeeded'" })]);
    expect(told.map(({ description }) => description)).toEqual([
      'there is no job "biuld"; did you mean "build"?',
      'at column 7: there is no job "buidl" among the needs',
    ]);
  });

  it('is taken when nothing is wrong with it', () => {
    const found = findings(
      [
        job('build', { if: 'params.go', matrix }),
        job('test', {
          needs: ['build'],
          stage: 'two',
          spec: { image: '${{ needs.build.outputs["1"].image }} ${{ env.tag }}' },
        }),
        job('first', { stage: 'one' }),
        undriven('ask', { gate: { ...gate, timeoutMs: 1_000, onTimeout: 'SKIP', formSchema: { type: 'object' } } }),
        undriven('call', { needs: ['ask'], call: { ...call, params: { x: '${{ needs.ask.outputs.x }}' } } }),
        job('last', { when: 'FINALLY', needs: ['test'] }),
        job('sorry', { when: 'FAILURE', needs: ['call'] }),
      ],
      { stages: ['one', 'two'], env: { tag: 'v${{ run.revision }}' }, failFast: true },
    );
    expect(found).toEqual([]);
  });

  it('may read params and outputs that an open schema does not name, and a matrix by its cells', () => {
    const closed = { properties: { image: {} }, additionalProperties: false };
    const found = findings(
      [
        job('open', { outputsSchema: { properties: { image: {} } } }),
        job('cells', { matrix, outputsSchema: closed }),
        job('b', {
          needs: ['open', 'cells'],
          spec: { x: '${{ needs.open.outputs.y + needs.cells.outputs["1"].image + params.z + params["x-1"] }}' },
        }),
      ],
      { paramsSchema: { ...closed, patternProperties: { '^x': {} }, properties: { z: {} } } },
    );
    expect(found).toEqual([]);
  });

  it.each<[string, readonly JobInput[], Partial<DefinitionInput>, string, RegExp]>([
    ['a variable that is none', [job('a', { if: 'parms.x' })], {}, 'jobs[0].if', /parms.*did you mean "params"/],
    [
      'a need that is not declared',
      [job('build'), job('a', { if: 'needs.build.outcome == "failed"' })],
      {},
      'jobs[1].if',
      /build/,
    ],
    [
      'a misspelt need',
      [job('build'), job('a', { needs: ['build'], if: 'needs.biuld.outcome == ""' })],
      {},
      'jobs[1].if',
      /did you mean needs\.build/,
    ],
    [
      'a misspelt function',
      [job('a', { if: 'params.x.startWith("a")' })],
      {},
      'jobs[0].if',
      /startWith.*did you mean startsWith/,
    ],
    ['what is no expression', [job('a', { if: 'params.x ==' })], {}, 'jobs[0].if', /column 1\d/],
    ['cells outside of a matrix', [job('a', { if: 'matrix.n == 1' })], {}, 'jobs[0].if', /matrix/],
    [
      'an expression in a spec',
      [job('a', { spec: { deep: [{ x: '${{ nothing.y }}' }] } })],
      {},
      'jobs[0].spec.deep[0].x',
      /nothing/,
    ],
    ['an expression without an end', [job('a', { spec: { x: 'a ${{ params.x' } })], {}, 'jobs[0].spec.x', /}}/],
    ['needs in env', [job('a')], { env: { x: '${{ needs.a.outputs.b }}' } }, 'env.x', /needs/],
    ['a name of env with a dash', [job('a')], { env: { 'x-y': '' } }, 'env.x-y', /not beginning with a digit/],
    [
      'a hundred million cells',
      [
        job('a', {
          matrix: {
            ...matrix,
            axes: Object.fromEntries(['a', 'b', 'c', 'd'].map((axis) => [axis, countTo(100)])),
          },
        }),
      ],
      {},
      'jobs[0].matrix',
      /100000000 combinations/,
    ],
    [
      'so many beside an axis that is not known yet',
      [
        job('p'),
        job('a', {
          needs: ['p'],
          matrix: { ...matrix, axes: { x: '${{ needs.p.outputs.x }}', a: countTo(101), b: countTo(100) } },
        }),
      ],
      {},
      'jobs[1].matrix',
      /10100 combinations/,
    ],
    [
      'an axis that is no list',
      [job('a', { matrix: { ...matrix, axes: { n: 'linux' } } })],
      {},
      'jobs[0].matrix.axes.n',
      /list/,
    ],
    [
      'an axis that is a text with an expression in it',
      [job('a', { matrix: { ...matrix, axes: { n: 'x${{ params.l }}' } } })],
      {},
      'jobs[0].matrix.axes.n',
      /must be a list: a text .* write the expression alone/,
    ],
    [
      'an axis whose expression is a text',
      [job('a', { matrix: { ...matrix, axes: { n: '${{ "x" }}' } } })],
      {},
      'jobs[0].matrix.axes.n',
      /must be a list; .* is of type string/,
    ],
    [
      'a value of an axis that is there twice',
      [job('a', { matrix: { ...matrix, axes: { n: [1, 2, 1, 2] } } })],
      {},
      'jobs[0].matrix.axes.n[2]',
      /"1" is at 0 already/,
    ],
    [
      'an exclude of everything',
      [job('a', { matrix: { ...matrix, exclude: [{}] } })],
      {},
      'jobs[0].matrix',
      /names no axis: it would exclude everything/,
    ],
    [
      'more cells together than a run has jobs',
      Array.from({ length: 11 }, (_, n) =>
        job(`j${n}`, { matrix: { ...matrix, axes: { n: Array.from({ length: 1_000 }, (_value, i) => i) } } }),
      ),
      {},
      'jobs',
      /are 11011 with the cells of their matrices; at most 10000/,
    ],
    ['a condition that is no truth', [job('a', { if: '1 + 1' })], {}, 'jobs[0].if', /must be true or false.*type int/],
    ['a call that nobody can make', [job('a', { if: 'size(1, 2) == 1' })], {}, 'jobs[0].if', /cannot apply size/],
    ['bytes in a spec', [job('a', { spec: { x: '${{ b"abc" }}' } })], {}, 'jobs[0].spec.x', /bytes, which has no JSON/],
    [
      'a param that the schema does not allow',
      [job('a', { if: 'params.evn == "x"' })],
      { paramsSchema: { properties: { env: {} }, additionalProperties: false } },
      'jobs[0].if',
      /params has no field "evn"; did you mean "env"/,
    ],
    [
      'such a param in a value of env',
      [job('a')],
      { env: { x: '${{ params.evn }}' }, paramsSchema: { properties: { env: {} }, additionalProperties: false } },
      'env.x',
      /did you mean "env"/,
    ],
    [
      'an output that the schema of a need does not allow',
      [
        job('a', { outputsSchema: { properties: { image: {} }, additionalProperties: false } }),
        job('b', { needs: ['a'], spec: { x: '${{ needs["a"].outputs.imgae }}' } }),
      ],
      {},
      'jobs[1].spec.x',
      /job "a" has no output "imgae"; did you mean "image"/,
    ],
    [
      'a matrix of nothing',
      [job('a', { matrix: { maxParallel: 0, failFast: false } })],
      {},
      'jobs[0].matrix',
      /axes or include/,
    ],
    [
      'no cell at a time',
      [job('a', { matrix: { ...matrix, maxParallel: -1 } })],
      {},
      'jobs[0].matrix.max_parallel',
      /1 to 1000/,
    ],
    ['a gate with a driver', [job('a', { gate })], {}, 'jobs[0].driver', /gate, which no driver runs/],
    ['a gate with retries', [undriven('a', { gate, retry: {} })], {}, 'jobs[0].retry', /gate/],
    ['a gate that is a call', [undriven('a', { gate, call })], {}, 'jobs[0].call', /one thing/],
    [
      'a gate that would ask for an expression',
      [undriven('a', { gate: { ...gate, message: 'Ship ${{ env.image }}?' } })],
      { env: { image: 'x' } },
      'jobs[0].gate.message',
      /shown as it is/,
    ],
    [
      'a gate that expires without a timeout',
      [undriven('a', { gate: { ...gate, onTimeout: 'SKIP' } })],
      {},
      'jobs[0].gate.on_timeout',
      /timeout/,
    ],
    [
      'a gate that opens without what its form requires',
      [
        undriven('a', {
          gate: { ...gate, timeoutMs: 1_000, onTimeout: 'APPROVE', formSchema: { required: ['ticket'] } },
        }),
      ],
      {},
      'jobs[0].gate.on_timeout',
      /nobody fills in "ticket"/,
    ],
    [
      'a cycle of needs that stages stand for',
      [job('a', { stage: 'one', needs: ['b'] }), job('b', { stage: 'two' })],
      { stages: ['one', 'two'] },
      'jobs[1].needs[0]',
      /a -> b -> a; each job of a stage needs those of the stage before: "a" is of stage "one", "b" is of stage "two"$/,
    ],
    [
      'a quorum of too many',
      [undriven('a', { gate: { ...gate, quorum: 101 } })],
      {},
      'jobs[0].gate.quorum',
      /1 to 100/,
    ],
    [
      'a form that asks for no object',
      [undriven('a', { gate: { ...gate, formSchema: { type: 'string' } } })],
      {},
      'jobs[0].gate.form_schema.type',
      /"object"/,
    ],
    [
      'a call of what is no name',
      [undriven('a', { call: { ...call, pipeline: 'No Name' } })],
      {},
      'jobs[0].call.pipeline',
      /a-z/,
    ],
    [
      'a stage that is none',
      [job('a', { stage: 'buidl' })],
      { stages: ['build'] },
      'jobs[0].stage',
      /did you mean "build"/,
    ],
    ['a stage twice', [job('a', { stage: 'x' })], { stages: ['x', 'x'] }, 'stages[1]', /again/],
    [
      'a FINALLY job in a stage',
      [job('a', { stage: 'x', when: 'FINALLY' })],
      { stages: ['x'] },
      'jobs[0].stage',
      /FINALLY/,
    ],
    [
      'a need of a FINALLY job',
      [job('a', { when: 'FINALLY' }), job('b', { needs: ['a'] })],
      {},
      'jobs[1].needs[0]',
      /FINALLY/,
    ],
    ['a FAILURE job without needs', [job('a', { when: 'FAILURE' })], {}, 'jobs[0].when', /nothing can fail/],
    [
      'stages that make a cycle',
      [job('a', { stage: 'x', needs: ['b'] }), job('b', { stage: 'y' })],
      { stages: ['x', 'y'] },
      'jobs[1].needs[0]',
      /cycle: .*(a -> b -> a|b -> a -> b)/,
    ],
    [
      'too many matrices',
      Array.from({ length: 101 }, (_, n) => job(`j${n}`, { matrix })),
      {},
      'jobs',
      /101 jobs have a matrix/,
    ],
    [
      'too much to work out',
      Array.from({ length: 129 }, (_, n) => job(`j${n}`, { if: `params.x == "${'y'.repeat(1_005)}"` })),
      {},
      'jobs[128]',
      /131072 characters/,
    ],
  ])('is refused: %s', (_, jobs, rest, field, description) => {
    expect(findings(jobs, rest)).toContainEqual(
      expect.objectContaining({
        field: `definition.${field}`,
        description: expect.stringMatching(description),
      }),
    );
  });

  it('is told all at once', () => {
    const found = findings([job('a', { if: 'x', matrix: { ...matrix, maxParallel: 2_000 }, spec: { y: '${{ z }}' } })]);
    expect(found.map(({ field }) => field)).toEqual([
      'definition.jobs[0].matrix.max_parallel',
      'definition.jobs[0].if',
      'definition.jobs[0].spec.y',
    ]);
  });

  it('takes needs ten thousand deep', () => {
    const jobs = Array.from({ length: 10_000 }, (_, n) => job(`j${n}`, n === 0 ? {} : { needs: [`j${n - 1}`] }));
    expect(findings(jobs)).toEqual([]);
  });

  it('looks once at each value of an axis for one that is there twice', () => {
    const n = [...Array(150_000).keys(), 7];
    expect(findings([job('a', { matrix: { ...matrix, axes: { n } } })])[0]).toEqual({
      field: 'definition.jobs[0].matrix.axes.n[150000]',
      description: 'must not be there twice: "7" is at 7 already',
    });
  });
});

describe('what would be large once it is written out', () => {
  const many = (count: number, rest: (index: number) => Partial<JobInput>): JobInput[] =>
    Array.from({ length: count }, (_, index) => job(`j${index}`, rest(index)));

  it.each<[string, readonly JobInput[], Partial<DefinitionInput>, string, RegExp]>([
    [
      'stages that stand for a million needs',
      many(2_000, (index) => ({ stage: `s${index % 2}` })),
      { stages: ['s0', 's1'] },
      'definition.stages',
      /1000000 needs.*at most 250000/,
    ],
    [
      'a thousand last jobs after a thousand',
      many(2_000, (index) => (index % 2 === 0 ? { when: 'FINALLY' } : {})),
      {},
      'definition.jobs',
      /1000000 needs/,
    ],
    [
      'stages whose needs are long to show',
      many(900, (index) => ({ name: `${'n'.repeat(55)}${index}`, stage: `s${index % 2}` })),
      { stages: ['s0', 's1'] },
      'definition',
      /bytes as JSON, with the needs/,
    ],
    [
      'more stages than are looked at',
      many(1, () => ({ stage: 's1' })),
      { stages: Array.from({ length: 100_000 }, (_, index) => `s${index}`) },
      'definition.stages',
      /100/,
    ],
  ])('is refused before: %s', (_, jobs, rest, field, description) => {
    expect(findings(jobs, rest)).toContainEqual(
      expect.objectContaining({ field, description: expect.stringMatching(description) }),
    );
  });
});
