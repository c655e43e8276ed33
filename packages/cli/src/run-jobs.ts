// Owns what is known of the jobs of a run beforehand: those of its definition, and those that its jobs have appended.
import type { JobDefinition, Run } from '@conveyor/client';
import type { JobsAdded } from '@conveyor/protocol/conveyor/v1/event_pb.js';

/** All but cells, and but appended jobs that GetRun had no room for. */
export function definedJobs({ definition, appendedJobs }: Run): readonly JobDefinition[] {
  return [...(definition?.jobs ?? []), ...appendedJobs.flatMap(({ jobs }) => jobs)];
}

/** Whether jobs that were added are cells of a matrix; if not, an attempt has appended them. */
export function areCells({ jobs }: JobsAdded): boolean {
  return jobs.some(({ matrix }) => matrix !== undefined);
}
