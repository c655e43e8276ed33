// What the events of a run make of its calls, for the rows by which these are seen to.
import type { RunEvent } from '../core/events.ts';
import type { CallChange } from '../store/call-rows.ts';
import type { RunContext } from './run-context.ts';

export function callChanges(
  { runId, project, plan }: RunContext,
  events: readonly { readonly event: RunEvent }[],
): CallChange[] {
  const changes: CallChange[] = [];
  for (const { event } of events) {
    const isChange =
      (event.type === 'JobWaiting' && event.reason === 'CHILD_RUN') ||
      event.type === 'ChildRunStarted' ||
      (event.type === 'JobFinished' && plan.jobs[event.job]?.definition.call !== undefined);
    if (isChange) changes.push({ key: { runId, job: event.job }, project, event });
  }
  return changes;
}
