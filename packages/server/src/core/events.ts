// The events of a run's ledger. Together they are the truth: evolve() rebuilds the run, its jobs and attempts from them. Ids,
// jitter and times were decided when an event was made and are recorded in it, so evolve needs nothing else.
import { type JobKey, parseJobId } from './ids.ts';
import type { JsonObject } from './json.ts';
import type { AddedCells, JobDefinition } from './definition.ts';
import type { GateAnswer, TimedWait, WorkedOut } from './run-state.ts';
import type { EndedAttemptState, Failure, FinishedJobState, FinishedRunState, LogState } from './states.ts';

export interface Trigger {
  readonly kind: string;
  readonly actor: string;
  readonly reference: string;
}

/** What the trigger of a run is that a call made; its reference is the id of the job. */
export const CALL_TRIGGER = 'pipeline';

/** The call that a trigger names. Whether that made the run is for the call to say: anybody may name one. */
export function callerOf({ kind, reference }: Pick<Trigger, 'kind' | 'reference'>): JobKey | undefined {
  return kind === CALL_TRIGGER ? parseJobId(reference) : undefined;
}

/** A job that a rerun takes over as it finished. */
export interface InheritedJob {
  readonly job: number;
  /** The id of the job that it takes over. */
  readonly from: string;
  readonly state: FinishedJobState;
  readonly failure?: Failure;
  readonly outputs?: JsonObject;
}

export interface Annotation {
  readonly level: 'INFO' | 'WARNING' | 'ERROR';
  readonly text: string;
  readonly link: string;
}

/** A reference to something that an attempt made and that is kept elsewhere. */
export interface Artifact {
  readonly name: string;
  /** `algorithm:hex` */
  readonly digest: string;
  readonly sizeBytes: number;
  /** Empty: not said. */
  readonly uri: string;
  /** Empty: not said. */
  readonly mediaType: string;
}

export type RunEvent =
  | {
      readonly type: 'RunCreated';
      readonly jobs: number;
      readonly pipeline?: string;
      readonly revision?: number;
      readonly rerunOf?: string;
      readonly trigger: Trigger;
      /** When jobs without needs may start; undefined: at once. */
      readonly startMs?: number;
      readonly inherited?: readonly InheritedJob[];
    }
  | { readonly type: 'JobQueued'; readonly job: number }
  | ({ readonly type: 'JobWaiting'; readonly job: number } & TimedWait)
  | {
      readonly type: 'JobWaiting';
      readonly job: number;
      /** Until its run is resumed, or it is released. */
      readonly reason: 'PAUSED' | 'HELD';
      /** What is still to be waited for after that. */
      readonly behind?: TimedWait;
    }
  /** It has begun to wait for people, or for the run that it is to make. */
  | { readonly type: 'JobWaiting'; readonly job: number; readonly reason: 'APPROVAL' | 'CHILD_RUN' }
  /** It has begun to wait for a place in its concurrency group. */
  | { readonly type: 'JobWaiting'; readonly job: number; readonly reason: 'CONCURRENCY' }
  /** It has begun to wait for tokens of its rate limits, or it is known now until when it is likely to. */
  | { readonly type: 'JobWaiting'; readonly job: number; readonly reason: 'RATE'; readonly expectedMs?: number }
  | ({ readonly type: 'JobEvaluated'; readonly job: number } & WorkedOut)
  /** The job is a matrix, and has begun to wait for these cells. */
  | ({ readonly type: 'JobsAdded' } & AddedCells)
  /** An attempt of the job has appended these. */
  | {
      readonly type: 'JobsAppended';
      readonly job: number;
      readonly attempt: number;
      readonly jobs: readonly JobDefinition[];
    }
  | ({ readonly type: 'GateAnswered'; readonly job: number } & Omit<GateAnswer, 'timeMs'>)
  | { readonly type: 'ChildRunStarted'; readonly job: number; readonly childRun: string }
  | {
      readonly type: 'AttemptOffered';
      readonly job: number;
      readonly attempt: number;
      /** The id of the driver instance, and the number of its row. */
      readonly instance: string;
      readonly instanceNo: number;
    }
  | { readonly type: 'AttemptStarted'; readonly job: number; readonly attempt: number }
  | { readonly type: 'AttemptAdopted'; readonly job: number; readonly attempt: number }
  | {
      readonly type: 'AttemptEnded';
      readonly job: number;
      readonly attempt: number;
      readonly state: EndedAttemptState;
      readonly failure?: Failure;
      readonly outputs?: JsonObject;
      readonly logSize: number;
      readonly logState: Exclude<LogState, 'OPEN'>;
    }
  | {
      readonly type: 'AttemptAnnotated';
      readonly job: number;
      readonly attempt: number;
      readonly number: number;
      readonly annotation: Annotation;
    }
  | {
      readonly type: 'AttemptArtifact';
      readonly job: number;
      readonly attempt: number;
      readonly number: number;
      readonly artifact: Artifact;
    }
  | { readonly type: 'JobCancelRequested'; readonly job: number; readonly reason: string }
  | {
      readonly type: 'AttemptTimedOut';
      readonly job: number;
      readonly attempt: number;
      /** The silence timeout, when it was that. */
      readonly silenceMs?: number;
    }
  /** The silence timeout has passed, but the attempt was heard of in it: it counts from then. */
  | { readonly type: 'AttemptHeard'; readonly job: number; readonly attempt: number; readonly heardMs: number }
  | { readonly type: 'JobKillRequested'; readonly job: number }
  | {
      readonly type: 'JobFinished';
      readonly job: number;
      readonly state: FinishedJobState;
      readonly failure?: Failure;
      readonly failureAllowed?: boolean;
      /** Of one that was cancelled, unless its run says the same. */
      readonly cancelReason?: string;
      /** Of a job that no driver ran. */
      readonly outputs?: JsonObject;
    }
  /** Ends a pause, too. */
  | { readonly type: 'RunCancelRequested'; readonly reason: string; readonly force: boolean }
  | { readonly type: 'RunPaused' | 'RunResumed'; readonly reason: string; readonly actor: string }
  | {
      readonly type: 'JobHeld' | 'JobReleased';
      readonly job: number;
      readonly reason: string;
      readonly actor: string;
    }
  | { readonly type: 'RunFinished'; readonly state: FinishedRunState };

export type RunEventType = RunEvent['type'];
