// The runs that the load asks for: small graphs that together use logs, outputs, retries, conditions, secrets and adoption.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type PipelineDefinitionSchema, RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { jobOf } from '../../e2e/jobs.ts';
import type { Step } from '../../e2e/workload.ts';
import type { Random } from '../random.ts';

export type Definition = MessageInitShape<typeof PipelineDefinitionSchema>;

/** The driver that executes all of it. */
export const driverName = 'worker';
/** The secret that some jobs ask for. */
export const secretName = 'PLANTED';

const retry = { initialBackoff: durationFromMs(50), infrastructure: 20, driver: 10 };
const timeouts = { offerTimeout: durationFromMs(3_000), cancelGracePeriod: durationFromMs(1_000) };

/** How a job hangs together with the rest of its run. */
interface Ties {
  readonly needs?: string[];
  readonly when?: RunCondition;
  readonly secrets?: string[];
}

function job(name: string, steps: readonly Step[], more: Ties = {}) {
  return jobOf(driverName, { steps }, { name, retry, timeouts, ...more });
}

function writing(random: Random, bytes: number, pauseMs = 0): Step {
  return { do: 'write', seed: `${random.next()}`, bytes: 1 + random.below(bytes), pieceBytes: 8_192, pauseMs };
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
  () => ({ jobs: [job('secretive', [{ do: 'prove', secret: secretName }], { secrets: [secretName] })] }),
];

export function randomDefinition(random: Random): Definition {
  return random.pick(shapes)(random);
}

/** A run that is over as soon as it is executed. */
export const probe: Definition = { jobs: [job('probe', [{ do: 'say', text: 'here\n' }])] };

/** A run of one job that writes for about as long as it is told. */
export function steadyWork(seed: string, ms: number): Definition {
  const pieces = Math.ceil(ms / 20);
  return { jobs: [job('steady', [{ do: 'write', seed, bytes: pieces * 2_000, pieceBytes: 2_000, pauseMs: 20 }])] };
}
