// What readers are told when something is not there, or not theirs: of another project nothing shows, not even that it exists.
import { type JobKey, formatJobId, type RunId } from '../core/ids.ts';
import { RefusedError } from '../core/refusal.ts';

export function noSuchRun(runId: RunId): RefusedError {
  const message = `run ${runId} does not exist: list the runs that do with ListRuns`;
  return new RefusedError({ refused: 'RUN_NOT_FOUND', message });
}

export function noSuchJob(key: JobKey): RefusedError {
  const message = `job ${formatJobId(key)} does not exist: list the jobs of its run with ListJobs`;
  return new RefusedError({ refused: 'JOB_NOT_FOUND', message });
}

export function noSuchPipeline(name: string): RefusedError {
  const message = `pipeline ${name} does not exist: apply it first, or list the pipelines that do with ListPipelines`;
  return new RefusedError({ refused: 'PIPELINE_NOT_FOUND', message });
}

export function noSuchRevision(name: string, revision: number, newest: number): RefusedError {
  const message = `pipeline ${name} has no revision ${revision}: its newest is ${newest}`;
  return new RefusedError({ refused: 'PIPELINE_NOT_FOUND', message, metadata: { newest_revision: String(newest) } });
}

/** @param instance Undefined: any. */
export function noSuchDriver(name: string, instance: string | undefined): RefusedError {
  const which = instance === undefined ? 'no instance' : `no instance ${instance}`;
  const message = `driver ${name} has ${which}: list the drivers that connected with ListDrivers`;
  return new RefusedError({ refused: 'DRIVER_NOT_FOUND', message });
}

export function noSuchSchedule(name: string): RefusedError {
  const message = `schedule ${name} does not exist: apply it first, or list the schedules that do with ListSchedules`;
  return new RefusedError({ refused: 'SCHEDULE_NOT_FOUND', message });
}

export function invalidCursor(message: string): RefusedError {
  return new RefusedError({ refused: 'INVALID_CURSOR', message });
}

/** Reads the place of a page that begins behind a number. */
export function numberCursor(after: string | undefined): number | undefined {
  if (after === undefined) return undefined;
  if (!/^(0|[1-9][0-9]{0,8})$/.test(after)) throw malformedCursor();
  return Number(after);
}

/** Reads the place of a page that begins before a time. */
export function timeCursor(after: string | undefined): number | undefined {
  if (after === undefined) return undefined;
  if (!/^[0-9]{1,15}$/.test(after)) throw malformedCursor();
  return Number(after);
}

export function malformedCursor(): RefusedError {
  return invalidCursor('the page token is none that a list has answered with: begin again without one');
}
