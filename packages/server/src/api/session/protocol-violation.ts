// What ends a session because it cannot go on.
import { type FieldViolation, RefusedError } from '../../core/refusal.ts';

/** @param violations The wrong fields of a Hello. */
export function protocolViolation(message: string, violations?: readonly FieldViolation[]): RefusedError {
  return new RefusedError({ refused: 'PROTOCOL_VIOLATION', message, ...(violations !== undefined && { violations }) });
}
