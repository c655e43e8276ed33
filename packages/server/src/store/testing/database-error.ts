// Makes errors as the server sends them.
import { DatabaseError } from 'pg';

/** @param code A SQLSTATE. */
export function databaseError(code: string): DatabaseError {
  return Object.assign(new DatabaseError('as asked for', 0, 'error'), { code, severity: 'ERROR' });
}
