import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cutAfter, type FeedPoint, formatCursor, parseCursor, parseSnapshot } from './feed-point.ts';

/** Whether a transaction that has committed by now lies before the point: its changes have been handed out. */
function liesBefore({ end, running }: FeedPoint, id: bigint): boolean {
  return id < end && !running.includes(id);
}

const points: fc.Arbitrary<FeedPoint> = fc
  .tuple(fc.bigInt(1n, 2n ** 63n), fc.uniqueArray(fc.bigInt(1n, 10_000n), { maxLength: 400 }))
  .map(([end, distances]) => ({
    end,
    running: distances
      .map((distance) => end - distance)
      .filter((id) => id > 0n)
      .toSorted((a, b) => (a < b ? -1 : 1)),
  }));

describe('a point of the feed', () => {
  test('is read from the text of a snapshot', () => {
    expect(parseSnapshot('740:745:740,743')).toEqual({ end: 745n, running: [740n, 743n] });
    expect(parseSnapshot('745:745:')).toEqual({ end: 745n, running: [] });
  });

  test('cut after a transaction, has behind it exactly what it had up to there', () => {
    fc.assert(
      fc.property(points, fc.bigInt(0n, 12_000n), fc.bigInt(-3n, 12_000n), (point, back, below) => {
        const last = point.end - back;
        const id = last - below;
        expect(liesBefore(cutAfter(point, last), id)).toBe(id <= last && (id >= point.end || liesBefore(point, id)));
      }),
    );
  });
});

describe('a cursor', () => {
  test('goes on where it was taken while few transactions run', () => {
    fc.assert(
      fc.property(points, (point) => {
        fc.pre(point.running.length <= 128);
        expect(parseCursor(formatCursor(point))).toEqual(point);
      }),
    );
  });

  test('is bounded, and never lies behind anything that its point does not', () => {
    fc.assert(
      fc.property(points, fc.bigInt(-3n, 12_000n), (point, below) => {
        const text = formatCursor(point);
        expect(text.length).toBeLessThanOrEqual(2_193);
        const id = point.end - below;
        const parsed = parseCursor(text);
        expect(parsed).toBeDefined();
        if (parsed !== undefined && liesBefore(parsed, id)) expect(liesBefore(point, id)).toBe(true);
      }),
    );
  });

  test.each(['', 'x', '1.', '-5', '5.6', '5.5', '5.0', '10000000000000000', 'f'.repeat(3_000)])(
    '%j is none',
    (text) => {
      expect(parseCursor(text)).toBeUndefined();
    },
  );
});
