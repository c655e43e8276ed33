// The runs that the load asks for: small graphs that together use logs, outputs, retries, conditions, secrets and adoption, and jobs of
// them that share groups, rates and pools.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  type ConcurrencySchema,
  ConcurrencyPolicy,
  type PipelineDefinitionSchema,
  type RateLimitSchema,
  RunCondition,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { jobOf } from '../../e2e/jobs.ts';
import type { Step } from '../../e2e/workload.ts';
import type { Random } from '../random.ts';

export type Definition = MessageInitShape<typeof PipelineDefinitionSchema>;

/** The driver that executes all of it. */
export const driverName = 'worker';
/** The secret that some jobs ask for. */
export const secretName = 'PLANTED';
/** Each driver is in one of them, by turns. */
export const zones = ['first', 'second'] as const;
/** Of which each driver has one slot. */
export const poolName = 'scarce';

const retry = { initialBackoff: durationFromMs(50), infrastructure: 20, driver: 10 };
const timeouts = { offerTimeout: durationFromMs(3_000), cancelGracePeriod: durationFromMs(1_000) };

/** How a job hangs together with the rest of its run, and with those of others. */
export type Ties = Pick<
  Parameters<typeof jobOf>[2] & object,
  'needs' | 'when' | 'secrets' | 'concurrency' | 'rateLimits' | 'selector' | 'pool' | 'priority'
>;

function job(name: string, steps: readonly Step[], more: Ties = {}) {
  return jobOf(driverName, { steps }, { name, retry, timeouts, ...more });
}

function writing(random: Random, bytes: number, pauseMs = 0): Step {
  return { do: 'write', seed: `${random.next()}`, bytes: 1 + random.below(bytes), pieceBytes: 8_192, pauseMs };
}

/** Groups and rates by name; in `some` its jobs do not agree on how many places there are. */
const sites: Readonly<Record<string, readonly number[]>> = { lone: [1], pair: [2], some: [1, 2, 3] };
const CALLS = 4;
const policies = [
  ConcurrencyPolicy.QUEUE,
  ConcurrencyPolicy.QUEUE,
  ConcurrencyPolicy.REPLACE_PENDING,
  ConcurrencyPolicy.CANCEL_RUNNING,
  ConcurrencyPolicy.REJECT,
];

/** A site as the params of a run name it, with the group and the rate of its jobs. */
function siteOf(random: Random) {
  const site = random.pick(Object.keys(sites));
  const limit = random.pick(sites[site]!);
  const properties = {
    site: { type: 'string', default: site },
    places: { type: 'integer', default: limit },
    calls: { type: 'integer', default: CALLS },
  };
  return {
    paramsSchema: { type: 'object', properties },
    group: (): MessageInitShape<typeof ConcurrencySchema> => {
      const places = random.chance(0.5) ? { limit } : { limitExpression: '${{ params.places }}' };
      return { key: 'site-${{ params.site }}', policy: random.pick(policies), ...places };
    },
    rate: (): MessageInitShape<typeof RateLimitSchema> => {
      const calls = random.chance(0.5) ? { limit: CALLS } : { limitExpression: '${{ params.calls }}' };
      return { key: 'calls-${{ params.site }}', period: durationFromMs(1_000), cost: 1 + random.below(3), ...calls };
    },
  };
}

const shapes: readonly ((random: Random) => Definition)[] = [
  (random) => ({ jobs: [job('only', [writing(random, 20_000)])] }),
  (random) => ({
    jobs: [
      job('first', [{ do: 'output', key: 'given', value: random.below(1_000) }, writing(random, 2_000)]),
      job('second', [{ do: 'pass-on' }], { needs: ['first'] }),
      job('third', [writing(random, 2_000), { do: 'pass-on' }], { needs: ['second'] }),
    ],
  }),
  (random) => ({
    jobs: [
      job('source', [writing(random, 5_000)]),
      job('left', [writing(random, 40_000, 10)], { needs: ['source'] }),
      job('right', [{ do: 'fail', class: 'DRIVER', message: 'at first', upToAttempt: 1 }], { needs: ['source'] }),
      job('sink', [{ do: 'pass-on' }], { needs: ['left', 'right'] }),
    ],
  }),
  (random) => ({
    jobs: [
      job('fails', [writing(random, 1_000), { do: 'fail', class: 'WORKLOAD', message: 'as it should', exitCode: 3 }]),
      job('skipped', [], { needs: ['fails'] }),
      job('always', [{ do: 'say', text: 'cleaned up\n' }], { needs: ['fails', 'skipped'], when: RunCondition.ALWAYS }),
    ],
  }),
  (random) => ({
    jobs: [job('slow', [writing(random, 4_000), { do: 'checkpoint' }, writing(random, 120_000, 40)])],
  }),
  (random) => {
    const { paramsSchema, group } = siteOf(random);
    const work = [writing(random, 60_000, 40)];
    return { paramsSchema, jobs: [job('deploy', work, { concurrency: group() })] };
  },
  (random) => {
    const { paramsSchema, group, rate } = siteOf(random);
    const retried: Step = { do: 'fail', class: 'DRIVER', message: 'at first', upToAttempt: 1 };
    return {
      paramsSchema,
      jobs: [
        job('before', [writing(random, 20_000, 20), retried], { concurrency: group(), rateLimits: [rate()] }),
        job('beside', [writing(random, 20_000, 20)], { concurrency: group() }),
        job('after', [{ do: 'pass-on' }], { needs: ['before'], concurrency: group(), when: RunCondition.ALWAYS }),
      ],
    };
  },
  (random) => {
    const { paramsSchema, rate } = siteOf(random);
    const all = { key: 'calls', limit: 6, period: durationFromMs(1_000) };
    return {
      paramsSchema,
      jobs: [job('left', [], { rateLimits: [rate(), all] }), job('right', [], { rateLimits: [all] })],
    };
  },
  (random) => {
    const selector = { required: [{ key: 'zone', values: [random.pick(zones)] }] };
    const work = (): Step[] => [writing(random, 30_000, 30)];
    return {
      jobs: [
        job('here', work(), { selector, priority: random.below(3) }),
        job('scarce', work(), { pool: poolName, priority: random.below(3) }),
        job('both', work(), { selector, pool: poolName }),
      ],
    };
  },
  () => ({ jobs: [job('secretive', [{ do: 'prove', secret: secretName }], { secrets: [secretName] })] }),
];

export function randomDefinition(random: Random): Definition {
  return random.pick(shapes)(random);
}

/** A run that is over as soon as it is executed. */
export const probe: Definition = { jobs: [job('probe', [{ do: 'say', text: 'here\n' }])] };

/** A run of one job that writes for about as long as it is told. */
export function steadyWork(seed: string, ms: number, ties: Ties = {}): Definition {
  const pieces = Math.ceil(ms / 20);
  const work: Step = { do: 'write', seed, bytes: pieces * 2_000, pieceBytes: 2_000, pauseMs: 20 };
  return { jobs: [job('steady', [work], ties)] };
}
