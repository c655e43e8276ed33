import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { AttemptState, FailureClass, JobState, RunState } from '@conveyor/client';
import { refusal, startScriptedServer } from '@conveyor/client/testing';
import type { EventSchema } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run, start } from './testing/run-command.ts';
import { finished, runId, startScriptedPlane, started } from './testing/scripted-plane.ts';

const pipelineYaml = `name: ci
jobs:
  - { name: build, driver: shell }
  - { name: test, driver: shell, needs: [build] }
`;
let directory: string;
let file: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conveyor-cli-'));
  file = join(directory, 'ci.yaml');
  await writeFile(file, pipelineYaml);
});

afterAll(() => rm(directory, { recursive: true }));

describe('conveyor run', () => {
  it('does not blame a file for params that were given beside it', async () => {
    const fields = [{ field: 'run.params.sha', description: 'is required' }];
    await using server = await startScriptedServer((router) => {
      router.service(RunService, {
        createRun() {
          throw refusal('invalid_argument', 'INVALID_FIELD', 'run.params.sha: is required', { fields });
        },
      });
    });
    const { exitCode, stderr } = await run(['run', '-f', file], { CONVEYOR_ADDRESS: server.grpcAddress });
    expect(exitCode).toBe(2);
    expect(stderr).toContain('run.params.sha: is required');
    expect(stderr).not.toMatch(/pipeline|ci\.yaml/);
  });

  it.each([
    [RunState.SUCCEEDED, 0, 'succeeded'],
    [RunState.FAILED, 1, 'failed'],
    [RunState.CANCELLED, 3, 'cancelled'],
  ])('--follow of a run that ends %i exits %i', async (state, exitCode, word) => {
    await using plane = await startScriptedPlane({ state });
    const result = await run(['run', 'ci', '--follow'], plane.env);
    expect(result).toMatchObject({ exitCode, stderr: '' });
    expect(result.stdout).toContain(`run ${runId} ${word} in 1m1s: 1 succeeded\n`);
  });

  it('--follow shows events and logs in plain lines, and how to read what failed', async () => {
    await using plane = await startScriptedPlane({
      jobs: { build: { log: 'one\ntwo' }, test: { log: 'three\n', state: JobState.FAILED } },
      events: [
        started('build'),
        finished('build', JobState.SUCCEEDED),
        started('test'),
        finished('test', JobState.FAILED),
      ],
      state: RunState.FAILED,
    });
    const { stdout } = await run(['run', 'ci', '--follow'], plane.env);
    const lines = stdout.trimEnd().split('\n');
    expect(lines.filter((line) => line.startsWith('build'))).toEqual(
      ['build * 03:04:06 attempt 1 started', 'build * 03:04:07 succeeded', 'build | one', 'build | two'].toSorted(
        (a, b) => lines.indexOf(a) - lines.indexOf(b),
      ),
    );
    expect(lines).toContain('test  | three');
    expect(lines.slice(-3)).toEqual([
      `run ${runId} failed in 1m1s: 2 succeeded`,
      '  test failed: it broke (exit code 7)',
      `    conveyor logs ${runId}/test`,
    ]);
  });

  it('--follow tells the end of an attempt after its log, and how to learn more of what logged nothing', async () => {
    const ended = (job: string, logSize: bigint): MessageInitShape<typeof EventSchema> => ({
      job,
      jobId: `id-of-${job}`,
      jobState: JobState.FAILED,
      attempt: 1,
      kind: { case: 'attemptEnded', value: { state: AttemptState.FAILED, logSize } },
    });
    const failed = (failure: object, shown: object = {}) => ({ state: JobState.FAILED, shown: { failure, ...shown } });
    await using plane = await startScriptedPlane({
      jobs: {
        loud: { log: 'one\ntwo', ...failed({ class: FailureClass.WORKLOAD, message: 'exit code 7', exitCode: 7 }) },
        mute: failed({ class: FailureClass.TIMEOUT, message: 'too late' }, { failureAllowed: true }),
        never: failed({ class: FailureClass.INVALID, message: 'its spec is wrong' }, { attempt: 0 }),
      },
      events: [started('loud'), ended('loud', 7n), started('mute'), ended('mute', 0n)],
      state: RunState.FAILED,
    });
    const { stdout } = await run(['run', 'ci', '--follow'], plane.env);
    const lines = stdout.trimEnd().split('\n');
    expect(lines.filter((line) => line.startsWith('loud'))).toEqual([
      'loud  * 03:04:06 attempt 1 started',
      'loud  | one',
      'loud  | two',
      'loud  * 03:04:07 attempt 1 failed',
    ]);
    expect(lines.slice(-6)).toEqual([
      '  loud failed: WORKLOAD: exit code 7',
      `    conveyor logs ${runId}/loud`,
      '  mute failed: TIMEOUT: too late, which is allowed',
      `    conveyor describe job ${runId}/mute`,
      '  never failed: INVALID: its spec is wrong',
      `    conveyor describe job ${runId}/never`,
    ]);
  });

  it('--follow tells why a job was skipped', async () => {
    const shown = { definition: { name: 'ship' }, needs: ['test'] };
    await using plane = await startScriptedPlane({
      jobs: { test: { state: JobState.FAILED }, ship: { state: JobState.SKIPPED, shown } },
      events: [finished('ship', JobState.SKIPPED)],
      state: RunState.FAILED,
    });
    const why = 'test failed, and it runs when all that it needs succeed';
    expect((await run(['run', 'ci', '--follow'], plane.env)).stdout).toContain(` skipped: ${why}\n`);
    for (const args of [
      ['describe', 'run', runId],
      ['get', 'jobs', runId],
      ['get', 'jobs', runId, '--state', 'skipped'],
    ]) {
      const { stdout } = await run(args, plane.env);
      expect(stdout).toMatch(new RegExp(`^ship +skipped .* ${why}$`, 'm'));
    }
  });

  it('--follow goes on where nothing tells why a job was skipped', async () => {
    const end: MessageInitShape<typeof EventSchema> = { kind: { case: 'runFinished', value: {} } };
    await using server = await startScriptedServer((router) => {
      router.service(JobService, { listJobs: () => ({}) });
      router.service(RunService, {
        getRun: () => ({ run: { runId, state: RunState.SUCCEEDED } }),
        async *watchRun() {
          const events = [finished('ship', JobState.SKIPPED), end];
          yield {
            events: events.map((event, n) => ({ ...event, runId, seq: BigInt(n + 1), time: timestampFromMs(0) })),
          };
        },
      });
    });
    const { exitCode, stdout } = await run(['watch', runId], { CONVEYOR_ADDRESS: server.grpcAddress });
    expect(exitCode).toBe(0);
    expect(stdout).toContain('ship * 00:00:00 skipped\n');
  });

  it('creates the run with its params, labels and revision', async () => {
    await using plane = await startScriptedPlane();
    const args = [
      'run',
      'ci',
      '-p',
      'sha=1',
      '-p',
      'count=3',
      '-p',
      'more:=[true]',
      '-l',
      'branch=main',
      '-l',
      'x=y=z',
    ];
    expect(await run(args, plane.env)).toEqual({
      exitCode: 0,
      stdout: `run ${runId} started\n`,
      stderr: `next: conveyor watch ${runId}\n`,
    });
    expect(plane.created[0]?.run).toMatchObject({
      source: { case: 'pipeline', value: { name: 'ci', revision: 3 } },
      params: { sha: '1', count: 3, more: [true] },
      labels: { branch: 'main', x: 'y=z' },
      trigger: { kind: 'manual' },
    });
  });

  it('--start-time lets it start later, at a time or from now', async () => {
    await using plane = await startScriptedPlane();
    await run(['run', 'ci', '--start-time', '2030-01-31T12:00:00Z'], plane.env);
    await run(['run', 'ci', '--start-time', '2h'], plane.env);
    const starts = plane.created.map(({ run }) => Number(run?.startTime?.seconds) * 1_000);
    expect(starts[0]).toBe(Date.UTC(2030, 0, 31, 12));
    expect(starts[1]).toBeGreaterThan(Date.now() + 7_100_000);
    expect(await run(['run', 'ci', '--start-time', 'soon'], plane.env)).toMatchObject({ exitCode: 2 });
  });

  it('-f runs a file, also from standard input', async () => {
    await using plane = await startScriptedPlane();
    expect(await run(['run', '-f', file], plane.env)).toMatchObject({ exitCode: 0 });
    expect(await run(['run', '-f', '-'], plane.env, pipelineYaml)).toMatchObject({ exitCode: 0 });
    const definition = { jobs: [{ name: 'build' }, { name: 'test', needs: ['build'] }] };
    for (const { run } of plane.created) expect(run?.source).toMatchObject({ case: 'definition', value: definition });
    expect(plane.created).toHaveLength(2);
  });

  it('goes on following where it was when its connection breaks', async () => {
    await using plane = await startScriptedPlane({ stalls: true });
    await using command = start(['run', 'ci', '--follow'], plane.env);
    await command.said('created with 1 job');
    plane.cutConnections();
    const { exitCode, stdout, stderr } = await command.result;
    expect(exitCode).toBe(0);
    expect(stdout.match(/created with/g)).toHaveLength(1);
    expect(stderr).toContain('connecting again');
  });

  it('warns of what was not checked, by line and column of the file', async () => {
    await using plane = await startScriptedPlane();
    const { exitCode, stderr } = await run(['run', '-f', file], plane.env);
    const warning = `warning: ${file}:3:20: jobs[0].driver: driver shell has never connected\n`;
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: `${warning}next: conveyor watch ${runId}\n` });
  });

  it('--follow says what a run waits for in which nothing happens', async () => {
    await using plane = await startScriptedPlane({
      state: RunState.RUNNING,
      jobs: { build: { state: JobState.QUEUED, blockers: ['no instance of shell is connected'] } },
      events: [],
    });
    await using following = start(['run', 'ci', '--follow'], plane.env);
    await following.said('waiting: build: no instance of shell is connected\n');
  }, 20_000);

  it('leaves the run going at Ctrl-C and says how to go on', async () => {
    await using plane = await startScriptedPlane({ state: RunState.RUNNING });
    await using command = start(['run', 'ci', '--follow'], plane.env);
    await command.said('created with 1 job');
    command.process.kill('SIGINT');
    expect(await command.result).toMatchObject({
      exitCode: 130,
      stderr: `run ${runId} goes on\nnext: conveyor watch ${runId}, or conveyor cancel ${runId}\n`,
    });
    expect(plane.changes).toEqual([]);
  });
});

