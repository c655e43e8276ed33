// Owns telling why jobs of a run that is followed were skipped: of the first few, as each takes calls of its own.
import { ConveyorError, type Event, JobState } from '@conveyor/client';
import type { Cli } from './cli.ts';
import { readSurroundings } from './job-sections.ts';

const mostTold = 20;

/** Tells it as the end of the sentence that an event is; empty for any other event, and when its condition was told of before. */
export function createSkipReasons(cli: Cli): (event: Event) => Promise<string> {
  let left = mostTold;
  return async ({ kind, jobId, jobState }) => {
    if (kind.case !== 'jobFinished' || jobState !== JobState.SKIPPED || left === 0) return '';
    left -= 1;
    const why = await readWhy(cli, jobId);
    return why === '' ? '' : `: ${why}`;
  };
}

/** Following goes on without it: it outlasts a server that is away for longer than a call does. */
async function readWhy(cli: Cli, jobId: string): Promise<string> {
  try {
    const job = await cli.client().jobs.get(jobId);
    return job.condition?.held === false ? '' : (await readSurroundings(cli, job, undefined)).why;
  } catch (thrown) {
    if (thrown instanceof ConveyorError) return '';
    throw thrown;
  }
}
