import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from './testing/run-command.ts';
import { startScriptedPlane } from './testing/scripted-plane.ts';

const good = (name: string) => `name: ${name}\njobs: [{ name: build, driver: shell }]\n`;
const misspelt =
  'name: wrong\njobs:\n  - { name: build, driver: shell }\n  - { name: test, driver: shell, needs: [biuld] }\n';
const nowhere = { CONVEYOR_ADDRESS: '127.0.0.1:1' };
let directory: string;
const at = (name: string) => join(directory, name);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conveyor-validate-'));
  await mkdir(at('pipelines'));
  await mkdir(at('empty'));
  await writeFile(at('pipelines/a.yaml'), good('a'));
  await writeFile(at('pipelines/b.json'), JSON.stringify({ name: 'b', jobs: [{ name: 'build', driver: 'shell' }] }));
  await writeFile(at('pipelines/notes.txt'), 'no pipeline');
  await writeFile(at('ci.yaml'), good('ci'));
  await writeFile(at('unnamed.yaml'), '# nothing yet\njobs: []\n');
  await writeFile(at('huge.yaml'), '');
  await truncate(at('huge.yaml'), 50 * 1_048_576);
});

afterAll(() => rm(directory, { recursive: true }));

describe('conveyor validate', () => {
  it('says of each file that it is valid, what applying would do, and what could not be checked', async () => {
    await using plane = await startScriptedPlane();
    const result = await run(['validate', '-f', at('ci.yaml'), '-f', at('pipelines'), '-f', '-'], plane.env, good('d'));
    expect(result).toEqual({
      exitCode: 0,
      stdout: [
        `${at('ci.yaml')}: pipeline ci is valid and would be revision 4`,
        `${at('pipelines/a.yaml')}: pipeline a is valid and would be new`,
        `${at('pipelines/b.json')}: pipeline b is valid and would be new`,
        '<stdin>: pipeline d is valid and would be new\n',
      ].join('\n'),
      stderr: [
        `${at('ci.yaml')}:2:23`,
        `${at('pipelines/a.yaml')}:2:23`,
        `${at('pipelines/b.json')}:1:37`,
        '<stdin>:2:23',
      ]
        .map((place) => `warning: ${place}: jobs[0].driver: driver shell has never connected\n`)
        .join(''),
    });
    expect(plane.changes).toMatchObject([{ validate: 'ci' }, { validate: 'a' }, { validate: 'b' }, { validate: 'd' }]);
  });

  it('tells everything that is wrong at its place, whoever found it, and exits 2', async () => {
    await using plane = await startScriptedPlane();
    const args = ['validate', '-f', '-', '-f', at('unnamed.yaml'), '-f', at('ci.yaml'), '-f', at('ci.yaml')];
    const { exitCode, stdout } = await run(args, plane.env, misspelt);
    expect(exitCode).toBe(2);
    expect(stdout.split('\n')).toEqual([
      `${at('unnamed.yaml')}:2:1: name: is required: add a line such as \`name: ci\` at the top`,
      `${at('ci.yaml')}:1:1: name: is also the name of the pipeline in ${at('ci.yaml')}`,
      '<stdin>:4:42: jobs[1].needs[0]: there is no job "biuld"',
      `${at('ci.yaml')}: pipeline ci is valid and would be revision 4`,
      '',
    ]);
  });

  it('--output json gives findings for programs', async () => {
    await using plane = await startScriptedPlane();
    const wrong = await run(['validate', '-f', '-', '-o', 'json'], plane.env, misspelt);
    expect(wrong).toMatchObject({ exitCode: 2, stderr: '' });
    expect(JSON.parse(wrong.stdout)).toEqual([
      {
        severity: 'error',
        file: '<stdin>',
        line: 4,
        column: 42,
        path: 'jobs[1].needs[0]',
        message: 'there is no job "biuld"',
      },
    ]);
    const right = await run(['validate', '-f', '-', '-o', 'json'], plane.env, good('ci'));
    expect(right.exitCode).toBe(0);
    expect(JSON.parse(right.stdout)).toMatchObject([
      { severity: 'warning', line: 2, column: 23, path: 'jobs[0].driver' },
    ]);
  });

  it('tells what a file gets wrong also when no server can be reached, or shall be', async () => {
    const wrong = 'name: a\nlabels: { x: 1 }\njobs:\n  - { nam: build, when: alway }\n';
    const { exitCode, stdout, stderr } = await run(['validate', '-f', '-', '-f', at('unnamed.yaml')], nowhere, wrong);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^note: the server did not look for more: cannot reach the server at 127.0.0.1:1: .*\n$/);
    const offline = await run(['validate', '--offline', '-f', '-', '-f', at('unnamed.yaml')], nowhere, wrong);
    expect(offline).toEqual({ exitCode, stdout, stderr: '' });
    expect(stdout.split('\n').map((line) => line.replace(/ these are.*/, ''))).toEqual([
      '<stdin>:2:11: labels.x: must be text; put it in quotes',
      '<stdin>:4:7: jobs[0].nam: is no field here; did you mean name?',
      '<stdin>:4:19: jobs[0].when: must be success or always or failure or finally; did you mean always?',
      `${at('unnamed.yaml')}:2:1: name: is required: add a line such as \`name: ci\` at the top`,
      '',
    ]);
    expect(await run(['validate', '--offline', '-f', '-'], nowhere, good('a'))).toEqual({
      exitCode: 0,
      stdout: '<stdin>: pipeline a is well-formed\n',
      stderr: '',
    });
  });

  it('tells what the server finds in what was most likely meant beside what the form gets wrong', async () => {
    await using plane = await startScriptedPlane();
    const wrong =
      'name: ci\nlabels: { x: 1 }\njobs:\n  - name: build\n  - { nedes: [biuld], nam: 5, name: test, when: alway }\n';
    const { exitCode, stdout, stderr } = await run(['validate', '-f', '-'], plane.env, wrong);
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: '' });
    expect(stdout.split('\n').map((line) => line.replace(/ these are.*/, ''))).toEqual([
      '<stdin>:2:11: labels.x: must be text; put it in quotes',
      '<stdin>:5:7: jobs[1].nedes: is no field here; did you mean needs?',
      '<stdin>:5:15: jobs[1].nedes[0]: there is no job "biuld"',
      '<stdin>:5:23: jobs[1].nam: is no field here; did you mean name?',
      '<stdin>:5:43: jobs[1].when: must be success or always or failure or finally; did you mean always?',
      '',
    ]);
    const applied = await run(['apply', '-f', '-'], plane.env, wrong);
    expect(applied).toMatchObject({ exitCode: 2, stdout: '', stderr: `error: <stdin> is no pipeline\n${stdout}` });
    expect(plane.changes).toEqual([
      { validate: 'ci', jobs: ['build', 'test'] },
      { validate: 'ci', jobs: ['build', 'test'] },
    ]);
  });

  it('points at the very place in a text', async () => {
    await using plane = await startScriptedPlane();
    const wrong =
      'name: ci\njobs:\n  - { name: build, if: params.x }\n  - { name: test, needs: [biuld], if: "true && parms.x" }\n';
    const { stdout } = await run(['validate', '-f', '-'], plane.env, wrong);
    expect(stdout).toContain('<stdin>:4:48: jobs[1].if: there is no variable "parms"\n');
  });

  it('tells what the files get wrong also when the server cannot be reached for others', async () => {
    const args = ['validate', '-f', at('unnamed.yaml'), '-f', at('ci.yaml'), '-o', 'json'];
    const { exitCode, stdout, stderr } = await run(args, nowhere);
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject([{ file: at('unnamed.yaml'), path: 'name' }]);
    expect(stderr).toContain('cannot reach the server');
  });

  it.each([
    [[], /required option '-f, --file <file>' not specified/],
    [['-f', 'nowhere.yaml'], /cannot read nowhere.yaml: ENOENT/],
    [['-f', '$/empty'], /empty has no file that ends in .yaml, .yml or .json/],
    [['-f', '$/huge.yaml'], /huge.yaml has 50.0 MiB: at most 2 MiB are read, and a definition has at most 1 MiB/],
    [['-f', '/dev/zero'], /^error: \/dev\/zero is too large: at most 2 MiB are read/],
  ])('with %j says what to do', async (args, message) => {
    const { exitCode, stderr } = await run(['validate', ...args.map((arg) => arg.replace('$', directory))], nowhere);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(message);
  });

  it('reads no more of standard input than a bound', async () => {
    const { exitCode, stderr } = await run(['validate', '-f', '-'], nowhere, '#'.repeat(3_000_000));
    expect({ exitCode, stderr }).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('<stdin> is too large'),
    });
  });
});

