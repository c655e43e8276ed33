// A decision in the making: it emits events, each of which changes the state at once.
import type { RunEvent } from './events.ts';
import { evolve } from './evolve.ts';
import type { Evolving } from './evolving.ts';
import type { JsonObject } from './json.ts';
import { plannedJob } from './plan.ts';
import { type JobRecord, jobOf, type RunFacts, type RunSlice, type Working } from './run-state.ts';
import type { Failure, JobState, RunState } from './states.ts';

/** The states of the run, and of the job that the event is about, right after an event. */
export interface EventMark {
  readonly run: RunState;
  readonly job: JobState | undefined;
}

/** A decision in the making: the events so far and the state after them. */
export interface Draft extends Evolving {
  readonly nowMs: number;
  readonly events: RunEvent[];
  readonly marks: EventMark[];
  /** Jobs that changed. */
  readonly touched: Set<number>;
  /** Of a run that is being created to start later: when. */
  startMs?: number;
  /** Jobs of a planned run that cannot be decided on, with why: they stay as they are. Empty in a run. */
  readonly unknown: Map<number, string>;
  readonly working: Working;
  /** With the outputs of jobs that this decision concluded. */
  readonly facts?: RunFacts & { readonly outputs: Map<number, JsonObject> };
}

/** Begins a decision. The slice itself is never changed. */
export function beginDraft(slice: RunSlice, nowMs: number): Draft {
  return {
    plan: slice.plan,
    run: slice.run,
    jobs: new Map(slice.jobs),
    nowMs,
    events: [],
    marks: [],
    touched: new Set(),
    unknown: new Map(),
    working: { steps: 0, bytes: 0 },
    ...(slice.facts !== undefined && { facts: { ...slice.facts, outputs: new Map(slice.facts.outputs) } }),
  };
}

/** Adds an event and applies it. */
export function emit(draft: Draft, event: RunEvent): void {
  evolve(draft, event, draft.nowMs);
  draft.events.push(event);
  const job = 'job' in event ? event.job : undefined;
  draft.marks.push({ run: draft.run.state, job: job === undefined ? undefined : jobOf(draft, job).state });
  if (job !== undefined) draft.touched.add(job);
  if (event.type === 'AttemptEnded') draft.facts?.outputs.set(event.job, event.outputs ?? {});
}

export type Conclusion =
  | { readonly state: 'SUCCEEDED'; readonly outputs?: JsonObject }
  | { readonly state: 'CANCELLED' | 'SKIPPED' }
  | { readonly state: 'FAILED'; readonly failure: Failure };

/** Concludes a job; what follows from that is for settle.ts to find. */
export function finishJob(draft: Draft, job: number, conclusion: Conclusion): void {
  const failureAllowed = conclusion.state === 'FAILED' && plannedJob(draft.plan, job).definition.allowFailure;
  emit(draft, { type: 'JobFinished', job, ...conclusion, ...(failureAllowed && { failureAllowed }) });
}

/** Whether a job failed and the failure counts. */
export function hasFailed(job: JobRecord): boolean {
  return job.state === 'FAILED' && job.failureAllowed !== true;
}

/** Of the message of a failure, in characters. */
const MAX_MESSAGE = 1_024;

/** The end of a job that cannot be what its definition says. */
export function invalid(message: string): Conclusion {
  return { state: 'FAILED', failure: { class: 'INVALID', message: message.slice(0, MAX_MESSAGE) } };
}
