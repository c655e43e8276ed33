// Tells an outage of the database, after which the same work may be tried again, from work that fails for its own reason.
import { DatabaseError } from 'pg';

/** There is no connection to a server that takes writes. */
export class DatabaseAway extends Error {}

const READ_ONLY = '25006';
// Read-only after a failover, too many connections, out of memory or disk, starting up or shutting down.
const TROUBLE = /^(25006|53...|57P..|08...)$/;
// A lock was not granted, or a statement not finished, within the time that its connection allows.
const TOO_SLOW = /^(55P03|57014)$/;
// What pg says without a code when its connection is gone or silent.
const GONE =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|Query read timeout|timeout ex)/;

/** Whether a failure leaves open if the statement took effect: the server did not answer, or it ended the session. */
export function isConnectionLost(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return true;
  return error.severity === 'FATAL' || error.severity === 'PANIC';
}

/** Whether the server, or the way to it, is silent: other connections most likely lead nowhere, too. */
export function isSilence(error: unknown): boolean {
  return error instanceof Error && error.message === 'Query read timeout';
}

/** Whether the next statement needs another connection: this one is gone, or ends at a server that takes no writes. */
export function isConnectionUseless(error: unknown): boolean {
  return isConnectionLost(error) || (error instanceof DatabaseError && error.code === READ_ONLY);
}

/** Whether the database was away, or unable, rather than the statement wrong. */
export function isOutage(error: unknown): boolean {
  if (error instanceof DatabaseError) return isConnectionLost(error) || TROUBLE.test(error.code ?? '');
  if (error instanceof DatabaseAway) return true;
  if (!(error instanceof Error)) return false;
  return GONE.test(error.message) || ('code' in error && ('syscall' in error || error instanceof AggregateError));
}

/** Whether a statement failed only because one before it in its transaction did. */
export function isAborted(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === '25P02';
}

/** Whether the database answers, but did not get to it in time. */
export function isTooSlow(error: unknown): boolean {
  return error instanceof DatabaseError && TOO_SLOW.test(error.code ?? '');
}
