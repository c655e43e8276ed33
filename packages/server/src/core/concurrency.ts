// Decisions on the place of a job in its concurrency group: it gets one, gives way to a newer job, or is refused. Whether a place is free
// was read under the group's lock, which is held until this decision is committed.
import { cancelJob } from './cancel.ts';
import type { Command, Reply } from './commands.ts';
import { membershipOf } from './group.ts';
import { plannedJob } from './plan.ts';
import { DONE } from './replies.ts';
import { jobOf } from './run-state.ts';
import { type Draft, emit } from './draft.ts';
import { concludeJob } from './settle.ts';

export function claimPlace(draft: Draft, command: Extract<Command, { type: 'ClaimPlace' }>): Reply {
  const { job: index, place } = command;
  const job = jobOf(draft, index);
  if (place === undefined) return DONE;
  const name = job.details?.group ?? '';
  switch (membershipOf(job)) {
    case 'WAITING':
      if (place.isReplaced) {
        return cancelJob(draft, {
          type: 'CancelJob',
          job: index,
          reason: `a newer job of group ${name} takes its turn`,
        });
      }
      if (place.hasRoom) emit(draft, { type: 'JobQueued', job: index });
      else if (plannedJob(draft.plan, index).definition.concurrency?.policy === 'REJECT') refuse(draft, index, name);
      return DONE;
    case 'HOLDING':
      if (!place.mustYield) return DONE;
      return cancelJob(draft, {
        type: 'CancelJob',
        job: index,
        reason: `a newer job of group ${name} takes its place`,
      });
    case 'STOPPING':
    case undefined:
      return DONE;
  }
}

/** Nothing is wrong with the job: nobody takes it now. */
function refuse(draft: Draft, index: number, name: string): void {
  const message = `every place of group ${name} is held, and the job is not to wait for one`;
  concludeJob(draft, index, { state: 'FAILED', failure: { class: 'REJECTED', message } });
}
