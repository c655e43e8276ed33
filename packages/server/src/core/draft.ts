// A decision in the making: it emits events, each of which changes the state at once.
import { ByIndex, type MutableByIndex } from './by-index.ts';
import { beginning } from './check-fields.ts';
import { CANCEL_REASON_VERSION, EVENT_VERSION } from './event-versions.ts';
import type { RunEvent } from './events.ts';
import { evolve } from './evolve.ts';
import type { Evolving } from './evolving.ts';
import type { JsonObject } from './json.ts';
import { plannedJob } from './plan.ts';
import { cancelReasonOf, type JobRecord, jobOf, type RunFacts, type RunSlice, type WorkedOut } from './run-state.ts';
import type { Failure, JobState, RunState } from './states.ts';
import { beginWorking, nothingKnown, type Working } from './working.ts';

/** The states of the run, and of the job that the event is about, right after an event. */
export interface EventMark {
  readonly run: RunState;
  readonly job: JobState | undefined;
}

/** A decision in the making: the events so far and the state after them. */
export interface Draft extends Evolving {
  readonly nowMs: number;
  readonly eventVersion: number;
  readonly events: RunEvent[];
  readonly marks: EventMark[];
  /** Jobs that changed. */
  readonly touched: Set<number>;
  /** Of a run that is being created to start later: when. */
  startMs?: number;
  /** Jobs of a planned run that cannot be decided on, with why: they stay as they are. Empty in a run. */
  readonly unknown: Map<number, string>;
  readonly working: Working;
  /** Of the work that is done in one go, in steps of expressions, and at how much of it the present slice ends. */
  readonly sliceSteps: number;
  sliceEnd: number;
  /** What the present slice has not got to, in order. */
  readonly putOff: (() => void)[];
  /** With the outputs of jobs that this decision concluded. */
  readonly facts?: RunFacts & { readonly outputs: MutableByIndex<JsonObject> };
}

/** What an event costs beside the expressions that led to it, in their steps. */
const EVENT_STEPS = 100;

/** Begins a decision. The slice itself is never changed. */
export function beginDraft(slice: RunSlice, nowMs: number, sliceSteps: number): Draft {
  return {
    plan: slice.plan,
    run: slice.run,
    jobs: ByIndex.from(slice.jobs),
    nowMs,
    eventVersion: slice.eventVersion ?? EVENT_VERSION,
    events: [],
    marks: [],
    touched: new Set(),
    unknown: new Map(),
    working: beginWorking(slice.known ?? nothingKnown()),
    sliceSteps,
    sliceEnd: sliceSteps,
    putOff: [],
    ...(slice.facts !== undefined && { facts: { ...slice.facts, outputs: ByIndex.from(slice.facts.outputs) } }),
  };
}

/** Whether the present slice has done its share: what is left to be settled is put off. */
export function isSpent(draft: Draft): boolean {
  return workOf(draft) >= draft.sliceEnd;
}

/** Ends the present slice, after something that takes long and of which no steps tell. */
export function endSlice(draft: Draft): void {
  draft.sliceEnd = workOf(draft);
}

/** Works through items in order; what the present slice does not get to is put off, behind what came of those before. */
export function eachInSlices<T>(draft: Draft, items: readonly T[], work: (item: T) => void, from = 0): void {
  for (const [offset, item] of items.slice(from).entries()) {
    if (isSpent(draft)) {
      draft.putOff.push(() => eachInSlices(draft, items, work, from + offset));
      return;
    }
    work(item);
  }
}

/** Goes on with what was put off, for a slice. */
export function goOn(draft: Draft): void {
  draft.sliceEnd = workOf(draft) + draft.sliceSteps;
  for (const work of draft.putOff.splice(0)) work();
}

function workOf({ working, events }: Draft): number {
  return working.steps + EVENT_STEPS * events.length;
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

/** Records what was worked out of a job, if anything was. */
export function record(draft: Draft, job: number, worked: WorkedOut): void {
  if (Object.keys(worked).length > 0) emit(draft, { type: 'JobEvaluated', job, ...worked });
}

export type Conclusion =
  | { readonly state: 'SUCCEEDED'; readonly outputs?: JsonObject }
  | { readonly state: 'SKIPPED' }
  /** By default, for what it was asked to stop. */
  | { readonly state: 'CANCELLED'; readonly cancelReason?: string }
  | { readonly state: 'FAILED'; readonly failure: Failure };

/** Concludes a job; what follows from that is for settle.ts to find. */
export function finishJob(draft: Draft, job: number, conclusion: Conclusion): void {
  const failureAllowed = conclusion.state === 'FAILED' && plannedJob(draft.plan, job).definition.allowFailure;
  const end =
    conclusion.state === 'CANCELLED'
      ? { state: conclusion.state, ...ownReason(draft, job, conclusion.cancelReason) }
      : conclusion;
  emit(draft, { type: 'JobFinished', job, ...end, ...(failureAllowed && { failureAllowed }) });
}

/** Why a job was cancelled; nothing when nobody said, and when its run has the same for good: one that is cancelled by force. */
function ownReason(draft: Draft, job: number, given: string | undefined): { readonly cancelReason?: string } {
  if (draft.eventVersion < CANCEL_REASON_VERSION) return {};
  const { cancel } = draft.run;
  const cancelReason = given ?? cancelReasonOf(jobOf(draft, job)) ?? '';
  const isOfRun = cancel?.force === true && cancel.reason === cancelReason;
  return cancelReason === '' || isOfRun ? {} : { cancelReason };
}

/** Whether a job failed and the failure counts. */
export function hasFailed(job: JobRecord): boolean {
  return job.state === 'FAILED' && job.failureAllowed !== true;
}

/** Of the message of a failure, in characters. */
const MAX_MESSAGE = 1_024;

/** The end of a job that cannot be what its definition says. */
export function invalid(message: string): Conclusion {
  return { state: 'FAILED', failure: { class: 'INVALID', message: beginning(message, MAX_MESSAGE) } };
}
