// Maps what went wrong to what a caller sees: a code, an ErrorInfo with the reason, and for wrong fields a BadRequest with the
// places in their texts. This is the only place that knows both. Defects are told by an id alone, which the log also holds.
import { randomUUID } from 'node:crypto';
import { Code, ConnectError } from '@connectrpc/connect';
import { TextPlacesSchema } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import { BadRequestSchema, ErrorInfoSchema } from '@conveyor/protocol/google/rpc/error_details_pb.js';
import { howManyMore } from '../core/check-fields.ts';
import { RefusedError, type FieldViolation, type Refusal, type RefusalReason } from '../core/refusal.ts';

/** The `domain` of every ErrorInfo. */
export const ERROR_DOMAIN = 'conveyor.dev';

/** Reasons of errors that only api knows. */
type ApiReason = 'INTERNAL' | 'UNIMPLEMENTED' | 'DEADLINE_EXCEEDED' | 'CALL_CANCELLED';

const CODES: Readonly<Record<RefusalReason, Code>> = {
  INVALID_FIELD: Code.InvalidArgument,
  INVALID_CURSOR: Code.InvalidArgument,
  SPEC_MISMATCH: Code.InvalidArgument,
  PROTOCOL_VIOLATION: Code.InvalidArgument,
  TOKEN_INVALID: Code.Unauthenticated,
  TOKEN_FORBIDS: Code.PermissionDenied,
  PIPELINE_NOT_FOUND: Code.NotFound,
  RUN_NOT_FOUND: Code.NotFound,
  JOB_NOT_FOUND: Code.NotFound,
  ATTEMPT_NOT_FOUND: Code.NotFound,
  DRIVER_NOT_FOUND: Code.NotFound,
  SCHEDULE_NOT_FOUND: Code.NotFound,
  REQUEST_ID_REUSED: Code.AlreadyExists,
  ALREADY_FINISHED: Code.FailedPrecondition,
  NOT_FINISHED: Code.FailedPrecondition,
  CANCEL_REQUESTED: Code.FailedPrecondition,
  REPLICA_TOO_OLD: Code.FailedPrecondition,
  NOT_A_GATE: Code.FailedPrecondition,
  NOT_WAITING: Code.FailedPrecondition,
  NOT_AN_APPROVER: Code.PermissionDenied,
  REVISION_MISMATCH: Code.Aborted,
  VALUE_NOT_FOUND: Code.NotFound,
  VERSION_MISMATCH: Code.Aborted,
  LIMIT_REACHED: Code.ResourceExhausted,
  SESSION_SUPERSEDED: Code.Aborted,
  SERVER_STOPPING: Code.Unavailable,
  DATABASE_UNAVAILABLE: Code.Unavailable,
};

type Details = NonNullable<ConstructorParameters<typeof ConnectError>[3]>;

/** Errors travel in trailers, of which many clients take no more than 8 KiB in all. */
const MAX_MESSAGE = 512;
const MAX_VIOLATION_BYTES = 3_000;

/** The code that a call refused for this reason ends with; the same number as in gRPC. */
export function codeOf(reason: RefusalReason): Code {
  return CODES[reason];
}

export function refusalError({ refused, message, metadata, violations }: Refusal): ConnectError {
  return callError(CODES[refused], refused, message, { metadata, violations });
}

/** The method exists in the contract but not here. */
export function unimplementedError(message: string): ConnectError {
  return callError(Code.Unimplemented, 'UNIMPLEMENTED', message);
}

/** The caller went away. */
export function cancelledError(): ConnectError {
  return callError(Code.Canceled, 'CALL_CANCELLED', 'the caller went away');
}

/**
 * What a caller sees of anything that was thrown.
 * @param reportDefect Tells the log about a defect under the id that the caller gets.
 */
export function toCallError(reason: unknown, reportDefect: (error: unknown, id: string) => void): ConnectError {
  if (reason instanceof RefusedError) return refusalError(reason.refusal);
  if (reason instanceof ConnectError) return explained(reason);
  if (reason instanceof Error && reason.name === 'AbortError') return cancelledError();
  const id = randomUUID();
  reportDefect(reason, id);
  return callError(Code.Internal, 'INTERNAL', `a defect of the server; its log holds it as ${id}`, {
    metadata: { id },
  });
}

/** Errors of the transport library itself carry no reason. Any other than these means that the connection is gone. */
const LIBRARY_REASONS: ReadonlyMap<Code, RefusalReason | ApiReason> = new Map([
  [Code.InvalidArgument, 'INVALID_FIELD'],
  [Code.ResourceExhausted, 'LIMIT_REACHED'],
  [Code.Unimplemented, 'UNIMPLEMENTED'],
  [Code.DeadlineExceeded, 'DEADLINE_EXCEEDED'],
]);

function explained(error: ConnectError): ConnectError {
  if (error.details.length > 0) return error;
  const reason = LIBRARY_REASONS.get(error.code);
  return reason === undefined ? cancelledError() : callError(error.code, reason, error.rawMessage);
}

function callError(
  code: Code,
  reason: RefusalReason | ApiReason,
  message: string,
  {
    metadata = {},
    violations = [],
  }: {
    readonly metadata?: Readonly<Record<string, string>> | undefined;
    readonly violations?: readonly FieldViolation[] | undefined;
  } = {},
): ConnectError {
  const text = message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE - 1)}…` : message;
  const info = { desc: ErrorInfoSchema, value: { reason, domain: ERROR_DOMAIN, metadata } };
  return new ConnectError(text.toWellFormed(), code, undefined, [info, ...fieldDetails(fitting(violations))]);
}

function fieldDetails(violations: readonly FieldViolation[]): Details {
  if (violations.length === 0) return [];
  const fieldViolations = violations.map(({ field, description }) => ({ field, description }));
  const places = violations.flatMap(({ offset }, violation) => (offset === undefined ? [] : [{ violation, offset }]));
  return [
    { desc: BadRequestSchema, value: { fieldViolations } },
    ...(places.length > 0 ? [{ desc: TextPlacesSchema, value: { places } }] : []),
  ];
}

/** As many violations as fit; the last one says how many do not. */
function fitting(violations: readonly FieldViolation[]): FieldViolation[] {
  const taken: FieldViolation[] = [];
  let bytes = 0;
  for (const violation of violations) {
    const { field, description } = violation;
    bytes += Buffer.byteLength(field) + Buffer.byteLength(description) + (violation.offset === undefined ? 8 : 16);
    if (bytes > MAX_VIOLATION_BYTES) {
      const left = violations.length - taken.length;
      const count = howManyMore(violations.length, taken.length);
      return [...taken, { field: '', description: `${count} more field${left === 1 ? ' is' : 's are'} wrong` }];
    }
    taken.push({ ...violation, field: field.toWellFormed(), description: description.toWellFormed() });
  }
  return taken;
}
