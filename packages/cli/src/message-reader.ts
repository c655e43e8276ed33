// Owns reading a message from a tree. What is refused is told and read as what was most likely meant, as far as that can be known, so that
// whoever gets the message finds what else is wrong.
import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  ScalarType,
  toJson,
} from '@bufbuild/protobuf';
import { DurationSchema, ListValueSchema, StructSchema, TimestampSchema, ValueSchema } from '@bufbuild/protobuf/wkt';
import { parseDuration } from '@conveyor/client';
import { PipelineRefSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { nearestName } from '@conveyor/server/nearest-name';
import type { MeantFields } from './field-places.ts';
import { MAX_PROBLEMS } from './file-problem.ts';
import {
  alternativesIn,
  boundsOf,
  choicesOf,
  DURATION_PATTERN,
  EXPRESSION_PATTERN,
  expressionFieldOf,
} from './message-fields.ts';
import { parseTime } from './text.ts';
import type { Instead, Spot, YamlEntry, YamlFile, YamlMap, YamlNode, YamlScalar } from './yaml-tree.ts';

/** What is read, and what was found out about it so far. */
export interface Reader {
  readonly file: YamlFile;
  readonly meant: MeantFields;
}

/** Reads the fields of a message, as JSON. @param beside Names that a mapping has beside them. */
export function readFields(
  desc: DescMessage,
  map: YamlMap,
  parent: Spot | undefined,
  reader: Reader,
  beside: readonly string[] = [],
): JsonObject {
  const json: JsonObject = {};
  const given = new Set<string>();
  const alternatives = alternativesIn(desc);
  for (const [key, { offset, value }] of map.entries) {
    // Looking for what was meant takes time.
    if (reader.file.problems.length >= MAX_PROBLEMS) break;
    if (beside.includes(key)) continue;
    const at = { parent, step: key, offset };
    const named = fieldOf(desc, key);
    const field = named ?? meantField(desc, map, at, reader, beside);
    if (field === undefined) continue;
    if (given.has(field.jsonName)) {
      reader.file.refuse(at, 'is given twice', 'guess');
      continue;
    }
    const others = alternatives.find((fields) => fields.includes(field)) ?? [];
    const expression = isExpression(value) ? expressionFieldOf(field) : undefined;
    if (others.some(({ jsonName }) => given.has(jsonName))) {
      const either = others.map((one) => one.jsonName).join(' or ');
      if (named !== undefined) reader.file.refuse(at, `cannot be given beside ${either}`, 'guess');
    } else if (!isNull(value)) {
      json[(expression ?? field).jsonName] = readField(expression ?? field, value, at, reader);
    }
    given.add(field.jsonName);
  }
  return json;
}

function fieldOf(desc: DescMessage, key: string): DescField | undefined {
  return desc.fields.find(({ jsonName, name }) => key === jsonName || key === name);
}

/** Refuses a key that is no field. The field that was most likely meant is what it is read as, unless something else gives that. */
function meantField(
  desc: DescMessage,
  map: YamlMap,
  at: Spot & { readonly step: string },
  { file, meant }: Reader,
  beside: readonly string[],
): DescField | undefined {
  const known = [...beside, ...desc.fields.map(({ jsonName }) => jsonName)];
  const near = nearestName(at.step, known);
  const field = near === undefined ? undefined : fieldOf(desc, near);
  const names = field === undefined ? [near ?? ''] : [field.jsonName, field.name];
  const taken = meant.get(map) ?? new Map<string, string>();
  const isMeant = near !== undefined && !names.some((name) => map.entries.has(name) || taken.has(name));
  file.refuse(at, `is no field here; ${hint(near)}these are: ${known.join(', ')}`, isMeant ? 'field' : 'no field');
  if (!isMeant) return undefined;
  for (const name of names) taken.set(name, at.step);
  meant.set(map, taken);
  return field;
}

/** What a mapping has by a name, or by a key that was read as it. */
export function entryOf(map: YamlMap, name: string, { meant }: Reader): YamlEntry | undefined {
  return map.entries.get(name) ?? map.entries.get(meant.get(map)?.get(name) ?? name);
}

function readMessage(desc: DescMessage, node: YamlNode, at: Spot, reader: Reader): JsonValue {
  switch (desc.typeName) {
    case StructSchema.typeName:
      return node.kind === 'map' ? jsonOf(node) : refused(at, 'must be a mapping', reader);
    case ListValueSchema.typeName:
      return node.kind === 'list' ? jsonOf(node) : refused(at, 'must be a list', reader);
    case ValueSchema.typeName:
      return jsonOf(node);
    case DurationSchema.typeName:
      return readDuration(node, at, reader);
    case TimestampSchema.typeName:
      return readTime(node, at, reader);
    case PipelineRefSchema.typeName:
      if (node.kind === 'scalar' && typeof node.value === 'string') return { name: node.value };
  }
  if (node.kind !== 'map') return refused(at, 'must be a mapping', reader);
  return readFields(desc, node, at, reader);
}

/** Null where something was refused, and nothing read instead. */
function readField(field: DescField, node: YamlNode, at: Spot, reader: Reader): JsonValue {
  if (node.kind === 'refused') return null;
  switch (field.fieldKind) {
    case 'list': {
      if (node.kind !== 'list') return readLoneText(field, node, at, reader);
      // An element that was refused keeps its place, so that those after it keep theirs.
      return node.items.map(
        (item, index) =>
          readElement(field, item, { parent: at, step: index, offset: item.offset }, reader) ?? emptyOf(field),
      );
    }
    case 'map': {
      if (node.kind !== 'map') return refused(at, 'must be a mapping', reader);
      const members: [string, JsonValue][] = [];
      for (const [key, { offset, value }] of node.entries) {
        const read = readElement(field, value, { parent: at, step: key, offset }, reader);
        if (read !== null || isValue(field)) members.push([key, read]);
      }
      return Object.fromEntries(members);
    }
    case 'message':
    case 'enum':
    case 'scalar':
      return readElement(field, node, at, reader);
  }
}

/** A text in place of a list is meant as its only element. */
function readLoneText(field: DescField, node: YamlNode, at: Spot, reader: Reader): JsonValue {
  const text = node.kind === 'scalar' && field.scalar === ScalarType.STRING ? textOf(node) : null;
  return refused(at, 'must be a list', reader, text === null ? null : [text]);
}

function emptyOf(field: DescField): JsonValue {
  if (field.message !== undefined) return isValue(field) ? null : toJson(field.message, create(field.message));
  if (field.scalar === ScalarType.STRING) return '';
  return field.scalar === ScalarType.BOOL ? false : 0;
}

function isValue({ message }: DescField): boolean {
  return message?.typeName === ValueSchema.typeName;
}

function readElement(field: DescField, node: YamlNode, at: Spot, reader: Reader): JsonValue {
  if (node.kind === 'refused') return null;
  if (field.message !== undefined) return readMessage(field.message, node, at, reader);
  if (field.enum !== undefined) return readEnum(field.enum, node, at, reader);
  if (expressionFieldOf(field) !== undefined && node.kind === 'scalar' && typeof node.value === 'string')
    return refusedScalar(at, 'must be a whole number, or an expression of one as ${{ params.limit }}', reader);
  return readScalar(field.scalar, node, at, reader);
}

export function readScalar(scalar: ScalarType | undefined, node: YamlNode, at: Spot, reader: Reader): JsonValue {
  const value = node.kind === 'scalar' ? node.value : undefined;
  if (scalar === ScalarType.STRING) {
    if (typeof value === 'string') return value;
    if (node.kind !== 'scalar') return refusedScalar(at, 'must be text', reader);
    return refusedScalar(at, 'must be text; put it in quotes', reader, textOf(node));
  }
  if (scalar === ScalarType.BOOL) {
    return typeof value === 'boolean' ? value : refusedScalar(at, 'must be true or false', reader);
  }
  if (typeof value !== 'number') return refusedScalar(at, 'must be a number', reader);
  if (scalar === undefined || scalar === ScalarType.DOUBLE || scalar === ScalarType.FLOAT) return value;
  if (!Number.isInteger(value)) return refusedScalar(at, 'must be a whole number', reader);
  const { min, max } = boundsOf(scalar);
  return value >= min && value <= max
    ? value
    : refusedScalar(at, `must be a whole number from ${min} to ${max}`, reader);
}

/** A value as text: as it is written. */
function textOf({ value, source }: YamlScalar): string | null {
  return typeof value === 'string' || value === null ? value : source;
}

function readEnum(desc: DescEnum, node: YamlNode, at: Spot, reader: Reader): JsonValue {
  const value = node.kind === 'scalar' && typeof node.value === 'string' ? node.value : undefined;
  const choices = choicesOf(desc);
  const chosen = choices.find(({ short, name }) => value === name || value?.toLowerCase() === short);
  if (chosen !== undefined) return chosen.name;
  const known = choices.map(({ short }) => short);
  const near = value === undefined ? undefined : nearestName(value.toLowerCase(), known);
  const message = `must be ${known.join(' or ')}${near === undefined ? '' : `; did you mean ${near}?`}`;
  return refusedScalar(at, message, reader, choices.find(({ short }) => short === near)?.name);
}

function readDuration(node: YamlNode, at: Spot, reader: Reader): JsonValue {
  const text = node.kind === 'scalar' && typeof node.value === 'string' ? node.value : '';
  const duration = DURATION_PATTERN.test(text) ? parseDuration(text) : undefined;
  if (duration === undefined) return refusedScalar(at, 'must be a duration such as 250ms, 1.5s, 10m, 2h or 7d', reader);
  return toJson(DurationSchema, duration);
}

function readTime(node: YamlNode, at: Spot, reader: Reader): JsonValue {
  const time = node.kind === 'scalar' && typeof node.value === 'string' ? parseTime(node.value) : undefined;
  return time?.toISOString() ?? refusedScalar(at, 'must be a time such as 2026-01-31 or 2026-01-31T12:00:00Z', reader);
}

/** Anything, as JSON. */
function jsonOf(node: YamlNode): JsonValue {
  switch (node.kind) {
    case 'refused':
      return null;
    case 'scalar':
      return node.value;
    case 'list':
      return node.items.map(jsonOf);
    case 'map':
      return Object.fromEntries([...node.entries].map(([key, { value }]) => [key, jsonOf(value)]));
  }
}

/** Refuses a value, and answers with what it is read as instead: null is nothing. */
function refused(
  at: Spot,
  message: string,
  { file }: Reader,
  guess: JsonValue = null,
  lost: Instead = 'nothing',
): JsonValue {
  file.refuse(at, message, guess === null ? lost : 'guess');
  return guess;
}

function refusedScalar(at: Spot, message: string, reader: Reader, guess: JsonValue = null): JsonValue {
  return refused(at, message, reader, guess, 'no scalar');
}

function hint(near: string | undefined): string {
  return near === undefined ? '' : `did you mean ${near}? `;
}

function isExpression(node: YamlNode): boolean {
  return node.kind === 'scalar' && typeof node.value === 'string' && EXPRESSION_PATTERN.test(node.value);
}

function isNull(node: YamlNode): boolean {
  return node.kind === 'scalar' && node.value === null;
}
