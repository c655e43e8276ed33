// What a map can be asked for: the types of its keys, and doubles, which stand for the whole numbers that they equal.
import { type CelMap, type CelValue, isCelUint } from '@bufbuild/cel';

export type MapKey = Parameters<CelMap['get']>[0];

export function isMapKey(value: CelValue): value is MapKey {
  return typeof value === 'object' ? isCelUint(value) : true;
}
