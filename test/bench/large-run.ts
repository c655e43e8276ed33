// `bench large-run`: how long it takes from the call of CreateRun until a run of 10,000 jobs is durable, planned and answered, and beside it
// the longest that a health call had to wait meanwhile: what others notice of it.
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { createNodeClient } from '@conveyor/client/node';
import { type PipelineDefinition, PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { monotonicMs } from './monotonic-clock.ts';
import type { Figure } from './report.ts';
import { startServerProcess } from './server-process.ts';
import { median } from './statistics.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const JOBS = 10_000;
const LAYER = 100;
const PROBE_MS = 5;

/** Shapes of such a run. Nobody runs its jobs. */
const shapes = {
  /** All of them at once. */
  flat: definition(Array.from({ length: JOBS }, (_, n) => ({ name: `j${n}` }))),
  /** A hundred layers of a hundred jobs, each of which needs two of the layer before. */
  layers: definition(
    Array.from({ length: JOBS }, (_, n) => ({
      name: `j${n}`,
      needs:
        n < LAYER
          ? []
          : Array.from({ length: 2 }, (_, k) => `j${(Math.floor(n / LAYER) - 1) * LAYER + ((n + k) % LAYER)}`),
    })),
  ),
  /** Ten matrices of 999 cells, each with a condition and an expression in its spec. */
  matrices: definition(
    Array.from({ length: 10 }, (_, n) => ({
      name: `j${n}`,
      if: 'matrix.a >= 0',
      matrix: { axes: { a: Array.from({ length: 27 }, (_, k) => k), b: Array.from({ length: 37 }, (_, k) => k) } },
      spec: { command: 'run ${{ matrix.a }} ${{ matrix.b }}' },
    })),
  ),
};

type Shape = keyof typeof shapes;

export async function measureLargeRuns({ runs }: { readonly runs: number }) {
  await using directory = await temporaryDirectory();
  await using server = await startServerProcess(directory.path);
  const client = createNodeClient({ address: server.grpcAddress, token: server.operatorToken });
  const measure = async (shape: Shape) => {
    const createdMs: number[] = [];
    let longestWaitMs = 0;
    // The first is not measured: it compiles the definition, and stores it.
    for (let n = 0; n <= runs; n++) {
      const done = new AbortController();
      const probes = probe(client, done.signal);
      const calledMs = monotonicMs();
      const created = client.runs.create({ definition: shapes[shape] }, { timeoutMs: 60_000 });
      const { runId } = await created.finally(() => done.abort());
      const tookMs = monotonicMs() - calledMs;
      const waitedMs = await probes;
      const { jobCounts } = await client.runs.get(runId);
      if ((jobCounts?.total ?? 0) < JOBS - 1) throw new Error(`the run has ${jobCounts?.total} jobs`);
      await client.runs.cancel(runId, { force: true });
      if (n === 0) continue;
      createdMs.push(tookMs);
      longestWaitMs = Math.max(longestWaitMs, waitedMs);
    }
    return { createdMs: median(createdMs), longestWaitMs };
  };
  return { flat: await measure('flat'), layers: await measure('layers'), matrices: await measure('matrices') };
}

type Measurement = Awaited<ReturnType<typeof measureLargeRuns>>;

export const largeRunFigures: Figure<Measurement>[] = (['flat', 'layers', 'matrices'] as const).flatMap((shape) => [
  { name: `${shape}: called to answered`, unit: 'ms', of: (measured: Measurement) => measured[shape].createdMs },
  {
    name: `${shape}: longest wait of others`,
    unit: 'ms',
    of: (measured: Measurement) => measured[shape].longestWaitMs,
  },
]);

/** Calls what does next to nothing, again and again. Returns the longest that one took. */
async function probe(client: ReturnType<typeof createNodeClient>, signal: AbortSignal): Promise<number> {
  let longestMs = 0;
  while (!signal.aborted) {
    const calledMs = monotonicMs();
    await client.server.info();
    longestMs = Math.max(longestMs, monotonicMs() - calledMs);
    await delay(PROBE_MS);
  }
  return longestMs;
}

function definition(jobs: readonly object[]): PipelineDefinition {
  return create(PipelineDefinitionSchema, { jobs: jobs.map((job) => ({ driver: 'nobody', ...job })) });
}
