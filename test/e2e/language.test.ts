// What a run works out by itself, through real drivers on two replicas: conditions and specs from what came before, matrices, gates that
// people answer, runs of other pipelines, and what is stopped when something fails.
import { type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, FailureClass, type Job, JobState, RunState } from '@conveyor/client';
import { ExpressionFailureSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { GateExpiry, RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { jobOf, jobsByName, outputsOf } from './jobs.ts';
import { startSystem, type System } from './system.ts';
import type { Step } from './workload.ts';

type Definition = MessageInitShape<typeof PipelineDefinitionSchema>;

let system: System;
let clients: readonly Client[];
beforeAll(async () => {
  system = await startSystem();
  clients = system.replicas.map(({ client }) => client);
  await Promise.all(system.replicas.map((at) => system.startDriver({ name: 'work', at: [at], slots: 8 })));
});
afterAll(() => system[Symbol.asyncDispose]());

const work = (name: string, steps: readonly Step[] = [], job: Parameters<typeof jobOf>[2] = {}) =>
  jobOf('work', { steps }, { name, ...job });
const output = (key: string, value: Extract<Step, { do: 'output' }>['value']): Step => ({ do: 'output', key, value });
const failing: Step = { do: 'fail', class: 'WORKLOAD', message: 'no good' };

/** Runs a definition to its end; the state of the run and of each job, and the jobs. */
async function finish(definition: Definition, params = {}) {
  const run = await clients[0]!.runs.create({ definition, params });
  return await endOf(run.runId);
}

async function endOf(runId: string) {
  const run = await clients[1]!.runs.finished(runId);
  const jobs = await jobsByName(clients[1]!, runId);
  const states = Object.fromEntries([...jobs].map(([name, { state }]) => [name, JobState[state]]));
  return { runId, run, state: RunState[run.state], jobs, states };
}

/** Waits until a job of a run is in a state. */
async function inState(runId: string, name: string, state: JobState): Promise<string> {
  let jobId = '';
  const stateOf = async (): Promise<string | undefined> => {
    const job = (await jobsByName(clients[0]!, runId)).get(name);
    jobId = job?.jobId ?? '';
    return job && JobState[job.state];
  };
  await expect.poll(stateOf).toBe(JobState[state]);
  return jobId;
}

test('the deepest values reach drivers and people, and one that is deeper fails its job alone', async () => {
  const listed = (levels: number): string => `${'['.repeat(levels)}params.deep${']'.repeat(levels)}`;
  const lists = (levels: number): Extract<Step, { do: 'output' }>['value'] => (levels === 0 ? 1 : [lists(levels - 1)]);
  const given = (levels: number): Step => ({ do: 'output', key: 'deep', value: `\${{ ${listed(levels)} }}` });
  const definition = {
    jobs: [
      work('deepest', [given(1)]),
      work('deeper', [given(2)], { allowFailure: true }),
      work('cells', [output('deep', '${{ matrix.of }}')], { matrix: { axes: { of: [lists(22)] } } }),
      work('reads', [], { needs: ['deepest'], if: '[[needs.deepest.outputs.deep]].size() == 1' }),
      work('after', [], { needs: ['deepest', 'deeper'], when: RunCondition.ALWAYS }),
    ],
  };
  // In the spec it is inside of an object, a list and an object.
  const { state, states, jobs, runId } = await finish(definition, { deep: lists(21) });
  expect({ state, states }).toMatchObject({
    state: 'SUCCEEDED',
    states: { deepest: 'SUCCEEDED', deeper: 'FAILED', cells: 'SUCCEEDED', reads: 'SUCCEEDED', after: 'SUCCEEDED' },
  });
  expect(jobs.get('deeper')?.failure).toMatchObject({
    class: FailureClass.INVALID,
    message: expect.stringMatching(/steps\[0\]\.value: .*too deep.* more than 25 lists and objects/),
  });
  expect(outputsOf(jobs.get('deepest')!)).toMatchObject({ deep: lists(22) });
  // By both doors: as a whole, job by job, and as it came about.
  for (const client of system.replicas.flatMap((replica) => [replica.client, replica.httpClient])) {
    expect((await client.runs.get(runId)).definition?.jobs).toHaveLength(5);
    expect(outputsOf(await client.jobs.get(jobs.get('deepest')!.jobId))).toMatchObject({ deep: lists(22) });
    expect((await Array.fromAsync(client.runs.watch(runId))).length).toBeGreaterThan(10);
  }
});

test('conditions decide by what came before, and say of each of their parts what it was', async () => {
  const { state, states, jobs } = await finish(
    {
      env: { target: 'env-${{ params.stage }}' },
      jobs: [
        work('build', [output('image', 'app:7'), output('size', 12)]),
        work('broken', [failing], { allowFailure: true }),
        work('deploy', [], {
          needs: ['build', 'broken'],
          if: 'needs.build.outputs.size > 10 && params.stage == "prod"',
          spec: {
            steps: [{ do: 'output', key: 'said', value: 'to ${{ env.target }}: ${{ needs.build.outputs.image }}' }],
          },
        }),
        work('shrink', [], { needs: ['build'], if: 'needs.build.outputs.size > 100 || params.force' }),
        work('after', [], { needs: ['shrink'] }),
        work('wrong', [], { needs: ['build'], if: 'needs.build.outputs.nothing == 1' }),
        work('mend', [], { needs: ['wrong'], when: RunCondition.FAILURE, if: 'needs.wrong.failure == "INVALID"' }),
        work('told', [], { needs: ['broken'], if: 'needs.broken.outcome != needs.broken.conclusion' }),
      ],
    },
    { stage: 'prod', force: false },
  );
  expect(states).toEqual({
    build: 'SUCCEEDED',
    broken: 'FAILED',
    deploy: 'SUCCEEDED',
    shrink: 'SKIPPED',
    after: 'SKIPPED',
    wrong: 'FAILED',
    mend: 'SUCCEEDED',
    told: 'SUCCEEDED',
  });
  expect(state).toBe('FAILED');
  expect(outputsOf(jobs.get('deploy')!)['said']).toBe('to env-prod: app:7');
  const { held, parts } = jobs.get('shrink')!.condition!;
  const shown = Object.fromEntries(parts.map(({ expression, value }) => [expression, value?.kind.value]));
  expect(held).toBe(false);
  expect(shown).toMatchObject({
    'needs.build.outputs.size > 100': false,
    'needs.build.outputs.size': 12,
    'params.force': false,
  });
  expect(jobs.get('wrong')!.failure).toMatchObject({ class: FailureClass.INVALID });
  expect(jobs.get('wrong')!.condition).toMatchObject({ held: false, error: expect.stringContaining('nothing') });
});

test('what cannot be worked out fails its job with all that is wrong and what it read, and those that need the job see it', async () => {
  const told = [
    {
      field: 'env.target',
      expression: 'params.target',
      error: 'there is no field "target"',
      parts: [{ expression: 'params', value: { stage: 'prod' } }],
    },
  ];
  const wrong = [
    {
      field: 'spec.steps[0].value',
      expression: 'needs.build.outputs.size + "x"',
      error: 'cannot apply + to int and string',
      parts: [{ expression: 'needs.build.outputs.size', value: 12 }],
    },
    {
      field: 'spec.steps[1].value',
      expression: 'needs.build.outputs.image.tag',
      error: 'cannot read the field "tag" of string',
      parts: [{ expression: 'needs.build.outputs.image', value: 'app:7' }],
    },
  ];
  const axis = {
    field: 'matrix.axes.n',
    expression: 'needs.build.outputs.list',
    error: 'there is no field "list"',
    parts: [{ expression: 'needs.build.outputs', value: { image: 'app:7', size: 12 } }],
  };
  const { runId, run, states, jobs } = await finish(
    {
      env: { target: '${{ params.target }}' },
      jobs: [
        work('build', [output('image', 'app:7'), output('size', 12)]),
        work(
          'wrong',
          wrong.map(({ expression }, n) => output(`${n}`, `is \${{ ${expression} }}`)),
          { needs: ['build'] },
        ),
        work('cells', [], { needs: ['build'], matrix: { axes: { n: '${{ needs.build.outputs.list }}' } } }),
        work('env', [output('a', '${{ env.target }}')]),
        work('mend', [output('why', '${{ needs.wrong.failure }}')], {
          needs: ['wrong'],
          when: RunCondition.FAILURE,
          if: 'needs.wrong.failure == "INVALID"',
        }),
        work('after', [], { needs: ['wrong'] }),
      ],
    },
    { stage: 'prod' },
  );
  expect(states).toEqual({
    build: 'SUCCEEDED',
    wrong: 'FAILED',
    cells: 'FAILED',
    env: 'FAILED',
    mend: 'SUCCEEDED',
    after: 'SKIPPED',
  });
  expect(outputsOf(jobs.get('mend')!)).toMatchObject({ why: 'INVALID' });
  const job = jobs.get('wrong')!;
  expect(job.failure).toMatchObject({
    class: FailureClass.INVALID,
    message: `spec.steps[0].value: ${JSON.stringify(wrong[0]!.expression)}: ${wrong[0]!.error} (and 1 more)`,
  });
  const failuresOf = ({ expressionFailures }: Pick<Job, 'expressionFailures'>): unknown =>
    expressionFailures.map((failure) => toJson(ExpressionFailureSchema, failure));
  expect(failuresOf(job)).toEqual(wrong);
  expect(failuresOf(jobs.get('cells')!)).toMatchObject([axis]);
  expect(failuresOf(jobs.get('env')!)).toEqual(told);
  // Also of the job by itself, as of the last event, and in the event that told it.
  for (const atSeq of [undefined, run.seq]) {
    const shown = await clients[0]!.jobs.get(job.jobId, { atSeq });
    expect(failuresOf(shown)).toEqual(wrong);
    expect(shown.expressionFailureCount).toBe(2);
  }
  const events = await Array.fromAsync(clients[1]!.runs.watch(runId));
  const evaluated = events.flatMap(({ jobId, kind }) =>
    jobId === job.jobId && kind.case === 'jobEvaluated' ? [kind.value] : [],
  );
  expect(evaluated.map(failuresOf)).toEqual([wrong]);
  expect((await clients[0]!.runs.verify(runId)).discrepancies).toEqual([]);
});

test('a matrix is made of what an earlier job found, runs so many cells at a time, and its outputs are those of its cells', async () => {
  const { states, jobs, run } = await finish({
    jobs: [
      work('plan', [output('shards', ['a', 'b', 'c', 'd']), output('skip', 'c')]),
      work('test', [], {
        needs: ['plan'],
        if: 'matrix.shard != needs.plan.outputs.skip',
        matrix: { axes: { shard: '${{ needs.plan.outputs.shards }}', os: ['linux'] }, maxParallel: 2 },
        spec: { steps: [{ do: 'output', key: 'did', value: '${{ matrix.os }} ${{ matrix.shard }}' }] },
      }),
      work('none', [], { matrix: { axes: { n: [] } } }),
      work('report', [{ do: 'pass-on' }], {
        needs: ['test'],
        if: 'needs.test.outputs["linux,a"].did == "linux a" && size(needs.test.outputs) == 3',
      }),
    ],
  });
  expect(states).toEqual({
    plan: 'SUCCEEDED',
    test: 'SUCCEEDED',
    'test[linux,a]': 'SUCCEEDED',
    'test[linux,b]': 'SUCCEEDED',
    'test[linux,c]': 'SKIPPED',
    'test[linux,d]': 'SUCCEEDED',
    none: 'SKIPPED',
    report: 'SUCCEEDED',
  });
  expect(run.jobCounts).toMatchObject({ total: 8, open: 0, succeeded: 6, skipped: 2 });
  const cell = jobs.get('test[linux,b]')!;
  expect(cell).toMatchObject({ matrixJob: 'test', matrix: { os: 'linux', shard: 'b' } });
  const passed = outputsOf(jobs.get('report')!)['needs'] as { test: Record<string, { did: string }> };
  expect(passed.test['linux,d']!.did).toBe('linux d');
});

test('a cell that fails stops the others when the matrix says so, and what is run again is what failed', async () => {
  const gate = system.newGate();
  const first = await finish({
    jobs: [
      work('test', [], {
        matrix: { axes: { n: [1, 2, 3] }, failFast: true },
        spec: { steps: [{ do: 'fail', class: 'WORKLOAD', message: 'always' }] },
        if: 'matrix.n == 1',
      }),
    ],
  });
  expect(first.states).toMatchObject({ test: 'FAILED', 'test[1]': 'FAILED', 'test[2]': 'SKIPPED' });
  expect(first.jobs.get('test')!.failure!.message).toBe('test[1] failed: always');

  const steps = [{ do: 'wait', file: gate.file }];
  const run = await clients[0]!.runs.create({
    definition: {
      jobs: [
        work('test', [], {
          matrix: { axes: { n: [1, 2, 3] }, failFast: true },
          spec: { steps: [...steps, { do: 'fail', class: 'WORKLOAD', message: 'at first' }] },
        }),
        work('last', [], { needs: ['test'] }),
      ],
    },
  });
  await inState(run.runId, 'test[3]', JobState.RUNNING);
  await gate.open();
  const { states } = await endOf(run.runId);
  expect(states['test']).toBe('FAILED');
  expect(states['last']).toBe('SKIPPED');
  expect(Object.values(states).filter((state) => state === 'FAILED').length).toBeGreaterThanOrEqual(2);

  const again = await clients[1]!.runs.rerun(run.runId, { scope: 'failed' });
  const rerun = await endOf(again.runId);
  expect(Object.keys(rerun.states).sort()).toEqual(Object.keys(states).sort());
  expect(rerun.states['test']).toBe('FAILED');
});

test('a matrix that is run again waits for the cells that are, whatever of its needs is taken over', async () => {
  const { runId, states } = await finish({
    jobs: [
      work('plan', [output('xs', ['a', 'b'])]),
      work('cells', [], {
        needs: ['plan'],
        matrix: { axes: { x: '${{ needs.plan.outputs.xs }}' } },
        spec: { steps: [{ do: 'fail', class: 'WORKLOAD', message: 'no good' }] },
        if: 'matrix.x == "b"',
      }),
      work('after', [], { needs: ['cells'] }),
    ],
  });
  const expected = {
    plan: 'SUCCEEDED',
    cells: 'FAILED',
    'cells[a]': 'SKIPPED',
    'cells[b]': 'FAILED',
    after: 'SKIPPED',
  };
  expect(states).toEqual(expected);
  for (const input of [{ scope: 'failed' as const }, { from: ['cells[b]'] }]) {
    const again = await clients[1]!.runs.rerun(runId, input);
    expect((await endOf(again.runId)).states).toEqual(expected);
  }
});

test('the first failure stops the run when its definition says so; what comes last comes all the same', async () => {
  const gate = system.newGate();
  const { state, states } = await finish({
    failFast: true,
    jobs: [
      work('bad', [failing]),
      work('slow', [{ do: 'wait', file: gate.file }]),
      work('next', [], { needs: ['slow'] }),
      work('tidy', [], { when: RunCondition.FINALLY, if: 'run.status == "failed"' }),
      work('cheer', [], { when: RunCondition.FINALLY, if: 'run.status == "succeeded"' }),
    ],
  });
  expect(states).toEqual({ bad: 'FAILED', slow: 'CANCELLED', next: 'CANCELLED', tidy: 'SUCCEEDED', cheer: 'SKIPPED' });
  expect(state).toBe('FAILED');
});

test('a gate waits for as many people as it asks for, and what they fill in goes on', async () => {
  const [a, b] = clients;
  const run = await a!.runs.create({
    definition: {
      jobs: [
        work('build'),
        {
          name: 'release',
          needs: ['build'],
          gate: {
            message: 'Ship it?',
            approvers: ['ada', 'ops'],
            quorum: 2,
            formSchema: { type: 'object', required: ['version'], properties: { version: { type: 'string' } } },
          },
        },
        work('ship', [], {
          needs: ['release'],
          spec: { steps: [{ do: 'output', key: 'shipped', value: '${{ needs.release.outputs.version }}' }] },
        }),
      ],
    },
  });
  const jobId = await inState(run.runId, 'release', JobState.WAITING);
  const answer = (client: Client, actor: string, more: object = {}) =>
    client.jobs.answerGate(jobId, { verdict: 'approve', actor, answers: { version: '1.0' }, ...more });
  await expect(answer(a!, 'eve')).rejects.toMatchObject({ reason: 'NOT_AN_APPROVER' });
  await expect(answer(a!, 'ada', { answers: {} })).rejects.toMatchObject({ reason: 'INVALID_FIELD' });
  expect(JobState[(await answer(a!, 'ada')).state]).toBe('WAITING');
  expect(JobState[(await answer(b!, 'ada')).state]).toBe('WAITING');
  const { state, outputs, gateAnswers } = await answer(b!, 'ben', { groups: ['ops'], answers: { version: '1.1' } });
  expect(JobState[state]).toBe('SUCCEEDED');
  expect(outputsOf({ outputs })).toEqual({ version: '1.1' });
  expect(gateAnswers.map(({ actor }) => actor)).toEqual(['ada', 'ben']);
  await expect(answer(a!, 'ada', { answers: { version: '2' } })).rejects.toMatchObject({ reason: 'ALREADY_FINISHED' });
  expect(outputsOf((await endOf(run.runId)).jobs.get('ship')!)['shipped']).toBe('1.1');
});

test('a gate that is rejected fails, and one that nobody answers does what it says', async () => {
  const run = await clients[0]!.runs.create({
    definition: {
      jobs: [
        { name: 'asked', gate: {} },
        work('go', [], { needs: ['asked'] }),
        { name: 'skipped', gate: { timeout: { seconds: 1n }, onTimeout: GateExpiry.SKIP } },
        { name: 'opened', gate: { timeout: { seconds: 1n }, onTimeout: GateExpiry.APPROVE } },
        { name: 'failed', gate: { timeout: { seconds: 1n } } },
      ],
    },
  });
  const jobId = await inState(run.runId, 'asked', JobState.WAITING);
  await clients[1]!.jobs.answerGate(jobId, { verdict: 'reject', actor: 'ada', comment: 'not on a Friday' });
  const { states, jobs } = await endOf(run.runId);
  expect(states).toEqual({ asked: 'FAILED', go: 'SKIPPED', skipped: 'SKIPPED', opened: 'SUCCEEDED', failed: 'FAILED' });
  expect(jobs.get('asked')!.failure!.message).toBe('ada rejected it: not on a Friday');
  expect(jobs.get('failed')!.failure).toMatchObject({ class: FailureClass.TIMEOUT });
});

test('a call runs another pipeline, hands it params and hands on what it put out', async () => {
  const child: Definition = {
    paramsSchema: { type: 'object', required: ['count'], properties: { count: { type: 'integer' } } },
    jobs: [work('make', [], { spec: { steps: [{ do: 'output', key: 'made', value: '${{ params.count * 2 }}' }] } })],
  };
  await clients[0]!.pipelines.apply({ name: 'child', definition: child });
  const { states, jobs } = await finish(
    {
      jobs: [
        { name: 'sub', call: { pipeline: 'child', params: { count: '${{ params.n }}' } } },
        work('use', [], { needs: ['sub'], if: 'needs.sub.outputs.make.made == 42' }),
        { name: 'lost', call: { pipeline: 'nobody-applied-it' } },
        { name: 'misled', call: { pipeline: 'child', params: { count: '${{ params.many }}' } } },
      ],
    },
    { n: 21, many: 'many' },
  );
  expect(states).toEqual({ sub: 'SUCCEEDED', use: 'SUCCEEDED', lost: 'FAILED', misled: 'FAILED' });
  expect(jobs.get('lost')!.failure!.message).toContain('nobody-applied-it');
  expect(jobs.get('misled')!.failure!.message).toContain('count');
  const made = await clients[1]!.runs.get(jobs.get('sub')!.childRunId);
  expect(made).toMatchObject({ pipeline: 'child', revision: 1, params: { count: 21 } });
  expect(made.trigger).toMatchObject({ kind: 'pipeline', reference: jobs.get('sub')!.jobId });
  // What is known before is refused before, and what may come later is told of.
  const wrong = (call: object) => ({ name: 'parent', definition: { jobs: [{ name: 'sub', call }] } });
  await expect(
    clients[1]!.pipelines.apply(wrong({ pipeline: 'child', params: { count: 'many' } })),
  ).rejects.toMatchObject({
    reason: 'INVALID_FIELD',
    fieldViolations: [{ field: 'definition.jobs[0].call.params.count', description: 'must be integer; got "many"' }],
  });
  const { warnings } = await clients[1]!.pipelines.validate(wrong({ pipeline: 'chidl' }));
  expect(warnings).toEqual([expect.stringMatching(/^pipeline chidl does not exist: .*; did you mean "child"\?$/)]);
});

test('a cancel reaches the run of a call, and a pipeline that calls itself comes to an end', async () => {
  const gate = system.newGate();
  await clients[0]!.pipelines.apply({
    name: 'endless',
    definition: { jobs: [work('wait', [{ do: 'wait', file: gate.file }])] },
  });
  const run = await clients[0]!.runs.create({ definition: { jobs: [{ name: 'sub', call: { pipeline: 'endless' } }] } });
  await expect.poll(async () => (await jobsByName(clients[1]!, run.runId)).get('sub')?.childRunId).not.toBe('');
  const childRunId = (await jobsByName(clients[1]!, run.runId)).get('sub')!.childRunId;
  await inState(childRunId, 'wait', JobState.RUNNING);
  await clients[1]!.runs.cancel(run.runId, { reason: 'enough' });
  const { state, states } = await endOf(run.runId);
  expect([state, states['sub']]).toEqual(['CANCELLED', 'CANCELLED']);
  const child = await clients[0]!.runs.get(childRunId);
  expect([RunState[child.state], child.cancelReason]).toEqual(['CANCELLED', 'enough']);

  await clients[0]!.pipelines.apply({
    name: 'self',
    definition: { jobs: [{ name: 'again', if: 'run.pipeline == "self"', call: { pipeline: 'self' } }] },
  });
  const deep = await clients[0]!.runs.create({ pipeline: 'self' });
  expect((await endOf(deep.runId)).states).toEqual({ again: 'FAILED' });
  const [{ count } = { count: 0 }] = await system.query<{ count: number }>(
    "select count(*)::int as count from runs where pipeline = 'self'",
  );
  expect(count).toBe(11);
});

test('a spec is held against the schema of its driver when it is known what it comes to', async () => {
  const [a, b] = system.replicas;
  const specSchema = { type: 'object', required: ['count'], properties: { count: { type: 'integer', minimum: 1 } } };
  const session = await system.openSession({ at: a!, hello: { driver: 'counts', specSchema, slots: 0 } });
  expect(session.welcome.sessionId).not.toBe('');
  const run = await b!.client.runs.create({
    definition: {
      jobs: [
        { name: 'early', driver: 'counts', spec: { count: '${{ params.count }}' } },
        work('first', [output('count', -1)]),
        { name: 'late', driver: 'counts', needs: ['first'], spec: { count: '${{ needs.first.outputs.count }}' } },
        { name: 'fine', driver: 'counts', spec: { count: '${{ params.count + 1 }}' } },
      ],
    },
    params: { count: 0 },
  });
  await inState(run.runId, 'late', JobState.FAILED);
  const jobs = await jobsByName(b!.client, run.runId);
  expect(jobs.get('early')!.failure).toMatchObject({
    class: FailureClass.INVALID,
    message: 'spec.count must be at least 1; got 0',
  });
  expect(jobs.get('late')!.failure).toMatchObject({
    class: FailureClass.INVALID,
    message: 'spec.count must be at least 1; got -1',
  });
  expect(await b!.client.jobs.get(jobs.get('late')!.jobId)).toMatchObject({
    spec: { count: -1 },
    expressionFailures: [{ field: 'spec.count', expression: 'needs.first.outputs.count' }],
  });
  expect(JobState[jobs.get('fine')!.state]).toBe('QUEUED');
  await b!.client.runs.cancel(run.runId, { force: true });
  const text = { jobs: [{ name: 'x', driver: 'counts', spec: { count: 'many' } }] };
  await expect(b!.client.runs.create({ definition: text })).rejects.toMatchObject({ reason: 'SPEC_MISMATCH' });
});
