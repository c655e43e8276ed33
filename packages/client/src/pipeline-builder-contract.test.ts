// The pipeline builder has what the contract has, whatever is added to that.
import type { DescEnum, DescMessage } from '@bufbuild/protobuf';
import {
  ConcurrencyPolicySchema,
  ConcurrencySchema,
  DriverSelectorSchema,
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
});

/** All fields of options, so that the compiler finds one that is missing or too much. */
type Every<T> = Readonly<Record<keyof T, 1>>;
