// Owns what work reads and changes of the values of its run: one change of an attempt at a time, so that the one that may have to be
// said again is the last one, whose repetition has no second effect.
import { type JsonValue, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import type { Start, ValueAnswer } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { ErrorReason } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import type { Attempt } from './attempt.ts';
import type { Frame } from './frames.ts';
import { assertKey, assertStorable } from './job-json.ts';
import { deleteValueFrame, getValueFrame, setValueFrame } from './value-frames.ts';

/** A value of the run, as it is now. */
export interface RunValue {
  readonly value: JsonValue;
  /** From 1; no two sets of a run have the same. */
  readonly version: number;
}

/** On what a change depends. */
export interface ValueOptions {
  /** Change it only if it has this version; 0, for `set`: only if there is none. Default: whatever it has. */
  readonly expectedVersion?: number;
}

/**
 * The values of the run, shared by its jobs and its platform. Each call waits for the control plane, so while that is away it blocks;
 * it rejects with a JobStopped when the work is to end at once, and with a RangeError for a key that is not 1 to 128 characters of
 * `A-Z a-z 0-9 . _ -`, a value over 64 KiB as JSON, or text with NUL.
 */
export interface RunValues {
  /** Reads a value; undefined when there is none. */
  get(key: string): Promise<RunValue | undefined>;
  /** Sets a value; resolves to its version once it is durable. Rejects with a RunValueError. */
  set(key: string, value: JsonValue, options?: ValueOptions): Promise<number>;
  /** Deletes a value; resolves once it is gone, also when there was none. Rejects with a RunValueError. */
  delete(key: string, options?: ValueOptions): Promise<void>;
}

/**
 * Why a value was not changed:
 * - `VERSION_MISMATCH`: it has another version than was expected;
 * - `LIMIT_REACHED`: the run has as many values, or bytes of them, as it may have;
 * - `UNSUPPORTED`: the control plane does not know values, or not yet all of its replicas.
 */
export type RunValueReason = 'VERSION_MISMATCH' | 'LIMIT_REACHED' | 'UNSUPPORTED';

/** A value was not changed, or could not be read. */
export class RunValueError extends Error {
  override readonly name = 'RunValueError';
  readonly reason: RunValueReason;
  /** The version that there is now; 0: there is no value, or it is not known. */
  readonly version: number;

  constructor(reason: RunValueReason, message: string, version = 0) {
    super(message);
    this.reason = reason;
    this.version = version;
  }
}

/** The values of an attempt's run. @param isSupported Whether the control plane knows of values, as far as is known. */
export function createRunValues(attempt: Attempt, start: Start, isSupported: () => boolean): RunValues {
  let number = start.valueNumber;
  let lastChange: Promise<unknown> = Promise.resolve();

  async function ask(frameOf: (number: number) => Frame): Promise<ValueAnswer> {
    if (!isSupported()) throw unsupported();
    return await attempt.values.ask(++number, frameOf(number));
  }

  async function change(frameOf: (number: number) => Frame): Promise<number> {
    const answered = lastChange.then(() => ask(frameOf));
    lastChange = answered.catch(() => undefined);
    const { error, message, version } = await answered;
    if (error === ErrorReason.UNSPECIFIED) return Number(version);
    throw new RunValueError(reasons[error] ?? 'UNSUPPORTED', message, Number(version));
  }

  return {
    async get(key) {
      assertKey('value', key);
      const { value, version } = await ask((n) => getValueFrame(attempt, n, key));
      return value && { value: toJson(ValueSchema, value), version: Number(version) };
    },
    async set(key, value, { expectedVersion } = {}) {
      assertKey('value', key);
      assertStorable(`value ${key}`, value);
      return await change((n) => setValueFrame(attempt, n, key, value, versionOf(expectedVersion, 0)));
    },
    async delete(key, { expectedVersion } = {}) {
      assertKey('value', key);
      await change((n) => deleteValueFrame(attempt, n, key, versionOf(expectedVersion, 1)));
    },
  };
}

/** Why nothing that asks for a value is answered. */
export function unsupported(): RunValueError {
  return new RunValueError(
    'UNSUPPORTED',
    'the control plane does not know values of runs, or not yet all of its replicas do',
  );
}

const reasons: { readonly [error in ErrorReason]?: RunValueReason } = {
  [ErrorReason.VERSION_MISMATCH]: 'VERSION_MISMATCH',
  [ErrorReason.LIMIT_REACHED]: 'LIMIT_REACHED',
};

function versionOf(version: number | undefined, min: 0 | 1): bigint | undefined {
  if (version === undefined) return undefined;
  if (!Number.isSafeInteger(version) || version < min) {
    throw new RangeError(`expectedVersion ${version} is no whole number of ${min} or more`);
  }
  return BigInt(version);
}
