// The process that creates the jobs of `bench lifecycle`: batches of runs of one job each, several calls at a time. Asked for
// jobs, it answers once all are durable.
import { createNodeClient } from '@conveyor/client/node';
import { answer, childSettings } from './child.ts';
import { driverName } from './lifecycle-driver.ts';

export interface CreatorSettings {
  readonly address: string;
  readonly token: string;
}

export interface CreateJobs {
  readonly jobs: number;
}

/** When the first call was made and when the last one was answered, by the machine's clock. */
export interface CreatedJobs {
  readonly firstCallMs: number;
  readonly lastAnswerMs: number;
}

const batch = 250;
const callsAtATime = 4;
const pipeline = 'bench';

async function main(): Promise<void> {
  const client = createNodeClient(childSettings<CreatorSettings>());
  await client.pipelines.apply({ name: pipeline, definition: { jobs: [{ name: 'job', driver: driverName }] } });

  answer<CreateJobs, CreatedJobs>(async ({ jobs }) => {
    const firstCallMs = Date.now();
    let left = jobs;
    const createSome = async (): Promise<void> => {
      while (left > 0) {
        const size = Math.min(batch, left);
        left -= size;
        const results = await client.runs.createBatch(Array.from({ length: size }, () => ({ pipeline })));
        const refused = results.find(({ outcome }) => outcome.case !== 'runId');
        if (refused !== undefined) throw new Error(`a run was refused: ${refused.outcome.case}`);
      }
    };
    await Promise.all(Array.from({ length: callsAtATime }, createSome));
    return { firstCallMs, lastAnswerMs: Date.now() };
  });
}

if (import.meta.main) await main();
