// What is sure to fail is told before anything is read, and nothing else is.
import { describe, expect, it } from 'vitest';
import type { Found } from '../check-fields.ts';
import { compileExpression } from './expression.ts';
import type { Scope } from './nodes.ts';

const scope: Scope = { roots: ['params', 'needs', 'run'], needs: ['a'], fields: { run: ['id'] } };

function compile(source: string, within: Scope = scope) {
  const found: Found = [];
  return { type: compileExpression(found, 'if', source, within)?.type, found: found.map((one) => one.description) };
}

describe('what can never be worked out', () => {
  it.each([
    ['size(1, 2) == 1', 1, 'cannot apply size to int and int'],
    ['"a" + 1 == 2', 5, 'cannot apply + to string and int'],
    ['!params.a || !"x"', 14, 'cannot apply ! to string'],
    ['params.a && 1', 13, 'expected a bool, got int'],
    ['1 ? 2 : 3', 1, 'expected a bool, got int'],
    ['"a".b', 5, 'cannot read the field "b" of string'],
    ['has("a".b)', 9, 'cannot read the field "b" of string'],
    ['(1 + 1)[0]', 8, 'cannot read the entry int of int'],
    ['"a".exists(x, x > 1)', 5, 'exists goes through a list or a map, not string'],
    ['[1].map(x, 1 + "a")', 14, 'cannot apply + to int and string'],
    ['{"a": -"b"}', 7, 'cannot apply - to string'],
    ['size(params.a).matches("x")', 16, 'cannot apply matches to int'],
    ['params + 1', 8, 'cannot apply + to map and int'],
    ['"a".size(1)', 5, 'cannot apply size to string and int'],
    ['params.a < [1]', 10, 'cannot apply < to dyn and list'],
  ])('%s', (source, column, problem) => {
    expect(compile(source)).toEqual({
      type: undefined,
      found: [`at column ${column}: ${JSON.stringify(source)} can never be worked out: ${problem}`],
    });
    const { fields: _, ...stored } = scope;
    expect(compile(source, stored).found).toEqual([]);
  });
});

describe('what may be worked out', () => {
  it.each([
    ['params.a + 1', 'number'],
    ['params.a ? 1 : 2.5', 'number'],
    ['params.a + params.b', 'dyn'],
    ['params.a == 1', 'bool'],
    ['1 == "a"', 'bool'],
    ['1 + 1', 'int'],
    ['1 + 1.5', 'double'],
    ['"a" + string(params.a)', 'string'],
    ['[1] + params.b', 'list'],
    ['timestamp(params.a) - duration("1s")', 'google.protobuf.Timestamp'],
    ['timestamp("2026-01-01T00:00:00Z").getFullYear()', 'int'],
    ['params.a ? 1 : "a"', 'dyn'],
    ['params.a.filter(x, x > 1)', 'list'],
    ['"a" in params && 1 in [1] && "a" in {"a": 1}', 'bool'],
    ['b"abc"', 'bytes'],
    ['type(1) == int', 'bool'],
    ['{"a": [1]}.a[0]', 'dyn'],
    ['"a,b".split(",").size() > 1u', 'bool'],
    ['dyn(1) + dyn("a")', 'dyn'],
    ['["a"].join()', 'string'],
  ])('%s', (source, type) => {
    expect(compile(source)).toEqual({ type, found: [] });
  });
});
