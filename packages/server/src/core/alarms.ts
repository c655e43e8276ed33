// What time alone makes of a job, and when.
import type { JobTimeouts } from './definition.ts';
import { isGroup, plannedJob, type Plan } from './plan.ts';
import type { JobRecord, RunSlice } from './run-state.ts';

/** What time alone will make of a job, and when. BACKOFF_END is the end of any wait that time ends. */
export interface Alarm {
  readonly atMs: number;
  readonly kind:
    | 'TOTAL_TIMEOUT'
    | 'QUEUE_TIMEOUT'
    | 'BACKOFF_END'
    | 'GATE_TIMEOUT'
    | 'ATTEMPT_TIMEOUT'
    | 'SILENCE'
    | 'GRACE_END';
}

const NO_TIMEOUTS: JobTimeouts = { offerMs: 0, cancelGraceMs: 0 };

/** Every alarm of a job as it is now; of those that are due the first one counts. */
export function alarmsOf(plan: Plan, index: number, job: JobRecord): readonly Alarm[] {
  const planned = plannedJob(plan, index);
  const { gate } = planned.definition;
  // Those of a matrix are for its cells.
  const timeouts = isGroup(planned) ? NO_TIMEOUTS : planned.definition.timeouts;
  const alarm = (kind: Alarm['kind'], sinceMs: number | undefined, afterMs: number | undefined): Alarm[] =>
    sinceMs === undefined || afterMs === undefined ? [] : [{ atMs: sinceMs + afterMs, kind }];
  switch (job.state) {
    case 'WAITING':
    case 'QUEUED':
      return [
        ...alarm('TOTAL_TIMEOUT', job.readyMs, timeouts.totalMs),
        ...alarm('QUEUE_TIMEOUT', job.queuedMs, timeouts.queueMs),
        ...(job.state === 'WAITING' && 'untilMs' in job.wait ? alarm('BACKOFF_END', job.wait.untilMs, 0) : []),
        ...(job.state === 'WAITING' && job.wait.reason === 'APPROVAL'
          ? alarm('GATE_TIMEOUT', job.wait.sinceMs, gate?.timeoutMs)
          : []),
      ];
    case 'RUNNING':
    case 'CANCELLING': {
      const { stop, attemptStartedMs, heardMs } = job.live;
      if (stop !== undefined) return alarm('GRACE_END', stop.sinceMs, timeouts.cancelGraceMs);
      return [
        ...alarm('ATTEMPT_TIMEOUT', attemptStartedMs, timeouts.runMs),
        ...alarm('ATTEMPT_TIMEOUT', job.readyMs, timeouts.totalMs),
        ...alarm('SILENCE', heardMs ?? attemptStartedMs, timeouts.silenceMs),
      ];
    }
    case 'OFFERED':
      // Its offer ends within the offer timeout, and then it is due as a queued or running job.
      return [];
    case 'BLOCKED':
    case 'SUCCEEDED':
    case 'FAILED':
    case 'SKIPPED':
    case 'CANCELLED':
      return [];
  }
}

/** When something happens to the job by itself next; undefined: never. */
export function dueOf(slice: RunSlice, index: number, job: JobRecord): number | undefined {
  const alarms = alarmsOf(slice.plan, index, job);
  return alarms.length === 0 ? undefined : Math.min(...alarms.map(({ atMs }) => atMs));
}
