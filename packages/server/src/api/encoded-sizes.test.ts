import { fromJson, toBinary } from '@bufbuild/protobuf';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import type { JsonObject, JsonValue } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';

/** Room for what else is in a message: names, states, the spec of a job twice. */
const BESIDE = 131_072;

/** An object of so many bytes as JSON, whose values are as short as that allows. */
function filledWith(value: JsonValue, bytes: number): JsonObject {
  const each = JSON.stringify(value).length + 1;
  return { x: Array<JsonValue>(Math.floor((bytes - 7) / each)).fill(value) };
}

test.each<[string, JsonValue]>([
  ['numbers', 1],
  ['lists', []],
  ['objects', {}],
  ['texts', ''],
  ['truths', true],
])('what fits into a page by its JSON fits into a message, also when it is %s', (_, value) => {
  const encoded = (bytes: number): number =>
    toBinary(StructSchema, fromJson(StructSchema, filledWith(value, bytes))).length;
  expect(encoded(LIMITS.pageBytes)).toBeLessThan(LIMITS.responseBytes - BESIDE);
  // A job has its spec twice: as written and as worked out.
  expect(encoded(LIMITS.gatheredOutputBytes) + 2 * encoded(LIMITS.specBytes)).toBeLessThan(
    LIMITS.responseBytes - BESIDE,
  );
});
