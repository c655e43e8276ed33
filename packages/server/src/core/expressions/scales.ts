// What a value weighs: about how many steps it takes to look at all of it. Nobody looks at a list or a map without having paid for
// its weight.
import { type CelValue, isCelList, isCelMap } from '@bufbuild/cel';
import type { Meter } from './meter.ts';

/** Characters that are read for one step. */
export const CHARACTERS_PER_STEP = 16;

/** Of an entry of a map or an object that is made: it is hashed. In JSON it takes more bytes than that. */
export const ENTRY_STEPS = 4;

/** Timestamps and durations are messages, which the library reads by reflection. */
const MESSAGE_WEIGHT = 8;

export interface Scales {
  readonly meter: Meter;
  /** Of lists and maps, which do not change. */
  readonly weights: WeakMap<object, number>;
}

/** Weighing costs what it weighs, the first time. */
export function weigh(scales: Scales, value: CelValue): number {
  if (typeof value === 'string') return 1 + value.length / CHARACTERS_PER_STEP;
  if (value instanceof Uint8Array) return 1 + value.length / CHARACTERS_PER_STEP;
  if (typeof value !== 'object' || value === null) return 1;
  if (!isCelList(value) && !isCelMap(value)) return MESSAGE_WEIGHT;
  const known = scales.weights.get(value);
  if (known !== undefined) return known;
  scales.meter.charge(1 + value.size);
  let weight = 1;
  if (isCelList(value)) {
    for (const item of value) weight += weigh(scales, item);
  } else {
    for (const [key, member] of value) weight += weigh(scales, key) + weigh(scales, member);
  }
  scales.weights.set(value, weight);
  return weight;
}