describe('conveyor apply', () => {
  it('stores a pipeline and warns of what was not checked', async () => {
    await using plane = await startScriptedPlane();
    expect(await run(['apply', '-f', file], plane.env)).toEqual({
      exitCode: 0,
      stdout: 'pipeline ci applied as revision 3\n',
      stderr: `warning: ${file}:3:20: jobs[0].driver: driver shell has never connected\n`,
    });
    expect(plane.changes).toEqual([{ apply: 'ci', jobs: ['build', 'test'] }]);
  });

  it('says by line and column what the server refuses', async () => {
    await using plane = await startScriptedPlane();
    const wrong = pipelineYaml.replace('[build]', '[biuld]');
    expect(await run(['apply', '-f', '-'], plane.env, wrong)).toMatchObject({
      exitCode: 2,
      stderr: 'error: the server refuses the pipeline\n<stdin>:4:42: jobs[1].needs[0]: there is no job "biuld"\n',
    });
  });

  it('says by line and column what is no pipeline, and that nobody could look for more', async () => {
    const result = await run(['apply', '-f', '-'], { CONVEYOR_ADDRESS: '127.0.0.1:1' }, 'name: ci\njob: []\n');
    expect(result).toMatchObject({
      exitCode: 2,
      stderr:
        'error: <stdin> is no pipeline\n<stdin>:2:1: job: is no field here; did you mean jobs? these are: name, jobs, paramsSchema, labels, stages, env, failFast\nthe server did not look for more: cannot reach the server at 127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1\n',
    });
  });
});

