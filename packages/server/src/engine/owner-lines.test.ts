import { beforeEach, expect, test } from 'vitest';
import { createOwnerLines, inTurnsOf, type OwnerLines } from './owner-lines.ts';

const ownerOf = (item: string): string => item[0] ?? '';
let lines: OwnerLines<string>;

beforeEach(() => {
  lines = createOwnerLines(ownerOf);
});

function add(...items: string[]): void {
  for (const item of items) lines.add(item);
}

test('owners are served in turns, and of each first what came first', () => {
  add('a1', 'a2', 'a3', 'b1', 'a4', 'c1', 'c2');
  expect(lines.size()).toBe(7);
  expect(lines.take(4)).toEqual(['a1', 'b1', 'c1', 'a2']);
  expect(lines.size()).toBe(3);
  expect(lines.take(10)).toEqual(['c2', 'a3', 'a4']);
  expect(lines.take(10)).toEqual([]);
});

test('who comes again has a turn behind those who wait, also when it is alone with one of them', () => {
  add('a1', 'a2', 'a3', 'a4', 'b1');
  const served = [];
  for (let n = 2; n < 6; n++) {
    served.push(...lines.take(1));
    if (served.at(-1)?.startsWith('b')) add(`b${n}`);
  }
  expect(served).toEqual(['a1', 'b1', 'a2', 'b3']);
});

test('what is put back goes on where it was, before what came meanwhile', () => {
  add('a1', 'a2', 'b1', 'b2');
  const [first, ...left] = lines.take(10);
  expect(first).toBe('a1');
  add('c1', 'a3', 'b3');
  lines.putBack(left);
  expect(lines.size()).toBe(6);
  expect(lines.take(10)).toEqual(['b1', 'a2', 'c1', 'b2', 'a3', 'b3']);
});

test('who is found to have another owner goes into the line of that one', () => {
  const found = new Map<string, string>();
  lines = createOwnerLines((item) => found.get(ownerOf(item)) ?? '');
  add('a1', 'a2', 'b1', 'a3', 'b2', 'c1');
  const left = lines.take(3);
  found.set('a', 'greedy');
  lines.putBack(left);
  add('a4');
  expect(lines.size('greedy')).toBe(4);
  expect(lines.take(10)).toEqual(['a1', 'b1', 'a2', 'b2', 'a3', 'c1', 'a4']);
});

test('those are cut off each line that stand before the first one that may stay', () => {
  add('a1', 'a9', 'a2', 'b2', 'c9');
  expect(lines.cut((item) => item.endsWith('9'))).toEqual(['a1', 'b2']);
  expect(lines.size()).toBe(3);
  expect(lines.take(10)).toEqual(['a9', 'c9', 'a2']);
});

test('one is taken out from anywhere', () => {
  add('a1', 'a2', 'b1');
  for (const item of ['a1', 'b1', 'b1', 'c1']) lines.remove(item);
  expect([lines.size(), lines.size('a'), lines.size('b')]).toEqual([1, 1, 0]);
  expect(lines.take(10)).toEqual(['a2']);
});

test('a list is put in turns', () => {
  expect(inTurnsOf(['a1', 'a2', 'b1', 'c1', 'b2', 'a3'], ownerOf)).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
  expect(inTurnsOf(['a1', 'a2'], ownerOf)).toEqual(['a1', 'a2']);
});
