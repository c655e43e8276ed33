// What is known before a run of the params of a call: the values of those that hold no expression, and the names of all.
import { mentionsTemplate } from './expressions/template.ts';
import type { JsonObject, JsonValue } from './json.ts';

/** Params, and a schema that they have to fit whatever their expressions come to. */
export interface ParamsCheck {
  readonly schema: JsonObject;
  readonly params: JsonObject;
}

/** Where a schema keeps what others refer to. */
const SHARED = ['$schema', '$id', '$anchor', '$defs', 'definitions'] as const;

/**
 * The checks of a call's params that hold before its run. Without expressions that is the schema itself; otherwise only what the schema
 * says of each param by itself, since what it says of several at a time may depend on those that are not known.
 */
export function paramsChecks(schema: JsonObject, params: JsonObject): readonly ParamsCheck[] {
  const known = Object.fromEntries(Object.entries(params).filter(([, value]) => !mentionsTemplate(value)));
  if (Object.keys(known).length === Object.keys(params).length) return [{ schema, params }];
  return [
    { schema: valuesSchema(schema), params: known },
    { schema: namesSchema(schema, params), params },
  ];
}

/** What a schema says of the value of each param. */
function valuesSchema(schema: JsonObject): JsonObject {
  const { properties, patternProperties, additionalProperties } = schema;
  return {
    ...pick(schema, SHARED),
    ...(properties !== undefined && { properties }),
    ...(patternProperties !== undefined && { patternProperties }),
    ...(isObject(additionalProperties) && { additionalProperties }),
  };
}

/** Which params a schema asks for, and which there may be. */
function namesSchema(schema: JsonObject, params: JsonObject): JsonObject {
  const { properties = {}, patternProperties = {}, additionalProperties, required } = schema;
  const known = isObject(properties) ? properties : {};
  const isFilledIn = (name: string): boolean => {
    const property = known[name];
    // Other parts of the schema may have a default for it.
    return 'allOf' in schema || '$ref' in schema || (isObject(property) && 'default' in property);
  };
  const wanted = Array.isArray(required) ? required.filter((name) => typeof name === 'string') : [];
  const asked = wanted.filter((name) => Object.hasOwn(params, name) || !isFilledIn(name));
  const anyOf = (names: JsonValue): JsonObject =>
    Object.fromEntries(Object.keys(isObject(names) ? names : {}).map((name) => [name, true]));
  return {
    properties: anyOf(known),
    patternProperties: anyOf(patternProperties),
    ...(additionalProperties === false && { additionalProperties }),
    required: asked,
  };
}

function pick(schema: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => names.includes(name)));
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
