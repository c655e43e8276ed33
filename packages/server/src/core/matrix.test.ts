import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import type { JsonObject } from './json.ts';
import { LIMITS } from './limits.ts';
import { cellsOf, type MatrixValues } from './matrix.ts';

/** Different values, so many. */
function numbers<T>(count: number, of: (n: number) => T): T[] {
  return Array.from({ length: count }, (_, n) => of(n));
}

/** The keys of the cells, or why there are none. */
function keys(matrix: MatrixValues): readonly string[] | string {
  const cells = cellsOf(matrix);
  return typeof cells === 'string' ? cells : cells.map(({ key }) => key);
}

describe('cellsOf', () => {
  const axes = { os: ['linux', 'mac'], node: [22, 24] };

  it('combines the axes in the order of their names', () => {
    expect(keys({ axes })).toEqual(['22,linux', '22,mac', '24,linux', '24,mac']);
    expect(cellsOf({ axes })[1]).toEqual({ key: '22,mac', values: { node: 22, os: 'mac' } });
    expect(keys({ axes: { os: axes.os, node: [] } })).toEqual([]);
    expect(keys({ axes: {} })).toEqual([]);
  });

  it('leaves out the combinations that have all values of an exclusion', () => {
    expect(
      keys({
        axes,
        exclude: [
          { os: 'mac', node: 22 },
          { node: 24, os: 'linux' },
        ],
      }),
    ).toEqual(['22,linux', '24,mac']);
    expect(keys({ axes, exclude: [{ os: 'mac' }] })).toEqual(['22,linux', '24,linux']);
    expect(keys({ axes, exclude: [{ os: 'mac', arch: 'arm' }] })).toMatch(/^exclude names "arch", which is none of/);
  });

  it('adds what is included to the cells that agree, and else as a cell of its own', () => {
    const include = [{ color: 'green' }, { os: 'mac', fast: true }, { os: 'windows', node: 24 }, { only: 'this' }];
    const cells = cellsOf({ axes, include: [...include] });
    expect(cells).toMatchObject([
      { key: '22,linux', values: { color: 'green' } },
      { key: '22,mac', values: { color: 'green', fast: true } },
      { key: '24,linux', values: { color: 'green' } },
      { key: '24,mac', values: { fast: true } },
      { key: '24,windows', values: { os: 'windows', node: 24 } },
    ]);
    expect(cells).toHaveLength(5);
    // What names no axis agrees with every combination.
    expect((cells[0] as { values: JsonObject }).values).toEqual({
      os: 'linux',
      node: 22,
      color: 'green',
      only: 'this',
    });
  });

  it('numbers cells whose values are long, no text, or not theirs alone', () => {
    const long = 'x'.repeat(41);
    expect(keys({ axes: { a: ['fine', long, { deep: 1 }, 'a b', null, true] } })).toEqual([
      'fine',
      '#2',
      '#3',
      '#4',
      'null',
      'true',
    ]);
    expect(keys({ axes: {}, include: [{ x: 1 }, { x: 1 }, { y: '1' }] })).toEqual(['1', '#2', '#3']);
  });

  it('takes names that objects have of themselves for names', () => {
    const entry = JSON.parse('{ "__proto__": { "x": 1 }, "constructor": 2 }') as JsonObject;
    const cells = cellsOf({ axes: JSON.parse('{ "__proto__": ["a"] }') as MatrixValues['axes'], include: [entry] });
    expect(JSON.stringify(cells)).toBe(
      '[{"key":"a","values":{"__proto__":"a"}},{"key":"#2","values":{"__proto__":{"x":1},"constructor":2}}]',
    );
    expect(keys({ axes: { constructor: ['a'] }, include: [{ constructor: 'a', y: 1 }, { z: 1 }] })).toEqual(['a']);
    expect(keys({ axes: { constructor: [] }, include: [{ z: 1 }] })).toEqual(['1']);
  });

  it.each<[string, MatrixValues, RegExp]>([
    [
      'more exclusions than can be looked at',
      { axes: { a: numbers(10_000, (n) => n) }, exclude: Array(100_000).fill({ a: 2 }) },
      /^include and exclude have 100000 entries for 10000 combinations/,
    ],
    [
      'a value that would be in every one of them',
      { axes: { a: ['x'.repeat(900_000)], b: numbers(1_000, (n) => n) } },
      /^its cells are 9\d{8} bytes as JSON/,
    ],
    [
      'an inclusion that would be in every one of them',
      { axes: { b: numbers(1_000, (n) => n) }, include: [{ x: 'x'.repeat(900_000) }] },
      /^its cells are 9\d{8} bytes as JSON/,
    ],
    [
      'texts of many bytes a character',
      { axes: { a: numbers(500, (n) => `${n}${'漢'.repeat(200)}`) } },
      /^its cells are 3\d+ bytes/,
    ],
    ['an axis that is no list', { axes: { a: { b: 1 } } }, /^axes\.a must be a list; it is \{"b":1\}$/],
    [
      'an axis that is a text',
      { axes: { a: 'b' } },
      /^axes\.a must be a list; it is "b": fromJSON or split makes a list of a text$/,
    ],
    [
      'several that are no lists, all of them told',
      { axes: { a: 1, b: [1], c: null }, include: 'x' },
      /^axes\.a must be a list; it is 1; axes\.c must be a list; it is null; include must be a list of objects; it is "x"$/,
    ],
    ['an inclusion that is no list', { axes, include: { a: 1 } }, /^include must be a list of objects; it is {"a":1}$/],
    ['an exclusion of no objects', { axes, exclude: [1] }, /^exclude must be a list of objects; it is \[1\]$/],
    [
      'ten thousand combinations and one more',
      { axes: { a: numbers(10_001, (n) => n) } },
      /^its axes have 10001 combinations, at most 10000 are allowed$/,
    ],
    ['more cells than there may be', { axes: { a: numbers(1_001, (n) => n) } }, /^it has 1001 cells, at most 1000/],
    [
      'cells of too many bytes',
      { axes: { a: numbers(500, (n) => `${n}${'x'.repeat(600)}`) } },
      /^its cells are 3\d+ bytes as JSON/,
    ],
    [
      'axes with a value twice',
      { axes: { a: [1, 2, 1, 1], b: [{ x: 1, y: 2 }, '1', { y: 2, x: 1 }], c: [1, '1', [1]] } },
      /^axis a has 1 twice, axis b has \{"y":2,"x":1\} twice: the values of an axis must be different ones$/,
    ],
  ])('says why there are no cells of %s', (_, matrix, problem) => {
    expect(cellsOf(matrix)).toMatch(problem);
  });

  it('counts a hundred million combinations without making them', () => {
    const axis = Array.from({ length: 100 }, (_, n) => n);
    const before = performance.now();
    expect(cellsOf({ axes: { a: axis, b: axis, c: axis, d: axis } })).toMatch(/^its axes have 100000000 combinations/);
    expect(performance.now() - before).toBeLessThan(500);
  });
});

test('every cell has a key of its own, and every combination that is not excluded is there', () => {
  const values = fc.uniqueArray(fc.oneof(fc.nat(3), fc.constantFrom('a', 'b', 'x y')), { maxLength: 4 });
  const axes = fc.dictionary(fc.constantFrom('a', 'b', 'c'), values, { minKeys: 1 });
  fc.assert(
    fc.property(
      axes,
      fc.array(fc.dictionary(fc.constantFrom('a', 'd'), fc.nat(3)), { maxLength: 3 }),
      (axes, include) => {
        const cells = cellsOf({ axes, include });
        if (typeof cells === 'string') throw new Error(cells);
        expect(new Set(cells.map(({ key }) => key)).size).toBe(cells.length);
        const combined = Object.values(axes).reduce((count, list) => count * list.length, 1);
        expect(cells.length).toBeGreaterThanOrEqual(combined);
        expect(cells.length).toBeLessThanOrEqual(Math.min(combined + include.length, LIMITS.matrixCells));
      },
    ),
  );
});
