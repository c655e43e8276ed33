// The state that decisions are made on: a run's header and the jobs that a command touches. The rows of the database are a
// projection of exactly this. A running job *has* an attempt in hand, a queued one cannot.
import type { Trigger } from './events.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type { Plan, PlannedJob } from './plan.ts';
import type { FieldViolation } from './refusal.ts';
import type { Shares } from './shares.ts';
import type { CancelPhase, Failure, FailureClass, FinishedJobState, FinishedRunState } from './states.ts';
import type { JobCounts } from './views.ts';
import type { KnownWork, Working } from './working.ts';

export interface RunHeader {
  readonly state: 'PENDING' | 'RUNNING' | 'CANCELLING' | FinishedRunState;
  /** Of the newest event. */
  readonly seq: number;
  /** Time of the newest event. */
  readonly lastMs: number;
  readonly counts: JobCounts;
  readonly cancel?: { readonly reason: string; readonly force: boolean };
  /** Set while it is paused. */
  readonly pause?: HoldBack;
  readonly startedMs?: number;
  readonly finishedMs?: number;
}

/** Who holds a run or a job back, why and since when. */
export interface HoldBack {
  readonly reason: string;
  readonly actor: string;
  readonly sinceMs: number;
}

/** What every state of a job carries. */
export interface JobBase {
  /** The number of its newest attempt, 0 before the first. */
  readonly attempt: number;
  /** How many of its needs have not finished. */
  readonly unmet: number;
  /** How many of its needs finished otherwise than as success. */
  readonly badNeeds: number;
  /** How many attempts failed, by class. */
  readonly spent: Readonly<Partial<Record<FailureClass, number>>>;
  /** When its needs first allowed it to run. */
  readonly readyMs?: number;
  /**
   * Since when it waits for a start, over all offers and without the time that it was held back; undefined before, while it is, while an
   * attempt runs, and in the backoff after one.
   */
  readonly queuedMs?: number;
  /** When an attempt first started. */
  readonly startedMs?: number;
  /** Set while it is held, whatever it does. */
  readonly hold?: HoldBack;
  /** What the run has made of what its definition leaves open. */
  readonly details?: JobDetails;
}

/** What a job leaves to its run, as far as that was worked out. */
export interface WorkedOut extends Shares {
  readonly condition?: ConditionTrace;
  readonly expressionFailures?: ExpressionFailures;
  /** Its spec, or the params of its call, with the values of their expressions. */
  readonly spec?: JsonObject;
}

export interface JobDetails extends WorkedOut {
  /** Of a gate, at most one of each person, in the order in which they were last given. */
  readonly answers?: readonly GateAnswer[];
  /** Of a call: the run that it made. */
  readonly childRun?: string;
  /** Why it was cancelled, unless that is why its run was. */
  readonly cancelReason?: string;
}

/** What a condition was, and why. */
export interface ConditionTrace {
  readonly expression: string;
  readonly held: boolean;
  readonly error?: string;
  readonly parts: readonly ConditionPart[];
}

/** Expressions beside the condition that could not be worked out. */
export interface ExpressionFailures {
  /** In reading order; at most LIMITS.expressionFailures, and fewer where their bytes are too many. */
  readonly first: readonly ExpressionFailure[];
  readonly count: number;
}

export interface ExpressionFailure {
  /** Where it stands, such as `spec.steps[2].run`. */
  readonly field: string;
  readonly expression: string;
  readonly error: string;
  readonly parts: readonly ConditionPart[];
}

/** The value of a part of a condition, or of an expression that failed. */
export interface ConditionPart {
  readonly expression: string;
  readonly value?: JsonValue;
  /** Why it has no value here. */
  readonly note?: string;
}

export interface GateAnswer {
  readonly actor: string;
  readonly verdict: 'APPROVE' | 'REJECT';
  readonly answers: JsonObject;
  readonly comment: string;
  readonly timeMs: number;
}

/** A wait that ends by itself. */
export interface TimedWait {
  readonly reason: 'BACKOFF' | 'DELAY';
  readonly untilMs: number;
}

/** What a job waits for that no driver runs: people, its cells, the run that it made. */
export interface OwnWait {
  readonly reason: 'APPROVAL' | 'MATRIX' | 'CHILD_RUN';
  readonly sinceMs: number;
  /** Why what it waits for is being cancelled. */
  readonly stopping?: string;
}

/** What a waiting job waits for. */
export type JobWait =
  | TimedWait
  | OwnWait
  | {
      readonly reason: 'PAUSED' | 'HELD';
      /** What is still to be waited for after it. */
      readonly behind?: TimedWait;
      /** How long it had waited for a start before. */
      readonly waitedMs?: number;
    }
  /** For a place in its concurrency group. */
  | { readonly reason: 'CONCURRENCY'; readonly waitedMs?: number }
  /** For tokens of its rate limits. */
  | {
      readonly reason: 'RATE';
      readonly waitedMs?: number;
      /** Until when it is likely to wait; undefined: nobody has looked yet. */
      readonly expectedMs?: number;
    };

