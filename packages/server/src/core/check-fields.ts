// Checks of single fields. Each adds what is wrong to `found`, so that a caller learns everything at once; the value that goes
// on is of use only when nothing was found.
import type { JsonValue } from './json.ts';
import { LIMITS } from './limits.ts';
import type { FieldViolation } from './refusal.ts';

/** What was found wrong so far. */
export type Found = FieldViolation[];

/** More than anybody reads; what is found beyond is not added. */
const MAX_FOUND = 100;

/** How many more are wrong than the first ones, of which so many were found: as many as are known. */
export function howManyMore(found: number, shown: number): string {
  return `${found >= MAX_FOUND ? 'at least ' : ''}${found - shown}`;
}

/** Problems that one message tells, and their characters together: what a job fails with has at most 1,024. */
const MAX_TOLD = 5;
const MAX_TOLD_LENGTH = 900;

/** What was found as one text: the first ones, each within its share of that, and how many more there are. */
export function tellFound(found: readonly FieldViolation[]): string {
  const first = found.slice(0, MAX_TOLD);
  const share = Math.floor(MAX_TOLD_LENGTH / first.length);
  const told = first.map(({ field, description }) => shorten(`${field} ${description}`, share));
  const more = found.length > told.length ? [`${howManyMore(found.length, told.length)} more`] : [];
  return [...told, ...more].join('; ');
}

function shorten(text: string, max: number): string {
  return text.length > max ? `${beginning(text, max - 1)}…` : text;
}

export interface NameRule {
  readonly pattern: RegExp;
  /** Completes "must be …". */
  readonly rule: string;
}

export const JOB_NAME: NameRule = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/,
  rule: '1 to 100 characters of A-Z a-z 0-9 _ . -, beginning with a letter or digit',
};
/** A name of a definition, or of one of the cells of its matrix. */
export const ANY_JOB_NAME: NameRule = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}(\[[^[\]]{1,60}\])?$/,
  rule: `${JOB_NAME.rule}, and for a cell its key in brackets`,
};
export const DRIVER_NAME: NameRule = {
  pattern: /^[a-z][a-z0-9-]{0,62}$/,
  rule: '1 to 63 characters of a-z 0-9 -, beginning with a letter',
};
export const PIPELINE_NAME: NameRule = {
  pattern: /^[a-z0-9][a-z0-9_-]{0,62}$/,
  rule: '1 to 63 characters of a-z 0-9 _ -, beginning with a letter or digit',
};
export const INSTANCE_ID: NameRule = {
  pattern: /^[A-Za-z0-9._-]{1,128}$/,
  rule: '1 to 128 characters of A-Z a-z 0-9 . _ -',
};
export const DRIVER_PATTERN: NameRule = {
  pattern: /^[a-z*][a-z0-9*-]{0,62}$/,
  rule: '1 to 63 characters of a-z 0-9 - and *, which stands for any, beginning with a letter or *',
};
export const INSTANCE_PATTERN: NameRule = {
  pattern: /^[A-Za-z0-9._*-]{1,128}$/,
  rule: '1 to 128 characters of A-Z a-z 0-9 . _ - and *, which stands for any',
};
export const OUTPUT_KEY: NameRule = INSTANCE_ID;
export const POOL_NAME: NameRule = DRIVER_NAME;
export const LABEL_KEY: NameRule = {
  pattern: /^[A-Za-z0-9._/-]{1,128}$/,
  rule: '1 to 128 characters of A-Z a-z 0-9 . _ - /',
};

const encoder = new TextEncoder();

export function addViolation(found: Found, field: string, description: string): void {
  addFound(found, { field, description });
}

export function addFound(found: Found, violation: FieldViolation): void {
  if (found.length < MAX_FOUND) found.push(violation);
}

/** Whether nothing is added any more: what takes long need not be checked then. @param more Found elsewhere, and still to be added. */
export function isFull(found: Found, more = 0): boolean {
  return found.length + more >= MAX_FOUND;
}

export function checkName(found: Found, field: string, name: string, { pattern, rule }: NameRule): void {
  if (name === '') addViolation(found, field, `is required: ${rule}`);
  else if (!pattern.test(name)) addViolation(found, field, `must be ${rule}; got ${quote(name)}`);
}

/** @param max In characters (Unicode code points). */
export function checkText(found: Found, field: string, text: string, max: number): void {
  const problem = textProblem(text);
  if (problem !== undefined) addViolation(found, field, problem);
  else if (text.length > max && Array.from(text).length > max) {
    addViolation(found, field, `must have at most ${max} characters; has ${Array.from(text).length}`);
  }
}

/** @param max In bytes of UTF-8. */
export function checkTextBytes(found: Found, field: string, text: string, max: number): void {
  const problem = textProblem(text);
  if (problem !== undefined) addViolation(found, field, problem);
  else if (utf8Bytes(text) > max) addViolation(found, field, `must have at most ${max} bytes; has ${utf8Bytes(text)}`);
}

