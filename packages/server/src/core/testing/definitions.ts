// Owns the definitions that tests of core decide on: written ones with defaults, and arbitrary graphs.
import fc from 'fast-check';
import {
  DEFAULT_RETRY,
  DEFAULT_TIMEOUTS,
  type Definition,
  type JobDefinition,
  type RetryPolicy,
} from '../definition.ts';

/** A job with every default; `change` replaces whole fields. */
export function jobNamed(name: string, change: Partial<JobDefinition> = {}): JobDefinition {
  return {
    name,
    driver: 'shell',
    spec: {},
    needs: [],
    when: 'SUCCESS',
    retry: DEFAULT_RETRY,
    timeouts: DEFAULT_TIMEOUTS,
    onLeaseDoubt: 'CONTINUE',
    allowFailure: false,
    secrets: [],
    ...change,
  };
}

export function definitionOf(...jobs: JobDefinition[]): Definition {
  return { jobs, labels: {} };
}

const retryPolicies: fc.Arbitrary<RetryPolicy> = fc.record({
  budgets: fc.record({
    WORKLOAD: fc.nat(2),
    DRIVER: fc.nat(2),
    INFRASTRUCTURE: fc.nat(2),
    TIMEOUT: fc.nat(2),
    REJECTED: fc.nat(3),
  }),
  initialBackoffMs: fc.constantFrom(0, 1, 100),
  maxBackoffMs: fc.constantFrom(0, 50, 10_000),
  backoffFactor: fc.constantFrom(1, 2, 10),
  jitter: fc.constantFrom(0, 0.2, 1),
});

const limits = fc.option(fc.constantFrom(1, 40, 1_000), { nil: undefined });

const timeouts = fc
  .record({ queueMs: limits, runMs: limits, silenceMs: limits, totalMs: limits, cancelGraceMs: fc.constantFrom(1, 30) })
  .map(({ queueMs, runMs, silenceMs, totalMs, cancelGraceMs }) => ({
    offerMs: 20,
    cancelGraceMs,
    ...(queueMs !== undefined && { queueMs }),
    ...(runMs !== undefined && { runMs }),
    ...(silenceMs !== undefined && { silenceMs }),
    ...(totalMs !== undefined && { totalMs }),
  }));

/** Any graph of up to six jobs; a job needs only jobs before it, and the order is then shuffled. */
export const definitions: fc.Arbitrary<Definition> = fc.integer({ min: 1, max: 6 }).chain((size) =>
  fc
    .tuple(...Array.from({ length: size }, (_, index) => jobAfter(index)))
    .chain((jobs) => fc.shuffledSubarray(jobs, { minLength: size }))
    .map((jobs) => definitionOf(...jobs)),
);

function jobAfter(index: number): fc.Arbitrary<JobDefinition> {
  const earlier = Array.from({ length: index }, (_, need) => `job-${need}`);
  return fc
    .record({
      needs: fc.subarray(earlier),
      when: fc.constantFrom('SUCCESS' as const, 'ALWAYS' as const),
      allowFailure: fc.boolean(),
      retry: retryPolicies,
      timeouts,
    })
    .map((change) => jobNamed(`job-${index}`, change));
}
