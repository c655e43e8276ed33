// Owns what jobs of any run are called where an answer of the server has only their ids.
import { ConveyorError } from '@conveyor/client';
import type { Cli } from './cli.ts';

/** Jobs as commands take them, `RUN/NAME`, by their ids: a call each, so for few. Those that are gone are left out. */
export async function jobTargets(
  { client }: Pick<Cli, 'client'>,
  jobIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const found = await Promise.all(
    jobIds.map(async (jobId): Promise<[string, string][]> => {
      try {
        const { runId, name } = await client().jobs.get(jobId);
        return [[jobId, `${runId}/${name}`]];
      } catch (error) {
        if (error instanceof ConveyorError && error.code === 'not_found') return [];
        throw error;
      }
    }),
  );
  return new Map(found.flat());
}
