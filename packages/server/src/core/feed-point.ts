// A point of the feed: which transactions of the database had committed when it was read. Unlike a number it neither misses a
// transaction that began before and commits after, nor waits for one that never ends.

export interface FeedPoint {
  /** Transactions from this id on had not committed. */
  readonly end: bigint;
  /** Those before `end` that had not committed either, in ascending order; all others had ended. */
  readonly running: readonly bigint[];
}

/** How many running transactions a cursor names, which bounds its text to about 2 KiB. */
const MAX_NAMED = 128;
const MAX_TEXT = (MAX_NAMED + 1) * 17;
const CURSOR = /^[0-9a-f]{1,16}(\.[0-9a-f]{1,16})*$/;

/** Reads the text of a `pg_snapshot`: `xmin:xmax:xip,xip,…`. */
export function parseSnapshot(text: string): FeedPoint {
  const [, end, running] = text.split(':');
  if (end === undefined || running === undefined) throw new Error(`not a snapshot: ${text}`);
  return { end: BigInt(end), running: running === '' ? [] : running.split(',').map(BigInt) };
}

/** The point at which exactly those transactions had committed that had at `point` and have an id up to `last`. */
export function cutAfter({ running }: FeedPoint, last: bigint): FeedPoint {
  return { end: last + 1n, running: running.filter((id) => id <= last) };
}

/** The text of a cursor. When too many transactions run, it lies before the point: it repeats changes and misses none. */
export function formatCursor(point: FeedPoint): string {
  const unnamed = point.running[MAX_NAMED];
  const { end, running } = unnamed === undefined ? point : cutAfter(point, unnamed - 1n);
  return [end, ...running.map((id) => end - id)].map((number) => number.toString(16)).join('.');
}

/** Reads the text of a cursor; undefined when it is none. */
export function parseCursor(text: string): FeedPoint | undefined {
  if (text.length > MAX_TEXT || !CURSOR.test(text)) return undefined;
  const [end = 0n, ...distances] = text.split('.').map((digits) => BigInt(`0x${digits}`));
  const running = distances.map((distance) => end - distance);
  return running.every((id) => id > 0n && id < end) ? { end, running } : undefined;
}