/** An attempt in hand. */
export interface LiveAttempt {
  /** The row number of the driver instance that holds it. */
  readonly instance: number;
  /** When it started; undefined while it is only offered. */
  readonly attemptStartedMs?: number;
  /** When it was last heard of, as far as that has moved its silence timeout. */
  readonly heardMs?: number;
  /** How it is being stopped. */
  readonly stop?: StopRequest;
}

export interface StopRequest {
  readonly cause: 'CANCEL' | 'TIMEOUT';
  readonly phase: CancelPhase;
  readonly sinceMs: number;
  readonly reason: string;
}

export type JobRecord = JobBase &
  (
    | { readonly state: 'BLOCKED' }
    | { readonly state: 'WAITING'; readonly wait: JobWait }
    | { readonly state: 'QUEUED' }
    | { readonly state: 'OFFERED'; readonly live: LiveAttempt }
    | { readonly state: 'RUNNING'; readonly live: LiveAttempt }
    | { readonly state: 'CANCELLING'; readonly live: LiveAttempt }
    | {
        readonly state: FinishedJobState;
        readonly finishedMs: number;
        readonly failure?: Failure;
        readonly failureAllowed?: boolean;
        /** The id of the job whose outcome a rerun took over. */
        readonly inheritedFrom?: string;
        /** Outputs that are not those of an attempt of its own. */
        readonly outputs?: JsonObject;
      }
  );

/** A run as far as it is loaded. `jobs` holds at least the jobs that the command names and their dependants. */
export interface RunSlice {
  readonly plan: Plan;
  readonly run: RunHeader;
  readonly jobs: ReadonlyMap<number, JobRecord>;
  /** Loaded when an expression asks for it. */
  readonly facts?: RunFacts;
  /** Of the decision that is being made. */
  readonly working?: Working;
  /** The newest version of events that every live replica knows; undefined: the newest. */
  readonly eventVersion?: number;
  /** What earlier tries of the same decision have worked out; it is added to. */
  readonly known?: KnownWork;
}

/** What the expressions of a run may read beside its jobs. It never changes, except that outputs of finished jobs are added. */
export interface RunFacts {
  readonly runId: string;
  readonly project: string;
  readonly pipeline?: string;
  readonly revision?: number;
  readonly params: JsonObject;
  readonly labels: Readonly<Record<string, string>>;
  readonly trigger: Trigger;
  /** Why the drivers of a name, as they are now, take no such spec; nothing when one of them does, or nobody knows. */
  readonly whyUnfit?: (driver: string, spec: JsonObject) => readonly FieldViolation[];
  /** Outputs of attempts that concluded jobs, by job. */
  readonly outputs: ReadonlyMap<number, JsonObject>;
  /** Of a run that is only planned: whether the outputs of a job are assumed. Those of all others are not known. */
  readonly isAssumed?: (job: PlannedJob) => boolean;
}

/** A decision wants jobs that are not in its slice: load them and decide again. It may then want more. */
export class JobsNotLoaded extends Error {
  readonly jobs: readonly number[];
  constructor(jobs: readonly number[]) {
    super('jobs are not loaded');
    this.jobs = jobs;
  }
}

/** A decision wants what its slice lacks of the facts of the run: load it and decide again. */
export class FactsNotLoaded extends Error {
  /** Jobs whose outputs are wanted. */
  readonly outputsOf: readonly number[];
  constructor(outputsOf: readonly number[]) {
    super('facts are not loaded');
    this.outputsOf = outputsOf;
  }
}

/** One job of a slice. @throws JobsNotLoaded */
export function jobOf(slice: RunSlice, index: number): JobRecord {
  const job = slice.jobs.get(index);
  if (job === undefined) throw new JobsNotLoaded([index]);
  return job;
}

/** @throws JobsNotLoaded naming all of these jobs that the slice lacks, so that one load is enough. */
export function assertLoaded(slice: RunSlice, indexes: readonly number[]): void {
  const missing = indexes.filter((index) => !slice.jobs.has(index));
  if (missing.length > 0) throw new JobsNotLoaded(missing);
}

/** Whether what a job waits for, its cells or the run that it made, is being cancelled. */
export function isStopping(job: JobRecord): boolean {
  return job.state === 'WAITING' && 'sinceMs' in job.wait && job.wait.stopping !== undefined;
}

/** The attempt in hand, if there is one. */
export function liveOf(job: JobRecord): LiveAttempt | undefined {
  return 'live' in job ? job.live : undefined;
}

/** Why a job is being cancelled; undefined when it is not. */
export function cancelReasonOf(job: JobRecord): string | undefined {
  if (job.state === 'WAITING') return 'sinceMs' in job.wait ? job.wait.stopping : undefined;
  const stop = liveOf(job)?.stop;
  return stop?.cause === 'CANCEL' ? stop.reason : undefined;
}

/** Whether a finished job lets its dependants run on success. */
export function concludesWell(job: JobRecord): boolean {
  return job.state === 'SUCCEEDED' || (job.state === 'FAILED' && job.failureAllowed === true);
}
