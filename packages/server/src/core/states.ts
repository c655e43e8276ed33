// The states of runs, jobs and attempts, and which of them are final. Final states never change.

export type RunState = 'PENDING' | 'RUNNING' | 'CANCELLING' | 'SUCCEEDED' | 'FAILED' | 'CANCELLED';

export type JobState =
  | 'BLOCKED'
  | 'WAITING'
  | 'QUEUED'
  | 'OFFERED'
  | 'RUNNING'
  | 'CANCELLING'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'SKIPPED'
  | 'CANCELLED';

export type AttemptState =
  | 'OFFERED'
  | 'RUNNING'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'CANCELLED'
  | 'TIMED_OUT'
  | 'LOST'
  | 'REJECTED'
  | 'EXPIRED';

/** Whose fault a failure is; each class but INVALID has its own budget of retries. */
export type FailureClass = 'WORKLOAD' | 'DRIVER' | 'INFRASTRUCTURE' | 'TIMEOUT' | 'REJECTED' | 'INVALID';

/** Why a job is held back although its needs allow it. */
export type WaitReason = 'BACKOFF';

/** What is known of an attempt's log. */
export type LogState = 'OPEN' | 'SEALED' | 'TRUNCATED' | 'CORRUPT';

/** How hard an attempt is being stopped. */
export type CancelPhase = 'SOFT' | 'KILL';

export interface Failure {
  readonly class: FailureClass;
  /** For people, at most 4 KiB. */
  readonly message: string;
  readonly exitCode?: number;
}

export type FinishedRunState = 'SUCCEEDED' | 'FAILED' | 'CANCELLED';
export type FinishedJobState = 'SUCCEEDED' | 'FAILED' | 'SKIPPED' | 'CANCELLED';
export type EndedAttemptState = Exclude<AttemptState, 'OFFERED' | 'RUNNING'>;

export function isRunFinished(state: RunState): state is FinishedRunState {
  return state === 'SUCCEEDED' || state === 'FAILED' || state === 'CANCELLED';
}

export function isJobFinished(state: JobState): state is FinishedJobState {
  return state === 'SUCCEEDED' || state === 'FAILED' || state === 'SKIPPED' || state === 'CANCELLED';
}

export function isAttemptEnded(state: AttemptState): state is EndedAttemptState {
  return state !== 'OFFERED' && state !== 'RUNNING';
}
