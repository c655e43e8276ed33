// What readers are told when something is not there, or not theirs: of another project nothing shows, not even that it exists.
import { quote } from '../core/check-fields.ts';
import type { Definition } from '../core/definition.ts';
import { type JobKey, formatJobId, type RunId } from '../core/ids.ts';
import { nearestName } from '../core/nearest-name.ts';
import { versionNeeded } from '../core/plan.ts';
import { type Refusal, RefusedError } from '../core/refusal.ts';
import type { RunState } from '../core/states.ts';
import type { OlderReplica } from '../store/replica-rows.ts';

export function noSuchRun(runId: RunId): RefusedError {
  const message = `run ${runId} does not exist: list the runs that do with ListRuns`;
  return new RefusedError({ refused: 'RUN_NOT_FOUND', message });
}

export function noSuchValue(runId: RunId, key: string): RefusedError {
  const message = `run ${runId} has no value ${key}: list those that it has with ListRunValues`;
  return new RefusedError({ refused: 'VALUE_NOT_FOUND', message });
}

export function notFinished(runId: RunId, state: RunState): RefusedError {
  const message = `run ${runId} is ${state}: wait for its end, or cancel it first`;
  return new RefusedError({ refused: 'NOT_FINISHED', message });
}

export function noSuchJob(key: JobKey): RefusedError {
  const message = `job ${formatJobId(key)} does not exist: list the jobs of its run with ListJobs`;
  return new RefusedError({ refused: 'JOB_NOT_FOUND', message });
}

export function noJobNamed(runId: RunId, name: string): RefusedError {
  const message = `run ${runId} has no job ${name}: list those that it has with ListJobs`;
  return new RefusedError({ refused: 'JOB_NOT_FOUND', message });
}

/** @param names Of pipelines that there are, among which the one that was meant may be. */
export function noSuchPipeline(name: string, names: readonly string[]): RefusedError {
  const near = nearestName(name, names);
  const hint = near === undefined ? '' : `; did you mean ${quote(near)}?`;
  const message = `pipeline ${name} does not exist: apply it first, or list the pipelines that do with ListPipelines${hint}`;
  return new RefusedError({ refused: 'PIPELINE_NOT_FOUND', message });
}

export function noSuchRevision(name: string, revision: number, newest: number): RefusedError {
  const message = `pipeline ${name} has no revision ${revision}: its newest is ${newest}`;
  return new RefusedError({ refused: 'PIPELINE_NOT_FOUND', message, metadata: { newest_revision: String(newest) } });
}

/** @param instance A pattern, like the name. */
export function nobodyMatches(name: string, instance: string): RefusedError {
  const message = `no instance ${instance} of driver ${name} is connected: list those that are with ListDrivers`;
  return new RefusedError({ refused: 'DRIVER_NOT_FOUND', message });
}

export function noSuchDriver(name: string, instance: string): RefusedError {
  const message = `driver ${name} has no instance ${instance}: list the drivers that connected with ListDrivers`;
  return new RefusedError({ refused: 'DRIVER_NOT_FOUND', message });
}

/** Refuses what a replica of an older build, which still serves, would not understand. */
export function replicaTooOld({ replica, version, eventVersion }: OlderReplica): RefusedError {
  const message =
    `replica ${replica} runs the older version ${version}, which does not know what this would write: upgrade or stop it first; ` +
    'one that died is forgotten after half a minute';
  const metadata = { replica, version, event_version: String(eventVersion) };
  return new RefusedError({ refused: 'REPLICA_TOO_OLD', message, metadata });
}

/** Why nothing of a version of events may be written: a replica does not know it. @param oldest The one that knows the least. */
export function whyTooOld(oldest: OlderReplica | undefined, version: number): Refusal | undefined {
  return oldest === undefined || oldest.eventVersion >= version ? undefined : replicaTooOld(oldest).refusal;
}

/**
 * @param oldest The replica that knows the least; undefined: all know everything.
 * @throws RefusedError when it would not do what the definition asks for.
 */
export function assertKnown(definition: Definition, oldest: OlderReplica | undefined): void {
  const tooOld = oldest && whyTooOld(oldest, versionNeeded(definition));
  if (tooOld !== undefined) throw new RefusedError(tooOld);
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