describe('a failure', () => {
  it.each([
    [['run'], 'error: nothing to run\nnext: name a pipeline, or give a file with -f FILE\n'],
    [
      ['run', 'ci', '-f', 'x.yaml'],
      'error: a stored pipeline and a file cannot both be run\nnext: leave one of them out\n',
    ],
    [['run', 'ci', '-p', 'sha'], "error: 'sha' is no param\nnext: write params as key=value\n"],
    [
      ['apply', '-f', '/nowhere.yaml'],
      "error: cannot read /nowhere.yaml: ENOENT: no such file or directory, stat '/nowhere.yaml'\n",
    ],
    [['cancel', 'r/j', '--force'], 'error: --force is for whole runs\nnext: leave it out, or cancel r\n'],
    [
      ['rerun', 'r', '--failed', '--from', 'a'],
      'error: --failed and --from cannot both choose the jobs\nnext: leave one of them out\n',
    ],
    [['drain', 'd', '--undo', '--evict'], 'error: --evict does not go with --undo\nnext: leave one of them out\n'],
    [
      ['drain', 'd/i', '--instance', 'i'],
      'error: the instance is given twice\nnext: leave out --instance, or what is behind the slash\n',
    ],
    [['hold', 'r'], "error: 'r' names no job\nnext: write RUN/JOB\n"],
    [['get', 'attempts', 'r'], "error: 'r' names no job\nnext: write RUN/JOB\n"],
    [
      ['get', 'runs', '--state', 'done'],
      "error: 'done' is no state\nnext: states are pending, running, cancelling, succeeded, failed, cancelled\n",
    ],
    [
      ['--address', 'a b', 'get', 'runs'],
      "error: 'a b' is no address of a server: write HOST:PORT, grpcs://HOST:PORT or an http(s) URL\n",
    ],
    [
      ['up', '--tls-cert', 'x'],
      'error: TLS needs a certificate and its key\nnext: give both --tls-cert and --tls-key\n',
    ],
    [
      ['up', '--keep-runs-for', '90'],
      "error: --keep-runs-for: '90' is no duration\nnext: write one such as 12h or 90d\n",
    ],
    [['up', '--keep-logs-for', '59m'], 'error: --keep-logs-for: 59m is too short\nnext: give an hour, 1h, or more\n'],
    [
      ['up', '--queue-share', 'default'],
      "error: --queue-share: 'default' is no share\nnext: write one such as default/deploy=3, from 1 to 1000\n",
    ],
    [['up', '--keep-runs', '0'], "error: --keep-runs: '0' is no number of runs\nnext: write one from 1 to 9999999\n"],
  ])('of usage exits 2: %j', async (args, stderr) => {
    await using plane = await startScriptedPlane();
    expect(await run(args, plane.env)).toEqual({ exitCode: 2, stdout: '', stderr });
  });

  it.each([[['frobnicate']], [['get', 'runs', '--colour']], [['apply']], [['run', 'ci', '-o', 'xml']], [[]]])(
    'of the command line exits 2: %j',
    async (args) => {
      const { exitCode, stdout, stderr } = await run(args, {});
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
      expect(stderr).toMatch(/conveyor help|Usage: conveyor/);
    },
  );

  it('to reach a server says where it looked and what to do', async () => {
    const plane = await startScriptedPlane();
    await plane[Symbol.asyncDispose]();
    const { exitCode, stderr } = await run(['get', 'runs'], plane.env);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`error: cannot reach the server at ${plane.grpcAddress}: connect ECONNREFUSED`);
    expect(stderr).toContain('next: start a server with `conveyor up`');
  });

  it('to reach the port for gRPC where that for HTTP is says how to write it', async () => {
    await using other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const env = { CONVEYOR_ADDRESS: `127.0.0.1:${port}`, CONVEYOR_TOKEN: 'token' };
    const { stderr } = await run(['get', 'runs'], env);
    expect(stderr).toContain(`next: if that is the port for HTTP, write http://127.0.0.1:${port}`);
  });

  it.each<[Parameters<typeof refusal>[1], string, Parameters<typeof refusal>[3], string]>([
    [
      'PIPELINE_NOT_FOUND',
      'pipeline cii does not exist: apply it first, or list the pipelines that do with ListPipelines; did you mean "ci"?',
      {},
      'error: pipeline cii does not exist; did you mean "ci"?\nnext: list pipelines with `conveyor get pipelines`, or store one with `conveyor apply -f FILE`\n',
    ],
    [
      'PIPELINE_NOT_FOUND',
      'pipeline ci has no revision 9: its newest is 3',
      { metadata: { newest_revision: '3' } },
      'error: pipeline ci has no revision 9: its newest is 3\nnext: name one that it has, or none for the newest\n',
    ],
    [
      'ALREADY_FINISHED',
      'the gate has already finished: FAILED',
      {},
      'error: the gate has already finished: FAILED\nnext: see how it ended with `conveyor describe job RUN/JOB` or `conveyor describe run RUN`\n',
    ],
    ...[
      ['run.params.sha', 'give params with -p KEY=VALUE, as `paramsSchema` has them'],
      ['run.labels', 'give labels with -l KEY=VALUE'],
      ['from_jobs[0]', "list a run's jobs with `conveyor get jobs RUN`"],
    ].map(([field = '', next = '']): [Parameters<typeof refusal>[1], string, Parameters<typeof refusal>[3], string] => [
      'INVALID_FIELD',
      `${field}: is wrong`,
      { fields: [{ field, description: 'is wrong' }] },
      `error: ${field}: is wrong\nnext: ${next}\n`,
    ]),
  ])(
    'that the server says is told with what to do in the words of commands: %s %s',
    async (reason, message, more, told) => {
      await using server = await startScriptedServer((router) => {
        router.service(RunService, {
          createRun() {
            throw refusal('not_found', reason, message, more);
          },
        });
      });
      const { stderr } = await run(['run', 'cii'], { CONVEYOR_ADDRESS: server.grpcAddress });
      expect(stderr).toBe(told);
    },
  );

  it('to find something says where to look', async () => {
    await using plane = await startScriptedPlane();
    expect(await run(['watch', 'nope'], plane.env)).toEqual({
      exitCode: 1,
      stdout: '',
      stderr: 'error: there is no run nope\nnext: list runs with `conveyor get runs`\n',
    });
  });

  it('of a reader that leaves is none', async () => {
    const log = 'x'.repeat(1_000_000);
    await using plane = await startScriptedPlane({ jobs: { build: { log } } });
    await using command = start(['logs', `${runId}/build`], plane.env);
    command.process.stdout?.once('data', () => command.process.stdout?.destroy());
    expect(await command.result).toMatchObject({ exitCode: 0, stderr: '' });
  });
});

