// Matrices, gates, calls, concurrency groups and rate limits between the contract and core.
import { fromJson, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { durationFromMs, type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  type Concurrency as ConcurrencyMessage,
  ConcurrencyPolicy,
  type ConcurrencySchema,
  type Gate as GateMessage,
  GateExpiry,
  type GateSchema,
  type Matrix as MatrixMessage,
  type MatrixSchema,
  type PipelineCallSchema,
  type RateLimit as RateLimitMessage,
  type RateLimitSchema,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { numberOf } from '../core/bounds.ts';
import type { ConcurrencyInput, RateLimitInput } from '../core/check-concurrency.ts';
import type { GateInput, MatrixInput } from '../core/check-language.ts';
import type { Bound, Concurrency, Gate, Matrix, PipelineCall, RateLimit } from '../core/definition.ts';
import type { JsonValue } from '../core/json.ts';
import { decodeDuration } from './request-fields.ts';

export function decodeMatrix({ axes, include, exclude, failFast, ...matrix }: MatrixMessage): MatrixInput {
  return {
    axes,
    include: decodeValue(include),
    exclude: decodeValue(exclude),
    maxParallel: matrix.maxParallel,
    maxParallelExpression: decodeExpression(matrix.maxParallelExpression),
    failFast,
  };
}

export function decodeGate({ message, approvers, quorum, formSchema, timeout, onTimeout }: GateMessage): GateInput {
  return {
    message,
    approvers,
    quorum,
    formSchema,
    timeoutMs: decodeDuration(timeout),
    onTimeout: onTimeout === GateExpiry.UNSPECIFIED ? undefined : (GateExpiry[onTimeout] ?? String(onTimeout)),
  };
}

export function encodeMatrix(matrix: Matrix): MessageInitShape<typeof MatrixSchema> {
  const { axes, include, exclude, maxParallel, failFast = false } = matrix;
  return {
    axes: Object.keys(axes).length === 0 ? undefined : { ...axes },
    include: include === undefined ? undefined : fromJson(ValueSchema, include),
    exclude: exclude === undefined ? undefined : fromJson(ValueSchema, exclude),
    maxParallel: numberOf(maxParallel) ?? 0,
    maxParallelExpression: expressionOf(maxParallel),
    failFast,
  };
}

export function encodeGate(gate: Gate): MessageInitShape<typeof GateSchema> {
  const { message, approvers, quorum, formSchema, timeoutMs, onTimeout } = gate;
  return {
    message,
    approvers: [...approvers],
    quorum: quorum === 1 ? 0 : quorum,
    formSchema,
    timeout: timeoutMs === undefined ? undefined : durationFromMs(timeoutMs),
    onTimeout: onTimeout === 'FAIL' ? GateExpiry.UNSPECIFIED : GateExpiry[onTimeout],
  };
}

export function encodeCall({
  pipeline,
  revision = 0,
  params,
}: PipelineCall): MessageInitShape<typeof PipelineCallSchema> {
  return { pipeline, revision, params: Object.keys(params).length === 0 ? undefined : params };
}

export function decodeConcurrency({ key, limit, limitExpression, policy }: ConcurrencyMessage): ConcurrencyInput {
  const isSet = policy !== ConcurrencyPolicy.UNSPECIFIED;
  const bound = { limit, limitExpression: decodeExpression(limitExpression) };
  return { key, ...bound, policy: isSet ? (ConcurrencyPolicy[policy] ?? String(policy)) : undefined };
}

export function encodeConcurrency({ key, limit, policy }: Concurrency): MessageInitShape<typeof ConcurrencySchema> {
  return {
    key,
    limit: limit === 1 ? 0 : (numberOf(limit) ?? 0),
    limitExpression: expressionOf(limit),
    policy: policy === 'QUEUE' ? ConcurrencyPolicy.UNSPECIFIED : ConcurrencyPolicy[policy],
  };
}

export function decodeRateLimit({ key, limit, limitExpression, period, cost }: RateLimitMessage): RateLimitInput {
  return { key, limit, limitExpression: decodeExpression(limitExpression), periodMs: decodeDuration(period), cost };
}

export function encodeRateLimit({ key, limit, periodMs, cost }: RateLimit): MessageInitShape<typeof RateLimitSchema> {
  return {
    key,
    limit: numberOf(limit) ?? 0,
    limitExpression: expressionOf(limit),
    period: durationFromMs(periodMs),
    cost: cost === 1 ? 0 : cost,
  };
}

function decodeExpression(text: string): string | undefined {
  return text === '' ? undefined : text;
}

function expressionOf(bound: Bound | undefined): string {
  return typeof bound === 'string' ? bound : '';
}

function decodeValue(value: Value | undefined): JsonValue | undefined {
  return value === undefined ? undefined : toJson(ValueSchema, value);
}
