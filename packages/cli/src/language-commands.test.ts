import { fromJson, type JsonValue, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs, ValueSchema } from '@bufbuild/protobuf/wkt';
import { GateExpiry, GateVerdict, JobState, RunState, WaitReason } from '@conveyor/client';
import type { EventSchema } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import { describe, expect, it } from 'vitest';
import { run } from './testing/run-command.ts';
import { finished, runId, type Script, startScriptedPlane } from './testing/scripted-plane.ts';

const time = timestampFromMs(Date.UTC(2026, 0, 2, 3, 4, 5));
const childRunId = '01900000-0000-7000-8000-000000000009';
const approval = { reason: WaitReason.APPROVAL, untilTime: time };
const gate = {
  message: 'Ship it?',
  approvers: ['ada', 'release'],
  quorum: 2,
  formSchema: { type: 'object', properties: { ticket: { type: 'string' }, count: { type: 'integer' } } },
  timeout: durationFromMs(3_600_000),
  onTimeout: GateExpiry.SKIP,
};

/** A run with a gate that waits for its second approval. */
const gated: Script = {
  state: RunState.RUNNING,
  jobs: {
    ship: {
      state: JobState.WAITING,
      shown: {
        driver: '',
        wait: approval,
        definition: { name: 'ship', gate },
        gateAnswers: [
          { actor: 'grace', verdict: GateVerdict.APPROVE, answers: { ticket: 'OPS-7' }, comment: 'fine', time },
        ],
      },
    },
  },
};

/** A run with a matrix of so many cells, the second of which has failed. */
function withMatrix(count: number): Script {
  const cells = Array.from({ length: count }, (_, index) => [
    `test[${index}]`,
    {
      state: index === 1 ? JobState.FAILED : JobState.SUCCEEDED,
      shown: { matrixJob: 'test', matrix: { shard: index, os: 'linux' } },
    },
  ]);
  const definition = { name: 'test', driver: 'shell', matrix: { axes: { shard: '${{ params.shards }}' } } };
  const waits = { state: JobState.WAITING, shown: { wait: { reason: WaitReason.MATRIX }, definition } };
  const last = { state: JobState.BLOCKED, shown: { needs: ['test'], attempt: 0 } };
  return { state: RunState.FAILED, jobs: { test: waits, last, ...Object.fromEntries(cells) } };
}

describe('conveyor gate', () => {
  const given = { groups: [], answers: {}, comment: '' };
  it.each<[string[], unknown, string]>([
    [
      ['approve', `${runId}/ship`, '--actor', 'ada'],
      { approve: 'id-of-ship', actor: 'ada', ...given },
      `gate ${runId}/ship is waiting, 1 of 2 approved\n`,
    ],
    [
      ['approve', 'id-of-ship', '--actor', 'ada', '--group', 'release', '--group', 'core'],
      { approve: 'id-of-ship', actor: 'ada', ...given, groups: ['release', 'core'] },
      'gate id-of-ship is waiting, 1 of 2 approved\n',
    ],
    [
      ['approve', `${runId}/ship`, '--actor', 'a', '--answer', 'ticket=7', '--answer', 'count=7', '--answer', 'x:=[1]'],
      { approve: 'id-of-ship', actor: 'a', ...given, answers: { ticket: '7', count: 7, x: [1] } },
      `gate ${runId}/ship is waiting, 1 of 2 approved\n`,
    ],
    [
      ['reject', `${runId}/ship`, '--actor', 'ada', '--comment', 'not on a Friday'],
      { reject: 'id-of-ship', actor: 'ada', ...given, comment: 'not on a Friday' },
      `gate ${runId}/ship is failed, 0 of 2 approved\n`,
    ],
  ])('%j', async (args, change, stdout) => {
    await using plane = await startScriptedPlane(gated);
    expect(await run(['gate', ...args], plane.env)).toEqual({ exitCode: 0, stdout, stderr: '' });
    expect(plane.changes).toEqual([change]);
  });

  it('says that an answer replaces an earlier one', async () => {
    await using plane = await startScriptedPlane(gated);
    const { stdout } = await run(['gate', 'approve', `${runId}/ship`, '--actor', 'grace'], plane.env);
    expect(stdout).toBe(`gate ${runId}/ship is waiting, 1 of 2 approved; this replaces what grace answered before\n`);
  });

  it('-o json gives the message of the contract', async () => {
    await using plane = await startScriptedPlane(gated);
    const { stdout } = await run(['gate', 'approve', `${runId}/ship`, '--actor', 'ada', '-o', 'json'], plane.env);
    expect(JSON.parse(stdout)).toMatchObject({ jobId: 'id-of-ship', gateAnswers: [{ actor: 'ada' }] });
  });

  it('guesses nobody: who answers has to be said', async () => {
    await using plane = await startScriptedPlane(gated);
    const result = await run(['gate', 'approve', `${runId}/ship`], { ...plane.env, USER: 'ada' });
    expect(result).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("'--actor <name>' not specified") });
    expect(plane.changes).toEqual([]);
  });

  it('says what is no answer', async () => {
    await using plane = await startScriptedPlane(gated);
    const args = ['gate', 'approve', `${runId}/ship`, '--actor', 'ada', '--answer'];
    expect((await run([...args, 'ticket'], plane.env)).stderr).toContain("'ticket' is no answer");
    expect((await run([...args, 'x:=yes'], plane.env)).stderr).toContain("answer x: 'yes' is not JSON");
  });
});

