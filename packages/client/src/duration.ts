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
