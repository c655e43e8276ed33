// Owns the refusals that keep the database from being used. Their messages say what happened and what to do;
// they never contain a password.

/** Why the database cannot be used, for programs; the message is for people. */
export type DatabaseStartReason =
  | 'PLATFORM_NOT_SUPPORTED'
  | 'DATA_DIRECTORY_IN_USE'
  | 'DATA_DIRECTORY_DAMAGED'
  | 'DATA_DIRECTORY_OTHER_VERSION'
  | 'POSTGRES_DID_NOT_START'
  | 'POSTGRES_DID_NOT_STOP'
  | 'DATABASE_UNREACHABLE'
  | 'DATABASE_FORBIDS'
  | 'DATABASE_TOO_OLD'
  | 'DATABASE_TOO_NEW'
  | 'MIGRATION_CHANGED'
  | 'MIGRATION_FAILED'
  | 'SCHEMA_NAME_INVALID';

/** The database could not be started, reached or migrated. */
export class DatabaseStartError extends Error {
  readonly reason: DatabaseStartReason;

  constructor(reason: DatabaseStartReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DatabaseStartError';
    this.reason = reason;
  }
}
