// JSON in the arguments of people, and in what they are shown.
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';

/** Undefined: it is no JSON. */
export function readJson(text: string): JsonValue | undefined {
  try {
    const value: JsonValue = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
