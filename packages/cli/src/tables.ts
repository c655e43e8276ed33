// Owns how each kind of resource looks as a table.
import {
  type Attempt,
  AttemptState,
  type ConcurrencyGroup,
  type ConcurrencyGroupMember,
  ConcurrencyGroupMemberState,
  ConcurrencyPolicy,
  type Driver,
  DriverState,
  type Job,
  JobState,
  LogState,
  type Pipeline,
  type Run,
  type RunArtifact,
  WaitReason,
} from '@conveyor/client';
import { cellValues } from './cells.ts';
import { conditionText, stopText, waitReason } from './event-text.ts';
import { failureText, jobFailureText } from './failure-text.ts';
import type { Colors } from './terminal.ts';
import { age, bytes, elapsed, enumName, labels, runState, stateCell, table } from './text.ts';

export function runTable(runs: readonly Run[], colors: Colors): string {
  return table(
    ['RUN', 'PIPELINE', 'STATE', 'JOBS', 'AGE', 'TIME', 'TRIGGER', 'LABELS'],
    runs.map((run) => [
      run.runId,
      run.pipeline === '' ? '-' : `${run.pipeline}@${run.revision}`,
      stateCell(runState(run), colors),
      `${(run.jobCounts?.total ?? 0) - (run.jobCounts?.open ?? 0)}/${run.jobCounts?.total ?? 0}`,
      age(run.createTime),
      elapsed(run.startTime, run.finishTime),
      triggerText(run),
      labels(run.labels),
    ]),
  );
}

/** What made the run: the job that called its pipeline, the occurrence of a schedule, or else of what kind it was. */
function triggerText({ trigger }: Run): string {
  const { kind = '', reference = '' } = trigger ?? {};
  if (kind === 'pipeline') return `job ${reference}`;
  return kind === 'schedule' ? reference : kind;
}

/** What is known of jobs besides what they say themselves, by name. */
export interface JobNotes {
  /** How the cells of a matrix stand. Default: nothing is said of them. */
  readonly cells?: ReadonlyMap<string, string>;
  /** Why jobs have not run, or not to their end. Default: nothing is said of it. */
  readonly reasons?: ReadonlyMap<string, string>;
}

/** @param atMs When they are, or were, so. Default: now. */
export function jobTable(
  jobs: readonly Job[],
  colors: Colors,
  atMs?: number,
  { cells, reasons }: JobNotes = {},
): string {
  return table(
    ['JOB', 'STATE', 'DRIVER', 'ATTEMPT', 'TIME', 'DETAIL'],
    jobs.map((job) => [
      job.name,
      stateCell(enumName(JobState, job.state), colors),
      job.driver === '' ? '-' : job.driver,
      String(job.attempt),
      elapsed(job.startTime, job.finishTime, atMs),
      [cells?.get(job.name) ?? '', jobDetail(job) || (reasons?.get(job.name) ?? '')]
        .filter((part) => part !== '')
        .join('; '),
    ]),
  );
}

/** @param atMs When they are, or were, so. Default: now. */
export function attemptTable(attempts: readonly Attempt[], colors: Colors, atMs?: number): string {
  return table(
    ['ATTEMPT', 'STATE', 'INSTANCE', 'TIME', 'LOG', 'DETAIL'],
    attempts.map((attempt) => [
      String(attempt.number),
      stateCell(enumName(AttemptState, attempt.state), colors),
      attempt.driverInstance,
      elapsed(attempt.startTime, attempt.finishTime, atMs),
      `${bytes(attempt.logSize)} ${enumName(LogState, attempt.logState)}`,
      attempt.failure === undefined ? (attempt.progress?.message ?? '') : failureText(attempt.failure),
    ]),
  );
}

export function artifactTable(artifacts: readonly RunArtifact[]): string {
  return table(
    ['JOB', 'ATTEMPT', 'NAME', 'SIZE', 'DIGEST', 'URI'],
    artifacts.map(({ job, attempt, artifact }) => [
      job,
      String(attempt),
      artifact?.name ?? '',
      bytes(artifact?.sizeBytes ?? 0n),
      artifact?.digest ?? '',
      artifact?.uri ?? '',
    ]),
  );
}

export function pipelineTable(pipelines: readonly Pipeline[]): string {
  return table(
    ['PIPELINE', 'REVISION', 'UPDATED'],
    pipelines.map(({ name, revision, updateTime }) => [name, String(revision), `${age(updateTime)} ago`]),
  );
}

export function groupTable(groups: readonly ConcurrencyGroup[]): string {
  return table(
    ['GROUP', 'HELD', 'WAITING'],
    groups.map(({ key, holdingCount, limit, waitingCount }) => [key, `${holdingCount}/${limit}`, String(waitingCount)]),
  );
}

/** @param targets What the jobs are called, by their ids, as far as that is known. */
export function groupMemberTable(
  members: readonly ConcurrencyGroupMember[],
  targets: ReadonlyMap<string, string>,
  colors: Colors,
): string {
  return table(
    ['JOB', 'STATE', 'SINCE', 'LIMIT', 'POLICY'],
    members.map(({ jobId, state, readyTime, limit, policy }) => [
      targets.get(jobId) ?? jobId,
      stateCell(enumName(ConcurrencyGroupMemberState, state), colors),
      `${age(readyTime)} ago`,
      String(limit),
      enumName(ConcurrencyPolicy, policy),
    ]),
  );
}

export function driverTable(drivers: readonly Driver[], colors: Colors): string {
  return table(
    ['DRIVER', 'INSTANCE', 'STATE', 'HELD', 'VERSION', 'HEARD OF', 'LABELS'],
    drivers.map((driver) => [
      driver.name,
      driver.instance,
      stateCell(enumName(DriverState, driver.state), colors),
      `${driver.held}/${driver.slots}`,
      driver.version,
      `${age(driver.heartbeatTime)} ago`,
      labels(driver.labels),
    ]),
  );
}

function jobDetail(job: Job): string {
  if (job.state === JobState.WAITING) return `waits: ${waitDetail(job)}`;
  if (job.stop !== undefined) return stopText(job.stop);
  if (job.inheritedFrom !== '') return 'inherited';
  if (job.failure !== undefined) return jobFailureText(job);
  if (job.state === JobState.SKIPPED && job.condition !== undefined && !job.condition.held)
    return `its condition ${conditionText(job.condition)}`;
  if (job.childRunId !== '') return `run ${job.childRunId}`;
  return job.progress?.message ?? numberedCell(job);
}

function waitDetail({ wait, gateAnswers, childRunId }: Job): string {
  const reason = wait?.reason ?? WaitReason.UNSPECIFIED;
  const approved = gateAnswers.length === 0 ? '' : `, ${gateAnswers.length} approved so far`;
  if (reason === WaitReason.APPROVAL) return `${waitReason(reason)}${approved}`;
  return reason === WaitReason.CHILD_RUN && childRunId !== '' ? `run ${childRunId}` : waitReason(reason);
}

/** The values of a cell whose name does not tell them. */
function numberedCell({ name, matrix }: Job): string {
  return name.includes('[#') ? cellValues(matrix) : '';
}
