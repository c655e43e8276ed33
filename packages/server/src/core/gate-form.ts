// The form of a gate: what its answers come to, all together, and what is there when nobody has answered.
import type { JsonObject, JsonValue } from './json.ts';

/** The defaults of a form's own properties, which fill in what nobody has answered. */
export function formDefaults(form: JsonObject | undefined): JsonObject {
  const defaults = Object.entries(propertiesOf(form)).flatMap(([key, property]) =>
    isObject(property) && property['default'] !== undefined ? [[key, property['default']] as const] : [],
  );
  return Object.fromEntries(defaults);
}

/** What a form requires and has no default for: a gate that nobody has answered cannot have it. */
export function requiredWithoutDefault(form: JsonObject | undefined): readonly string[] {
  const required = form?.['required'];
  const defaults = formDefaults(form);
  if (!Array.isArray(required)) return [];
  return required.filter((key): key is string => typeof key === 'string' && !Object.hasOwn(defaults, key));
}

/**
 * Parts what a check has filled in: the keys that somebody wrote, and beside them the defaults, which must not count for more than what
 * another person wrote.
 */
export function partAnswers(
  written: JsonObject,
  filledIn: JsonObject,
): { readonly answers: JsonObject; readonly defaults: JsonObject } {
  const isWritten = ([key]: [string, JsonValue]): boolean => Object.hasOwn(written, key);
  const all = Object.entries(filledIn);
  return {
    answers: Object.fromEntries(all.filter(isWritten)),
    defaults: Object.fromEntries(all.filter((entry) => !isWritten(entry))),
  };
}

function propertiesOf(form: JsonObject | undefined): JsonObject {
  const properties = form?.['properties'];
  return isObject(properties) ? properties : {};
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
