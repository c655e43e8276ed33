// Owns messages of the contract written as YAML: their JSON form beside a few fields of the file's own, where enums may be short
// (`always`), durations and times readable (`10m`, `2026-01-31T12:00:00Z`), and a pipeline just a name. Everything wrong with a file is
// reported at once, by line and column.
import { type DescMessage, fromJson, type MessageShape, type ScalarType } from '@bufbuild/protobuf';
import type { FieldViolation } from '@conveyor/client';
import { placeOfField } from './field-places.ts';
import { byPlace, type FileField, type FileProblem } from './file-problem.ts';
import { entryOf, readFields, type Reader, readScalar } from './message-reader.ts';
import { placeInText } from './text-place.ts';
import { parseYaml, pathText, type Refusal } from './yaml-tree.ts';

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

/** Where each part of a message stands in its file. */
export interface FilePlaces {
  /** A field by its path as the server writes it: its path in the file, and where it or what is nearest above it stands. */
  locate(fieldPath: string): FileField;
  /** What the server says of a field, where it stands in the file: in a text at the very place, where that can be told. */
  problemOf(violation: FieldViolation): FileProblem;
}

/** A message, and where each part of it stands in its file. */
export interface MessageFile<Desc extends DescMessage> extends FilePlaces {
  readonly message: MessageShape<Desc>;
  /** The fields beside the message that the file gives. */
  readonly beside: Readonly<Record<string, string | boolean>>;
}

/** A file as it was most likely meant. */
export interface MeantFile<Desc extends DescMessage> extends MessageFile<Desc> {
  /** Everything that is wrong with its form, by place; none when it says what it means. */
  readonly problems: readonly FileProblem[];
  /** What was read instead of what is wrong. */
  readonly refusals: readonly Refusal[];
}

/** Reads a message from YAML or JSON as it was most likely meant; answers with what is wrong when nothing of it can be read. */
export function readMessageFile<Desc extends DescMessage>(
  source: string | Uint8Array,
  fileName: string,
  kind: FileKind<Desc>,
): MeantFile<Desc> | readonly FileProblem[] {
  const file = parseYaml(source, fileName);
  if (!('root' in file)) return file;
  const { root } = file;
  if (root.kind !== 'map') {
    if (root.kind !== 'refused') file.refuse(undefined, `must hold ${kind.what}`);
    return file.problems;
  }
  const reader: Reader = { file, meant: new Map() };
  const json = readFields(kind.desc, root, undefined, reader, Object.keys(kind.beside));
  const beside: Record<string, string | boolean> = {};
  for (const [key, { type }] of Object.entries(kind.beside)) {
    const entry = entryOf(root, key, reader);
    if (entry === undefined || entry.value.kind === 'refused') continue;
    const value = readScalar(type, entry.value, { parent: undefined, step: key, offset: entry.offset }, reader);
    if (typeof value === 'string' || typeof value === 'boolean') beside[key] = value;
  }
  const placeOf = (fieldPath: string) => placeOfField(root, fieldPath.replace(kind.prefix, ''), reader.meant);
  return {
    message: fromJson(kind.desc, json),
    beside,
    problems: file.problems.toSorted(byPlace),
    refusals: file.refusals,
    locate(fieldPath) {
      const { offset, spot } = placeOf(fieldPath);
      return { ...file.placeOf(offset), path: pathText(spot) };
    },
    problemOf({ field, description, offset }) {
      const { offset: begin, spot, node } = placeOf(field);
      const text = offset !== undefined && node?.kind === 'scalar' && typeof node.value === 'string' ? node : undefined;
      const exact = text && placeInText(file.text, text.offset, String(text.value), offset ?? 0);
      const place = file.placeOf(exact ?? text?.offset ?? begin);
      const message = exact === undefined ? description : description.replace(PLACE_IN_TEXT, '');
      return { ...place, path: pathText(spot), message };
    },
  };
}

/** How a description begins that says the place in its text, which counts otherwise than the file. */
const PLACE_IN_TEXT = /^at (?:line \d+, )?column \d+: /;