describe('conveyor describe job', () => {
  it('tells what a gate asks, of whom, who answered, and how to answer', async () => {
    await using plane = await startScriptedPlane(gated);
    const { stdout, stderr } = await run(['describe', 'job', `${runId}/ship`], plane.env);
    expect(fieldsOf(stdout)).toMatchObject({
      'Waits for': 'approval until 2026-01-02 03:04:05Z',
      Asks: 'Ship it?',
      'May answer': 'ada, release',
      Approved: '1 of 2',
      Unanswered: 'at 2026-01-02 03:04:05Z it is skipped',
    });
    expect(stdout).toContain('approve  grace  2026-01-02 03:04:05Z  {"ticket":"OPS-7"}  fine');
    expect(stderr).toContain(`next: conveyor gate approve ${runId}/ship --actor NAME, or conveyor gate reject`);
  });

  it('tells what becomes of a gate unanswered only while that may be, and only once', async () => {
    const { ship = {} } = gated.jobs ?? {};
    const described = async (job: typeof ship) => {
      await using plane = await startScriptedPlane({ jobs: { ship: job } });
      return fieldsOf((await run(['describe', 'job', `${runId}/ship`], plane.env)).stdout);
    };
    const told = await described({ ...ship, blockers: ['1 of 2 approvals; at 03:04:05 it is skipped'] });
    expect(told).not.toHaveProperty('Unanswered');
    expect(told).toHaveProperty('Approved');
    const over = { ...ship, state: JobState.SKIPPED, shown: { ...ship.shown, finishTime: timestampFromMs(0) } };
    expect(await described(over)).not.toHaveProperty('Unanswered');
  });

  it('tells why a job was skipped: the value of each part of its condition, and how its needs ended', async () => {
    const value = (json: JsonValue) => ({ value: fromJson(ValueSchema, json) });
    const condition = {
      expression: 'params.ship && labels.branch == "main"',
      held: false,
      parts: [
        { expression: 'params.ship', ...value(true) },
        { expression: 'labels.branch == "main"', ...value(false) },
        { expression: 'labels.branch', ...value('next') },
        { expression: 'needs.build.outputs', note: 'is 4096 bytes' },
      ],
    };
    const shown = { condition, needs: ['build'], stage: 'ship', attempt: 0 };
    await using plane = await startScriptedPlane({ jobs: { build: {}, deploy: { state: JobState.SKIPPED, shown } } });
    const { stdout } = await run(['describe', 'job', `${runId}/deploy`], plane.env);
    expect(fieldsOf(stdout)).toMatchObject({
      State: 'skipped',
      Stage: 'ship',
      Needs: 'build succeeded',
      Condition: 'params.ship && labels.branch == "main" (does not hold)',
    });
    expect(stdout).toContain(`PART OF THE CONDITION    VALUE
params.ship              true
labels.branch == "main"  false
labels.branch            "next"
needs.build.outputs      is 4096 bytes
`);
    expect((await run(['get', 'jobs', runId], plane.env)).stdout).toContain('its condition does not hold');
  });

  it('shows each expression that could not be worked out, with the value of each of its parts', async () => {
    const value = (json: JsonValue) => ({ value: fromJson(ValueSchema, json) });
    const shown = {
      attempt: 0,
      expressionFailures: [
        {
          field: 'spec.image',
          expression: 'params.image.tag',
          error: 'cannot read the field "tag" of string',
          parts: [{ expression: 'params.image', ...value('app') }],
        },
        {
          field: 'env.a',
          expression: 'x'.repeat(200),
          error: 'is wrong',
          parts: [{ expression: 'y', note: 'is none' }],
        },
      ],
      expressionFailureCount: 14,
    };
    await using plane = await startScriptedPlane({ jobs: { build: { state: JobState.FAILED, shown }, other: {} } });
    const { stdout } = await run(['describe', 'job', `${runId}/build`], plane.env);
    const long = `${'x'.repeat(99)}…`;
    expect(stdout).toContain(`FAILED AT   EXPRESSION AND PARTS${' '.repeat(80)}  ERROR OR VALUE
spec.image  ${'params.image.tag'.padEnd(100)}  cannot read the field "tag" of string
            ${'params.image'.padEnd(100)}  "app"
env.a       ${long}  is wrong
            ${'y'.padEnd(100)}  is none
and 12 more
`);
    expect((await run(['describe', 'job', `${runId}/other`], plane.env)).stdout).not.toContain('FAILED AT');
  });

  it('shows the cells of a matrix, those first that have not succeeded', async () => {
    await using plane = await startScriptedPlane(withMatrix(25));
    const { stdout } = await run(['describe', 'job', `${runId}/test`], plane.env);
    expect(fieldsOf(stdout)).toMatchObject({
      'Waits for': 'its cells',
      Cells: '25 cells: 24 succeeded, 1 failed',
    });
    const rows = stdout.slice(stdout.indexOf('JOB ')).split('\n');
    expect(rows[1]).toMatch(/^test\[1\] +failed/);
    expect(rows[21]).toBe(`and 5 more: conveyor get jobs ${runId}`);
  });

  it('shows the values of a cell, and the run of a call', async () => {
    await using plane = await startScriptedPlane(withMatrix(2));
    const { stdout } = await run(['describe', 'job', `${runId}/test[0]`], plane.env);
    expect(fieldsOf(stdout)).toMatchObject({ 'Cell of': 'test', Matrix: 'shard=0, os=linux' });
    const wait = { reason: WaitReason.CHILD_RUN };
    const shown = { driver: '', childRunId, wait };
    await using calling = await startScriptedPlane({ jobs: { deploy: { state: JobState.WAITING, shown } } });
    const described = fieldsOf((await run(['describe', 'job', `${runId}/deploy`], calling.env)).stdout);
    expect(described).toMatchObject({
      'Waits for': 'its run',
      'Its run': `${childRunId} (conveyor describe run ${childRunId})`,
    });
    expect((await run(['get', 'jobs', runId], calling.env)).stdout).toMatch(
      new RegExp(`^deploy  waiting  -  .*waits: run ${childRunId}$`, 'm'),
    );
  });
});

