// Owns telling why jobs of a run that is followed were skipped: of the first few, as each takes calls of its own.
import { type Event, JobState } from '@conveyor/client';
import type { Cli } from './cli.ts';
import { readSurroundings } from './job-sections.ts';

const mostTold = 20;

/** Tells it as the end of the sentence that an event is; empty for any other event, and when its condition was told of before. */
export function createSkipReasons(cli: Cli): (event: Event) => Promise<string> {
  let left = mostTold;
  return async ({ kind, jobId, jobState }) => {
    if (kind.case !== 'jobFinished' || jobState !== JobState.SKIPPED || left === 0) return '';
    left -= 1;
    const job = await cli.client().jobs.get(jobId);
    if (job.condition?.held === false) return '';
    const { why } = await readSurroundings(cli, job, undefined);
    return why === '' ? '' : `: ${why}`;
  };
}
