// Watching one run: its ledger from a cursor to its last event, in order and without a gap, whichever replica writes it.
import type { RunEvent } from '../core/events.ts';
import type { RunId } from '../core/ids.ts';
import { growPlan, type Plan, plannedJob } from '../core/plan.ts';
import { isRunFinished } from '../core/states.ts';
import type { AddedJobView, EventView } from '../core/views.ts';
import { readEvents, type StoredEvent } from '../store/event-views.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { RunOperations } from './engine.ts';
import { follow, type Reading } from './follow.ts';
import type { Plans } from './plans.ts';
import { invalidCursor, noSuchRun } from './refusals.ts';
import { loadRun } from './stored-run.ts';
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
      let { plan } = run;
      const read = async (): Promise<Reading<EventView[]>> => {
        const events = await withConnection(pool, (tx) => readEvents(tx, runId, lastSeq));
        if (events === undefined) throw noSuchRun(runId);
        const last = events.at(-1);
        if (last === undefined) return { found: undefined, more: false };
        lastSeq = last.seq;
        const found = events.map((event) => {
          plan = grownBy(plan, event.event);
          return eventView(runId, plan, event);
        });
        return { found, more: true };
      };
      for await (const events of follow({ read, subscription, signal })) {
        yield events ?? [];
        // A finished run never changes.
        if (events?.at(-1)?.event.type === 'RunFinished') return;
      }
    },
  };
}

/** The plan after an event; one that it has made already may be known. */
function grownBy(plan: Plan, event: RunEvent): Plan {
  if (event.type === 'JobsAdded') return plannedJob(plan, event.job).cells === undefined ? growPlan(plan, event) : plan;
  if (event.type !== 'JobsAppended') return plan;
  const [first] = event.jobs;
  const isKnown = plan.jobs.some(({ name }) => name === first?.name);
  return isKnown ? plan : growPlan(plan, { by: event.job, jobs: event.jobs });
}

function eventView(runId: RunId, plan: Plan, { jobState, ...event }: StoredEvent): EventView {
  const job = 'job' in event.event ? event.event.job : undefined;
  const added = addedBy(plan, event.event);
  return {
    runId,
    ...event,
    ...(job !== undefined && { jobName: plannedJob(plan, job).name }),
    ...(added !== undefined && { added: added.map((index) => addedView(plan, index)) }),
    ...(jobState !== undefined && { jobState }),
  };
}

/** The jobs that an event added; undefined for any other. */
function addedBy(plan: Plan, event: RunEvent): readonly number[] | undefined {
  if (event.type === 'JobsAdded') return plannedJob(plan, event.job).cells ?? [];
  if (event.type !== 'JobsAppended') return undefined;
  const names = new Set(event.jobs.map(({ name }) => name));
  return plan.jobs.filter(({ name }) => names.has(name)).map(({ index }) => index);
}

function addedView(plan: Plan, job: number): AddedJobView {
  const { name, cell } = plannedJob(plan, job);
  return { job, name, ...(cell !== undefined && { values: cell.values }) };
}