describe('the jobs of a run', () => {
  const namesIn = (stdout: string) => Array.from(stdout.matchAll(/^((?:test|last)\S*) /gm), ([, name]) => name);

  it('have the cells of a matrix behind it', async () => {
    await using plane = await startScriptedPlane(withMatrix(3));
    const { stdout } = await run(['get', 'jobs', runId], plane.env);
    expect(namesIn(stdout)).toEqual(['test', 'test[0]', 'test[1]', 'test[2]', 'last']);
    expect(stdout).toMatch(/^test +waiting .*3 cells: 2 succeeded, 1 failed; waits: its cells$/m);
  });

  it('have only a count of them where there are many and the whole run is described', async () => {
    await using plane = await startScriptedPlane(withMatrix(11));
    const { stdout } = await run(['describe', 'run', runId], plane.env);
    expect(namesIn(stdout)).toEqual(['test', 'last']);
    expect(stdout).toContain('11 cells: 10 succeeded, 1 failed');
    expect(namesIn((await run(['get', 'jobs', runId], plane.env)).stdout)).toHaveLength(13);
  });
});

describe('conveyor graph', () => {
  it('counts the cells of a run, or with --cells draws each', async () => {
    await using plane = await startScriptedPlane(withMatrix(3));
    const counted = (await run(['graph', runId], plane.env)).stdout;
    expect(counted).toContain('j0(["test<br>3 cells: 2 succeeded, 1 failed<br>waiting"]):::waiting');
    expect(counted).not.toContain('test[1]');
    const { stdout } = await run(['graph', runId, '--cells'], plane.env);
    expect(stdout).toContain('  j2("test[1]<br>failed"):::failed\n');
  });

  it('draws jobs that a running job has appended', async () => {
    const push = { isAppended: true, shown: { needs: ['plan'] } };
    await using plane = await startScriptedPlane({ jobs: { plan: {}, push } });
    const { stdout } = await run(['graph', runId, '--format', 'dot'], plane.env);
    expect(stdout).toContain('  "plan" -> "push"\n');
  });

  it('draws what appended a job, and that a failure was allowed', async () => {
    const shown = { failureAllowed: true };
    const push = { isAppended: true, shown: { definition: { name: 'push' } } };
    await using plane = await startScriptedPlane({ jobs: { plan: { state: JobState.FAILED, shown }, push } });
    const { stdout } = await run(['graph', runId], plane.env);
    expect(stdout).toContain('  j0["plan<br>failed, allowed"]:::failed\n');
    expect(stdout).toContain('  j0 -.->|appended| j1\n');
  });

  it('draws an appended gate as a gate', async () => {
    const definition = { name: 'ask', needs: ['plan'], gate: { message: 'Sure?', quorum: 2 } };
    await using plane = await startScriptedPlane({
      jobs: { plan: {}, ask: { isAppended: true, shown: { definition } } },
    });
    const { stdout } = await run(['graph', runId], plane.env);
    expect(stdout).toContain('  j1{{"ask<br>gate: 2 to approve<br>succeeded"}}:::succeeded\n');
    expect(stdout).toContain('  j0 --> j1\n');
  });

  it('refuses a stage that there is none of, by line and column', async () => {
    const file = 'stages: [check]\njobs:\n  - { name: build, driver: shell, stage: chekc }\n';
    const { exitCode, stderr } = await run(['graph', '-f', '-'], {}, file);
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 2 });
    expect(stderr).toContain('<stdin>:3:35: there is no stage "chekc"');
  });
});

