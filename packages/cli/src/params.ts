// Owns `key=value` arguments. A param's value is text unless the pipeline's params schema says that it is something else, or
// the argument says so itself by `key:=JSON`.
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { UsageError } from './failure.ts';
import { isJsonObject, readJson } from './json.ts';

/** Reads `-l key=value` arguments. */
export function parseLabels(args: readonly string[]): Record<string, string> {
  return Object.fromEntries(args.map((arg) => splitArgument(arg, 'label')));
}

/** Reads `-p key=value` and `-p key:=JSON` arguments. @param what Of what they are, in messages. */
export function parseParams(args: readonly string[], schema: JsonObject | undefined, what = 'param'): JsonObject {
  return Object.fromEntries(
    args.map((arg) => {
      const [key, value] = splitArgument(arg, what);
      if (key.endsWith(':')) return [key.slice(0, -1), parseJson(what, key.slice(0, -1), value)];
      // What is not JSON is sent as text, so that the server says what the schema wants.
      return [key, isTextParam(schema, key) ? value : (readJson(value) ?? value)];
    }),
  );
}

function splitArgument(arg: string, what: string): [key: string, value: string] {
  const at = arg.indexOf('=');
  if (at < 1) throw new UsageError(`'${arg}' is no ${what}`, `write ${what}s as key=value`);
  return [arg.slice(0, at), arg.slice(at + 1)];
}

/** True when the schema takes text here, or says nothing of it. */
function isTextParam(schema: JsonObject | undefined, key: string): boolean {
  const properties = schema?.['properties'];
  const property = isJsonObject(properties) ? properties[key] : undefined;
  const type = isJsonObject(property) ? property['type'] : undefined;
  return type === undefined || type === 'string' || (Array.isArray(type) && type.includes('string'));
}

function parseJson(what: string, key: string, text: string): JsonValue {
  const value = readJson(text);
  if (value === undefined)
    throw new UsageError(`${what} ${key}: '${text}' is not JSON`, `write ${key}=${text} for text`);
  return value;
}
