// Owns the two errors between a driver's work and the runtime: JobFailure goes up, JobStopped comes down.

/** Whose fault a failure is: the user's command, the driver, or a job that cannot be done as asked and is never retried. */
export type JobFailureClass = 'WORKLOAD' | 'DRIVER' | 'INVALID';

/** What a JobFailure says. */
export interface JobFailureDetails {
  /** Whose fault it is; each class has its own budget of retries. Default: WORKLOAD. */
  readonly class?: JobFailureClass;
  /** For people to read; cut at 4 KiB. */
  readonly message: string;
  /** The workload's exit code. Default: none. */
  readonly exitCode?: number;
  /** A retry comes no sooner, at most 24 h. Default: the job's own policy. */
  readonly retryAfterMs?: number;
  /** What was thrown below. */
  readonly cause?: unknown;
}

/** Thrown by a driver's work to say how it failed. Whatever else it throws counts as a failure of class DRIVER. */
export class JobFailure extends Error {
  override readonly name = 'JobFailure';
  readonly class: JobFailureClass;
  readonly exitCode: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor({ class: failureClass = 'WORKLOAD', message, exitCode, retryAfterMs, cause }: JobFailureDetails) {
    super(message, cause === undefined ? undefined : { cause });
    this.class = failureClass;
    this.exitCode = exitCode;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Why work is to stop:
 * - `cancelled`: someone cancelled it, or its run timeout ran out;
 * - `revoked`: it is no longer this instance's; nothing that it does counts any more;
 * - `lease-in-doubt`: the control plane did not answer for a whole lease, and the job must never run twice;
 * - `driver-stopping`: this process stops at once; the job goes to another instance.
 */
export type StopCause = 'cancelled' | 'revoked' | 'lease-in-doubt' | 'driver-stopping';

/** The reason of the AbortSignals of a job. */
export class JobStopped extends Error {
  override readonly name = 'JobStopped';
  readonly why: StopCause;

  constructor(why: StopCause, message: string) {
    super(message);
    this.why = why;
  }
}
