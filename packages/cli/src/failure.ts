// Owns how a command fails: what happened, what to do next, and the exit code. A stack is never shown.
import { ConveyorError, type ErrorReason } from '@conveyor/client';
import { CommanderError } from 'commander';

/** What a command's exit code says. */
export const exitCodes = { succeeded: 0, failed: 1, usage: 2, cancelled: 3, interrupted: 130 } as const;

/** The command was called with something that cannot be right. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  /** What to do about it. */
  readonly next: string | undefined;

  constructor(message: string, next?: string) {
    super(message);
    this.next = next;
  }
}

/** A failure, as it is shown. */
export interface Failure {
  readonly exitCode: number;
  /** What happened; empty when it was said already. */
  readonly message: string;
  /** More about it, one a line. */
  readonly details: readonly string[];
  /** What to do next. */
  readonly next: string | undefined;
}

/** Describes whatever a command threw. `address` is where it looked for the server. */
export function describeFailure(thrown: unknown, address: string): Failure {
  if (thrown instanceof UsageError) return failure(exitCodes.usage, thrown.message, thrown.next);
  if (thrown instanceof CommanderError)
    return failure(thrown.exitCode === 0 ? exitCodes.succeeded : exitCodes.usage, '');
  if (thrown instanceof ConveyorError) {
    const exitCode = thrown.code === 'invalid_argument' ? exitCodes.usage : exitCodes.failed;
    const next = nextStep(thrown, address);
    const message = isUnreachable(thrown)
      ? `cannot reach the server at ${address}: ${thrown.message}`
      : withoutCalls(thrown.message, next);
    const violations = thrown.fieldViolations.map(({ field, description }) => `${field}: ${description}`);
    const details = violations.filter((violation) => violation !== message);
    return { exitCode, message, details, next };
  }
  return failure(exitCodes.failed, thrown instanceof Error ? thrown.message : String(thrown));
}

function failure(exitCode: number, message: string, next?: string): Failure {
  return { exitCode, message, details: [], next };
}

/** An answer of the server names its reason; without one, the call broke on its way. */
function isUnreachable({ reason, retryable }: ConveyorError): boolean {
  return reason === undefined && retryable;
}

/** What the server says, without the call that programs find out more by: the command for that is told next. */
function withoutCalls(message: string, next: string | undefined): string {
  return next === undefined ? message : message.replace(/: [^:]*\blist [^:;]* with List\w+/, '');
}

function nextStep(error: ConveyorError, address: string): string | undefined {
  if (error.reason !== undefined) return fieldStep(error) ?? revisionStep(error) ?? nextSteps.get(error.reason);
  if (!isUnreachable(error)) return undefined;
  return isOtherDoor(error, address)
    ? `if that is the port for HTTP, write http://${address}; gRPC has one of its own, by default 7070`
    : 'start a server with `conveyor up`, or set CONVEYOR_ADDRESS to where one listens and how (see `conveyor help`)';
}

/** Somebody listens there, and speaks no HTTP/2. */
function isOtherDoor({ message }: ConveyorError, address: string): boolean {
  return !address.includes('://') && /\bprotocol error\b/i.test(message);
}

/** For what was given beside a file, which has no line to point to. */
function fieldStep({ reason, fieldViolations: [first] }: ConveyorError): string | undefined {
  if (reason !== 'INVALID_FIELD' || first === undefined) return undefined;
  return fieldSteps.find(([begin]) => first.field.startsWith(begin))?.[1];
}

const fieldSteps: readonly (readonly [begin: string, next: string])[] = [
  ['run.params', 'give params with -p KEY=VALUE, as `paramsSchema` has them'],
  ['run.labels', 'give labels with -l KEY=VALUE'],
  ['from_jobs', "list a run's jobs with `conveyor get jobs RUN`"],
];

function revisionStep({ reason, metadata }: ConveyorError): string | undefined {
  const isRevision = reason === 'PIPELINE_NOT_FOUND' && metadata['newest_revision'] !== undefined;
  return isRevision ? 'name one that it has, or none for the newest' : undefined;
}

const nextSteps: ReadonlyMap<string, string> = new Map<ErrorReason, string>([
  ['TOKEN_INVALID', "set CONVEYOR_DATA_DIR to the server's data directory, or CONVEYOR_TOKEN to an operator token"],
  ['TOKEN_FORBIDS', 'use an operator token: a driver token opens driver sessions and nothing else'],
  ['PIPELINE_NOT_FOUND', 'list pipelines with `conveyor get pipelines`, or store one with `conveyor apply -f FILE`'],
  ['RUN_NOT_FOUND', 'list runs with `conveyor get runs`'],
  ['JOB_NOT_FOUND', "list a run's jobs with `conveyor get jobs RUN`"],
  ['ATTEMPT_NOT_FOUND', "list a job's attempts with `conveyor get attempts RUN/JOB`"],
  ['DRIVER_NOT_FOUND', 'list drivers with `conveyor get drivers --all`'],
  [
    'SCHEDULE_NOT_FOUND',
    'list schedules with `conveyor schedule list`, or make one with `conveyor schedule apply -f FILE`',
  ],
  ['REVISION_MISMATCH', 'see what it is now with `conveyor diff -f FILE`, and apply with the revision that it is at'],
  ['VALUE_NOT_FOUND', 'list the values of a run with `conveyor value list RUN`'],
  ['VERSION_MISMATCH', 'read it with `conveyor value get RUN KEY`, and try again with what it is now'],
  ['NOT_FINISHED', 'wait for it with `conveyor watch RUN`, or stop it with `conveyor cancel RUN`'],
  ['ALREADY_FINISHED', 'see how it ended with `conveyor describe job RUN/JOB` or `conveyor describe run RUN`'],
  ['NOT_A_GATE', 'list the gates that wait with `conveyor get jobs RUN --state waiting`'],
  ['NOT_WAITING', 'see what it waits for with `conveyor describe job RUN/JOB`'],
  ['NOT_AN_APPROVER', 'let one of them answer, or name the groups of who does with --group'],
  ['REPLICA_TOO_OLD', 'upgrade or stop that replica, then try again'],
  ['SERVER_STOPPING', 'try again in a moment'],
  ['DATABASE_UNAVAILABLE', 'try again in a moment'],
]);
