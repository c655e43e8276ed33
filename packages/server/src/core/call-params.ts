// What is known before a run of the params of a call: the values of those that hold no expression, and the names of all. What a schema says
// of several params at a time may depend on those that are not known, and is left to the run.
import { mentionsTemplate } from './expressions/template.ts';
import type { JsonObject, JsonValue } from './json.ts';

/** Where a schema keeps what others refer to. */
const SHARED = ['$schema', '$id', '$anchor', '$defs', 'definitions'] as const;

/** The params that hold no expression. The same object: all of them. */
export function knownParams(params: JsonObject): JsonObject {
  const known = Object.entries(params).filter(([, value]) => !mentionsTemplate(value));
  return known.length === Object.keys(params).length ? params : Object.fromEntries(known);
}

/** What a schema says of the value of each param by itself. */
export function valuesSchema(schema: JsonObject): JsonObject {
  const { properties, patternProperties, additionalProperties } = schema;
  return {
    ...pick(schema, SHARED),
    ...(properties !== undefined && { properties }),
    ...(patternProperties !== undefined && { patternProperties }),
    ...(isObject(additionalProperties) && { additionalProperties }),
  };
}

/** Which params a schema asks for, and which there may be. */
export function namesSchema(schema: JsonObject): JsonObject {
  const { properties = {}, patternProperties = {}, additionalProperties, required } = schema;
  const known = isObject(properties) ? properties : {};
  const isFilledIn = (name: string): boolean => {
    const property = known[name];
    // Other parts of the schema may have a default for it.
    return 'allOf' in schema || '$ref' in schema || (isObject(property) && 'default' in property);
  };
  const wanted = Array.isArray(required) ? required.filter((name) => typeof name === 'string') : [];
  const anyOf = (names: JsonValue): JsonObject =>
    Object.fromEntries(Object.keys(isObject(names) ? names : {}).map((name) => [name, true]));
  return {
    properties: anyOf(known),
    patternProperties: anyOf(patternProperties),
    ...(additionalProperties === false && { additionalProperties }),
    required: wanted.filter((name) => !isFilledIn(name)),
  };
}

function pick(schema: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => names.includes(name)));
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
