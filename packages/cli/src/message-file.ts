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
import { DurationSchema, StructSchema, TimestampSchema, ValueSchema } from '@bufbuild/protobuf/wkt';
import { parseDuration } from '@conveyor/client';
import { PipelineRefSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { type Document, LineCounter, isAlias, isCollection, isNode, isPair, isScalar, parseDocument } from 'yaml';
import { parseTime } from './text.ts';

/** What a kind of file holds. */
export interface FileKind<Desc extends DescMessage> {
  readonly desc: Desc;
  /** Completes "must hold …". */
  readonly what: string;
  /** The fields beside those of the message, with what each is. */
  readonly beside: Readonly<Record<string, ScalarType.STRING | ScalarType.BOOL>>;
  /** What leads to the message in the paths of the server. */
  readonly prefix: RegExp;
}

/** A message, and where each part of it stands in its file. */
export interface MessageFile<Desc extends DescMessage> {
  readonly message: MessageShape<Desc>;
  /** The fields beside the message that the file gives. */
  readonly beside: Readonly<Record<string, unknown>>;
  /** `FILE:LINE:COLUMN` of a field by its path as the server writes it, or of what is nearest above it. */
  locate(fieldPath: string): string;
}

/** One thing that is wrong with a file. */
export interface FileProblem {
  /** `FILE:LINE:COLUMN`. */
  readonly place: string;
  /** Path of the field, such as `jobs[2].needs[0]`; empty when it is about the whole file. */
  readonly field: string;
  readonly message: string;
}

/** Problems as text, one a line. */
export function problemsText(problems: readonly FileProblem[]): string {
  return problems
    .map(({ place, field, message }) => `${place}: ${field === '' ? '' : `${field}: `}${message}`)
    .join('\n');
}

/** Aliases that may be resolved before a file counts as an attempt to exhaust memory. */
const maxAliasCount = 100;

/** Reads a message from YAML or JSON; answers with everything that is wrong with it when something is. */
export function parseMessageFile<Desc extends DescMessage>(
  source: string,
  fileName: string,
  kind: FileKind<Desc>,
): MessageFile<Desc> | readonly FileProblem[] {
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, merge: true, prettyErrors: false });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${fileName}:${line}:${col}`;
  };
  if (document.errors.length > 0) {
    return document.errors.map((e) => ({ place: at(e.pos[0]), field: '', message: e.message }));
  }
  const problems: FileProblem[] = [];
  const place = (path: Path) => at(offsetOf(document, path));
  const beside = Object.keys(kind.beside);
  const reader: Reader = {
    beside,
    refuse: (path, message) => problems.push({ place: place(path), field: pathText(path), message }),
  };
  const root = Object.entries(readRoot(document, kind.what, reader));
  const fields = Object.fromEntries(root.filter(([key]) => !beside.includes(key)));
  const own = Object.fromEntries(root.filter(([key]) => beside.includes(key)));
  const json = readMessage(kind.desc, fields, [], reader);
  for (const [key, value] of Object.entries(own)) readScalar(kind.beside[key], value, [key], reader);
  if (problems.length > 0) return problems;
  return {
    message: fromJson(kind.desc, json),
    beside: own,
    locate: (fieldPath) => place(parsePath(fieldPath, kind.prefix)),
  };
}

type Path = readonly (string | number)[];

interface Reader {
  readonly beside: readonly string[];
  refuse(path: Path, message: string): void;
}

function readRoot(document: Document, what: string, reader: Reader): Readonly<Record<string, unknown>> {
  let root: unknown;
  try {
    root = document.toJS({ maxAliasCount });
  } catch (thrown) {
    reader.refuse([], thrown instanceof Error ? thrown.message : String(thrown));
    return {};
  }
  if (isObject(root)) return root;
  reader.refuse([], `must hold ${what}`);
  return {};
}

function readMessage(desc: DescMessage, value: unknown, path: Path, reader: Reader): JsonValue {
  if (desc.typeName === StructSchema.typeName) return readStruct(value, path, reader);
  if (desc.typeName === ValueSchema.typeName) return readJson(value, path, reader);
  if (desc.typeName === DurationSchema.typeName) return readDuration(value, path, reader);
  if (desc.typeName === TimestampSchema.typeName) return readTime(value, path, reader);
  if (desc.typeName === PipelineRefSchema.typeName && typeof value === 'string') return { name: value };
  if (!isObject(value)) return refused(path, 'must be a mapping', reader);
  const json: JsonObject = {};
  for (const [key, entry] of Object.entries(value)) {
    const field = desc.fields.find(({ jsonName, name }) => key === jsonName || key === name);
    if (field === undefined) {
      const known = desc.fields.map(({ jsonName }) => jsonName);
      reader.refuse(
        [...path, key],
        `is no field here; these are: ${[...(path.length === 0 ? reader.beside : []), ...known].join(', ')}`,
      );
    } else if (field.jsonName in json) {
      reader.refuse([...path, key], 'is given twice');
    } else if (field.oneof?.fields.some(({ jsonName }) => jsonName in json)) {
      reader.refuse(
        [...path, key],
        `cannot be given beside ${field.oneof.fields.map((one) => one.jsonName).join(' or ')}`,
      );
    } else if (entry !== null) {
      json[field.jsonName] = readField(field, entry, [...path, key], reader);
    }
  }
  return json;
}

function readField(field: DescField, value: unknown, path: Path, reader: Reader): JsonValue {
  switch (field.fieldKind) {
    case 'list': {
      if (!Array.isArray(value)) return refused(path, 'must be a list', reader);
      return value.map((entry, index) => readElement(field, entry, [...path, index], reader));
    }
    case 'map': {
      if (!isObject(value)) return refused(path, 'must be a mapping', reader);
      const entries = Object.entries(value);
      return Object.fromEntries(entries.map(([key, e]) => [key, readElement(field, e, [...path, key], reader)]));
    }
    case 'message':
    case 'enum':
    case 'scalar':
      return readElement(field, value, path, reader);
  }
}

function readElement(field: DescField, value: unknown, path: Path, reader: Reader): JsonValue {
  if (field.message !== undefined) return readMessage(field.message, value, path, reader);
  if (field.enum !== undefined) return readEnum(field.enum, value, path, reader);
  return readScalar(field.scalar, value, path, reader);
}

function readScalar(scalar: ScalarType | undefined, value: unknown, path: Path, reader: Reader): JsonValue {
  if (scalar === ScalarType.STRING) {
    if (typeof value === 'string') return value;
    return refused(path, typeof value === 'object' ? 'must be text' : 'must be text; put it in quotes', reader);
  }
  if (scalar === ScalarType.BOOL) {
    return typeof value === 'boolean' ? value : refused(path, 'must be true or false', reader);
  }
  if (typeof value !== 'number' || !Number.isFinite(value)) return refused(path, 'must be a number', reader);
  if (scalar === ScalarType.DOUBLE || Number.isInteger(value)) return value;
  return refused(path, 'must be a whole number', reader);
}

function readEnum(desc: DescEnum, value: unknown, path: Path, reader: Reader): JsonValue {
  const prefix = (desc.sharedPrefix ?? '').toUpperCase();
  const choices = desc.values.filter(({ number }) => number !== 0);
  const chosen = choices.find(
    ({ name }) => typeof value === 'string' && (value === name || value.toUpperCase() === name.slice(prefix.length)),
  );
  if (chosen !== undefined) return chosen.name;
  const known = choices.map(({ name }) => name.slice(prefix.length).toLowerCase()).join(' or ');
  return refused(path, `must be ${known}`, reader);
}

function readDuration(value: unknown, path: Path, reader: Reader): JsonValue {
  const duration = typeof value === 'string' ? parseDuration(value) : undefined;
  if (duration === undefined) return refused(path, 'must be a duration such as 250ms, 1.5s, 10m, 2h or 7d', reader);
  return toJson(DurationSchema, duration);
}

function readTime(value: unknown, path: Path, reader: Reader): JsonValue {
  const time = typeof value === 'string' ? parseTime(value) : undefined;
  return time?.toISOString() ?? refused(path, 'must be a time such as 2026-01-31 or 2026-01-31T12:00:00Z', reader);
}

function readStruct(value: unknown, path: Path, reader: Reader): JsonValue {
  if (!isObject(value)) return refused(path, 'must be a mapping', reader);
  return readJson(value, path, reader);
}

function readJson(value: unknown, path: Path, reader: Reader): JsonValue {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  if (Array.isArray(value)) return value.map((entry, index) => readJson(entry, [...path, index], reader));
  if (!isObject(value)) return refused(path, 'has no form in JSON', reader);
  return Object.fromEntries(Object.entries(value).map(([key, e]) => [key, readJson(e, [...path, key], reader)]));
}

function refused(path: Path, message: string, reader: Reader): null {
  reader.refuse(path, message);
  return null;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Where the node at a path begins, its key when it has one; where a path leads nowhere, the last node on it. */
function offsetOf(document: Document, path: Path): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (!isCollection(node)) break;
    const item = itemAt(node.items, step);
    if (item === undefined) break;
    offset = startOf(isPair(item) ? item.key : item) ?? offset;
    node = isPair(item) ? item.value : item;
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

/** The entry of a list or mapping. A field may be written in camelCase or snake_case. */
function itemAt(items: readonly unknown[], step: string | number): unknown {
  const keyOf = (item: unknown) => (isPair(item) && isScalar(item.key) ? String(item.key.value) : undefined);
  if (typeof step === 'number' && !isPair(items[step])) return items[step];
  const key = String(step);
  return (
    items.find((item) => keyOf(item) === key) ??
    items.find((item) => toSnakeCase(keyOf(item) ?? '') === toSnakeCase(key))
  );
}

function toSnakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function pathText(path: Path): string {
  return path
    .map((step, index) => (typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${step}`))
    .join('');
}

/** Reads a path as the server writes it, such as `run.definition.jobs[2].labels["a.b"]`. */
function parsePath(text: string, prefix: RegExp): Path {
  const inMessage = text.replace(prefix, '');
  return Array.from(inMessage.matchAll(/\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([^.[\]]+)/g), ([, index, key, field]) =>
    index === undefined ? (key ?? field ?? '') : Number(index),
  );
}
