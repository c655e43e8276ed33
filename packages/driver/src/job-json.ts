// Owns the bounds of the JSON that work hands over under a key: outputs, and values of its run.
import type { JsonValue } from '@bufbuild/protobuf';

/** Of all outputs of an attempt, and of one value, as JSON. */
export const maxJsonBytes = 64 * 1024;

/** Lists and objects inside of each other, of one value. */
const maxJsonLevels = 25;

/** `\\u0000` in JSON, but not a backslash and `u0000`. */
const escapedNul = /(?<!\\)(?:\\\\)*\\u0000/;
const keyPattern = /^[A-Za-z0-9._-]{1,128}$/;

/** Throws a RangeError for what cannot be a key. */
export function assertKey(what: string, key: string): void {
  if (keyPattern.test(key)) return;
  throw new RangeError(`${what} key ${JSON.stringify(key)} is not 1 to 128 characters of A-Z a-z 0-9 . _ -`);
}

/** Throws a RangeError for JSON text with NUL in it. */
export function assertNoNul(what: string, json: string): void {
  if (escapedNul.test(json)) throw new RangeError(`${what} contains NUL`);
}

/** Throws a RangeError for a value with too many lists and objects inside of each other. */
export function assertLevels(what: string, value: JsonValue, levels = maxJsonLevels): void {
  if (typeof value !== 'object' || value === null) return;
  if (levels === 0)
    throw new RangeError(`${what} has more than ${maxJsonLevels} lists and objects inside of each other`);
  for (const member of Object.values(value)) assertLevels(what, member, levels - 1);
}

/** Throws a RangeError for a value that cannot be stored by itself. */
export function assertStorable(what: string, value: JsonValue): void {
  const json = JSON.stringify(value);
  assertLevels(what, value);
  assertNoNul(what, json);
  const bytes = Buffer.byteLength(json);
  if (bytes > maxJsonBytes) throw new RangeError(`${what} is ${bytes} bytes as JSON, at most ${maxJsonBytes}`);
}
