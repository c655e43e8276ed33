// Owns messages of the contract written as YAML: their JSON form beside a few fields of the file's own, where enums may be short
// (`always`), durations and times readable (`10m`, `2026-01-31T12:00:00Z`), and a pipeline just a name. Everything wrong with a file is
// reported at once, by line and column.
import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  type MessageShape,
  ScalarType,
  fromJson,
  toJson,
} from '@bufbuild/protobuf';
import { DurationSchema, ListValueSchema, StructSchema, TimestampSchema, ValueSchema } from '@bufbuild/protobuf/wkt';
import { parseDuration } from '@conveyor/client';
import { PipelineRefSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { nearestName } from '@conveyor/server/nearest-name';
import { byPlace, type FileField, type FileProblem, MAX_PROBLEMS } from './file-problem.ts';
import { parseTime } from './text.ts';
import {
  type Spot,
  type YamlEntry,
  type YamlFile,
  type YamlMap,
  type YamlNode,
  parseYaml,
  pathText,
} from './yaml-tree.ts';

/** What a kind of file holds. */
export interface FileKind<Desc extends DescMessage> {
  readonly desc: Desc;
  /** Completes "must hold …". */
  readonly what: string;
  /** The fields beside those of the message, with what each is. */
  readonly beside: Readonly<Record<string, BesideField>>;
  /** What leads to the message in the paths of the server. */
  readonly prefix: RegExp;
}

/** A field of the file that the message has not. */
export interface BesideField {
  readonly type: ScalarType.STRING | ScalarType.BOOL;
  /** Says what it is for. */
  readonly description: string;
}

/** A message, and where each part of it stands in its file. */
export interface MessageFile<Desc extends DescMessage> {
  readonly message: MessageShape<Desc>;
  /** The fields beside the message that the file gives. */
  readonly beside: Readonly<Record<string, string | boolean>>;
  /** A field by its path as the server writes it: its path in the file, and where it or what is nearest above it stands. */
  locate(fieldPath: string): FileField;
}

/** How durations are written: no larger than the contract's Duration may be. */
export const DURATION_PATTERN =
  /^(?:\d{1,14}(?:\.\d{1,9})?ms|\d{1,11}(?:\.\d{1,9})?s|\d{1,9}(?:\.\d{1,9})?m|\d{1,7}(?:\.\d{1,9})?h|\d{1,6}(?:\.\d{1,9})?d)$/;

/** The whole numbers that a field takes. */
export function boundsOf(scalar: ScalarType): { readonly min: number; readonly max: number } {
  switch (scalar) {
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return { min: -2_147_483_648, max: 2_147_483_647 };
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return { min: 0, max: 4_294_967_295 };
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER };
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return { min: 0, max: Number.MAX_SAFE_INTEGER };
    case ScalarType.STRING:
    case ScalarType.BOOL:
    case ScalarType.BYTES:
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      throw new TypeError(`a field of type ${ScalarType[scalar]} takes no whole numbers`);
  }
}

/** The names by which a file may give a value of an enum: short ones, in any case, and those of the contract. */
export function choicesOf(desc: DescEnum | undefined): readonly { readonly short: string; readonly name: string }[] {
  const prefix = desc?.sharedPrefix ?? '';
  return (desc?.values ?? [])
    .filter(({ number }) => number !== 0)
    .map(({ name }) => ({ short: name.slice(prefix.length).toLowerCase(), name }));
}

/** The field for an expression in place of the number of another one: a file gives either of them by the name of the number. */
export function expressionFieldOf({ parent, name, scalar }: DescField): DescField | undefined {
  if (scalar !== ScalarType.INT32) return undefined;
  return parent.fields.find((other) => other.name === `${name}_expression` && other.scalar === ScalarType.STRING);
}

