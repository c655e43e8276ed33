// What can be asked of a run's ledger, and what it answers. Everything that a decision needs beside the state is in its command:
// random numbers, and what the store holds of an attempt's content.
import type { JobDefinition } from './definition.ts';
import type { Annotation, Artifact, InheritedJob, Trigger } from './events.ts';
import type { JsonObject } from './json.ts';
import type { PlaceView } from './group.ts';
import type { RateView } from './rate.ts';
import type { FieldViolation, Refusal } from './refusal.ts';
import type { GateAnswer } from './run-state.ts';
import type { AttemptState, FailureClass, FinishedRunState, LogState } from './states.ts';

/** What the store holds of an attempt. */
export interface AttemptContent {
  readonly state: AttemptState;
  readonly logSize: number;
  readonly logCrc32c: number;
  readonly logState: LogState;
  readonly outputs?: JsonObject;
  /** Identifies the result that was accepted, if one was. */
  readonly result?: string;
  /** How many annotations it has. */
  readonly annotations: number;
  /** How many artifacts it has. */
  readonly artifacts: number;
  /** When it was last heard of; undefined: not since it started. */
  readonly heardMs?: number;
}

/** What was found out about outputs, outside of decisions: to hold them against their schema may take long. */
export interface CheckedOutputs {
  /** The outputs that were looked at, as canonical JSON. */
  readonly text: string;
  /** What is wrong with them, for people; undefined: they fit. */
  readonly problem?: string;
}

export interface AttemptRef {
  readonly job: number;
  readonly attempt: number;
  /** The row number of the driver instance that speaks. */
  readonly instance: number;
}

/** Who asks, and why, in the words of the platform. */
export interface Asker {
  readonly reason: string;
  readonly actor: string;
}

export type Command =
  | {
      readonly type: 'Create';
      readonly pipeline?: string;
      readonly revision?: number;
      readonly rerunOf?: string;
      readonly trigger: Trigger;
      /** When jobs without needs may start; at once when it has passed. */
      readonly startMs?: number;
      readonly inherited?: readonly InheritedJob[];
    }
  | { readonly type: 'Offer'; readonly job: number; readonly instance: number; readonly instanceId: string }
  | ({ readonly type: 'Accept' } & AttemptRef)
  | ({
      readonly type: 'Reject';
      readonly reason: string;
      readonly retryAfterMs?: number;
      readonly invalid: boolean;
      readonly random: number;
    } & AttemptRef)
  /** An offer that was not answered in time (`expired`), or that its driver gave back or does not know. */
  | ({ readonly type: 'Withdraw'; readonly expired: boolean; readonly random: number } & AttemptRef)
  | ({ readonly type: 'Adopt' } & AttemptRef)
  | ({
      readonly type: 'Annotate';
      readonly number: number;
      readonly annotation: Annotation;
      readonly content: AttemptContent | undefined;
    } & AttemptRef)
  | ({
      readonly type: 'AppendJobs';
      readonly jobs: readonly JobDefinition[];
      /** What is wrong with them by themselves: then they are looked at, but not appended. */
      readonly violations: readonly FieldViolation[];
      readonly content: AttemptContent | undefined;
    } & AttemptRef)
  | ({
      readonly type: 'Declare';
      readonly number: number;
      readonly artifact: Artifact;
      readonly content: AttemptContent | undefined;
    } & AttemptRef)
  | ({
      readonly type: 'Finish';
      readonly outcome: 'SUCCEEDED' | 'FAILED' | 'CANCELLED';
      readonly failureClass: FailureClass;
      readonly message: string;
      readonly exitCode?: number;
      readonly retryAfterMs?: number;
      readonly logSize: number;
      readonly logCrc32c: number;
      readonly logLost: boolean;
      readonly random: number;
      readonly content: AttemptContent | undefined;
      /** Needed when its job has a schema for them; the reply asks for it. */
      readonly checked?: CheckedOutputs;
    } & AttemptRef)
  /** The driver is gone with it, or broke the contract about it. */
  | ({
      readonly type: 'Lose';
      readonly failureClass: 'INFRASTRUCTURE' | 'INVALID';
      readonly message: string;
      readonly random: number;
      readonly content: AttemptContent | undefined;
    } & AttemptRef)
  | { readonly type: 'CancelRun'; readonly reason: string; readonly force: boolean }
  | { readonly type: 'CancelJob'; readonly job: number; readonly reason: string }
  | { readonly type: 'ReleaseBackoff'; readonly job: number }
  | ({ readonly type: 'PauseRun' } & Asker)
  | ({ readonly type: 'ResumeRun' } & Asker)
  | ({ readonly type: 'HoldJob'; readonly job: number } & Asker)
  | ({ readonly type: 'ReleaseJob'; readonly job: number } & Asker)
  | ({
      readonly type: 'AnswerGate';
      readonly job: number;
      /** Who answers is one of these, too. */
      readonly groups: readonly string[];
      /** What the form of the gate has for what is not answered here. */
      readonly defaults?: JsonObject;
    } & Omit<GateAnswer, 'timeMs'>)
  /** The run that a call asked for exists. */
  | { readonly type: 'StartChild'; readonly job: number; readonly childRun: string }
  /** It cannot be made. */
  | { readonly type: 'RefuseChild'; readonly job: number; readonly message: string }
  /** It has finished. */
  | {
      readonly type: 'FinishChild';
      readonly job: number;
      readonly childRun: string;
      readonly state: FinishedRunState;
      readonly outputs: JsonObject;
      /** Why it failed, unless that is for the run itself to say. */
      readonly message?: string;
    }
  /**
   * A job that waits for a place in its concurrency group, or for tokens of its rate limits, is to be looked at, or one that is to give up
   * its place. Of what it has and what is not known here, nothing is decided.
   */
  | {
      readonly type: 'ClaimPlace';
      readonly job: number;
      readonly place?: PlaceView | undefined;
      readonly rate?: RateView | undefined;
    }
  | {
      readonly type: 'Timer';
      readonly job: number;
      /** The newest version of events that every live replica knows. */
      readonly eventVersion: number;
      readonly random: number;
      readonly content: AttemptContent | undefined;
    };

export type Reply =
  /** Done, now or by the same command before. */
  | { readonly type: 'Done' }
  /** The attempt is not, or no longer, in the speaker's hand. */
  | { readonly type: 'Stale'; readonly state?: AttemptState }
  | { readonly type: 'Finished'; readonly logState: LogState }
  | { readonly type: 'LogMissing'; readonly offset: number }
  /** Nothing was decided: these outputs have to be held against the schema first. */
  | { readonly type: 'Unchecked'; readonly schema: JsonObject; readonly outputs: JsonObject }
  | { readonly type: 'Refused'; readonly refusal: Refusal };