describe('conveyor apply', () => {
  it('stores several files, once all of them are read', async () => {
    await using plane = await startScriptedPlane();
    expect(await run(['apply', '-f', at('pipelines')], plane.env)).toMatchObject({
      exitCode: 0,
      stdout: 'pipeline a applied as revision 3\npipeline b applied as revision 3\n',
    });
    const { stdout } = await run(['apply', '-f', at('pipelines'), '-o', 'json'], plane.env);
    expect(JSON.parse(stdout)).toMatchObject([{ name: 'a' }, { name: 'b' }]);
    const before = plane.changes.length;
    const { exitCode, stderr } = await run(['apply', '-f', at('ci.yaml'), '-f', at('unnamed.yaml')], plane.env);
    expect(exitCode).toBe(2);
    expect(plane.changes.slice(before)).toEqual([{ validate: '', jobs: [] }]);
    expect(stderr).toContain('unnamed.yaml:2:1: name: is required');
  });

  it('stores first what others call, and neither it nor validate warns of calls among the files', async () => {
    await using plane = await startScriptedPlane();
    const calling = (name: string, call: string) =>
      writeFile(at(`${name}.yaml`), `name: ${name}\njobs: [{ name: a, call: { pipeline: ${call} } }]\n`);
    await calling('top', 'middle');
    await calling('middle', 'a');
    await calling('alone', 'elsewhere');
    const files = ['top', 'middle', 'alone', 'pipelines/a'].flatMap((name) => ['-f', at(`${name}.yaml`)]);
    const elsewhere = `warning: ${at('alone.yaml')}:2:27: jobs[0].call.pipeline: pipeline elsewhere does not exist\n`;
    const driver = `warning: ${at('pipelines/a.yaml')}:2:23: jobs[0].driver: driver shell has never connected\n`;
    expect(await run(['apply', ...files], plane.env)).toMatchObject({ exitCode: 0, stderr: driver + elsewhere });
    expect(await run(['validate', ...files], plane.env)).toMatchObject({ exitCode: 0, stderr: elsewhere + driver });
    expect(plane.changes.slice(0, 4)).toMatchObject([
      { apply: 'a' },
      { apply: 'middle' },
      { apply: 'top' },
      { apply: 'alone' },
    ]);
    // Of pipelines that call one another, one comes first.
    await calling('middle', 'top');
    const cycle = ['-f', at('top.yaml'), '-f', at('middle.yaml')];
    expect(await run(['apply', ...cycle], plane.env)).toMatchObject({ exitCode: 0, stderr: '' });
  });

  it('--expected-revision is passed on, for one file', async () => {
    await using plane = await startScriptedPlane();
    await run(['apply', '-f', at('ci.yaml'), '--expected-revision', '0'], plane.env);
    expect(plane.changes).toEqual([{ apply: 'ci', jobs: ['build'], expectedRevision: 0 }]);
    for (const args of [
      [at('pipelines'), '--expected-revision', '1'],
      [at('ci.yaml'), '--expected-revision', '-1'],
    ]) {
      expect(await run(['apply', '-f', ...args], plane.env)).toMatchObject({ exitCode: 2 });
    }
  });
});