/** Whether a text has an expression. */
export const EXPRESSION_PATTERN = /\$\{\{/;

/** Sets of fields of which a message has one at most. */
export function alternativesIn(desc: DescMessage): readonly (readonly DescField[])[] {
  const numbers = desc.fields.flatMap((field) => {
    const expression = expressionFieldOf(field);
    return expression === undefined ? [] : [[field, expression]];
  });
  return [...desc.oneofs.map(({ fields }) => fields), ...numbers];
}

/** Reads a message from YAML or JSON; answers with everything that is wrong with it when something is. */
export function parseMessageFile<Desc extends DescMessage>(
  source: string | Uint8Array,
  fileName: string,
  kind: FileKind<Desc>,
): MessageFile<Desc> | readonly FileProblem[] {
  const file = parseYaml(source, fileName);
  if (!('root' in file)) return file;
  const { root } = file;
  if (root.kind !== 'map') {
    if (root.kind !== 'refused') file.refuse(undefined, `must hold ${kind.what}`);
    return file.problems;
  }
  const besideNames = Object.keys(kind.beside);
  const fields = new Map([...root.entries].filter(([key]) => !besideNames.includes(key)));
  const json = readFields(kind.desc, { ...root, entries: fields }, undefined, { file, beside: besideNames });
  const beside: Record<string, string | boolean> = {};
  for (const [key, { type }] of Object.entries(kind.beside)) {
    const entry = root.entries.get(key);
    if (entry === undefined || entry.value.kind === 'refused') continue;
    const value = readScalar(type, entry.value, { parent: undefined, step: key, offset: entry.offset }, { file });
    if (typeof value === 'string' || typeof value === 'boolean') beside[key] = value;
  }
  if (file.problems.length > 0) return file.problems.toSorted(byPlace);
  return {
    message: fromJson(kind.desc, json),
    beside,
    locate(fieldPath) {
      const { offset, spot } = placeIn(root, parsePath(fieldPath.replace(kind.prefix, '')));
      return { ...file.placeOf(offset), path: pathText(spot) };
    },
  };
}

interface Reader {
  readonly file: YamlFile;
  /** Names that the root has beside those of its message. */
  readonly beside?: readonly string[];
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
  return readFields(desc, node, at, { file: reader.file });
}

function readFields(desc: DescMessage, { entries }: YamlMap, parent: Spot | undefined, reader: Reader): JsonObject {
  const json: JsonObject = {};
  const given = new Set<string>();
  const alternatives = alternativesIn(desc);
  for (const [key, { offset, value }] of entries) {
    // Looking for what was meant takes time.
    if (reader.file.problems.length >= MAX_PROBLEMS) break;
    const at = { parent, step: key, offset };
    const field = desc.fields.find(({ jsonName, name }) => key === jsonName || key === name);
    if (field === undefined) {
      const known = [...(reader.beside ?? []), ...desc.fields.map(({ jsonName }) => jsonName)];
      reader.file.refuse(at, `is no field here; ${hint(key, known)}these are: ${known.join(', ')}`);
      continue;
    }
    if (given.has(field.jsonName)) {
      reader.file.refuse(at, 'is given twice');
      continue;
    }
    const others = alternatives.find((fields) => fields.includes(field)) ?? [];
    const expression = isExpression(value) ? expressionFieldOf(field) : undefined;
    if (others.some(({ jsonName }) => given.has(jsonName))) {
      const either = others.map((one) => one.jsonName).join(' or ');
      reader.file.refuse(at, `cannot be given beside ${either}`);
    } else if (!isNull(value)) {
      json[(expression ?? field).jsonName] = readField(expression ?? field, value, at, reader);
    }
    given.add(field.jsonName);
  }
  return json;
}

function readField(field: DescField, node: YamlNode, at: Spot, reader: Reader): JsonValue {
  if (node.kind === 'refused') return null;
  switch (field.fieldKind) {
    case 'list': {
      if (node.kind !== 'list') return refused(at, 'must be a list', reader);
      return node.items.map((item, index) =>
        readElement(field, item, { parent: at, step: index, offset: item.offset }, reader),
      );
    }
    case 'map': {
      if (node.kind !== 'map') return refused(at, 'must be a mapping', reader);
      const read = [...node.entries].map(([key, { offset, value }]) => [
        key,
        readElement(field, value, { parent: at, step: key, offset }, reader),
      ]);
      return Object.fromEntries(read);
    }
    case 'message':
    case 'enum':
    case 'scalar':
      return readElement(field, node, at, reader);
  }
}

function readElement(field: DescField, node: YamlNode, at: Spot, reader: Reader): JsonValue {
  if (node.kind === 'refused') return null;
  if (field.message !== undefined) return readMessage(field.message, node, at, reader);
  if (field.enum !== undefined) return readEnum(field.enum, node, at, reader);
  if (expressionFieldOf(field) !== undefined && node.kind === 'scalar' && typeof node.value === 'string')
    return refused(at, 'must be a whole number, or an expression of one as ${{ params.limit }}', reader);
  return readScalar(field.scalar, node, at, reader);
}

function readScalar(scalar: ScalarType | undefined, node: YamlNode, at: Spot, reader: Reader): JsonValue {
  const value = node.kind === 'scalar' ? node.value : undefined;
  if (scalar === ScalarType.STRING) {
    if (typeof value === 'string') return value;
    return refused(at, value === undefined ? 'must be text' : 'must be text; put it in quotes', reader);
  }
  if (scalar === ScalarType.BOOL) {
    return typeof value === 'boolean' ? value : refused(at, 'must be true or false', reader);
  }
  if (typeof value !== 'number') return refused(at, 'must be a number', reader);
  if (scalar === undefined || scalar === ScalarType.DOUBLE || scalar === ScalarType.FLOAT) return value;
  if (!Number.isInteger(value)) return refused(at, 'must be a whole number', reader);
  const { min, max } = boundsOf(scalar);
  return value >= min && value <= max ? value : refused(at, `must be a whole number from ${min} to ${max}`, reader);
}

function readEnum(desc: DescEnum, node: YamlNode, at: Spot, reader: Reader): JsonValue {
  const value = node.kind === 'scalar' && typeof node.value === 'string' ? node.value : undefined;
  const choices = choicesOf(desc);
  const chosen = choices.find(({ short, name }) => value === name || value?.toLowerCase() === short);
  if (chosen !== undefined) return chosen.name;
  const known = choices.map(({ short }) => short);
  const near = value === undefined ? '' : hint(value.toLowerCase(), known).replace(/ $/, '');
  return refused(at, `must be ${known.join(' or ')}${near === '' ? '' : `; ${near}`}`, reader);
}

function readDuration(node: YamlNode, at: Spot, reader: Reader): JsonValue {
  const text = node.kind === 'scalar' && typeof node.value === 'string' ? node.value : '';
  const duration = DURATION_PATTERN.test(text) ? parseDuration(text) : undefined;
  if (duration === undefined) return refused(at, 'must be a duration such as 250ms, 1.5s, 10m, 2h or 7d', reader);
  return toJson(DurationSchema, duration);
}

function readTime(node: YamlNode, at: Spot, reader: Reader): JsonValue {
  const time = node.kind === 'scalar' && typeof node.value === 'string' ? parseTime(node.value) : undefined;
  return time?.toISOString() ?? refused(at, 'must be a time such as 2026-01-31 or 2026-01-31T12:00:00Z', reader);
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

function refused(at: Spot, message: string, { file }: Reader): null {
  file.refuse(at, message);
  return null;
}

/** `did you mean X? ` when one of the names is near. */
function hint(wrong: string, names: readonly string[]): string {
  const near = nearestName(wrong, names);
  return near === undefined ? '' : `did you mean ${near}? `;
}

function isExpression(node: YamlNode): boolean {
  return node.kind === 'scalar' && typeof node.value === 'string' && EXPRESSION_PATTERN.test(node.value);
}

function isNull(node: YamlNode): boolean {
  return node.kind === 'scalar' && node.value === null;
}

const EXPRESSION_SUFFIX = /(?:_expression|Expression)$/;

/**
 * Where the field at a path begins, its key when it has one, and its path in the names that the file has for it; where a path leads
 * nowhere, it begins where the last one on it does. An expression is given by the name of the number that it stands for. A condition
 * begins where its text does: what is wrong with it is told by its columns.
 */
function placeIn(
  root: YamlNode,
  path: readonly (string | number)[],
): { readonly offset: number; readonly spot: Spot | undefined } {
  let node: YamlNode | undefined = root;
  let offset = root.offset;
  let spot: Spot | undefined;
  for (const step of path) {
    const key: string | undefined = node?.kind === 'map' ? keyOf(node, String(step)) : undefined;
    const entry: YamlEntry | undefined = node?.kind === 'map' && key !== undefined ? node.entries.get(key) : undefined;
    node = entry?.value ?? (node?.kind === 'list' && typeof step === 'number' ? node.items[step] : undefined);
    if (node !== undefined) offset = (step === 'if' ? undefined : entry?.offset) ?? node.offset;
    spot = { parent: spot, step: key ?? step, offset };
  }
  return { offset, spot };
}

/** The key of a field, which may be written in camelCase or snake_case. */
function keyOf({ entries }: YamlMap, name: string): string | undefined {
  const number = name.replace(EXPRESSION_SUFFIX, '');
  return [name, camelCase(name), number, camelCase(number)].find((key) => entries.has(key));
}

function camelCase(name: string): string {
  return name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Reads a path as the server writes it, such as `jobs[2].labels["a.b"]`. */
function parsePath(text: string): (string | number)[] {
  return Array.from(text.matchAll(/\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([^.[\]]+)/g), ([, index, key, field]) =>
    index === undefined ? (key ?? field ?? '') : Number(index),
  );
}
