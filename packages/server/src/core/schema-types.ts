// The types of values that fit a schema, as far as it says them plainly: by one `type`, or by values that are all of one. What else it
// says only leaves fewer values.
import { ANY, NUMBER, type StaticType } from './expressions/static-types.ts';
import type { JsonObject, JsonValue } from './json.ts';

/** The type of what is read by names, one inside of the other, wherever it is there. */
export type TypeAt = (path: readonly string[]) => StaticType;

export function typesOf(schema: JsonObject | undefined): TypeAt {
  // A schema may list many values, and be read often.
  const known = new Map<JsonValue, StaticType>();
  return (path) => {
    const at = path.reduce<JsonValue | undefined>(propertyOf, schema);
    if (!isObject(at)) return ANY;
    const type = known.get(at) ?? typeBy(at);
    known.set(at, type);
    return type;
  };
}

/** The type of all of these values. */
export function commonType(values: readonly JsonValue[]): StaticType {
  const [type = ANY, ...others] = new Set(values.map(typeOfJson));
  return others.length === 0 ? type : ANY;
}

const TYPES: ReadonlyMap<JsonValue | undefined, StaticType> = new Map([
  ['string', 'string'],
  ['integer', NUMBER],
  ['number', NUMBER],
  ['boolean', 'bool'],
  ['array', 'list'],
  ['object', 'map'],
  ['null', 'null_type'],
]);

function typeBy({ type, nullable, const: only, enum: listed }: JsonObject): StaticType {
  if (nullable === true) return ANY;
  const named = TYPES.get(type);
  if (named !== undefined) return named;
  if (only !== undefined) return typeOfJson(only);
  return Array.isArray(listed) ? commonType(listed) : ANY;
}

function typeOfJson(value: JsonValue): StaticType {
  if (value === null) return 'null_type';
  if (Array.isArray(value)) return 'list';
  return TYPES.get(typeof value) ?? ANY;
}

function propertyOf(schema: JsonValue | undefined, name: string): JsonValue | undefined {
  const properties = isObject(schema) ? schema['properties'] : undefined;
  return isObject(properties) && Object.hasOwn(properties, name) ? properties[name] : undefined;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
