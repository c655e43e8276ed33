// What waiting does to the clock of a job's queue timeout: a wait that somebody has to end stops it, any other lets it run.
import type { RunEvent } from './events.ts';
import type { JobRecord, JobWait, TimedWait } from './run-state.ts';

/** What a job waits for after an event, and since when its queue timeout counts. */
export function waitOf(
  job: JobRecord,
  event: Extract<RunEvent, { type: 'JobWaiting' }>,
  nowMs: number,
): { readonly wait: JobWait; readonly queuedMs?: number } {
  const queuedMs = queuedSince(job, nowMs);
  if ('untilMs' in event) {
    const wait = { reason: event.reason, untilMs: event.untilMs };
    return { wait, ...(queuedMs !== undefined && { queuedMs }) };
  }
  if (event.reason === 'APPROVAL' || event.reason === 'CHILD_RUN') {
    return { wait: { reason: event.reason, sinceMs: nowMs } };
  }
  const waited = queuedMs !== undefined && { waitedMs: nowMs - queuedMs };
  if (event.reason === 'CONCURRENCY') return { wait: { reason: event.reason, ...waited } };
  if (event.reason === 'RATE') {
    const { reason, expectedMs } = event;
    return { wait: { reason, ...waited, ...(expectedMs !== undefined && { expectedMs }) } };
  }
  const { reason } = event;
  const behind = behindOf(event);
  return { wait: { reason, ...(behind !== undefined && { behind }), ...waited } };
}

/** What is still to be waited for once nobody holds the job back. */
export function behindOf(event: Extract<RunEvent, { type: 'JobWaiting' }>): TimedWait | undefined {
  return 'behind' in event ? event.behind : undefined;
}

/** Since when the job waits for a start, if it goes on to now; what it had waited before it was held back counts. */
export function queuedSince(job: JobRecord, nowMs: number): number | undefined {
  if (job.state !== 'WAITING' || 'untilMs' in job.wait) return job.queuedMs;
  if ('sinceMs' in job.wait) return undefined;
  return job.wait.waitedMs === undefined ? undefined : nowMs - job.wait.waitedMs;
}
