// A definition as core knows it: every default filled in, durations in milliseconds. How it may be written, and what is
// wrong with one, is in check-definition.ts; the graph made of it in plan.ts.
import type { JsonObject } from './json.ts';
import type { FailureClass } from './states.ts';

export type RunCondition = 'SUCCESS' | 'ALWAYS';
export type LeaseDoubt = 'CONTINUE' | 'STOP';

export interface Definition {
  readonly jobs: readonly JobDefinition[];
  readonly paramsSchema?: JsonObject;
  readonly labels: Readonly<Record<string, string>>;
}

export interface JobDefinition {
  readonly name: string;
  readonly driver: string;
  readonly spec: JsonObject;
  readonly needs: readonly string[];
  readonly when: RunCondition;
  readonly retry: RetryPolicy;
  readonly timeouts: JobTimeouts;
  readonly onLeaseDoubt: LeaseDoubt;
  readonly allowFailure: boolean;
  readonly secrets: readonly string[];
  /** Of its outputs. Undefined: any. */
  readonly outputsSchema?: JsonObject;
}

export interface RetryPolicy {
  /** How many retries each class of failure may use. */
  readonly budgets: Readonly<Record<Exclude<FailureClass, 'INVALID'>, number>>;
  readonly initialBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly backoffFactor: number;
  /** From 0 to 1. */
  readonly jitter: number;
}

/** Undefined means no limit. */
export interface JobTimeouts {
  readonly queueMs?: number;
  readonly offerMs: number;
  readonly runMs?: number;
  /** How long a running attempt may go without being heard of. */
  readonly silenceMs?: number;
  readonly totalMs?: number;
  readonly cancelGraceMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = {
  budgets: { WORKLOAD: 0, DRIVER: 2, INFRASTRUCTURE: 3, TIMEOUT: 0, REJECTED: 100 },
  initialBackoffMs: 1_000,
  maxBackoffMs: 300_000,
  backoffFactor: 2,
  jitter: 0.2,
};

export const DEFAULT_TIMEOUTS: JobTimeouts = { offerMs: 15_000, cancelGraceMs: 10_000 };
