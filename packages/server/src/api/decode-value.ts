// Reads single JSON values, such as outputs and values of runs, and which version of one is expected.
import { toJson } from '@bufbuild/protobuf';
import { type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import { addViolation, checkJson, type Found } from '../core/check-fields.ts';
import type { JsonValue } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';

/** A value of at most 64 KiB, the bound of outputs and of values alike. */
export function decodeValue(found: Found, field: string, value: Value | undefined): JsonValue {
  if (value?.kind.case === undefined) {
    addViolation(found, field, 'is required');
    return null;
  }
  try {
    const json = toJson(ValueSchema, value);
    checkJson(found, field, json, LIMITS.valueBytes);
    return json;
  } catch (error) {
    // What JSON cannot say, such as NaN.
    addViolation(found, field, error instanceof Error ? error.message : String(error));
    return null;
  }
}

/** @param min 0 where it may be expected that there is none. */
export function decodeExpected(found: Found, version: bigint | undefined, min: 0 | 1): number | undefined {
  if (version === undefined) return undefined;
  const expected = Number(version);
  if (expected < min || !Number.isSafeInteger(expected)) {
    addViolation(found, 'expected_version', `must be ${min} or more, or left out; got ${version}`);
  }
  return expected;
}
