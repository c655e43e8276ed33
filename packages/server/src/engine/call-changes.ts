// What the events of a run make of its calls, and of the call that made it, for the rows by which these are seen to.
import type { RunEvent } from '../core/events.ts';
import type { CallChange } from '../store/call-rows.ts';
import type { RunId } from '../core/ids.ts';
import type { RunContext } from './run-context.ts';

export function callChanges(
  context: RunContext,
  events: readonly { readonly event: RunEvent }[],
): readonly CallChange[] {
  return events.flatMap(({ event }) => changesOf(context, event));
}

function changesOf({ runId, project, plan, caller }: RunContext, event: RunEvent): readonly CallChange[] {
  const isCall = (job: number): boolean => plan.jobs[job]?.definition.call !== undefined;
  switch (event.type) {
    case 'JobWaiting':
      return event.reason === 'CHILD_RUN' ? [{ type: 'OPENED', key: { runId, job: event.job }, project, caller }] : [];
    case 'ChildRunStarted':
      return [{ type: 'STARTED', key: { runId, job: event.job }, child: event.childRun as RunId }];
    case 'JobCancelRequested':
      return isCall(event.job) ? [{ type: 'STOPPED', key: { runId, job: event.job } }] : [];
    case 'RunCancelRequested':
      // Those that were told to stop before are to be told that they have to.
      return event.force
        ? plan.jobs.flatMap(({ index }) => (isCall(index) ? [{ type: 'STOPPED', key: { runId, job: index } }] : []))
        : [];
    case 'JobFinished':
      return isCall(event.job) ? [{ type: 'CLOSED', key: { runId, job: event.job } }] : [];
    case 'RunFinished':
      return caller === undefined ? [] : [{ type: 'ENDED', key: caller, child: runId }];
    case 'RunCreated':
    case 'JobEvaluated':
    case 'JobsAdded':
    case 'JobsAppended':
    case 'JobQueued':
    case 'GateAnswered':
    case 'AttemptOffered':
    case 'AttemptStarted':
    case 'AttemptAdopted':
    case 'AttemptAnnotated':
    case 'AttemptArtifact':
    case 'AttemptTimedOut':
    case 'AttemptEnded':
    case 'AttemptHeard':
    case 'JobKillRequested':
    case 'RunPaused':
    case 'RunResumed':
    case 'JobHeld':
    case 'JobReleased':
      return [];
  }
}
