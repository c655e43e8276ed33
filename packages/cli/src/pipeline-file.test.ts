import { pipeline } from '@conveyor/client';
import { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { equals } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { placeText } from './file-problem.ts';
import { messageYaml } from './message-yaml.ts';
import { PipelineFileError, parsePipeline } from './pipeline-file.ts';

const complete = `
name: release
labels: { team: core }
paramsSchema:
  type: object
  properties: { sha: { type: string, default: HEAD } }
jobs:
  - name: build
    driver: shell
    spec:
      command: make
      env: { DEPTH: 3, QUIET: true, EMPTY: null }
      steps: [one, 2.5]
    retry: { workload: 2, driver: 0, initialBackoff: 250ms, maxBackoff: 1m, backoffFactor: 1.5, jitter: 0 }
    secrets: [npm-token]
  - name: test
    driver: shell
    needs: [build]
    onLeaseDoubt: stop
    allowFailure: true
    timeouts: { queueTimeout: 1h, offerTimeout: 5s, runTimeout: 10m, silenceTimeout: 2m, totalTimeout: 1d, cancelGracePeriod: 1.5s }
  - name: report
    driver: mailer
    needs: [build, test]
    when: always
`;

function problemsOf(source: string): string[] {
  try {
    parsePipeline(source, 'ci.yaml');
  } catch (thrown) {
    if (thrown instanceof PipelineFileError) return thrown.message.split('\n');
    throw thrown;
  }
  return [];
}

describe('a pipeline file', () => {
  it('is the same pipeline as the one that the builder makes', () => {
    const built = pipeline('release', {
      labels: { team: 'core' },
      paramsSchema: { type: 'object', properties: { sha: { type: 'string', default: 'HEAD' } } },
    })
      .job('build', {
        driver: 'shell',
        spec: { command: 'make', env: { DEPTH: 3, QUIET: true, EMPTY: null }, steps: ['one', 2.5] },
        retry: { workload: 2, driver: 0, initialBackoff: '250ms', maxBackoff: '1m', backoffFactor: 1.5, jitter: 0 },
        secrets: ['npm-token'],
      })
      .job('test', {
        driver: 'shell',
        needs: ['build'],
        onLeaseDoubt: 'stop',
        allowFailure: true,
        timeouts: {
          queueTimeout: '1h',
          offerTimeout: '5s',
          runTimeout: '10m',
          silenceTimeout: '2m',
          totalTimeout: '1d',
          cancelGracePeriod: '1.5s',
        },
      })
      .job('report', { driver: 'mailer', needs: ['build', 'test'], when: 'always' });
    const parsed = parsePipeline(complete, 'release.yaml');
    expect(parsed.name).toBe(built.name);
    expect(parsed.definition).toEqual(built.definition);
    expect(equals(PipelineDefinitionSchema, parsed.definition, built.definition)).toBe(true);
  });

  it('says conditions, stages, matrices, gates and calls as the builder does', () => {
    const source = `
name: release
stages: [test, ship]
env: { MODE: fast }
failFast: true
jobs:
  - name: test
    driver: shell
    stage: test
    matrix:
      axes: { node: [22, 24], shard: "\${{ params.shards }}" }
      include: [{ node: 24, isNewest: true }]
      exclude: "\${{ params.broken }}"
      max_parallel: 2
  - name: approve
    stage: ship
    if: params.target == 'production'
    gate: { message: "Ship it?", approvers: [ada], quorum: 2, timeout: 2d, on_timeout: skip, form_schema: { type: object } }
  - name: deploy
    needs: [approve]
    call: { pipeline: deploy, revision: 3, params: { target: "\${{ params.target }}" } }
  - { name: tell, driver: mail, needs: [deploy], when: failure }
  - { name: clean, driver: shell, when: finally }
`;
    const built = pipeline('release', { stages: ['test', 'ship'], env: { MODE: 'fast' }, failFast: true })
      .job('test', {
        driver: 'shell',
        stage: 'test',
        matrix: {
          axes: { node: [22, 24], shard: '${{ params.shards }}' },
          include: [{ node: 24, isNewest: true }],
          exclude: '${{ params.broken }}',
          maxParallel: 2,
        },
      })
      .gate('approve', {
        stage: 'ship',
        if: "params.target == 'production'",
        message: 'Ship it?',
        approvers: ['ada'],
        quorum: 2,
        timeout: '2d',
        onTimeout: 'skip',
        formSchema: { type: 'object' },
      })
      .call('deploy', {
        needs: ['approve'],
        pipeline: 'deploy',
        revision: 3,
        params: { target: '${{ params.target }}' },
      })
      .job('tell', { driver: 'mail', needs: ['deploy'], when: 'failure' })
      .job('clean', { driver: 'shell', when: 'finally' });
    expect(parsePipeline(source, 'release.yaml').definition).toEqual(built.definition);
  });

  it('has a limit by expression where the number would be, as the builder', () => {
    const source = `
name: release
jobs:
  - name: deploy
    driver: shell
    matrix: { axes: { region: [eu] }, maxParallel: "\${{ params.regions }}" }
    concurrency: { key: k, limit: "\${{ params.deploys }}" }
    rate_limits: [{ key: r, limit: "\${{ params.calls }}", period: 1m }]
`;
    const built = pipeline('release').job('deploy', {
      driver: 'shell',
      matrix: { axes: { region: ['eu'] }, maxParallel: '${{ params.regions }}' },
      concurrency: { key: 'k', limit: '${{ params.deploys }}' },
      rateLimits: [{ key: 'r', limit: '${{ params.calls }}', period: '1m' }],
    });
    const read = parsePipeline(source, 'ci.yaml');
    expect(read.definition).toEqual(built.definition);
    expect(messageYaml(PipelineDefinitionSchema, {}, read.definition)).toContain('limit: ${{ params.deploys }}');
    expect(read.locate('definition.jobs[0].concurrency.limit_expression')).toMatchObject({
      path: 'jobs[0].concurrency.limit',
      line: 7,
      column: 28,
    });
    expect(read.locate('definition.jobs[0].matrix.max_parallel_expression').path).toBe('jobs[0].matrix.maxParallel');
    const own = source.replace('limit: "', 'limitExpression: "');
    expect(parsePipeline(own, 'ci.yaml').definition).toEqual(built.definition);
    expect(parsePipeline(own, 'ci.yaml').locate('jobs[0].concurrency.limit_expression').path).toBe(
      'jobs[0].concurrency.limitExpression',
    );
  });

  it.each([
    ['limit: three', 'must be a whole number, or an expression of one as ${{ params.limit }}'],
    ['limit: 3, limitExpression: "${{ params.n }}"', 'cannot be given beside limit or limitExpression'],
    ['limitExpression: "${{ params.n }}", limit: "${{ params.m }}"', 'cannot be given beside limit or limitExpression'],
  ])('refuses a limit as %s', (limit, told) => {
    const source = `name: a\njobs: [{ name: a, driver: shell, concurrency: { key: k, ${limit} } }]`;
    expect(problemsOf(source)).toEqual([expect.stringContaining(told)]);
  });

  it("takes the contract's own JSON form", () => {
    const json = {
      jobs: [
        {
          name: 'a',
          driver: 'shell',
          when: 'RUN_CONDITION_ALWAYS',
          allow_failure: true,
          timeouts: { run_timeout: '90s' },
        },
      ],
    };
    const { definition } = pipeline('x').job('a', {
      driver: 'shell',
      when: 'always',
      allowFailure: true,
      timeouts: { runTimeout: '90s' },
    });
    expect(parsePipeline(JSON.stringify(json), 'x.json')).toMatchObject({ name: undefined, definition });
  });

  it('may repeat parts by anchors and merges', () => {
    const source = 'jobs:\n  - &base { name: a, driver: shell }\n  - { <<: *base, name: b, needs: [a] }\n';
    const { definition } = parsePipeline(source, 'x.yaml');
    expect(definition.jobs.map(({ name, driver }) => `${name} ${driver}`)).toEqual(['a shell', 'b shell']);
  });

  it('names every wrong field by line, column and path at once', () => {
    const source = `name: ci
labels: { pr: 42 }
jobs:
  - name: build
    driver: shell
    need: [a]
    allowFailure: maybe
    retry:
      workload: 1.5
      jitter: lots
      initialBackoff: 10 minutes
  - name: test
    when: alway
    needs: build
    needs2: null
    timeouts: [10m]
    spec: make
  - plain
`;
    expect(problemsOf(source)).toEqual([
      'ci.yaml:2:11: labels.pr: must be text; put it in quotes',
      'ci.yaml:6:5: jobs[0].need: is no field here; did you mean needs? these are: name, driver, spec, needs, when, retry, timeouts, onLeaseDoubt, allowFailure, secrets, if, stage, matrix, gate, call, outputsSchema, concurrency, rateLimits, selector, priority, pool, stickyKey',
      'ci.yaml:7:5: jobs[0].allowFailure: must be true or false',
      'ci.yaml:9:7: jobs[0].retry.workload: must be a whole number',
      'ci.yaml:10:7: jobs[0].retry.jitter: must be a number',
      'ci.yaml:11:7: jobs[0].retry.initialBackoff: must be a duration such as 250ms, 1.5s, 10m, 2h or 7d',
      'ci.yaml:13:5: jobs[1].when: must be success or always or failure or finally; did you mean always?',
      'ci.yaml:14:5: jobs[1].needs: must be a list',
      'ci.yaml:15:5: jobs[1].needs2: is no field here; did you mean needs? these are: name, driver, spec, needs, when, retry, timeouts, onLeaseDoubt, allowFailure, secrets, if, stage, matrix, gate, call, outputsSchema, concurrency, rateLimits, selector, priority, pool, stickyKey',
      'ci.yaml:16:5: jobs[1].timeouts: must be a mapping',
      'ci.yaml:17:5: jobs[1].spec: must be a mapping',
      'ci.yaml:18:5: jobs[2]: must be a mapping',
    ]);
  });

  it.each([
    [
      'a syntax error',
      'jobs: [a',
      'ci.yaml:1:9: Flow sequence in block collection must be sufficiently indented and end with a ]',
    ],
    ['a field in both spellings', 'params_schema: {}\nparamsSchema: {}', 'ci.yaml:2:1: paramsSchema: is given twice'],
    ['no mapping', '- a', 'ci.yaml:1:1: must hold a pipeline: a mapping with `name` and `jobs`'],
    ['nothing', '', 'ci.yaml:1:1: must hold a pipeline: a mapping with `name` and `jobs`'],
    ['a name that is no text', 'name: 1', 'ci.yaml:1:1: name: must be text; put it in quotes'],
    [
      'a number that JSON has not',
      'jobs: [{ spec: { a: .inf } }]',
      'ci.yaml:1:18: jobs[0].spec.a: has no form in JSON',
    ],
  ])('refuses %s', (_, source, problem) => expect(problemsOf(source)).toEqual([problem]));

  it.each([
    ['definition.jobs[1].needs[0]', 18, 13],
    ['run.definition.jobs[1].timeouts.run_timeout', 21, 53],
    ['definition.labels["team"]', 3, 11],
    ['definition.jobs[0].spec.command', 11, 7],
    ['definition.jobs[0].spec.nothing.there', 10, 5],
    ['definition', 2, 1],
  ])('finds %s', (path, line, column) => {
    expect(placeText(parsePipeline(complete, 'ci.yaml').locate(path))).toBe(`ci.yaml:${line}:${column}`);
  });

  it('finds what stands by a key that is no name', () => {
    const file = parsePipeline('jobs:\n  - spec:\n      app.io/a: 1\n      "b\\"[0]": { c.d: 2 }\n', 'ci.yaml');
    expect(file.locate('definition.jobs[0].spec["app.io/a"]')).toMatchObject({ line: 3, column: 7 });
    expect(file.locate('definition.jobs[0].spec["b\\"[0]"]["c.d"]')).toMatchObject({
      line: 4,
      column: 19,
      path: 'jobs[0].spec["b\\"[0]"]["c.d"]',
    });
  });

  it('names a field as the file does, and a condition where its text begins', () => {
    const file = parsePipeline(`${complete}    if: params.go\n    outputs_schema: { a_b: 1 }\n`, 'ci.yaml');
    expect(file.locate('definition.params_schema.properties.sha').path).toBe('paramsSchema.properties.sha');
    expect(file.locate('definition.params_schema.gone_from.it').path).toBe('paramsSchema.gone_from.it');
    expect(file.locate('definition.jobs[2].outputs_schema.a_b').path).toBe('jobs[2].outputs_schema.a_b');
    const { line } = file.locate('definition.jobs[2].if');
    expect(file.locate('definition.jobs[2].if')).toEqual({ file: 'ci.yaml', line, column: 9, path: 'jobs[2].if' });
  });

  it('tells what is wrong from the beginning of the file to its end', () => {
    expect(problemsOf('label: {}\nname: 1\njobs: []\nenv: 2\n').map((problem) => problem.slice(0, 9))).toEqual([
      'ci.yaml:1',
      'ci.yaml:2',
      'ci.yaml:4',
    ]);
  });
});
