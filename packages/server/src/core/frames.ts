// What a driver and the control plane say to each other, as plain values: the contract's frames (driver_session.proto) with ids
// decoded and durations in milliseconds.
import type { JobInput } from './check-definition.ts';
import type { LeaseDoubt } from './definition.ts';
import type { Annotation, Artifact } from './events.ts';
import type { AttemptKey } from './ids.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type { Refusal } from './refusal.ts';
import type { AttemptState, CancelPhase, FailureClass, JobState, LogState } from './states.ts';
import type { Labels, LogChannel, LogSection, Outputs, ProgressView } from './views.ts';

export interface HeldAttempt {
  readonly key: AttemptKey;
  readonly phase: 'ACCEPTED' | 'RUNNING' | 'FINISHED';
  readonly logOffset: number;
}

export interface Hello {
  readonly driver: string;
  readonly instance: string;
  readonly incarnation: Uint8Array;
  readonly capabilities: readonly string[];
  readonly labels: Labels;
  readonly slots: number;
  /** Slots by the name of their pool. */
  readonly pools: Readonly<Record<string, number>>;
  readonly specSchema?: JsonObject;
  readonly held: readonly HeldAttempt[];
  readonly version: string;
}

/** Frames after Hello. The fence is the attempt's number and therefore part of its key. */
export type DriverFrame =
  | { readonly type: 'Adopt'; readonly key: AttemptKey }
  | { readonly type: 'Disown'; readonly key: AttemptKey }
  | { readonly type: 'Accept'; readonly key: AttemptKey }
  | {
      readonly type: 'Reject';
      readonly key: AttemptKey;
      readonly reason: string;
      readonly retryAfterMs?: number;
      readonly invalid: boolean;
    }
  | { readonly type: 'Heartbeat'; readonly seq: number }
  | { readonly type: 'Slots'; readonly total: number }
  | {
      readonly type: 'Log';
      readonly key: AttemptKey;
      readonly offset: number;
      readonly channel: LogChannel;
      /** 0: when it arrived. */
      readonly unixMs: number;
      readonly data: Uint8Array;
    }
  | { readonly type: 'Section'; readonly key: AttemptKey; readonly section: LogSection }
  | { readonly type: 'Output'; readonly key: AttemptKey; readonly name: string; readonly value: JsonValue }
  | { readonly type: 'Progress'; readonly key: AttemptKey; readonly progress: ProgressView }
  | { readonly type: 'Annotation'; readonly key: AttemptKey; readonly number: number; readonly annotation: Annotation }
  | { readonly type: 'Checkpoint'; readonly key: AttemptKey; readonly handle: Uint8Array }
  | {
      readonly type: 'DeclareArtifact';
      readonly key: AttemptKey;
      readonly number: number;
      readonly artifact: Artifact;
    }
  | {
      readonly type: 'AppendJobs';
      readonly key: AttemptKey;
      readonly number: number;
      /** As they were written: to check them may take long. */
      readonly jobs: readonly JobInput[];
    }
  | { readonly type: 'GetValue'; readonly key: AttemptKey; readonly number: number; readonly name: string }
  | {
      readonly type: 'SetValue';
      readonly key: AttemptKey;
      readonly number: number;
      readonly name: string;
      readonly value: JsonValue;
      readonly expected: number | undefined;
    }
  | {
      readonly type: 'DeleteValue';
      readonly key: AttemptKey;
      readonly number: number;
      readonly name: string;
      readonly expected: number | undefined;
    }
  | {
      readonly type: 'Finish';
      readonly key: AttemptKey;
      readonly outcome: 'SUCCEEDED' | 'FAILED' | 'CANCELLED';
      readonly failureClass: FailureClass;
      readonly message: string;
      readonly exitCode?: number;
      readonly retryAfterMs?: number;
      readonly logSize: number;
      readonly logCrc32c: number;
      readonly logLost: boolean;
    }
  /** What the driver sent about one attempt cannot be taken: the attempt fails as INVALID and is revoked. */
  | { readonly type: 'Malformed'; readonly key: AttemptKey; readonly problem: string }
  /** A frame whose fence does not fit its attempt id, or whose id is none: answered by Revoke. */
  | { readonly type: 'Misaddressed'; readonly attemptId: string; readonly fence: number }
  | { readonly type: 'Drain' }
  | { readonly type: 'Goodbye'; readonly reason: string };

