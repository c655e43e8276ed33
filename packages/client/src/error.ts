// Owns the one error that every call of this package throws. Whatever a transport throws becomes a ConveyorError; what
// the server said of it (reason, metadata, wrong fields) is decoded, never parsed out of the message.
import { Code, ConnectError } from '@connectrpc/connect';
import { type ErrorReason as ErrorReasonEnum, TextPlacesSchema } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import { BadRequestSchema, ErrorInfoSchema } from '@conveyor/protocol/google/rpc/error_details_pb.js';

/** Why the server refused a call: the contract's `ErrorReason` without its prefix. */
export type ErrorReason = Exclude<keyof typeof ErrorReasonEnum, 'UNSPECIFIED'>;

/** A gRPC status code by its name in lower case. */
export type ErrorCode =
  | 'cancelled'
  | 'unknown'
  | 'invalid_argument'
  | 'deadline_exceeded'
  | 'not_found'
  | 'already_exists'
  | 'permission_denied'
  | 'resource_exhausted'
  | 'failed_precondition'
  | 'aborted'
  | 'out_of_range'
  | 'unimplemented'
  | 'internal'
  | 'unavailable'
  | 'data_loss'
  | 'unauthenticated';

/** One wrong field of a request. */
export interface FieldViolation {
  /** Path of the field in the request, such as `definition.jobs[2].needs[0]`. */
  readonly field: string;
  /** What is wrong with it, for people to read. */
  readonly description: string;
  /**
   * Where in the text of the field, such as a condition, in UTF-16 units; the description begins with its column. Undefined: all of the
   * field.
   */
  readonly offset?: number | undefined;
}

/** What a ConveyorError knows beside its code and message. */
export interface ConveyorErrorDetails {
  /** A reason of the contract; a newer server may send one that this version does not know. */
  readonly reason?: ErrorReason | (string & {}) | undefined;
  /** Facts that belong to the reason. Default: none. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Wrong fields. Default: none. */
  readonly fieldViolations?: readonly FieldViolation[];
  /** What was thrown below. */
  readonly cause?: unknown;
}

/** A call that failed: refused by the server, or broken on the way to it. */
export class ConveyorError extends Error {
  override readonly name = 'ConveyorError';
  /** The gRPC status code. */
  readonly code: ErrorCode;
  /** Why the server refused; undefined when the server did not say, so when the call broke on its way. */
  readonly reason: ErrorReason | (string & {}) | undefined;
  /** Facts that belong to the reason. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Wrong fields of the request, with code `invalid_argument`. */
  readonly fieldViolations: readonly FieldViolation[];

  constructor(code: ErrorCode, message: string, details: ConveyorErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = details.reason;
    this.metadata = details.metadata ?? {};
    this.fieldViolations = details.fieldViolations ?? [];
  }

  /**
   * True when the same call may succeed later: the server is not there, is stopping, or the connection broke. Repeating a
   * call that changes something is safe with the same `requestId`.
   */
  get retryable(): boolean {
    return isTransient(this.code, this.reason);
  }
}

/** Turns whatever a transport threw into a ConveyorError; one that already is passes unchanged. */
export function toConveyorError(thrown: unknown): ConveyorError {
  if (thrown instanceof ConveyorError) return thrown;
  const error = ConnectError.from(thrown);
  const [info] = error.findDetails(ErrorInfoSchema);
  const places = error.findDetails(TextPlacesSchema).flatMap((found) => found.places);
  const offsets = new Map(places.map(({ violation, offset }) => [violation, offset]));
  const fieldViolations = error
    .findDetails(BadRequestSchema)
    .flatMap((request) => request.fieldViolations)
    .map(({ field, description }, index) => {
      const offset = offsets.get(index);
      return { field, description, ...(offset !== undefined && { offset }) };
    });
  return new ConveyorError(wasRefused(error) ? 'unavailable' : codeNames[error.code], error.rawMessage, {
    reason: info?.reason,
    metadata: info?.metadata ?? {},
    fieldViolations,
    cause: error,
  });
}

/** A stream that a server refuses as it goes away was not looked at (RFC 9113, 8.7); connect-node takes that for an internal error. */
function wasRefused({ code, rawMessage }: ConnectError): boolean {
  return code === Code.Internal && rawMessage === 'Stream closed with error code NGHTTP2_REFUSED_STREAM';
}

function isTransient(code: ErrorCode, reason: string | undefined): boolean {
  switch (code) {
    case 'unavailable':
    case 'cancelled':
      return true;
    case 'aborted':
      return reason !== 'REVISION_MISMATCH';
    case 'internal':
    case 'unknown':
      // A server's own defect names a reason; without one the connection broke in the middle of the call.
      return reason === undefined;
    case 'deadline_exceeded':
    case 'resource_exhausted':
    case 'invalid_argument':
    case 'not_found':
    case 'already_exists':
    case 'permission_denied':
    case 'failed_precondition':
    case 'out_of_range':
    case 'unimplemented':
    case 'data_loss':
    case 'unauthenticated':
      return false;
  }
}

const codeNames: Record<Code, ErrorCode> = {
  [Code.Canceled]: 'cancelled',
  [Code.Unknown]: 'unknown',
  [Code.InvalidArgument]: 'invalid_argument',
  [Code.DeadlineExceeded]: 'deadline_exceeded',
  [Code.NotFound]: 'not_found',
  [Code.AlreadyExists]: 'already_exists',
  [Code.PermissionDenied]: 'permission_denied',
  [Code.ResourceExhausted]: 'resource_exhausted',
  [Code.FailedPrecondition]: 'failed_precondition',
  [Code.Aborted]: 'aborted',
  [Code.OutOfRange]: 'out_of_range',
  [Code.Unimplemented]: 'unimplemented',
  [Code.Internal]: 'internal',
  [Code.Unavailable]: 'unavailable',
  [Code.DataLoss]: 'data_loss',
  [Code.Unauthenticated]: 'unauthenticated',
};
