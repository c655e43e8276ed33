// Owns the definitions that tests of core decide on: written ones with defaults, and arbitrary graphs.
import fc from 'fast-check';
import type { JobInput } from '../check-definition.ts';
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

/** As definitions, with everything that a run works out: conditions, expressions, matrices, gates, calls, groups and rates, fail-fast and FINALLY. */
export const richDefinitions: fc.Arbitrary<Definition> = fc
  .tuple(
    definitions,
    fc.array(fc.record({ kind: fc.nat(19), nth: fc.nat(5) }), { minLength: 1, maxLength: 4 }),
    fc.boolean(),
  )
  .map(([definition, changes, failFast]) => {
    const jobs = changes.reduce(enrich, definition.jobs);
    return { ...definition, jobs, ...(failFast && { failFast: true as const }) };
  });

function enrich(
  jobs: readonly JobDefinition[],
  { kind, nth }: { kind: number; nth: number },
): readonly JobDefinition[] {
  const index = nth % jobs.length;
  const job = jobs[index];
  if (job === undefined || job.gate !== undefined || job.call !== undefined) return jobs;
  const isNeeded = jobs.some(({ needs }) => needs.includes(job.name));
  return jobs.with(index, { ...job, ...richPart(job, kind, isNeeded) });
}

function richPart(job: JobDefinition, kind: number, isNeeded: boolean): Partial<JobDefinition> {
  const [need] = job.needs;
  const gate = { message: '', approvers: [], quorum: 1 + (kind % 2), onTimeout: 'SKIP' } as const;
  switch (kind) {
    case 0:
      return { if: 'params.yes' };
    case 1:
      return { if: 'params.no || params.missing' };
    case 2:
      return need === undefined ? { if: 'params.no' } : { if: `needs["${need}"].outcome == "succeeded"` };
    case 3:
      return need === undefined ? {} : { spec: { text: `\${{ needs["${need}"].outputs.key1 }}` } };
    case 4:
      return { spec: { text: 'n is ${{ params.count + 1 }}' } };
    case 5:
      return { matrix: { axes: { n: [1, 2, 3] }, maxParallel: 2 }, if: 'matrix.n != 2' };
    case 6:
      return {
        matrix: { axes: { n: '${{ params.list }}' }, failFast: true },
        // Some fail by themselves, and some are skipped.
        if: 'params.count / (matrix.n - 2) != 0 && matrix.n != 4',
      };
    case 7:
      return { matrix: { axes: { n: need === undefined ? [] : `\${{ needs["${need}"].outputs.list }}` } } };
    case 8:
      return { gate: { ...gate, timeoutMs: 1_000 } };
    case 9:
      return { gate };
    case 10:
      return { call: { pipeline: 'other', params: { count: '${{ params.count }}' } } };
    case 11:
      return need === undefined ? {} : { if: `params.yes && needs["${need}"].outputs.key1 == 1` };
    case 12:
      return need === undefined ? {} : { if: `params.no && has(needs["${need}"].outputs.key1)` };
    case 13:
      return { concurrency: { key: 'at-${{ params.count }}', limit: 1, policy: isNeeded ? 'QUEUE' : 'REJECT' } };
    case 14:
      return { rateLimits: [{ key: 'calls', limit: 1, periodMs: 1_000, cost: 1 }] };
    case 15:
      return {
        concurrency: { key: 'open', limit: '${{ params.count }}', policy: isNeeded ? 'QUEUE' : 'CANCEL_RUNNING' },
      };
    case 16:
      return { rateLimits: [{ key: 'calls', limit: '${{ params.missing }}', periodMs: 1_000, cost: 1 }] };
    case 18:
      return {
        spec: { texts: Array.from({ length: 9 }, (_, n) => `\${{ params.count + ${n} }} of \${{ params.list }}`) },
      };
    case 17:
      return { matrix: { axes: { n: [1, 2, 3] }, maxParallel: '${{ params.count }}' } };
    default:
      // Only FINALLY jobs may need those.
      if (!isNeeded) return { when: 'FINALLY' };
      return need === undefined ? {} : { when: 'FAILURE' };
  }
}

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

/** A job of a definition as it would be written, as far as its limits are no expressions and all else has its default. */
export function asWritten({
  name,
  driver,
  spec,
  needs,
  when,
  secrets,
  allowFailure,
  call,
  ...job
}: JobDefinition): JobInput {
  const base = {
    name,
    driver,
    spec: Object.keys(spec).length === 0 ? undefined : spec,
    needs,
    when,
    secrets,
    allowFailure,
  };
  return {
    ...base,
    if: job.if,
    stage: job.stage,
    outputsSchema: job.outputsSchema,
    call: call && { ...call, revision: call.revision ?? 0 },
  };
}
