// Tells an outage of the database, after which the same work may be tried again, from work that fails for its own reason.
import { DatabaseError } from 'pg';
import { isConnectionLost } from './lane.ts';

// Read-only after a failover, too many connections, out of memory or disk, starting up or shutting down.
const TROUBLE = /^(25006|53...|57P..|08...)$/;
// What pg says without a code when its connection is gone or silent.
const GONE =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|Query read timeout|timeout ex)/;

/** Whether the database was away, or unable, rather than the statement wrong. */
export function isOutage(error: unknown): boolean {
  if (error instanceof DatabaseError) return isConnectionLost(error) || TROUBLE.test(error.code ?? '');
  if (!(error instanceof Error)) return false;
  return GONE.test(error.message) || ('code' in error && ('syscall' in error || error instanceof AggregateError));
}