export interface Offer {
  readonly key: AttemptKey;
  readonly project: string;
  readonly jobName: string;
  readonly pipeline: string;
  readonly spec: JsonObject;
  readonly params: JsonObject;
  readonly offerTimeoutMs: number;
  readonly runTimeoutMs?: number;
  readonly silenceTimeoutMs?: number;
  readonly cancelGraceMs: number;
  readonly onLeaseDoubt: LeaseDoubt;
  readonly traceparent: string;
  readonly pool?: string;
}

export interface Start {
  readonly key: AttemptKey;
  readonly needs: Readonly<Record<string, { readonly state: JobState; readonly outputs: Outputs }>>;
  readonly secrets: Readonly<Record<string, string>>;
  readonly timeLeftMs?: number;
  readonly resumed: boolean;
  readonly logOffset: number;
  /** Of these bytes. */
  readonly logCrc32c: number;
  /** How many it has. */
  readonly annotations: number;
  /** The number of the last change that its driver made of a value. */
  readonly valueNumber: number;
  /** How many it has. */
  readonly artifacts: number;
}

export type Verdict =
  | { readonly kind: 'START'; readonly key: AttemptKey; readonly start: Start }
  | { readonly kind: 'KEEP'; readonly key: AttemptKey; readonly logOffset: number; readonly cancel?: CancelPhase }
  | { readonly kind: 'STOP'; readonly key: AttemptKey }
  | { readonly kind: 'FINISHED'; readonly key: AttemptKey; readonly logState: LogState };

export interface Orphan {
  readonly offer: Offer;
  readonly checkpoint: Uint8Array;
  readonly logOffset: number;
  /** Of these bytes. */
  readonly logCrc32c: number;
  /** How many it has. */
  readonly annotations: number;
  /** The number of the last change that its driver made of a value. */
  readonly valueNumber: number;
  /** How many it has. */
  readonly artifacts: number;
  /** How long it has run already, by the database's clock. */
  readonly ranMs: number;
  readonly cancel?: CancelPhase;
}

export interface Welcome {
  readonly sessionId: string;
  readonly epoch: number;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly attemptLogWindow: number;
  readonly sessionLogWindow: number;
  readonly maxMessageBytes: number;
  readonly maxLogBytes: number;
  readonly capabilities: readonly string[];
  readonly verdicts: readonly Verdict[];
  readonly orphans: readonly Orphan[];
}

export type ServerFrame =
  | ({ readonly type: 'Welcome' } & Welcome)
  | ({ readonly type: 'Offer' } & Offer)
  | ({ readonly type: 'Start' } & Start)
  | { readonly type: 'Pulse'; readonly seq: number; readonly leaseLeftMs: number }
  | {
      readonly type: 'LogAck';
      readonly key: AttemptKey;
      readonly offset: number;
      readonly windowEnd: number;
      readonly gap: boolean;
    }
  | { readonly type: 'Cancel'; readonly key: AttemptKey; readonly phase: CancelPhase; readonly reason: string }
  | { readonly type: 'FinishAck'; readonly key: AttemptKey; readonly logState: LogState }
  | { readonly type: 'LogMissing'; readonly key: AttemptKey; readonly offset: number }
  | {
      readonly type: 'ValueAnswer';
      readonly key: AttemptKey;
      /** Of what it answers. */
      readonly number: number;
      /** What was read; undefined: there is none, or it was no read. */
      readonly value?: JsonValue;
      /** That there is now; 0: there is no value. */
      readonly version: number;
      /** Why nothing was changed. */
      readonly refusal?: Refusal;
    }
  | {
      readonly type: 'AppendAnswer';
      readonly key: AttemptKey;
      /** Of what it answers. */
      readonly number: number;
      /** Why nothing was appended. */
      readonly refusal?: Refusal;
    }
  | { readonly type: 'Drain' }
  | {
      readonly type: 'Revoke';
      readonly attemptId: string;
      readonly fence: number;
      readonly reason: string;
      readonly state?: AttemptState;
    };
