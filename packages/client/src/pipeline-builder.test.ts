import { create, type DescEnum, type DescMessage, toJson } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  ConcurrencyPolicySchema,
  ConcurrencySchema,
  DriverSelectorSchema,
  GateExpiry,
  GateExpirySchema,
  GateSchema,
  JobDefinitionSchema,
  JobTimeoutsSchema,
  LabelOperatorSchema,
  LabelRuleSchema,
  LeaseDoubtSchema,
  MatrixSchema,
  PipelineCallSchema,
  PipelineDefinitionSchema,
  RateLimitSchema,
  RetryPolicySchema,
  RunCondition,
  RunConditionSchema,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { describe, expect, it } from 'vitest';
import type { MatrixOptions } from './job-kinds.ts';
import type { ConcurrencyOptions, RateLimitOptions } from './job-limits.ts';
import type { LabelRuleOptions, SelectorOptions } from './job-places.ts';
import {
  type AnyJobOptions,
  type GateOptions,
  type JobOptions,
  pipeline,
  type PipelineCallOptions,
  type PipelineOptions,
  type RetryOptions,
  type TimeoutOptions,
} from './pipeline-builder.ts';

describe('the pipeline builder', () => {
  it('makes the definition of the contract', () => {
    const built = pipeline('ci', { labels: { team: 'core' }, paramsSchema: { type: 'object' } })
      .job('build', {
        driver: 'shell',
        spec: { command: 'make' },
        retry: { workload: 2, initialBackoff: '1.5s' },
        outputsSchema: { required: ['image'] },
      })
      .job('clean', {
        driver: 'shell',
        needs: ['build'],
        when: 'always',
        timeouts: { runTimeout: '10m', silenceTimeout: '2m' },
      });
    expect(built.name).toBe('ci');
    expect(built.definition).toEqual(
      create(PipelineDefinitionSchema, {
        labels: { team: 'core' },
        paramsSchema: { type: 'object' },
        jobs: [
          {
            name: 'build',
            driver: 'shell',
            spec: { command: 'make' },
            retry: { workload: 2, initialBackoff: durationFromMs(1_500) },
            outputsSchema: { required: ['image'] },
          },
          {
            name: 'clean',
            driver: 'shell',
            needs: ['build'],
            when: RunCondition.ALWAYS,
            timeouts: { runTimeout: durationFromMs(600_000), silenceTimeout: durationFromMs(120_000) },
          },
        ],
      }),
    );
  });

  it('says conditions, stages and what is shared', () => {
    const built = pipeline('ci', { stages: ['check', 'end'], env: { MODE: 'fast' }, failFast: true })
      .job('test', { driver: 'shell', stage: 'check', if: "params.target == 'all'" })
      .job('tell', { driver: 'mail', needs: ['test'], stage: 'end', when: 'failure' })
      .job('clean', { driver: 'shell', when: 'finally' });
    expect(toJson(PipelineDefinitionSchema, built.definition)).toEqual({
      stages: ['check', 'end'],
      env: { MODE: 'fast' },
      failFast: true,
      jobs: [
        { name: 'test', driver: 'shell', stage: 'check', if: "params.target == 'all'" },
        { name: 'tell', driver: 'mail', needs: ['test'], stage: 'end', when: 'RUN_CONDITION_FAILURE' },
        { name: 'clean', driver: 'shell', when: 'RUN_CONDITION_FINALLY' },
      ],
    });
  });

  it('says matrices, of values and of expressions', () => {
    const { definition } = pipeline('ci')
      .job('plan', { driver: 'shell' })
      .job('test', {
        driver: 'shell',
        needs: ['plan'],
        matrix: {
          axes: { node: [22, 24], shard: '${{ needs.plan.outputs.shards }}' },
          include: [{ node: 24, isNewest: true }],
          exclude: '${{ needs.plan.outputs.broken }}',
          maxParallel: 2,
          failFast: true,
        },
      });
    expect(toJson(PipelineDefinitionSchema, definition)).toMatchObject({
      jobs: [
        {},
        {
          matrix: {
            axes: { node: [22, 24], shard: '${{ needs.plan.outputs.shards }}' },
            include: [{ node: 24, isNewest: true }],
            exclude: '${{ needs.plan.outputs.broken }}',
            maxParallel: 2,
            failFast: true,
          },
        },
      ],
    });
    // @ts-expect-error an axis is a list, or a text that is one expression
    pipeline('ci').job('test', { driver: 'shell', matrix: { axes: { node: '22' } } });
  });

  it('says groups and rate limits, with limits as numbers and as expressions', () => {
    const { definition } = pipeline('ci').job('deploy', {
      driver: 'shell',
      matrix: { axes: { region: ['eu', 'us'] }, maxParallel: '${{ params.regions }}' },
      concurrency: { key: 'deploy', limit: '${{ params.deploys }}', policy: 'replace_pending' },
      rateLimits: [
        { key: 'api', limit: '${{ params.calls }}', period: '1m', cost: 2 },
        { key: 'mail', limit: 3, period: '1s' },
      ],
    });
    expect(toJson(PipelineDefinitionSchema, definition)).toMatchObject({
      jobs: [
        {
          matrix: { maxParallelExpression: '${{ params.regions }}' },
          concurrency: {
            key: 'deploy',
            limitExpression: '${{ params.deploys }}',
            policy: 'CONCURRENCY_POLICY_REPLACE_PENDING',
          },
          rateLimits: [
            { key: 'api', limitExpression: '${{ params.calls }}', period: '60s', cost: 2 },
            { key: 'mail', limit: 3, period: '1s' },
          ],
        },
      ],
    });
    expect(pipeline('ci').job('a', { driver: 'shell', concurrency: { key: 'k', limit: 3 } }).definition).toMatchObject({
      jobs: [{ concurrency: { limit: 3, limitExpression: '' } }],
    });
    // @ts-expect-error a limit is a number, or a text that is one expression
    pipeline('ci').job('test', { driver: 'shell', concurrency: { key: 'k', limit: '3' } });
  });

  it('says gates and calls, which no driver runs', () => {
    const built = pipeline('ci')
      .gate('approve', {
        message: 'Ship it?',
        approvers: ['ada', 'release'],
        quorum: 2,
        formSchema: { type: 'object', required: ['ticket'] },
        timeout: '2h',
        onTimeout: 'skip',
      })
      .call('deploy', {
        needs: ['approve'],
        when: 'always',
        matrix: { axes: { region: ['eu', 'us'] } },
        pipeline: 'deploy',
        revision: 3,
        params: { region: '${{ matrix.region }}' },
      })
      .gate('look');
    expect(built.definition).toEqual(
      create(PipelineDefinitionSchema, {
        jobs: [
          {
            name: 'approve',
            gate: {
              message: 'Ship it?',
              approvers: ['ada', 'release'],
              quorum: 2,
              formSchema: { type: 'object', required: ['ticket'] },
              timeout: durationFromMs(7_200_000),
              onTimeout: GateExpiry.SKIP,
            },
          },
          {
            name: 'deploy',
            needs: ['approve'],
            when: RunCondition.ALWAYS,
            matrix: { axes: { region: ['eu', 'us'] } },
            call: { pipeline: 'deploy', revision: 3, params: { region: '${{ matrix.region }}' } },
          },
          { name: 'look', gate: {} },
        ],
      }),
    );
    // @ts-expect-error no driver runs a gate
    expect(() => built.gate('other', { driver: 'shell' })).toThrow('driver is no field here');
    // @ts-expect-error a call has params, no spec
    expect(() => built.call('other', { pipeline: 'deploy', spec: {} })).toThrow('spec is no field here');
    // @ts-expect-error a call names its pipeline
    built.call('other', {});
  });

  it('says where a job goes, and before which others', () => {
    const { definition } = pipeline('ci').job('train', {
      driver: 'shell',
      selector: {
        required: [{ key: 'arch', operator: 'not_in', values: ['arm64'] }],
        preferred: [{ key: 'disk', values: ['ssd'] }],
      },
      priority: -3,
      pool: 'gpu',
      stickyKey: 'train',
    });
    expect(toJson(PipelineDefinitionSchema, definition)).toMatchObject({
      jobs: [
        {
          selector: {
            required: [{ key: 'arch', operator: 'LABEL_OPERATOR_NOT_IN', values: ['arm64'] }],
            preferred: [{ key: 'disk', values: ['ssd'] }],
          },
          priority: -3,
          pool: 'gpu',
          stickyKey: 'train',
        },
      ],
    });
  });

  it('has each field that the contract has, in its types', () => {
    const any: Every<AnyJobOptions<string>> = { needs: 1, when: 1, if: 1, stage: 1, matrix: 1, allowFailure: 1 };
    const job: Every<JobOptions<string>> = {
      ...any,
      driver: 1,
      spec: 1,
      retry: 1,
      timeouts: 1,
      onLeaseDoubt: 1,
      secrets: 1,
      outputsSchema: 1,
      concurrency: 1,
      rateLimits: 1,
      selector: 1,
      priority: 1,
      pool: 1,
      stickyKey: 1,
    };
    const gate: Every<GateOptions<string>> = {
      ...any,
      message: 1,
      approvers: 1,
      quorum: 1,
      formSchema: 1,
      timeout: 1,
      onTimeout: 1,
    };
    const call: Every<PipelineCallOptions<string>> = { ...any, pipeline: 1, revision: 1, params: 1 };
    const shared: Every<PipelineOptions> = { paramsSchema: 1, labels: 1, stages: 1, env: 1, failFast: 1 };
    const matrix: Every<MatrixOptions> = { axes: 1, include: 1, exclude: 1, maxParallel: 1, failFast: 1 };
    const retry: Every<RetryOptions> = {
      workload: 1,
      driver: 1,
      infrastructure: 1,
      timeout: 1,
      rejected: 1,
      initialBackoff: 1,
      maxBackoff: 1,
      backoffFactor: 1,
      jitter: 1,
    };
    const timeouts: Every<TimeoutOptions> = {
      queueTimeout: 1,
      offerTimeout: 1,
      runTimeout: 1,
      silenceTimeout: 1,
      totalTimeout: 1,
      cancelGracePeriod: 1,
    };
    const concurrency: Every<ConcurrencyOptions> = { key: 1, limit: 1, policy: 1 };
    const rateLimit: Every<RateLimitOptions> = { key: 1, limit: 1, period: 1, cost: 1 };
    const fieldsOf = ({ fields }: DescMessage, ...without: string[]) =>
      fields
        .map(({ jsonName }) => jsonName)
        .filter((name) => !without.includes(name) && !name.endsWith('Expression'))
        .toSorted();
    const named = (fields: object) => Object.keys(fields).toSorted();
    expect(named(job)).toEqual(fieldsOf(JobDefinitionSchema, 'name', 'gate', 'call'));
    expect(named(gate)).toEqual([...Object.keys(any), ...fieldsOf(GateSchema)].toSorted());
    expect(named(call)).toEqual([...Object.keys(any), ...fieldsOf(PipelineCallSchema)].toSorted());
    expect(named(shared)).toEqual(fieldsOf(PipelineDefinitionSchema, 'jobs'));
    expect(named(matrix)).toEqual(fieldsOf(MatrixSchema));
    expect(named(retry)).toEqual(fieldsOf(RetryPolicySchema));
    expect(named(timeouts)).toEqual(fieldsOf(JobTimeoutsSchema));
    expect(named(concurrency)).toEqual(fieldsOf(ConcurrencySchema));
    expect(named(rateLimit)).toEqual(fieldsOf(RateLimitSchema));
    const selector: Every<SelectorOptions> = { required: 1, preferred: 1 };
    const rule: Every<LabelRuleOptions> = { key: 1, operator: 1, values: 1 };
    expect([named(selector), named(rule)]).toEqual([fieldsOf(DriverSelectorSchema), fieldsOf(LabelRuleSchema)]);
  });

  it('takes each value that the contract has of its enums', () => {
    const enums: [DescEnum, (value: never) => unknown][] = [
      [RunConditionSchema, (when) => pipeline('ci').job('a', { driver: 'x', when })],
      [LeaseDoubtSchema, (onLeaseDoubt) => pipeline('ci').job('a', { driver: 'x', onLeaseDoubt })],
      [
        ConcurrencyPolicySchema,
        (policy) => pipeline('ci').job('a', { driver: 'x', concurrency: { key: 'k', policy } }),
      ],
      [GateExpirySchema, (onTimeout) => pipeline('ci').gate('a', { timeout: '1s', onTimeout })],
      [
        LabelOperatorSchema,
        (operator) => pipeline('ci').job('a', { driver: 'x', selector: { required: [{ key: 'k', operator }] } }),
      ],
    ];
    for (const [desc, use] of enums) {
      for (const { number, localName } of desc.values) {
        if (number !== 0) expect(() => use(localName.toLowerCase() as never)).not.toThrow();
      }
      expect(() => use('sucess' as never)).toThrow("'sucess'");
    }
  });

  it('leaves the pipeline that it began with as it was', () => {
    const base = pipeline('ci').job('build', { driver: 'shell' });
    base.job('test', { driver: 'shell' });
    expect(base.definition.jobs.map(({ name }) => name)).toEqual(['build']);
  });

  it('leaves out what was not said', () => {
    const { definition } = pipeline('ci').job('build', { driver: 'shell' });
    expect(toJson(PipelineDefinitionSchema, definition)).toEqual({ jobs: [{ name: 'build', driver: 'shell' }] });
  });
});

/** All fields of options, so that the compiler finds one that is missing or too much. */
type Every<T> = Readonly<Record<keyof T, 1>>;
