// Why a command was refused. Expected refusals are values; broken invariants throw. api maps reasons to gRPC codes.

export type RefusalReason =
  | 'INVALID_FIELD'
  | 'INVALID_CURSOR'
  | 'SPEC_MISMATCH'
  | 'PROTOCOL_VIOLATION'
  | 'TOKEN_INVALID'
  | 'TOKEN_FORBIDS'
  | 'PIPELINE_NOT_FOUND'
  | 'RUN_NOT_FOUND'
  | 'JOB_NOT_FOUND'
  | 'ATTEMPT_NOT_FOUND'
  | 'DRIVER_NOT_FOUND'
  | 'SCHEDULE_NOT_FOUND'
  | 'REQUEST_ID_REUSED'
  | 'ALREADY_FINISHED'
  | 'NOT_FINISHED'
  | 'CANCEL_REQUESTED'
  | 'REPLICA_TOO_OLD'
  | 'NOT_A_GATE'
  | 'NOT_WAITING'
  | 'NOT_AN_APPROVER'
  | 'REVISION_MISMATCH'
  | 'VALUE_NOT_FOUND'
  | 'VERSION_MISMATCH'
  | 'LIMIT_REACHED'
  | 'SESSION_SUPERSEDED'
  | 'SERVER_STOPPING'
  | 'DATABASE_UNAVAILABLE';

/** One wrong field: its path, such as `definition.jobs[2].needs[0]`, and what is wrong and how to mend it. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
  /** Where in the text of the field it is, in UTF-16 units; the description begins with its column. Undefined: all of the field. */
  readonly offset?: number;
}

/** Something that may be wrong, and keeps nothing from being done. */
export interface Warning {
  /** The path of the field that it is about; empty when it is about all of it. */
  readonly field: string;
  /** For people. */
  readonly message: string;
}

export interface Refusal {
  readonly refused: RefusalReason;
  /** For people: what was wrong, with the value, and what to do. */
  readonly message: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly FieldViolation[];
}

/** A refusal thrown across rooms where a return value would have to pass through streams or several layers. */
export class RefusedError extends Error {
  readonly refusal: Refusal;
  constructor(refusal: Refusal) {
    super(refusal.message);
    this.name = 'RefusedError';
    this.refusal = refusal;
  }
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'refused' in value;
}

/** Refuses what the database could not do now; the same may succeed later. */
export function databaseUnavailable(message: string): RefusedError {
  return new RefusedError({ refused: 'DATABASE_UNAVAILABLE', message });
}

/** Why work that the database did not finish in the time that its connection allows failed. */
export const TOO_SLOW = 'the database did not get to it in time: try again later';

/** Refuses what would have to wait behind too much already. */
export function overloaded(waiting: string): RefusedError {
  return databaseUnavailable(`${waiting} wait for the database already: try again later`);
}

/** Refuses a request for its wrong fields. */
export function invalidFields(violations: readonly FieldViolation[]): Refusal {
  const [first] = violations;
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : '';
  return {
    refused: 'INVALID_FIELD',
    message: first === undefined ? 'invalid request' : `${first.field}: ${first.description}${more}`,
    violations,
  };
}

/** A refusal of fields of a thing, for a request that carries them elsewhere. */
export function withFields(refusal: Refusal, rename: (field: string) => string): Refusal {
  const { violations, message } = refusal;
  const [first] = violations ?? [];
  if (violations === undefined || first === undefined) return refusal;
  return {
    ...refusal,
    message: message.startsWith(first.field) ? rename(first.field) + message.slice(first.field.length) : message,
    violations: violations.map((violation) => ({ ...violation, field: rename(violation.field) })),
  };
}
