// Owns what becomes of work: how what it returned or threw is a result in the words of the contract.
import { FinishOutcome } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { FailureClass } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { JobFailure, type JobFailureClass, type JobStopped } from './job-failure.ts';

/** How an attempt ended. */
export interface AttemptResult {
  readonly outcome: FinishOutcome;
  readonly failureClass: FailureClass;
  readonly message: string;
  readonly exitCode: number | undefined;
  readonly retryAfterMs: number | undefined;
}

export const succeeded: AttemptResult = {
  outcome: FinishOutcome.SUCCEEDED,
  failureClass: FailureClass.UNSPECIFIED,
  message: '',
  exitCode: undefined,
  retryAfterMs: undefined,
};

/** The result of work that threw `error`, `stop` being why it was to stop. */
export function failed(error: unknown, stop: JobStopped | undefined): AttemptResult {
  const failure = error instanceof JobFailure ? error : undefined;
  if (stop?.why === 'cancelled') {
    return {
      outcome: FinishOutcome.CANCELLED,
      failureClass: FailureClass.UNSPECIFIED,
      message: failure?.message ?? stop.message,
      exitCode: failure?.exitCode,
      retryAfterMs: undefined,
    };
  }
  return {
    outcome: FinishOutcome.FAILED,
    failureClass: failureClasses[failure?.class ?? 'DRIVER'],
    message: error instanceof Error ? error.message : String(error),
    exitCode: failure?.exitCode,
    retryAfterMs: failure?.retryAfterMs,
  };
}

const failureClasses: Record<JobFailureClass, FailureClass> = {
  WORKLOAD: FailureClass.WORKLOAD,
  DRIVER: FailureClass.DRIVER,
  INVALID: FailureClass.INVALID,
};
