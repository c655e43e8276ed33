// Owns what stands in for containers: a directory for each run below one root, which all drivers of the tutorial share.
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { type JobContext, JobFailure } from '@conveyor/driver';

/** Where containers live: TUTORIAL_ROOT, or else a directory of the user below the system's temporary one. */
export function containerRoot(): string {
  return process.env['TUTORIAL_ROOT'] ?? join(tmpdir(), `conveyor-tutorial-${userInfo().username}`);
}

/** The container of a run. By its run id, so that a second try of `container-start` finds the same. */
export function containerOf(runId: string): string {
  return join(containerRoot(), runId);
}

/** The container that the job `container-start` made, by its output. */
export function startedContainer({ needs }: JobContext<unknown>): string {
  const workspace = needs['container-start']?.outputs['workspace'];
  if (typeof workspace !== 'string') {
    throw new JobFailure({ class: 'INVALID', message: 'it needs the job container-start, which made no workspace' });
  }
  return workspace;
}
