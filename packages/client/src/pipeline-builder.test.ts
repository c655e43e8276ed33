import { create, toJson } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { GateExpiry, PipelineDefinitionSchema, RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { describe, expect, it } from 'vitest';
import { pipeline } from './pipeline-builder.ts';

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
