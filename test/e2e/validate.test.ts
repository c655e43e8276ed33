// Everything that is wrong with a file, told at once and at its place, by the command and a real server.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../packages/cli/src/testing/run-command.ts';
import { startSystem, type System } from './system.ts';

let system: System;
let env: Record<string, string>;
beforeAll(async () => {
  system = await startSystem({ replicas: 1 });
  env = {
    CONVEYOR_ADDRESS: system.replicas[0]!.ready.grpcAddress,
    CONVEYOR_TOKEN: await system.token('operator'),
  };
});
afterAll(() => system[Symbol.asyncDispose]());

/** What is told of a file, without the list of fields that there are. */
async function told(yaml: string, args: readonly string[] = ['validate']): Promise<string[]> {
  const { exitCode, stdout, stderr } = await run([...args, '-f', '-'], env, yaml);
  expect(exitCode).toBe(2);
  const lines = `${stdout}${stderr}`.trimEnd().split('\n');
  return lines.map((line) => line.replace(/^<stdin>:/, '').replace(/ these are: .*/, ''));
}

const EVERYTHING = `name: ci
labels: { pr: 42 }
jobs:
  - name: build
    drvier: shell
    if: parms.fast
  - name: test
    driver: shell
    nedes: [biuld]
    when: alwys
  - name: report
    driver: shell
    needs: [test, build]
    spec:
      text: "\${{ needs.biuld.outputs.image }}"
`;
const ALL = [
  '2:11: labels.pr: must be text; put it in quotes',
  '5:5: jobs[0].drvier: is no field here; did you mean driver?',
  '6:9: jobs[0].if: there is no variable "parms"; did you mean "params"?',
  '9:5: jobs[1].nedes: is no field here; did you mean needs?',
  '9:13: jobs[1].nedes[0]: there is no job "biuld"; did you mean "build"?',
  '10:5: jobs[1].when: must be success or always or failure or finally; did you mean always?',
  '15:24: jobs[2].spec.text: there is no job "biuld" among the needs; did you mean needs.build?',
];

it('tells all of it in the order of the file, whoever finds it', async () => {
  expect(await told(EVERYTHING)).toEqual(ALL);
});

it.each([['apply'], ['run'], ['diff']])('%s tells the same, and does nothing', async (command) => {
  expect(await told(EVERYTHING, [command])).toEqual(['error: <stdin> is no pipeline', ...ALL]);
  expect(await Array.fromAsync(system.replicas[0]!.client.pipelines.list())).toEqual([]);
  expect(await Array.fromAsync(system.replicas[0]!.client.runs.list())).toEqual([]);
});