describe('conveyor graph', () => {
  it('draws a run with the states of its jobs, and a stored pipeline without', async () => {
    await using plane = await startScriptedPlane({ jobs: { build: {}, test: { state: JobState.FAILED } } });
    const { stdout } = await run(['graph', runId], plane.env);
    expect(stdout).toContain('  j1["test<br>failed"]:::failed\n');
    expect(await run(['graph', 'ci@3', '--format', 'dot'], plane.env)).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('  "build"\n  "test"\n'),
    });
  });

  it('draws a file without a server', async () => {
    const { exitCode, stdout } = await run(['graph', '-f', file], { CONVEYOR_ADDRESS: '127.0.0.1:1' });
    expect([exitCode, stdout]).toEqual([0, 'flowchart LR\n  j0["build"]\n  j1["test"]\n  j0 --> j1\n']);
  });

  it('refuses a file whose picture would be wrong, by line and column', async () => {
    const wrong = 'jobs:\n  - { name: build, driver: shell, needs: [biuld] }\n  - { name: "a<b", driver: shell }\n';
    const { exitCode, stderr } = await run(['graph', '-f', '-'], {}, wrong);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('<stdin>:2:43: there is no job "biuld"');
    expect(stderr).toContain('<stdin>:3:7: "a<b" is no name of a job');
  });

  it('says what it needs', async () => {
    expect(await run(['graph'], {})).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('nothing to draw') });
    expect(await run(['graph', 'ci', '-f', file], {})).toMatchObject({ exitCode: 2 });
    expect(await run(['graph', 'ci', '--format', 'png'], {})).toMatchObject({ exitCode: 2 });
  });
});
