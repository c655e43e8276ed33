// Values of a run: what a change of one comes to. Pure, like every decision: what is stored was read under the run's lock.
import { LIMITS } from './limits.ts';
import type { Refusal } from './refusal.ts';
import { isRunFinished, type RunState } from './states.ts';

/** What is stored of the values of a run, and of the key that is to change. */
export interface StoredValues {
  readonly state: RunState;
  /** The newest version of any value that the run has or had; 0: it never had one. */
  readonly version: number;
  /** How many keys it has. */
  readonly keys: number;
  /** Of its keys and values as JSON. */
  readonly bytes: number;
  /** Undefined: there is no value of this key. */
  readonly current: { readonly version: number; readonly bytes: number } | undefined;
}

/** Only if the key has this version; 0: only if there is none; undefined: whatever it has. */
export type ExpectedVersion = number | undefined;

/** Decides on setting a value. @param bytes Of key and value. @returns Its version. */
export function decideSetting(
  key: string,
  stored: StoredValues,
  bytes: number,
  expected: ExpectedVersion,
): number | Refusal {
  const refusal = finished(stored) ?? mismatch(key, stored, expected);
  if (refusal !== undefined) return refusal;
  const { current } = stored;
  if (current === undefined && stored.keys >= LIMITS.valueKeys) {
    const message = `the run has ${stored.keys} values, as many as it may have: delete one, or keep several under one key`;
    return limitReached('run_value_keys', LIMITS.valueKeys, message);
  }
  const after = stored.bytes - (current?.bytes ?? 0) + bytes;
  if (after > LIMITS.valuesBytes) {
    const message = `the values of the run would be ${after} bytes with their keys as JSON, at most ${LIMITS.valuesBytes} are allowed`;
    return limitReached('run_value_bytes', LIMITS.valuesBytes, message);
  }
  return stored.version + 1;
}

/** Decides on deleting a value. @returns Why not; undefined: nothing is against it, also when there is none. */
export function decideDeletion(key: string, stored: StoredValues, expected: ExpectedVersion): Refusal | undefined {
  return finished(stored) ?? mismatch(key, stored, expected);
}

function finished({ state }: StoredValues): Refusal | undefined {
  if (!isRunFinished(state)) return undefined;
  return {
    refused: 'ALREADY_FINISHED',
    message: `the run has already finished: ${state}. Its values stay as they are`,
  };
}

function mismatch(key: string, { current }: StoredValues, expected: ExpectedVersion): Refusal | undefined {
  const version = current?.version ?? 0;
  if (expected === undefined || expected === version) return undefined;
  const found = current === undefined ? 'there is none' : `it has version ${version}`;
  const asked = expected === 0 ? 'it was not to be there' : `version ${expected} was expected`;
  return {
    refused: 'VERSION_MISMATCH',
    message: `value ${key}: ${asked}, and ${found}: read it, and try again with what it is now`,
    metadata: { current_version: String(version) },
  };
}

function limitReached(limit: string, max: number, message: string): Refusal {
  return { refused: 'LIMIT_REACHED', message, metadata: { limit, max: String(max) } };
}