describe('nothing is told that only follows', () => {
  const build = '{ name: build, driver: shell }';
  it.each([
    ['a name that is none', `jobs: [{ name: [build], driver: a }, { name: b, driver: a, needs: [build] }]`, ['name']],
    ['a job that is none', `jobs: [build, { name: b, driver: a, needs: [build] }]`, ['jobs[0]']],
    ['jobs that are no list', `jobs: { build: { driver: shell } }`, ['jobs']],
    ['a name that is a number', `jobs: [{ name: 1, driver: a }, { name: b, driver: a, needs: ["1"] }]`, ['name']],
    ['a driver that is none', `jobs: [{ name: a, driver: [shell] }]`, ['driver']],
    ['a gate that is none', `jobs: [{ name: a, gate: true }]`, ['gate']],
    [
      'a need by itself',
      `jobs: [${build}, { name: b, driver: a, needs: build, if: needs.build.outputs.x }]`,
      ['needs'],
    ],
    [
      'needs that are none',
      `jobs: [${build}, { name: b, driver: a, needs: { a: 1 }, if: needs.build.outputs.x }]`,
      ['needs'],
    ],
    [
      'an element of needs',
      `jobs: [${build}, { name: b, driver: a, needs: [[build]], if: needs.build.outputs.x }]`,
      ['needs[0]'],
    ],
    [
      'needs by another name',
      `jobs: [${build}, { name: b, driver: a, depends: [build], if: needs.build.outputs.x }]`,
      ['depends'],
    ],
    ['a failure after lost needs', `jobs: [${build}, { name: b, driver: a, needs: {}, when: failure }]`, ['needs']],
    ['lost axes', `jobs: [{ name: b, driver: a, matrix: { axes: [1] }, if: matrix.x == 1 }]`, ['axes']],
    ['a lost matrix', `jobs: [{ name: b, driver: a, matrix: [1], if: matrix.x == 1 }]`, ['matrix']],
    ['a lost value of env', `env: { A: [1] }\njobs: [{ name: b, driver: a, if: env.A == "1" }]`, ['env.A']],
    ['lost stages', `stages: { a: 1 }\njobs: [{ name: b, driver: a, stage: a }]`, ['stages']],
    ['a lost timeout', `jobs: [{ name: b, gate: { timeout: soon, onTimeout: skip } }]`, ['timeout']],
    [
      'a lost when',
      `jobs: [{ name: a, driver: a, when: finally }, { name: b, driver: a, needs: [a], when: last }]`,
      ['when'],
    ],
    [
      'a lost schema of params',
      `paramsSchema: [1]\njobs: [{ name: b, driver: a, if: params.x == 1 }]`,
      ['paramsSchema'],
    ],
    ['a misspelt name of the pipeline', `nmae: ci\njobs: [${build}]`, ['nmae']],
  ])('from %s', async (_, yaml, paths) => {
    const lines = await told(yaml.startsWith('nmae') ? yaml : `name: ci\n${yaml}`);
    expect(lines.map((line) => line.replace(/^\d+:\d+: /, '').split(': ')[0])).toEqual(
      paths.map((path) => expect.stringMatching(new RegExp(`(?:^|\\.)${path.replaceAll(/[[\]]/g, '\\$&')}$`))),
    );
  });

  it('but what has nothing to do with it', async () => {
    const yaml = `name: ci
paramsSchema: { additionalProperties: false, properties: { target: {} } }
jobs:
  - name: a
    driver: shell
    timeouts: { runTimeout: 10 minutes }
    spec: { text: "\${{ params.taget }} of \${{ needs.b }}" }
    if: size(3) == 1 && params.target + size(true) == parms.x
  - { name: b, driver: 1.5, secrets: { a: b }, matrix: {} }
`;
    expect(await told(yaml)).toEqual([
      expect.stringMatching(/^6:17: jobs\[0\]\.timeouts\.runTimeout: must be a duration/),
      '7:31: jobs[0].spec.text: params has no field "taget"; did you mean "target"?',
      '7:53: jobs[0].spec.text: there is no job "b" among the needs',
      expect.stringMatching(/^8:9: jobs\[0\]\.if: .* can never be worked out: cannot apply size to int$/),
      expect.stringMatching(/^8:41: jobs\[0\]\.if: .* can never be worked out: cannot apply size to bool$/),
      '8:55: jobs[0].if: there is no variable "parms"; did you mean "params"?',
      expect.stringMatching(/^9:16: jobs\[1\]\.driver: must be text; put it in quotes/),
      expect.stringMatching(/^9:29: jobs\[1\]\.secrets: must be a list/),
      '9:48: jobs[1].matrix: must have axes or include: it has no cells',
    ]);
  });

  it('but what is missing beside a scalar that is wrong', async () => {
    const yaml = `name: ci
paramSchema: [1]
paramsSchema: { additionalProperties: false, properties: { target: {} } }
jobs:
  - name: a
    driver: shell
    concurrency: { key: "\${{ params.taget }}", limit: "2" }
    matrix: { axes: { os: ["\${{ params.os }}"] }, maxParallel: two, include: [{ v: "\${{ params.v }}" }] }
    spec: { text: "\${{ matrix.arch }}" }
`;
    expect(await told(yaml)).toEqual([
      expect.stringMatching(/^2:1: paramSchema: is no field here; did you mean paramsSchema\?/),
      '7:37: jobs[0].concurrency.key: params has no field "taget"; did you mean "target"?',
      expect.stringMatching(/^7:48: jobs\[0\]\.concurrency\.limit: must be a whole number/),
      '8:40: jobs[0].matrix.axes.os[0]: params has no field "os"; known are target',
      expect.stringMatching(/^8:51: jobs\[0\]\.matrix\.maxParallel: must be a whole number/),
      '8:96: jobs[0].matrix.include[0].v: params has no field "v"; known are target',
      '9:31: jobs[0].spec.text: matrix has no field "arch"; known are os, v',
    ]);
  });

  it('but what is wrong beside it', async () => {
    const yaml = `name: ci
version: 1
jobs:
  - { name: a, driver: shell, steps: [make], needs: [b] }
  - { name: c, driver: Shell, needs: [a, [d], e] }
`;
    expect(await told(yaml)).toEqual([
      '2:1: version: is no field here;',
      '4:31: jobs[0].steps: is no field here;',
      '4:54: jobs[0].needs[0]: there is no job "b"',
      '5:16: jobs[1].driver: must be 1 to 63 characters of a-z 0-9 -, beginning with a letter; got "Shell"',
      '5:42: jobs[1].needs[1]: must be text',
      '5:47: jobs[1].needs[2]: there is no job "e"',
    ]);
  });
});

it('points into expressions, each of several lines and texts', async () => {
  const yaml = `name: ci
jobs:
  - name: a
    driver: shell
    if: |
      params.a
        && parms.b
        && foo()
    spec:
      plain: say \${{ params.a }} and \${{ parms.b }}
      folded: >
        say
        \${{ parms.b }}
      bad: "\${{ params.a + }}"
`;
  expect(await told(yaml)).toEqual([
    '7:12: jobs[0].if: there is no variable "parms"; did you mean "params"?',
    '8:12: jobs[0].if: there is no function "foo"',
    '10:42: jobs[0].spec.plain: there is no variable "parms"; did you mean "params"?',
    '11:15: jobs[0].spec.folded: at line 1, column 9: there is no variable "parms"; did you mean "params"?',
    '14:27: jobs[0].spec.bad: "params.a +" ends too early',
  ]);
  const { stdout } = await run(['validate', '-f', '-', '-o', 'json'], env, yaml);
  expect(JSON.parse(stdout)).toMatchObject([{ line: 7, column: 12 }, { line: 8, column: 12 }, {}, {}, {}]);
});
