import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { FailureClass, JobPrediction, JobState, RunState } from '@conveyor/client';
import { type ScriptedServer, refusal, startScriptedServer } from '@conveyor/client/testing';
import { PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import {
  type PlanRunRequest,
  type PlanRunResponseSchema,
  RunService,
} from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { describe, expect, it } from 'vitest';
import { type CommandResult, run } from './testing/run-command.ts';

const { INVALID, RUNS, SKIPPED, UNKNOWN } = JobPrediction;
const PLAN: MessageInitShape<typeof PlanRunResponseSchema> = {
  pipeline: 'ci',
  revision: 3,
  jobs: [
    {
      name: 'build',
      driver: 'shell',
      prediction: RUNS,
      state: JobState.SUCCEEDED,
      readyInstances: 2,
      expectedDuration: durationFromMs(61_000),
    },
    { name: 'deploy', driver: 'shell', wave: 2, prediction: UNKNOWN, unknownReason: 'its spec reads outputs of build' },
    {
      name: 'lint',
      driver: 'shell',
      wave: 1,
      prediction: RUNS,
      state: JobState.FAILED,
      failureAllowed: true,
      failure: { class: FailureClass.WORKLOAD, message: 'it is assumed to fail' },
      readyInstances: 0,
    },
    {
      name: 'docs',
      driver: 'shell',
      wave: 1,
      prediction: SKIPPED,
      state: JobState.SKIPPED,
      condition: {
        expression: 'params.docs && labels.x == "1"',
        parts: [
          { expression: 'params.docs', value: { kind: { case: 'boolValue', value: false } } },
          { expression: 'labels.x', note: 'there is no field "x"' },
        ],
      },
    },
    { name: 'ask', wave: 3, prediction: RUNS, state: JobState.SUCCEEDED },
  ],
  drivers: [{ name: 'shell', connectedInstances: 3, readyInstances: 2, freeSlots: 5, jobs: 3 }],
  criticalPath: {
    steps: [{ job: 'build', expectedDuration: durationFromMs(61_000) }, { job: 'ask' }],
    totalDuration: durationFromMs(61_000),
  },
  warnings: ['no instance of driver docker is connected'],
};

const DEFINITION = {
  paramsSchema: { properties: { count: { type: 'integer' } } },
  jobs: [{ name: 'build' }, { name: 'cells', matrix: {} }, { name: 'ship' }],
};

interface Plane extends ScriptedServer {
  readonly asked: PlanRunRequest[];
  plan(...args: readonly string[]): Promise<CommandResult>;
  planFile(text: string): Promise<CommandResult>;
}

async function startPlane(plan: MessageInitShape<typeof PlanRunResponseSchema> = PLAN): Promise<Plane> {
  const asked: PlanRunRequest[] = [];
  const server = await startScriptedServer((router) => {
    router.service(PipelineService, {
      getPipeline: ({ name }) => ({
        pipeline: { name, revision: 3, definition: DEFINITION },
      }),
    });
    router.service(RunService, {
      planRun(request) {
        asked.push(request);
        const fields = [{ field: 'run.definition.jobs[0].driver', description: 'must be a name' }];
        if (request.run?.source.case === 'definition' && request.run.source.value.jobs[0]?.driver === 'wrong') {
          throw refusal('invalid_argument', 'INVALID_FIELD', 'run.definition.jobs[0].driver must be a name', {
            fields,
          });
        }
        return plan;
      },
    });
  });
  const env = { CONVEYOR_ADDRESS: server.grpcAddress };
  return Object.assign(server, {
    asked,
    plan: (...args: readonly string[]) => run(['plan', ...args], env),
    planFile: (text: string) => run(['plan', '-f', '-'], env, text),
  });
}

describe('conveyor plan', () => {
  it('shows waves, jobs, states, why, drivers and the critical path', async () => {
    await using plane = await startPlane();
    const { exitCode, stdout, stderr } = await plane.plan('ci');
    expect(exitCode).toBe(0);
    expect(stdout).toBe(
      [
        'a run of pipeline ci@3: its end is unknown; 3 to run, 1 unknown, 1 skipped',
        '',
        'WAVE  JOB     STATE      DRIVER           TOOK  WHY',
        '0     build   succeeded  shell (2 ready)  1m1s',
        '1     lint    failed     shell (0 ready)        WORKLOAD: it is assumed to fail, which is allowed',
        '1     docs    skipped    shell                  params.docs && labels.x == "1" is false: params.docs is false, labels.x: there is no field "x"',
        '2     deploy  unknown    shell                  its spec reads outputs of build',
        '3     ask     succeeded',
        '',
        'DRIVER  JOBS  CONNECTED  READY  FREE SLOTS',
        'shell   3     3          2      5',
        '',
        'critical path, 1m1s: build (1m1s) > ask',
        '',
      ].join('\n'),
    );
    expect(stderr).toContain('warning: no instance of driver docker is connected');
    expect(stderr).toContain("next: assume outputs, as --assume 'JOB=succeeded:");
  });

  it('tells why jobs would be skipped that have no condition', async () => {
    const skipped = { prediction: SKIPPED, state: JobState.SKIPPED };
    const jobs = [
      { name: 'build', prediction: RUNS, state: JobState.FAILED, failure: { message: 'assumed' } },
      { name: 'cells', ...skipped },
      { name: 'ship', needs: ['build'], ...skipped },
    ];
    await using plane = await startPlane({ pipeline: 'ci', revision: 3, jobs });
    const file =
      'jobs: [{ name: build, driver: a }, { name: cells, driver: a, matrix: {} }, { name: ship, driver: a }]';
    for (const stdout of [(await plane.plan('ci')).stdout, (await plane.planFile(file)).stdout]) {
      expect(stdout).toMatch(/^0 +ship +skipped +build failed, and it runs when all that it needs succeed$/m);
      expect(stdout).toMatch(/^0 +cells +skipped +its matrix has no cells$/m);
    }
    const unknown = [
      { name: 'build', prediction: JobPrediction.UNKNOWN, unknownReason: 'who knows' },
      ...jobs.slice(1),
    ];
    await using other = await startPlane({ pipeline: 'ci', revision: 3, jobs: unknown });
    expect((await other.plan('ci')).stdout).toMatch(/^0 +ship +skipped$/m);
  });

  it('shortens what is long: JSON has all of it', async () => {
    const steps = Array.from({ length: 10_000 }, (_, index) => ({ job: `j${index}` }));
    const jobs = [{ name: 'a', prediction: JobPrediction.UNKNOWN, unknownReason: 'x'.repeat(300) }];
    await using plane = await startPlane({ jobs, criticalPath: { steps } });
    const { stdout } = await plane.plan('ci');
    expect(stdout).toMatch(/ x{159}…$/m);
    expect(stdout).toContain(
      'critical path: j0 > j1 > j2 > j3 > j4 > j5 > j6 > j7 > j8 > j9 > … 9980 more … > j9990 >',
    );
    expect(stdout.trimEnd().endsWith('> j9999')).toBe(true);
    expect((await plane.plan('ci', '-o', 'json')).stdout).toContain('x'.repeat(300));
  });

  it('shows groups and rates, and whether a group is full now', async () => {
    const job = {
      name: 'a',
      prediction: RUNS,
      concurrencyGroup: { key: 'deploy', limit: 2, holdingCount: 2, full: true },
    };
    const jobs = [job, { ...job, name: 'b', rateLimits: [{ key: 'api', limit: 5 }] }];
    await using plane = await startPlane({ jobs });
    const { stdout } = await plane.plan('ci');
    const shared = [
      'SHARED  KEY     LIMIT  NOW',
      'group   deploy  2      2 held, 0 waiting, full',
      'rate    api     5',
    ];
    expect(stdout).toContain(shared.join('\n'));
  });

  it('shows all expressions that would fail, with their parts, and says each error once', async () => {
    const value = (numberValue: number) => ({ value: { kind: { case: 'numberValue' as const, value: numberValue } } });
    const job = {
      name: 'build',
      prediction: INVALID,
      state: JobState.FAILED,
      failure: { class: FailureClass.INVALID, message: 'spec.a: "params.a.b": is wrong (and 2 more)' },
      condition: { expression: 'params.yes', held: true },
      expressionFailures: [
        {
          field: 'spec.a',
          expression: 'params.a.b',
          error: 'is wrong',
          parts: [{ expression: 'params.a', ...value(3) }],
        },
        { field: 'spec.b', expression: 'c + d', error: 'is bad', parts: [{ expression: 'c', note: 'is not there' }] },
      ],
      expressionFailureCount: 3,
    };
    await using plane = await startPlane({ jobs: [job] });
    expect((await plane.plan('ci')).stdout).toContain(
      'spec.a: "params.a.b": is wrong (and 2 more); params.a is 3; spec.b: c + d: is bad, c: is not there; params.yes is true\n',
    );
  });

  it('shows how a run would end, and what was left out', async () => {
    const job = { name: 'build', prediction: RUNS, state: JobState.FAILED };
    await using plane = await startPlane({ state: RunState.FAILED, jobs: [job], detailsOmitted: true });
    const { stdout, stderr } = await plane.plan('ci');
    expect(stdout).toContain('a run of the definition: it would be failed; 1 to run');
    expect(stderr).toContain('details of some jobs are left out');
  });

  it('asks for what it is told, params by the schema and assumptions by job', async () => {
    await using plane = await startPlane();
    await plane.plan(
      'ci',
      '-p',
      'count=3',
      '-l',
      'a=b',
      '-a',
      'build=succeeded:{"image":"a:1"}',
      '--assume',
      'test[x:y]=failed',
    );
    expect(plane.asked).toMatchObject([
      {
        run: { source: { value: { name: 'ci', revision: 3 } }, params: { count: 3 }, labels: { a: 'b' } },
        assumed: {
          build: { outcome: JobState.SUCCEEDED, outputs: { image: 'a:1' } },
          'test[x:y]': { outcome: JobState.FAILED },
        },
      },
    ]);
  });

  it('plans a file, and tells what is wrong with it by its lines', async () => {
    await using plane = await startPlane();
    const env = { CONVEYOR_ADDRESS: plane.grpcAddress };
    const file = (driver: string) => `name: ci\njobs:\n  - name: a\n    driver: ${driver}\n`;
    expect((await run(['plan', '-f', '-'], env, file('shell'))).exitCode).toBe(0);
    expect(plane.asked[0]?.run?.source).toMatchObject({ case: 'definition', value: { jobs: [{ name: 'a' }] } });
    const { exitCode, stderr } = await run(['plan', '-f', '-'], env, file('wrong'));
    expect(exitCode).toBe(2);
    expect(stderr).toContain('<stdin>:4:5: jobs[0].driver: must be a name');
  });

  it('gives the response as JSON', async () => {
    await using plane = await startPlane();
    const { stdout } = await plane.plan('ci', '-o', 'json');
    const { jobs } = JSON.parse(stdout) as { jobs: { prediction: string }[] };
    expect(jobs.map(({ prediction }) => prediction)).toContain('JOB_PREDICTION_UNKNOWN');
  });

  it.each([
    [['ci', '--assume', 'build'], "'build' is no assumption"],
    [['ci', '--assume', 'build=done'], "'build=done' is no assumption"],
    [['ci', '--assume', '=failed'], "'=failed' is no assumption"],
    [['ci', '--assume', 'build=succeeded:[1]'], "'[1]' is no JSON object of outputs"],
    [['ci', '--assume', 'build=succeeded:{'], "'{' is no JSON object of outputs"],
    [[], 'nothing to run'],
  ])('refuses %j', async (args, message) => {
    await using plane = await startPlane();
    const { exitCode, stderr } = await plane.plan(...args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(message);
    expect(plane.asked).toEqual([]);
  });
});
