// From an occurrence that is to start to its one run. The run is created as any other, under a request id that the occurrence alone
// gives, so whoever tries again finds it. A failure takes that id itself when it is recorded: then no run can come any more.
import { randomUUID } from 'node:crypto';
import type { RunId } from '../core/ids.ts';
import { RefusedError, type Refusal } from '../core/refusal.ts';
import { type OccurrenceFailure, SCHEDULE_LABEL, type ScheduleSpec } from '../core/schedule.ts';
import type { DueSchedule, OccurrenceTry } from '../store/due-schedules.ts';
import { type OccurrenceKey, recordFailed, recordStarted } from '../store/occurrence-rows.ts';
import { claimRequestIds, findRequestIds } from '../store/run-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { NewRun } from './engine.ts';
import type { Log } from './log.ts';
import type { RunCreation } from './run-creation.ts';

/** An occurrence whose run was tried to create. Without outcome: it is not known yet, and tried again. */
export interface TriedOccurrence {
  readonly project: string;
  readonly key: OccurrenceKey;
  readonly outcome: RunId | OccurrenceFailure | undefined;
}

/** A defect is not tried for ever. */
const MAX_TRIES = 10;
/** What a failure takes a request id with: no request has this digest. */
const NO_BODY = Buffer.alloc(32);

/** The run of a schedule at a time. */
export function scheduledRun(
  { name, spec }: { readonly name: string; readonly spec: ScheduleSpec },
  atMs: number,
  requestId?: string,
): NewRun {
  const reference = `schedules/${name}/${new Date(atMs).toISOString()}`;
  return {
    ...spec.run,
    labels: { ...spec.run.labels, [SCHEDULE_LABEL]: name },
    trigger: { kind: 'schedule', actor: '', reference },
    ...(requestId !== undefined && { requestId }),
  };
}

/** Creates the run of an occurrence, or finds the one that it has made. */
export async function makeRun(
  creation: RunCreation,
  log: Log,
  schedule: DueSchedule,
  atMs: number,
  { round, tries }: OccurrenceTry,
): Promise<TriedOccurrence> {
  const { project, scheduleId } = schedule;
  const key = { scheduleId, atMs, round };
  try {
    const { runId } = await creation.create(project, scheduledRun(schedule, atMs, requestIdOf(key)));
    return { project, key, outcome: runId };
  } catch (error) {
    if (error instanceof RefusedError) return { project, key, outcome: failureOf(error.refusal) };
    log.error({ err: error, schedule: schedule.name, atMs }, 'the run of an occurrence could not be created');
    const message = 'a defect of the server, which its log tells of';
    return { project, key, outcome: tries < MAX_TRIES ? undefined : { reason: 'INTERNAL', message } };
  }
}

/** Records what came of occurrences. Where somebody else was faster, that counts. */
export async function recordTried(tx: Tx, tried: readonly TriedOccurrence[], nowMs: number): Promise<void> {
  const failed = tried.flatMap((one) => (typeof one.outcome === 'object' ? [{ ...one, failure: one.outcome }] : []));
  const made = tried.flatMap(({ key, outcome }) => (typeof outcome === 'string' ? [{ key, runId: outcome }] : []));
  const shut = await shutOut(tx, failed);
  if (shut.lost.length > 0) await recordFailed(tx, shut.lost, nowMs);
  if (made.length + shut.made.length > 0) await recordStarted(tx, [...made, ...shut.made], nowMs);
}

/** Takes the request ids of occurrences, so that no run can be created for them any more. Tells which had made one before. */
export async function shutOut<T extends Pick<TriedOccurrence, 'project' | 'key'>>(
  tx: Tx,
  occurrences: readonly T[],
): Promise<{ readonly lost: readonly T[]; readonly made: readonly (T & { readonly runId: RunId })[] }> {
  if (occurrences.length === 0) return { lost: [], made: [] };
  const rows = occurrences.map((one) => ({
    one,
    project: one.project,
    requestId: requestIdOf(one.key),
    bodyDigest: NO_BODY,
    runId: randomUUID() as string as RunId,
  }));
  const claimed = await claimRequestIds(tx, rows);
  const taken = rows.filter(({ runId }) => !claimed.has(runId));
  const found = taken.length === 0 ? [] : await findRequestIds(tx, taken);
  return {
    lost: rows.filter(({ runId }) => claimed.has(runId)).map(({ one }) => one),
    made: taken.flatMap(({ one, requestId, project }) => {
      const earlier = found.find((row) => row.requestId === requestId && row.project === project);
      if (earlier === undefined || earlier.bodyDigest.every((byte) => byte === 0)) return [];
      return [{ ...one, runId: earlier.runId }];
    }),
  };
}

function requestIdOf({ scheduleId, atMs, round }: OccurrenceKey): string {
  return `schedule ${scheduleId} ${atMs} ${round}`;
}

/** Undefined where trying again may help. */
function failureOf(refusal: Refusal): OccurrenceFailure | undefined {
  const { refused: reason, message } = refusal;
  if (reason === 'DATABASE_UNAVAILABLE' || reason === 'SERVER_STOPPING') return undefined;
  return { reason, message };
}
