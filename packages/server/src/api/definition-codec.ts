// Definitions between the contract and core. What has its default value is left out when a definition is sent: it reads as it was
// applied, and stays small.
import { type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  type JobDefinition as JobDefinitionMessage,
  type JobDefinitionSchema,
  type JobTimeoutsSchema,
  LeaseDoubt,
  type PipelineDefinition as PipelineDefinitionMessage,
  PipelineDefinitionSchema,
  type RetryPolicySchema,
  RunCondition,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { checkDefinition, type JobInput } from '../core/check-definition.ts';
import { addViolation, checkCount, type Found } from '../core/check-fields.ts';
import {
  DEFAULT_RETRY,
  DEFAULT_TIMEOUTS,
  type Definition,
  type JobDefinition,
  type JobTimeouts,
  type RetryPolicy,
} from '../core/definition.ts';
import type { CheckWork } from '../core/check-work.ts';
import { LIMITS } from '../core/limits.ts';
import {
  decodeConcurrency,
  decodeGate,
  decodeMatrix,
  decodeRateLimit,
  encodeCall,
  encodeConcurrency,
  encodeGate,
  encodeMatrix,
  encodeRateLimit,
} from './language-codec.ts';
import { decodePlacement, encodePlacement } from './placement-codec.ts';
import { decodeDuration } from './request-fields.ts';

/** Adds what is wrong to `found`, with paths under `field`. Comes in slices. */
export function* decodeDefinition(
  found: Found,
  field: string,
  definition: PipelineDefinitionMessage,
  work: CheckWork,
): Generator<undefined, Definition> {
  const { jobs, paramsSchema, labels, stages, env, failFast } = definition;
  if (jobs.length > LIMITS.jobsPerRun) {
    checkCount(found, `${field}.jobs`, jobs.length, LIMITS.jobsPerRun);
    return { jobs: [], labels: {} };
  }
  checkBinarySize(found, field, definition);
  yield;
  const input = { jobs: jobs.map(decodeJobDefinition), paramsSchema, labels, stages, env, failFast };
  yield;
  return yield* checkDefinition(found, field, input, work);
}

/** Takes a job apart for checkLoneJob and checkDefinition; says nothing about what is wrong with it. */
export function decodeJobDefinition(job: JobDefinitionMessage): JobInput {
  const { name, driver, spec, needs, when, retry, timeouts, onLeaseDoubt, allowFailure, secrets, stage } = job;
  return {
    name,
    driver,
    spec,
    needs,
    when: when === RunCondition.UNSPECIFIED ? undefined : (RunCondition[when] ?? String(when)),
    retry: retry && {
      workload: retry.workload,
      driver: retry.driver,
      infrastructure: retry.infrastructure,
      timeout: retry.timeout,
      rejected: retry.rejected,
      initialBackoffMs: decodeDuration(retry.initialBackoff),
      maxBackoffMs: decodeDuration(retry.maxBackoff),
      backoffFactor: retry.backoffFactor,
      jitter: retry.jitter,
    },
    timeouts: timeouts && {
      queueMs: decodeDuration(timeouts.queueTimeout),
      offerMs: decodeDuration(timeouts.offerTimeout),
      runMs: decodeDuration(timeouts.runTimeout),
      silenceMs: decodeDuration(timeouts.silenceTimeout),
      totalMs: decodeDuration(timeouts.totalTimeout),
      cancelGraceMs: decodeDuration(timeouts.cancelGracePeriod),
    },
    onLeaseDoubt:
      onLeaseDoubt === LeaseDoubt.UNSPECIFIED ? undefined : (LeaseDoubt[onLeaseDoubt] ?? String(onLeaseDoubt)),
    allowFailure,
    secrets,
    if: job.if === '' ? undefined : job.if,
    stage: stage === '' ? undefined : stage,
    matrix: job.matrix && decodeMatrix(job.matrix),
    gate: job.gate && decodeGate(job.gate),
    call: job.call,
    outputsSchema: job.outputsSchema,
    concurrency: job.concurrency && decodeConcurrency(job.concurrency),
    rateLimits: job.rateLimits.length === 0 ? undefined : job.rateLimits.map(decodeRateLimit),
    ...decodePlacement(job),
  };
}

export function encodeDefinition(definition: Definition): MessageInitShape<typeof PipelineDefinitionSchema> {
  const { jobs, paramsSchema, labels, stages = [], env = {}, failFast = false } = definition;
  return { jobs: jobs.map(encodeJobDefinition), paramsSchema, labels, stages: [...stages], env, failFast };
}

export function encodeJobDefinition(job: JobDefinition): MessageInitShape<typeof JobDefinitionSchema> {
  return {
    name: job.name,
    driver: job.driver,
    spec: Object.keys(job.spec).length === 0 ? undefined : job.spec,
    needs: [...job.needs],
    when: job.when === 'SUCCESS' ? RunCondition.UNSPECIFIED : RunCondition[job.when],
    retry: encodeRetry(job.retry),
    timeouts: encodeTimeouts(job.timeouts),
    onLeaseDoubt: job.onLeaseDoubt === 'CONTINUE' ? LeaseDoubt.UNSPECIFIED : LeaseDoubt[job.onLeaseDoubt],
    allowFailure: job.allowFailure,
    secrets: [...job.secrets],
    if: job.if ?? '',
    stage: job.stage ?? '',
    matrix: job.matrix && encodeMatrix(job.matrix),
    gate: job.gate && encodeGate(job.gate),
    call: job.call && encodeCall(job.call),
    outputsSchema: job.outputsSchema,
    concurrency: job.concurrency && encodeConcurrency(job.concurrency),
    rateLimits: job.rateLimits?.map(encodeRateLimit) ?? [],
    ...encodePlacement(job),
  };
}

/**
 * Checks that a definition can be read again by every protocol: JSON is short for lists of numbers, of which the binary form takes
 * five times the room. A few jobs cannot grow too large: each is bounded by itself.
 */
function checkBinarySize(found: Found, field: string, definition: PipelineDefinitionMessage): void {
  if (definition.jobs.length <= 2) return;
  const bytes = toBinary(PipelineDefinitionSchema, definition).length;
  if (bytes <= LIMITS.requestBytes) return;
  addViolation(found, field, `must have at most ${LIMITS.requestBytes} bytes in binary form; has ${bytes}`);
}

function encodeRetry(retry: RetryPolicy): MessageInitShape<typeof RetryPolicySchema> | undefined {
  const { budgets } = retry;
  const defaults = DEFAULT_RETRY;
  const encoded = {
    workload: unlessDefault(budgets.WORKLOAD, defaults.budgets.WORKLOAD),
    driver: unlessDefault(budgets.DRIVER, defaults.budgets.DRIVER),
    infrastructure: unlessDefault(budgets.INFRASTRUCTURE, defaults.budgets.INFRASTRUCTURE),
    timeout: unlessDefault(budgets.TIMEOUT, defaults.budgets.TIMEOUT),
    rejected: unlessDefault(budgets.REJECTED, defaults.budgets.REJECTED),
    initialBackoff: encodeDuration(unlessDefault(retry.initialBackoffMs, defaults.initialBackoffMs)),
    maxBackoff: encodeDuration(unlessDefault(retry.maxBackoffMs, defaults.maxBackoffMs)),
    backoffFactor: unlessDefault(retry.backoffFactor, defaults.backoffFactor),
    jitter: unlessDefault(retry.jitter, defaults.jitter),
  };
  return unlessEmpty(encoded);
}

function encodeTimeouts(timeouts: JobTimeouts): MessageInitShape<typeof JobTimeoutsSchema> | undefined {
  const encoded = {
    queueTimeout: encodeDuration(timeouts.queueMs),
    offerTimeout: encodeDuration(unlessDefault(timeouts.offerMs, DEFAULT_TIMEOUTS.offerMs)),
    runTimeout: encodeDuration(timeouts.runMs),
    silenceTimeout: encodeDuration(timeouts.silenceMs),
    totalTimeout: encodeDuration(timeouts.totalMs),
    cancelGracePeriod: encodeDuration(unlessDefault(timeouts.cancelGraceMs, DEFAULT_TIMEOUTS.cancelGraceMs)),
  };
  return unlessEmpty(encoded);
}

function unlessDefault(value: number, fallback: number): number | undefined {
  return value === fallback ? undefined : value;
}

function unlessEmpty<T extends object>(message: T): T | undefined {
  return Object.values(message).every((field) => field === undefined) ? undefined : message;
}

function encodeDuration(ms: number | undefined) {
  return ms === undefined ? undefined : durationFromMs(ms);
}