describe('conveyor diff', () => {
  const json = (value: string | null) => fromJson(ValueSchema, value);
  const diff = {
    addedJobs: ['new'],
    removedJobs: ['old'],
    changes: [{ path: 'labels.team', newValue: json('core') }],
    changedJobs: [
      {
        name: 'build',
        changes: [
          { path: 'spec.run', oldValue: json('make'), newValue: json('make all') },
          { path: 'spec.note', oldValue: json(null) },
        ],
      },
    ],
    changeCount: 5,
  };
  const lines = [
    '- job old',
    '+ job new',
    '+ labels.team: "core"',
    '~ job build',
    '    ~ spec.run: "make" -> "make all"',
    '    - spec.note: null',
    'and 2 more changes',
    '',
  ];

  it('pipeline shows what changed between two revisions', async () => {
    await using plane = await startScriptedPlane({ diff });
    const { stdout } = await run(['diff', 'pipeline', 'ci', '1'], plane.env);
    expect(stdout.split('\n')).toEqual(['pipeline ci, revision 1 to 3:', ...lines]);
    const asJson = await run(['diff', 'pipeline', 'ci', '1', '2', '-o', 'json'], plane.env);
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      fromRevision: 1,
      toRevision: 2,
      diff: { changedJobs: [{ name: 'build', changes: [{ newValue: 'make all' }, { oldValue: null }] }] },
    });
    expect(await run(['diff', 'pipeline', 'ci', 'one'], plane.env)).toMatchObject({ exitCode: 2 });
  });

  it('-f shows what applying a file would change, and changes nothing', async () => {
    await using plane = await startScriptedPlane({ diff });
    const { stdout } = await run(['diff', '-f', at('ci.yaml')], plane.env);
    expect(stdout.split('\n')).toEqual([`pipeline ci, revision 3 to ${at('ci.yaml')}:`, ...lines]);
    const asJson = await run(['diff', '-f', '-', '-o', 'json'], plane.env, good('other'));
    expect(JSON.parse(asJson.stdout)).toMatchObject({ addedJobs: ['new'], changeCount: 5 });
    expect(plane.changes).toMatchObject([{ validate: 'ci' }, { validate: 'other' }]);
    expect(await run(['diff', '-f', '-'], plane.env, misspelt)).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('<stdin>:4:42'),
    });
    expect(await run(['diff', '-f', at('pipelines')], plane.env)).toMatchObject({ exitCode: 2 });
    expect(await run(['diff'], plane.env)).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('--file <file>'),
    });
  });

  it.each([
    [{}, 'pipeline ci, revision 1 to 3: no difference\n'],
    [{ onlyOrderDiffers: true }, 'pipeline ci, revision 1 to 3: only the order of jobs, needs or secrets differs\n'],
  ])('says when there is none: %j', async (none, text) => {
    await using plane = await startScriptedPlane({ diff: none });
    expect((await run(['diff', 'pipeline', 'ci', '1'], plane.env)).stdout).toBe(text);
  });
});

describe('conveyor schema', () => {
  it.each(['pipeline', 'schedule'])('prints that of a %s', async (kind) => {
    const { exitCode, stdout } = await run(['schema', kind], nowhere);
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ title: `A ${kind} of Conveyor`, additionalProperties: false });
  });
});
