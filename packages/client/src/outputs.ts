// Owns outputs as programs want them: plain JSON instead of protobuf's Value messages.
import { type JsonObject, toJson } from '@bufbuild/protobuf';
import { type Value, ValueSchema } from '@bufbuild/protobuf/wkt';

/** The outputs of a job, of an attempt, or of the event that ended one, by key. */
export function outputsOf({ outputs }: { readonly outputs: Readonly<Record<string, Value>> }): JsonObject {
  return Object.fromEntries(Object.entries(outputs).map(([key, value]) => [key, toJson(ValueSchema, value)]));
}
