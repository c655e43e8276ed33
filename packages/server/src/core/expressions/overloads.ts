// Overloads of our own, beside and instead of those of the library: where whole and other numbers meet, where the library takes
// for a number what is none, and where it asks the machine for its time zone; and JSON as text, which it has not.
import { type CelFunc, CelScalar, type CelValue, celFunc, celMethod, objectType } from '@bufbuild/cel';
import { type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { quote } from '../check-fields.ts';
import { canonicalJson, type JsonValue } from '../json.ts';
import { LIMITS } from '../limits.ts';
import { fromJson, toJson } from './json-values.ts';
import { Failure } from './outcome.ts';

const { DOUBLE, DYN, INT, STRING } = CelScalar;
const TIMESTAMP = objectType(TimestampSchema);
const DAY_MS = 86_400_000;

export const OVERLOADS: readonly CelFunc[] = [
  // Whole numbers of JSON are ints and others doubles: `params.ratio * 2` must not depend on what the ratio is.
  celFunc('_+_', [INT, DOUBLE], DOUBLE, (left, right) => Number(left) + right),
  celFunc('_+_', [DOUBLE, INT], DOUBLE, (left, right) => left + Number(right)),
  celFunc('_-_', [INT, DOUBLE], DOUBLE, (left, right) => Number(left) - right),
  celFunc('_-_', [DOUBLE, INT], DOUBLE, (left, right) => left - Number(right)),
  celFunc('_*_', [INT, DOUBLE], DOUBLE, (left, right) => Number(left) * right),
  celFunc('_*_', [DOUBLE, INT], DOUBLE, (left, right) => left * Number(right)),
  celFunc('_/_', [INT, DOUBLE], DOUBLE, (left, right) => Number(left) / right),
  celFunc('_/_', [DOUBLE, INT], DOUBLE, (left, right) => left / Number(right)),

  // The library takes "" for 0, and "x" for NaN.
  celFunc('int', [STRING], INT, toInt),
  celFunc('double', [STRING], DOUBLE, toDouble),

  // That of the library takes time with the square of the text.
  celMethod('replace', STRING, [STRING, STRING], STRING, function (part, by) {
    return replace(this, part, by, -1);
  }),
  celMethod('replace', STRING, [STRING, STRING, INT], STRING, function (part, by, times) {
    return replace(this, part, by, Number(times));
  }),

  celFunc('fromJSON', [STRING], DYN, parseJson),
  celFunc('toJSON', [DYN], STRING, writeJson),

  // Those of the library go through local time.
  getter('getFullYear', (date) => date.getUTCFullYear()),
  getter('getMonth', (date) => date.getUTCMonth()),
  getter('getDate', (date) => date.getUTCDate()),
  getter('getDayOfMonth', (date) => date.getUTCDate() - 1),
  getter('getDayOfWeek', (date) => date.getUTCDay()),
  getter('getDayOfYear', (date) => Math.floor((date.getTime() - startOfYear(date)) / DAY_MS)),
  getter('getHours', (date) => date.getUTCHours()),
  getter('getMinutes', (date) => date.getUTCMinutes()),
  getter('getSeconds', (date) => date.getUTCSeconds()),
  getter('getMilliseconds', (date) => date.getUTCMilliseconds()),
];

function toInt(text: string): bigint {
  const value = /^[+-]?[0-9]{1,19}$/.test(text) ? BigInt(text.replace('+', '')) : undefined;
  if (value === undefined || BigInt.asIntN(64, value) !== value)
    throw new Error('the text is no whole number of 64 bits');
  return value;
}

function toDouble(text: string): number {
  if (!/^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/.test(text)) throw new Error('the text is no number');
  return Number(text);
}

/** @param times Negative for all. */
function replace(text: string, part: string, by: string, times: number): string {
  if (part === '') throw new Error('there is nothing to replace: the first text is empty');
  const pieces = text.split(part);
  if (times < 0 || times >= pieces.length - 1) return pieces.join(by);
  const replaced = pieces.slice(0, times + 1).join(by);
  return [replaced, ...pieces.slice(times + 1)].join(part);
}

/** What a call costs was charged by its arguments. */
const FREE = { meter: { spent: 0, charge: () => undefined } };

function parseJson(text: string): CelValue {
  let value: JsonValue;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`${quote(text)} is no JSON`);
  }
  const inexact = longNumbersIn(text).find(
    (digits) => digits.length > 300 || BigInt(digits) !== BigInt(Number(digits)),
  );
  if (inexact !== undefined) throw new Error(`${inexact.slice(0, 40)} loses digits as a number; make it a text`);
  if (isDeeper(value, LIMITS.jsonLevels))
    throw new Error(`more than ${LIMITS.jsonLevels} lists and objects are inside of each other`);
  return fromJson({ ...FREE, weights: new WeakMap(), imported: new Map() }, value);
}

const TEXT_OR_LONG_NUMBER = /"(?:[^"\\]|\\.)*"|(?<![0-9.eE])[0-9]{16,}(?![0-9.eE])/g;

/** Whole numbers in JSON that a double may not hold. */
function longNumbersIn(json: string): readonly string[] {
  if (!/[0-9]{16}/.test(json)) return [];
  return Array.from(json.matchAll(TEXT_OR_LONG_NUMBER), ([found]) => found).filter((found) => !found.startsWith('"'));
}

/** Looks no deeper than that. */
function isDeeper(value: JsonValue, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((member) => isDeeper(member, levels - 1));
}

/** Equal values have equal texts. */
function writeJson(value: CelValue): string {
  const json = toJson({ ...FREE, weights: new WeakMap() }, value);
  if (json instanceof Failure) throw new Error(json.message);
  return canonicalJson(json);
}

function getter(name: string, read: (date: Date) => number): CelFunc {
  return celMethod(name, TIMESTAMP, [], INT, function () {
    return BigInt(read(toDate(this.message)));
  });
}

function toDate({ seconds, nanos }: Timestamp): Date {
  return new Date(Number(seconds) * 1_000 + Math.floor(nanos / 1_000_000));
}

function startOfYear(date: Date): number {
  const start = new Date(date);
  start.setUTCMonth(0, 1);
  return start.setUTCHours(0, 0, 0, 0);
}
