// Every change of a value in every situation of its key and its run, and what it comes to.
import { describe, expect, test } from 'vitest';
import { LIMITS } from './limits.ts';
import { isRefusal } from './refusal.ts';
import { decideDeletion, decideSetting, type ExpectedVersion, type StoredValues } from './run-values.ts';
import { isRunFinished, RUN_GRAPH, type RunState } from './states.ts';

const NONE: StoredValues = { state: 'RUNNING', version: 0, keys: 0, bytes: 0, current: undefined };
const ONE: StoredValues = { state: 'RUNNING', version: 9, keys: 2, bytes: 50, current: { version: 4, bytes: 20 } };
const GONE: StoredValues = { ...ONE, current: undefined };

/** What it comes to in one word: the version, or why not. */
function setting(stored: StoredValues, expected?: ExpectedVersion, bytes = 10): number | string {
  const decided = decideSetting('key', stored, bytes, expected);
  return isRefusal(decided) ? decided.refused : decided;
}

function deletion(stored: StoredValues, expected?: ExpectedVersion): string {
  return decideDeletion('key', stored, expected)?.refused ?? 'DONE';
}

describe.each([
  ['nothing was ever set', NONE, 1, { 0: true, 4: false }],
  ['there is a value', ONE, 10, { 0: false, 3: false, 4: true, 9: false }],
  ['it was deleted', GONE, 10, { 0: true, 4: false, 9: false }],
] as const)('while %s', (_, stored, next, matches) => {
  test('a value is set whatever there is, with a version that never was', () => {
    expect(setting(stored)).toBe(next);
  });

  test.each(Object.entries(matches))('expecting version %s', (expected, isMatch) => {
    expect(setting(stored, Number(expected))).toBe(isMatch ? next : 'VERSION_MISMATCH');
    expect(deletion(stored, Number(expected))).toBe(isMatch ? 'DONE' : 'VERSION_MISMATCH');
  });

  test('a deletion that expects nothing is not refused', () => {
    expect(deletion(stored)).toBe('DONE');
  });
});

test.each(Object.keys(RUN_GRAPH) as RunState[])('of a run that is %s', (state) => {
  const closed = isRunFinished(state);
  expect(setting({ ...ONE, state })).toBe(closed ? 'ALREADY_FINISHED' : 10);
  expect(setting({ ...ONE, state }, 3)).toBe(closed ? 'ALREADY_FINISHED' : 'VERSION_MISMATCH');
  expect(deletion({ ...ONE, state })).toBe(closed ? 'ALREADY_FINISHED' : 'DONE');
});

test('a mismatch tells the version that there is', () => {
  expect(decideSetting('key', ONE, 10, 3)).toMatchObject({ metadata: { current_version: '4' } });
  expect(decideSetting('key', NONE, 10, 3)).toMatchObject({ metadata: { current_version: '0' } });
});

describe('bounds', () => {
  const full = { ...NONE, keys: LIMITS.valueKeys, bytes: 5_000 };

  test('count keys: one more is refused, one that is there may be set again', () => {
    expect(setting({ ...full, keys: LIMITS.valueKeys - 1 })).toBe(1);
    expect(setting(full)).toBe('LIMIT_REACHED');
    expect(setting({ ...full, current: { version: 1, bytes: 10 } })).toBe(1);
    expect(deletion(full)).toBe('DONE');
  });

  test('count bytes: what a value replaces makes room for it', () => {
    const bytes = LIMITS.valuesBytes;
    expect(setting({ ...ONE, bytes }, undefined, 20)).toBe(10);
    expect(setting({ ...ONE, bytes }, undefined, 21)).toBe('LIMIT_REACHED');
    expect(setting({ ...NONE, bytes: bytes - 10 }, undefined, 10)).toBe(1);
    expect(setting({ ...NONE, bytes: bytes - 10 }, undefined, 11)).toBe('LIMIT_REACHED');
  });

  test('a version that is not expected is told before a bound', () => {
    expect(setting(full, 7)).toBe('VERSION_MISMATCH');
  });
});
