// Owns plain options as messages of the contract: fields by their names there, enums as short texts (`always`), durations as `10m`, and an
// expression in place of a number. It walks the contract's own descriptors, so that it takes each field that the contract has, and tells
// everything that is wrong at once.
import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  type MessageShape,
  fromJson,
  ScalarType,
  toJson,
} from '@bufbuild/protobuf';
import { DurationSchema, StructSchema, ValueSchema } from '@bufbuild/protobuf/wkt';
import { parseDuration } from './duration.ts';

/** Fields that a message has and options give, by name. */
type Options = Readonly<Record<string, unknown>>;

/** Adds what is wrong with options to `problems`, a line each that begins with the field. Undefined: something is. */
export function readOptions<Desc extends DescMessage>(
  desc: Desc,
  options: object,
  problems: string[],
): MessageShape<Desc> | undefined {
  const before = problems.length;
  const json = readFields(desc, { ...options }, '', problems);
  if (problems.length > before) return undefined;
  try {
    return fromJson(desc, json);
  } catch (error) {
    // What is no JSON in a value that may be any, and numbers out of range.
    problems.push(error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

/** Tells fields that are none of these. */
export function refuseUnknown(options: object, known: readonly string[], path: string, problems: string[]): void {
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || known.includes(key)) continue;
    problems.push(`${path}${key} is no field here; these are: ${known.join(', ')}`);
  }
}

/** The names by which options may give the fields of a message: an expression stands in the place of its number. */
export function fieldNames({ fields }: DescMessage): readonly string[] {
  const expressions = new Set(fields.map((field) => expressionFieldOf(field)?.name));
  return fields.filter(({ name }) => !expressions.has(name)).map(({ jsonName }) => jsonName);
}

function readFields(desc: DescMessage, options: Options, path: string, problems: string[]): JsonObject {
  const known = fieldNames(desc);
  refuseUnknown(options, known, path, problems);
  const json: JsonObject = {};
  for (const field of desc.fields) {
    const value = known.includes(field.jsonName) ? options[field.jsonName] : undefined;
    if (value === undefined) continue;
    const expression = typeof value === 'string' ? expressionFieldOf(field) : undefined;
    json[(expression ?? field).jsonName] = readField(expression ?? field, value, `${path}${field.jsonName}`, problems);
  }
  return json;
}

function readField(field: DescField, value: unknown, path: string, problems: string[]): JsonValue {
  switch (field.fieldKind) {
    case 'list': {
      if (!Array.isArray(value)) return refused(problems, `${path} must be a list`);
      return value.map((item: unknown, index) => readElement(field, item, `${path}[${index}]`, problems));
    }
    case 'map': {
      if (!isOptions(value)) return refused(problems, `${path} must be an object`);
      const entries = Object.entries(value).filter(([, item]) => item !== undefined);
      return Object.fromEntries(
        entries.map(([key, item]) => [key, readElement(field, item, `${path}.${key}`, problems)]),
      );
    }
    case 'message':
    case 'enum':
    case 'scalar':
      return readElement(field, value, path, problems);
  }
}

function readElement(field: DescField, value: unknown, path: string, problems: string[]): JsonValue {
  if (field.enum !== undefined) return readEnum(field.enum, value, path, problems);
  if (field.message !== undefined) return readMessage(field.message, value, path, problems);
  const wanted = wantedOf(field.scalar);
  const isRight = wanted === 'whole number' ? Number.isInteger(value) : typeof value === wanted;
  return isRight ? (value as JsonValue) : refused(problems, `${path} must be a ${wanted}; got ${shown(value)}`);
}

function readMessage(desc: DescMessage, value: unknown, path: string, problems: string[]): JsonValue {
  if (desc.typeName === ValueSchema.typeName) return value as JsonValue;
  if (desc.typeName === DurationSchema.typeName) {
    const duration = typeof value === 'string' ? parseDuration(value) : undefined;
    if (duration !== undefined) return toJson(DurationSchema, duration);
    return refused(problems, `${path} must be a duration such as 250ms, 1.5s, 10m, 2h or 7d; got ${shown(value)}`);
  }
  if (!isOptions(value)) return refused(problems, `${path} must be an object; got ${shown(value)}`);
  if (desc.typeName === StructSchema.typeName) return value as JsonObject;
  return readFields(desc, value, `${path}.`, problems);
}

function readEnum(
  { sharedPrefix = '', values }: DescEnum,
  value: unknown,
  path: string,
  problems: string[],
): JsonValue {
  const choices = values.filter(({ number }) => number !== 0).map(({ name }) => name);
  const chosen = choices.find((name) => name.slice(sharedPrefix.length).toLowerCase() === value);
  if (chosen !== undefined) return chosen;
  const known = choices.map((name) => `'${name.slice(sharedPrefix.length).toLowerCase()}'`);
  return refused(problems, `${path} must be ${known.join(' or ')}; got ${shown(value)}`);
}

/** The field for an expression in place of the number of another one. */
function expressionFieldOf({ parent, name, scalar }: DescField): DescField | undefined {
  if (scalar !== ScalarType.INT32) return undefined;
  return parent.fields.find((other) => other.name === `${name}_expression`);
}

function wantedOf(scalar: ScalarType | undefined): 'string' | 'boolean' | 'number' | 'whole number' {
  if (scalar === ScalarType.STRING) return 'string';
  if (scalar === ScalarType.BOOL) return 'boolean';
  return scalar === ScalarType.DOUBLE ? 'number' : 'whole number';
}

function isOptions(value: unknown): value is Options {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  if (typeof value === 'string') return value.length > 100 ? `'${value.slice(0, 100)}…'` : `'${value}'`;
  if (typeof value !== 'object' || value === null) return String(value);
  return Array.isArray(value) ? 'a list' : 'an object';
}

function refused(problems: string[], problem: string): null {
  problems.push(problem);
  return null;
}
