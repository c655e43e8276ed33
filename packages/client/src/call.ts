// Owns what callers can say of a call, and the one thing that every answer must hold: its resource.
import { ConveyorError } from './error.ts';

/** What a caller can say of one call. */
export interface CallOptions {
  /** Ends the call by throwing the signal's reason. */
  readonly signal?: AbortSignal;
  /** The call's deadline over all its tries, in milliseconds; 0 is none. Default: the client's. */
  readonly timeoutMs?: number;
}

/** What a caller can say of a read that can also show the past. */
export interface PointOptions {
  /** As it was right after the event of the run with this `seq`; of a `seq` that it does not have: INVALID_FIELD. Default: as it is now. */
  readonly atSeq?: bigint | undefined;
}

/** The resource of an answer. */
export function required<T>(resource: T | undefined): T {
  if (resource === undefined) throw new ConveyorError('internal', 'the server answered without the resource');
  return resource;
}
