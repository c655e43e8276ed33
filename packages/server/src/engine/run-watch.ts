// Watching one run: its ledger from a cursor to its last event, in order and without a gap, whichever replica writes it.
import { plannedJob } from '../core/plan.ts';
import { isRunFinished } from '../core/states.ts';
import type { EventView } from '../core/views.ts';
import { readEvents, type StoredEvent } from '../store/event-views.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { RunOperations } from './engine.ts';
import { follow, type Reading } from './follow.ts';
import type { Plans } from './plans.ts';
import { invalidCursor, noSuchRun } from './refusals.ts';
import { loadRun, type StoredRun } from './stored-run.ts';
import type { WakeUps } from './wake-ups.ts';

export interface RunWatchOptions {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly wakeUps: WakeUps;
}

export function createRunWatch({ pool, plans, wakeUps }: RunWatchOptions): Pick<RunOperations, 'watch'> {
  return {
    async *watch(project, runId, afterSeq, signal) {
      using subscription = wakeUps.subscribe(`run:${runId}`);
      const run = await withConnection(pool, (tx) => loadRun(tx, plans, project, runId));
      if (run === undefined) throw noSuchRun(runId);
      const { seq, state } = run.view;
      if (afterSeq > seq) throw invalidCursor(`run ${runId} has events up to ${seq}; got after_seq ${afterSeq}`);
      yield [];
      if (isRunFinished(state) && afterSeq === seq) return;
      let lastSeq = afterSeq;
      const read = async (): Promise<Reading<EventView[]>> => {
        const events = await withConnection(pool, (tx) => readEvents(tx, runId, lastSeq));
        if (events === undefined) throw noSuchRun(runId);
        const last = events.at(-1);
        if (last === undefined) return { found: undefined, more: false };
        lastSeq = last.seq;
        return { found: events.map((event) => eventView(run, event)), more: true };
      };
      for await (const events of follow({ read, subscription, signal })) {
        yield events ?? [];
        // A finished run never changes.
        if (events?.at(-1)?.event.type === 'RunFinished') return;
      }
    },
  };
}

function eventView({ runId, plan }: StoredRun, { jobState, ...event }: StoredEvent): EventView {
  const job = 'job' in event.event ? event.event.job : undefined;
  return {
    runId,
    ...event,
    ...(job !== undefined && { jobName: plannedJob(plan, job).definition.name }),
    ...(jobState !== undefined && { jobState }),
  };
}