export function checkNumber(
  found: Found,
  field: string,
  value: number,
  { min, max, integer = false }: { readonly min: number; readonly max: number; readonly integer?: boolean },
): void {
  const fits = value >= min && value <= max && (!integer || Number.isInteger(value));
  if (!fits)
    addViolation(found, field, `must be ${integer ? 'a whole number ' : ''}from ${min} to ${max}; got ${value}`);
}

export function checkCount(found: Found, field: string, count: number, max: number): void {
  if (count > max) addViolation(found, field, `must have at most ${max} entries; has ${count}`);
}

/** A number that may be left out. */
export function checkBounded(
  found: Found,
  field: string,
  value: number | undefined,
  fallback: number,
  bounds: { readonly min: number; readonly max: number; readonly integer?: boolean },
): number {
  if (value === undefined) return fallback;
  checkNumber(found, field, value, bounds);
  return value;
}

/** Whole milliseconds; a fraction of one counts as one. */
export function checkDuration(
  found: Found,
  field: string,
  ms: number | undefined,
  { min, max, bounds }: { readonly min: number; readonly max: number; readonly bounds: string },
): number | undefined {
  if (ms === undefined) return undefined;
  if (!(ms >= min && ms <= max)) addViolation(found, field, `must be ${bounds}; got ${ms / 1_000} s`);
  return Math.ceil(ms);
}

export function checkLabels(found: Found, field: string, labels: Readonly<Record<string, string>>): void {
  const entries = Object.entries(labels);
  checkCount(found, field, entries.length, LIMITS.labels);
  if (entries.length > LIMITS.labels) return;
  for (const [key, value] of entries) {
    if (!LABEL_KEY.pattern.test(key))
      addViolation(found, field, `has the key ${quote(key)}; keys are ${LABEL_KEY.rule}`);
    checkText(found, entryPath(field, key), value, 256);
  }
}

/**
 * Checks that a value can be stored and sent as JSON: finite numbers, well-formed text without NUL, few levels.
 * @param max In bytes of JSON.
 * @param levels Of lists and objects inside of each other, itself counted.
 */
export function checkJson(
  found: Found,
  field: string,
  value: JsonValue,
  max: number,
  levels: number = LIMITS.jsonLevels,
): void {
  const before = found.length;
  checkJsonValue(found, field, value, levels);
  if (found.length > before) return;
  const bytes = jsonBytes(value);
  if (bytes > max) addViolation(found, field, `must have at most ${max} bytes as JSON; has ${bytes}`);
}

/** How many lists and objects are inside of each other, itself counted; 0 of a text or a number. */
export function jsonLevels(value: JsonValue): number {
  if (typeof value !== 'object' || value === null) return 0;
  let below = 0;
  for (const member of Object.values(value)) below = Math.max(below, jsonLevels(member));
  return below + 1;
}

/** How many bytes a value has as JSON. */
export function jsonBytes(value: unknown): number {
  return utf8Bytes(JSON.stringify(value));
}

/** The path of a member of an object: behind a dot, unless its key would then read as a path itself. */
export function memberPath(path: string, key: string): string {
  return /^[\w$-]+$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
}

/** Of a key in a path, in characters: no label and no job has a longer one. */
const MAX_KEY = 256;

/** The path of an entry of a map, with all of its key, by which its place in a file is found. */
export function entryPath(path: string, key: string): string {
  return `${path}[${JSON.stringify(beginning(key, MAX_KEY))}]`;
}

/** The beginning of a text, without half of a character that is cut. */
export function beginning(text: string, length: number): string {
  return text.slice(0, length).toWellFormed();
}

/** JSON as it may be repeated in a message: short. */
export function shortJson(value: JsonValue): string {
  return shorten(JSON.stringify(value), 64);
}

/** A value as it may be repeated in a message: quoted and short. */
export function quote(text: string): string {
  return JSON.stringify(shorten(text, 64).toWellFormed());
}

function textProblem(text: string): string | undefined {
  if (text.includes('\0')) return 'must not contain NUL';
  if (!text.isWellFormed()) return 'must be valid Unicode; it holds half of a surrogate pair';
  return undefined;
}

function checkJsonValue(found: Found, field: string, value: JsonValue, levels: number): void {
  if (typeof value === 'object' && value !== null && levels === 0) {
    const description = `is too deep: at most ${LIMITS.jsonLevels} lists and objects may be inside of each other; flatten it, or give it as a text`;
    addViolation(found, field, description);
  } else if (typeof value === 'string') {
    const problem = textProblem(value);
    if (problem !== undefined) addViolation(found, field, problem);
  } else if (typeof value === 'number') {
    if (!Number.isFinite(value)) addViolation(found, field, `must be a finite number; got ${value}`);
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) checkJsonValue(found, `${field}[${index}]`, item, levels - 1);
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, member] of Object.entries(value)) {
      const problem = textProblem(key);
      if (problem !== undefined) addViolation(found, field, `has the key ${quote(key)}, which ${problem}`);
      checkJsonValue(found, memberPath(field, key), member, levels - 1);
    }
  }
}

function utf8Bytes(text: string): number {
  // No text is longer than three times its UTF-16 units, and most are ASCII: encode only to know it exactly.
  return encoder.encode(text).byteLength;
}
