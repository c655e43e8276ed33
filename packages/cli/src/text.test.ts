import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import pc from 'picocolors';
import { describe, expect, it } from 'vitest';
import {
  bytes,
  clipped,
  duration,
  elapsed,
  enumName,
  fields,
  labels,
  printable,
  shellWord,
  stateCell,
  table,
  tally,
  time,
} from './text.ts';

const colors = pc.createColors(true);

describe('a table', () => {
  it('aligns its columns', () => {
    expect(
      table(
        ['RUN', 'STATE', 'LABELS'],
        [
          ['a', 'running', ''],
          ['longer', 'ok', 'x=1'],
        ],
      ),
    ).toBe(['RUN     STATE    LABELS', 'a       running', 'longer  ok       x=1'].join('\n'));
  });

  it('aligns coloured cells as if they had no colour', () => {
    const rows = [
      [stateCell('failed', colors), 'x'],
      ['succeeded', 'y'],
    ];
    expect(table(['STATE', 'Z'], rows)).toBe(
      ['STATE      Z', `${colors.red('failed')}     x`, 'succeeded  y'].join('\n'),
    );
  });

  it('lets no cell leave its line or move the cursor', () => {
    expect(table(['A', 'B'], [['x\ny\u001B[2J', '\u009B1m']])).toBe('A        B\nx y [2J  1m');
  });
});

describe('fields', () => {
  it('are aligned, and left out when empty', () => {
    expect(
      fields([
        ['Run', 'r'],
        ['Labels', ''],
        ['Created', 'now'],
      ]),
    ).toBe('Run:      r\nCreated:  now');
  });
});

describe('values', () => {
  it.each([
    [0, '0.0s'],
    [1_234, '1.2s'],
    [59_949, '59.9s'],
    [59_990, '1m0s'],
    [61_000, '1m1s'],
    [3_599_999, '1h0m'],
    [7_260_000, '2h1m'],
    [90_000_000, '1d1h'],
    [-5, '0.0s'],
  ])('%d ms are %s', (ms, text) => expect(duration(ms)).toBe(text));

  it('take until now when they have not finished', () => {
    expect(elapsed(undefined, undefined)).toBe('');
    expect(elapsed(timestampFromMs(1_000), timestampFromMs(3_500))).toBe('2.5s');
    expect(elapsed(timestampFromMs(Date.now() - 3_600_000), undefined)).toBe('1h0m');
  });

  it('are shown as people read them', () => {
    expect(time(timestampFromMs(Date.UTC(2026, 1, 3, 4, 5, 6, 789)))).toBe('2026-02-03 04:05:06Z');
    expect(labels({ b: '2', a: '1' })).toBe('a=1,b=2');
    expect([0n, 1023n, 1536n, 5n * 1024n * 1024n].map(bytes)).toEqual(['0 B', '1023 B', '1.5 KiB', '5.0 MiB']);
    expect(printable(' a\r\n\tb ')).toBe('a b');
    const turning = [0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069, 0x061c];
    expect(turning.map((code) => printable(`a${String.fromCodePoint(code)}b`))).toEqual(turning.map(() => 'ab'));
    expect(printable('é😀אב')).toBe('é😀אב');
    expect(enumName({ 6: 'TIMED_OUT' }, 6)).toBe('timed out');
    expect(enumName({}, 99)).toBe('99');
  });

  it('are cut where they are long, counted where there are many, and quoted for a shell', () => {
    expect([clipped('abc\n', 3), clipped('abcd', 3)]).toEqual(['abc', 'ab…']);
    expect(tally(['failed', 'ok', 'ok'])).toBe('2 ok, 1 failed');
    expect(['run/a-b_c.d', 'run/t[x]', "it's"].map(shellWord)).toEqual([
      'run/a-b_c.d',
      "'run/t[x]'",
      String.raw`'it'\''s'`,
    ]);
  });
});
