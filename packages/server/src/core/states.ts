// The states of runs, jobs and attempts, and the graphs that they move on. Final states never change.

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
export type WaitReason =
  | 'BACKOFF'
  | 'DELAY'
  | 'PAUSED'
  | 'HELD'
  | 'APPROVAL'
  | 'MATRIX'
  | 'CHILD_RUN'
  | 'CONCURRENCY'
  | 'RATE';

/** What is known of an attempt's log. */
export type LogState = 'OPEN' | 'SEALED' | 'TRUNCATED' | 'CORRUPT';

/** What a reader is told of an attempt's log. EXPIRED: it had bytes, and they were removed by their age. */
export type ShownLogState = LogState | 'EXPIRED';

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

type Graph<State extends string> = Readonly<Record<State, readonly State[]>>;

/** Where a run may go from each state. */
export const RUN_GRAPH: Graph<RunState> = {
  PENDING: ['RUNNING', 'CANCELLING'],
  RUNNING: ['CANCELLING', 'SUCCEEDED', 'FAILED'],
  CANCELLING: ['CANCELLED'],
  SUCCEEDED: [],
  FAILED: [],
  CANCELLED: [],
};

/** Where a job may go from each state. */
export const JOB_GRAPH: Graph<JobState> = {
  BLOCKED: ['WAITING', 'QUEUED', 'FAILED', 'SKIPPED', 'CANCELLED'],
  WAITING: ['QUEUED', 'SUCCEEDED', 'FAILED', 'SKIPPED', 'CANCELLED'],
  QUEUED: ['WAITING', 'OFFERED', 'FAILED', 'CANCELLED'],
  OFFERED: ['RUNNING', 'QUEUED', 'WAITING', 'CANCELLING'],
  RUNNING: ['SUCCEEDED', 'FAILED', 'QUEUED', 'WAITING', 'CANCELLING'],
  CANCELLING: ['CANCELLED', 'SUCCEEDED', 'FAILED'],
  SUCCEEDED: [],
  FAILED: [],
  SKIPPED: [],
  CANCELLED: [],
};

/** Where an attempt may go from each state. */
export const ATTEMPT_GRAPH: Graph<AttemptState> = {
  OFFERED: ['RUNNING', 'REJECTED', 'EXPIRED', 'CANCELLED', 'LOST'],
  RUNNING: ['SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT', 'LOST'],
  SUCCEEDED: [],
  FAILED: [],
  CANCELLED: [],
  TIMED_OUT: [],
  LOST: [],
  REJECTED: [],
  EXPIRED: [],
};

/** Throws unless the graph leads from one state to the other: that would be a broken invariant. */
export function assertMove<State extends string>(what: string, graph: Graph<State>, from: State, to: State): void {
  if (!graph[from].includes(to)) throw new Error(`${what} cannot go from ${from} to ${to}`);
}

export function isRunFinished(state: RunState): state is FinishedRunState {
  return state === 'SUCCEEDED' || state === 'FAILED' || state === 'CANCELLED';
}

export function isJobFinished(state: JobState): state is FinishedJobState {
  return state === 'SUCCEEDED' || state === 'FAILED' || state === 'SKIPPED' || state === 'CANCELLED';
}

export function isAttemptEnded(state: AttemptState): state is EndedAttemptState {
  return state !== 'OFFERED' && state !== 'RUNNING';
}
