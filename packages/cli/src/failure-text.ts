// Owns how the failure of a job or an attempt is told to people: its class, as everything that turns on it names it, and why.
import { type Failure, FailureClass, type Job } from '@conveyor/client';
import { enumName, printable } from './text.ts';

/** The class of a failure and why, such as `WORKLOAD: exit code 7`; empty without one. */
export function failureText(failure: Failure | undefined): string {
  if (failure === undefined) return '';
  const { message, exitCode } = failure;
  const failureClass =
    failure.class === FailureClass.UNSPECIFIED ? '' : `${enumName(FailureClass, failure.class).toUpperCase()}: `;
  // Many a driver says nothing else.
  const isTold = exitCode === undefined || message.endsWith(`exit code ${exitCode}`);
  return `${failureClass}${printable(message)}${isTold ? '' : ` (exit code ${exitCode})`}`;
}

/** A failure as the end of a sentence; empty without one. */
export function because(failure: Failure | undefined): string {
  return failure === undefined ? '' : `: ${failureText(failure)}`;
}

/** Why a job failed, and whether it was allowed to; empty when it did not. */
export function jobFailureText({ failure, failureAllowed }: Pick<Job, 'failure' | 'failureAllowed'>): string {
  return failure === undefined ? '' : `${failureText(failure)}${failureAllowed ? ', which is allowed' : ''}`;
}
