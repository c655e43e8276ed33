// Owns how durations are written by people: one number and one unit.
import type { Duration } from '@bufbuild/protobuf/wkt';
import { durationFromMs } from '@bufbuild/protobuf/wkt';

/** A duration as people write it: `250ms`, `1.5s`, `10m`, `2h`, `7d`. */
export type DurationText = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

/** Reads a duration; undefined when the text is none. Exact to the millisecond. */
export function parseDuration(text: string): Duration | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  if (match === null) return undefined;
  const [, amount = '', unit = ''] = match;
  return durationFromMs(Math.round(Number(amount) * (unitMs[unit] ?? 0)));
}

const unitMs: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads named durations; those that are undefined are left out. Throws a TypeError that names what is none. */
export function parseDurations<Key extends string>(
  texts: { readonly [K in Key]?: DurationText | undefined },
): {
  [K in Key]?: Duration;
} {
  const read: { [K in Key]?: Duration } = {};
  for (const key in texts) {
    const text = texts[key];
    if (text === undefined) continue;
    const duration = parseDuration(text);
    if (duration === undefined) throw new TypeError(`${key}: '${text}' is no duration; write one such as 10m`);
    read[key] = duration;
  }
  return read;
}
