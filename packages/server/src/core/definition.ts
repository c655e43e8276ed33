// A definition as core knows it: every default filled in, durations in milliseconds. How it may be written, and what is
// wrong with one, is in check-definition.ts; the graph made of it in plan.ts.
import type { JsonObject, JsonValue } from './json.ts';
import type { FailureClass } from './states.ts';

export type RunCondition = 'SUCCESS' | 'ALWAYS' | 'FAILURE' | 'FINALLY';
export type LeaseDoubt = 'CONTINUE' | 'STOP';
export type GateExpiry = 'FAIL' | 'APPROVE' | 'SKIP';
export type ConcurrencyPolicy = 'QUEUE' | 'REPLACE_PENDING' | 'CANCEL_RUNNING' | 'REJECT';

/** Fields that are left out are not part of a definition's digest, so that what was stored before they existed keeps its own. */
export interface Definition {
  readonly jobs: readonly JobDefinition[];
  readonly paramsSchema?: JsonObject;
  readonly labels: Readonly<Record<string, string>>;
  readonly stages?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly failFast?: true;
  /** What a run has added to it since it was created. Never part of a pipeline. */
  readonly added?: readonly Addition[];
}

export type Addition = AddedCells | AddedJobs;

/** Jobs that a job of the run has appended. */
export interface AddedJobs {
  /** The index of the job that did. */
  readonly by: number;
  readonly jobs: readonly JobDefinition[];
}

/** The cells that a run made of a matrix. */
export interface AddedCells {
  /** The index of the job that the matrix is of. */
  readonly job: number;
  readonly cells: readonly Cell[];
  /** How many of them may be open at the same time, when the run worked that out. */
  readonly maxParallel?: number;
}

export interface Cell {
  /** Unique in its matrix; part of the job's name. */
  readonly key: string;
  readonly values: JsonObject;
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
  readonly if?: string;
  readonly stage?: string;
  readonly matrix?: Matrix;
  readonly gate?: Gate;
  readonly call?: PipelineCall;
  /** Of its outputs. Undefined: any. */
  readonly outputsSchema?: JsonObject;
  readonly concurrency?: Concurrency;
  readonly rateLimits?: readonly RateLimit[];
  readonly selector?: DriverSelector;
  /** Undefined: 0. */
  readonly priority?: number;
  readonly pool?: string;
  readonly stickyKey?: string;
}

/** A whole number, or a text that is one expression of it and nothing else. */
export type Bound = number | string;

/** How often jobs of one project may start that share a key. */
export interface RateLimit {
  /** A text that may hold expressions. */
  readonly key: string;
  /** So many tokens come in a period, evenly; as many may have gathered. */
  readonly limit: Bound;
  readonly periodMs: number;
  /** How many the job takes. */
  readonly cost: number;
}

/** A group of jobs of one project, of which few may go on at a time. */
export interface Concurrency {
  /** A text that may hold expressions: jobs of which it becomes the same are of one group. */
  readonly key: string;
  readonly limit: Bound;
  readonly policy: ConcurrencyPolicy;
}

export interface DriverSelector {
  readonly required: readonly LabelRule[];
  readonly preferred: readonly LabelRule[];
}

export interface LabelRule {
  readonly key: string;
  readonly operator: LabelOperator;
  readonly values: readonly string[];
}

export type LabelOperator = 'EQUALS' | 'IN' | 'NOT_IN' | 'EXISTS' | 'NOT_EXISTS' | 'GREATER_THAN' | 'LESS_THAN';

export interface Matrix {
  /** A list of values, or a text with an expression of one, by the name of the axis. */
  readonly axes: Readonly<Record<string, JsonValue>>;
  /** A list of objects, or a text with an expression of one. */
  readonly include?: JsonValue;
  readonly exclude?: JsonValue;
  readonly maxParallel?: Bound;
  readonly failFast?: true;
}

export interface Gate {
  readonly message: string;
  /** Empty: anybody. */
  readonly approvers: readonly string[];
  readonly quorum: number;
  readonly formSchema?: JsonObject;
  readonly timeoutMs?: number;
  readonly onTimeout: GateExpiry;
}

export interface PipelineCall {
  readonly pipeline: string;
  readonly revision?: number;
  readonly params: JsonObject;
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
