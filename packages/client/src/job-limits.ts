// Owns how many jobs may go on at the same time, and how often they start: concurrency groups, rate limits, and limits by expression.
import { create } from '@bufbuild/protobuf';
import {
  type Concurrency,
  ConcurrencyPolicy,
  ConcurrencySchema,
  type RateLimit,
  RateLimitSchema,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { type DurationText, parseDurations } from './duration.ts';

/** A text that is one expression and nothing else, such as `${{ needs.plan.outputs.shards }}`: its value takes its place. */
export type ExpressionText = `\${{${string}}}`;

/** A whole number, or an expression of one that the run works out. */
export type Limit = number | ExpressionText;

/** A group of jobs of one project, of whatever runs, of which few may be under way at the same time. */
export interface ConcurrencyOptions {
  /** What jobs of one group have in common; it may hold expressions. */
  readonly key: string;
  /** How many jobs of the group may hold a place. Default: 1. */
  readonly limit?: Limit | undefined;
  /** What becomes of the job, or of others, when it finds no place. Default: `queue`. */
  readonly policy?: 'queue' | 'replace_pending' | 'cancel_running' | 'reject' | undefined;
}

/** A bucket of tokens that jobs of one project share; the job takes some whenever it is queued. */
export interface RateLimitOptions {
  /** What jobs of one rate have in common; it may hold expressions. */
  readonly key: string;
  /** How many tokens come in a period, and how many there are at most. */
  readonly limit: Limit;
  readonly period: DurationText;
  /** How many tokens the job takes. Default: 1. */
  readonly cost?: number | undefined;
}

export function toConcurrency({ key, limit, policy }: ConcurrencyOptions): Concurrency {
  return create(ConcurrencySchema, {
    key,
    limit: numberOf(limit),
    limitExpression: expressionOf(limit),
    policy: policy === undefined ? ConcurrencyPolicy.UNSPECIFIED : policies[policy],
  });
}

export function toRateLimit({ key, limit, period, cost }: RateLimitOptions): RateLimit {
  return create(RateLimitSchema, {
    key,
    limit: numberOf(limit),
    limitExpression: expressionOf(limit),
    ...parseDurations({ period }),
    cost: cost ?? 0,
  });
}

/** 0 where there is none. */
export function numberOf(limit: Limit | undefined): number {
  return typeof limit === 'number' ? limit : 0;
}

/** Empty where there is none. */
export function expressionOf(limit: Limit | undefined): string {
  return typeof limit === 'string' ? limit : '';
}

const policies = {
  queue: ConcurrencyPolicy.QUEUE,
  replace_pending: ConcurrencyPolicy.REPLACE_PENDING,
  cancel_running: ConcurrencyPolicy.CANCEL_RUNNING,
  reject: ConcurrencyPolicy.REJECT,
};