describe('following', () => {
  const waits = (job: string): MessageInitShape<typeof EventSchema> => ({
    job,
    jobId: `id-of-${job}`,
    jobState: JobState.WAITING,
    kind: { case: 'jobWaiting', value: { wait: approval } },
  });

  it('tells that a gate waits, what it asks, and how to answer it', async () => {
    await using plane = await startScriptedPlane({ ...gated, state: RunState.SUCCEEDED, events: [waits('ship')] });
    const { stdout, stderr } = await run(['run', 'ci', '--follow'], plane.env);
    expect(stdout).toContain('ship * 03:04:06 waiting: approval until 2026-01-02 03:04:05Z\n');
    expect(stderr).toBe(
      `ship waits for an answer: Ship it?\nnext: conveyor gate approve ${runId}/ship --actor NAME, or conveyor gate reject ${runId}/ship --actor NAME\n`,
    );
  });

  it('tells what a gate asks that was appended', async () => {
    const definition = { name: 'ask', gate: { message: 'Sure?' } };
    const events: MessageInitShape<typeof EventSchema>[] = [
      { job: 'plan', jobState: JobState.RUNNING, kind: { case: 'jobsAdded', value: { jobs: [{ name: 'ask' }] } } },
      waits('ask'),
    ];
    await using plane = await startScriptedPlane({
      jobs: { plan: {}, ask: { isAppended: true, shown: { definition } } },
      state: RunState.SUCCEEDED,
      events,
    });
    const { stdout, stderr } = await run(['run', 'ci', '--follow'], plane.env);
    expect(stdout).toContain('plan * 03:04:06 appended 1 job: ask\n');
    expect(stderr).toContain('ask waits for an answer: Sure?\n');
  });

  it('does not ask again what was answered before it began', async () => {
    const events = [waits('ship'), finished('ship', JobState.SUCCEEDED)];
    await using plane = await startScriptedPlane({ ...gated, state: RunState.SUCCEEDED, events, seq: 4n });
    expect((await run(['watch', runId], plane.env)).stderr).toBe('');
  });

  it('names the cells of a matrix, and shows how to read the log of one that failed', async () => {
    const jobs = ['linux', 'macos'].map((key) => ({ name: `test[${key}]`, matrix: { key } }));
    const events: MessageInitShape<typeof EventSchema>[] = [
      { job: 'test', jobState: JobState.WAITING, kind: { case: 'jobsAdded', value: { jobs } } },
      finished('test[linux]', JobState.FAILED),
    ];
    const cell = { state: JobState.FAILED, shown: { matrixJob: 'test' } };
    await using plane = await startScriptedPlane({
      jobs: { test: { state: JobState.WAITING }, 'test[linux]': cell },
      events,
      state: RunState.FAILED,
    });
    const { stdout } = await run(['run', 'ci', '--follow'], plane.env);
    expect(stdout).toContain('test        * 03:04:06 runs as 2 cells: test[linux] test[macos]\n');
    expect(stdout).toContain('test[linux] * 03:04:07 failed\n');
    expect(stdout).toContain(`    conveyor logs '${runId}/test[linux]'\n`);
  });
});

/** The fields at the head of a description. */
function fieldsOf(stdout: string): Record<string, string> {
  const [head = ''] = stdout.split('\n\n');
  return Object.fromEntries(Array.from(head.matchAll(/^([\w ]+): +(.*)$/gm), ([, name, value]) => [name, value]));
}
