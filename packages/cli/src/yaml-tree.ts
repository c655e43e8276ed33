// Owns YAML as a tree of plain values, each with its place in the source. Whatever the source holds takes bounded time and memory:
// its size, its levels and what its aliases make of it are limited before anything of it is read as a message.
import { LineCounter, type Pair, isAlias, isMap, isScalar, isSeq } from 'yaml';
import { type FilePlace, type FileProblem, MAX_PROBLEMS } from './file-problem.ts';
import { isExact } from './exact-number.ts';
import { decodeText } from './source-text.ts';
import { composeYaml } from './yaml-document.ts';

/** A value; parts that aliases repeat are the same object wherever they stand. */
export type YamlNode = YamlScalar | YamlList | YamlMap | YamlRefused;

export interface YamlScalar {
  readonly kind: 'scalar';
  /** Where it begins, in UTF-16 units of the text. */
  readonly offset: number;
  readonly value: string | number | boolean | null;
  /** As it is written, without quotes and the like. */
  readonly source: string;
}

export interface YamlList {
  readonly kind: 'list';
  readonly offset: number;
  readonly items: readonly YamlNode[];
}

export interface YamlMap {
  readonly kind: 'map';
  readonly offset: number;
  readonly entries: ReadonlyMap<string, YamlEntry>;
}

/** A value that was refused already, where it stands. */
export interface YamlRefused {
  readonly kind: 'refused';
  readonly offset: number;
}

export interface YamlEntry {
  /** Where its key begins. */
  readonly offset: number;
  readonly value: YamlNode;
}

/** A field on the way from the root, and where it stands. */
export interface Spot {
  readonly parent: Spot | undefined;
  readonly step: string | number;
  readonly offset: number;
}

/**
 * What is read instead of a value that is wrong: nothing, no scalar where there could be nothing else, or a guess of what was meant; and
 * of a key that is no field: the field that was meant, or no field at all.
 */
export type Instead = 'nothing' | 'no scalar' | 'guess' | 'field' | 'no field';

/** Something that is wrong, by its path, and what is read instead. */
export interface Refusal {
  readonly path: string;
  readonly instead: Instead;
}

/** What a source holds, and what is wrong with it so far. */
export interface YamlFile {
  readonly root: YamlNode;
  readonly text: string;
  /** Every problem, as far as anybody reads. */
  readonly problems: readonly FileProblem[];
  /** Of each problem. */
  readonly refusals: readonly Refusal[];
  /** @param instead Default: nothing. */
  refuse(spot: Spot | undefined, message: string, instead?: Instead): void;
  placeOf(offset: number): FilePlace;
}

/** Levels of lists and mappings: deeper than any message is. */
export const MAX_LEVELS = 100;
/** Of a file, in bytes of UTF-8, and of what its aliases make of it. */
export const MAX_FILE_BYTES = 2_097_152;

/** Reads one YAML document, or JSON; answers with its problems when it is none. */
export function parseYaml(source: string | Uint8Array, file: string): YamlFile | readonly FileProblem[] {
  const lines = new LineCounter();
  lines.addNewLine(0);
  const placeOf = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { file, line, column: col };
  };
  const text = decodeText(source, MAX_FILE_BYTES);
  if (typeof text !== 'string')
    return [{ file, line: text.line, column: text.column, path: '', message: text.problem }];
  const composed = composeYaml(text, lines, MAX_LEVELS);
  if (Array.isArray(composed)) {
    return composed.map(({ offset, message }) => ({ ...placeOf(offset), path: '', message }));
  }
  const start = offsetOf(composed.contents, 0);
  const problems: FileProblem[] = [];
  const refusals: Refusal[] = [];
  const refuse = (spot: Spot | undefined, message: string, instead: Instead = 'nothing') => {
    if (problems.length >= MAX_PROBLEMS) return;
    const path = pathText(spot);
    problems.push({ ...placeOf(spot?.offset ?? start), path, message });
    refusals.push({ path, instead });
  };
  const reading: Reading = { anchors: new Map(), size: 0, refuse };
  const { node } = readNode(composed.contents, undefined, start, 0, reading);
  return { root: node, text, problems, refusals, refuse, placeOf };
}

/** A path as the server writes it. */
export function pathText(spot: Spot | undefined): string {
  const steps: string[] = [];
  for (let at = spot; at !== undefined; at = at.parent) {
    if (typeof at.step === 'number') steps.push(`[${at.step}]`);
    else if (!/^[\w$-]+$/.test(at.step)) steps.push(`[${JSON.stringify(at.step)}]`);
    else steps.push(at.parent === undefined ? at.step : `.${at.step}`);
  }
  return steps.reverse().join('');
}

interface Reading {
  /** Undefined while what has the anchor is being read. */
  readonly anchors: Map<string, Sized | undefined>;
  /** How large all of it is so far, aliases as what they stand for. */
  size: number;
  refuse(spot: Spot | undefined, message: string, instead?: Instead): void;
}

interface Read {
  readonly node: YamlNode;
  /** Levels of lists and mappings. */
  readonly levels: number;
}

interface Sized extends Read {
  /** Characters of its keys and values. */
  readonly size: number;
}

function readNode(node: unknown, spot: Spot | undefined, keyOffset: number, depth: number, reading: Reading): Sized {
  if (isAlias(node)) return readAlias(node.source, spot, offsetOf(node, keyOffset), depth, reading);
  const offset = offsetOf(node, keyOffset);
  if (!isScalar(node) && !isSeq(node) && !isMap(node)) return scalarOf(offset, null, '');
  const { anchor } = node;
  if (anchor !== undefined) reading.anchors.set(anchor, undefined);
  const before = reading.size;
  const read = isScalar(node)
    ? readScalar(node.value, node.source ?? '', spot, offset, reading)
    : isSeq(node)
      ? readList(node.items, spot, offset, depth, reading)
      : readMap(node.items, spot, offset, depth, reading);
  const result = { ...read, size: reading.size - before };
  if (anchor !== undefined) reading.anchors.set(anchor, result);
  return result;
}

function readAlias(name: string, spot: Spot | undefined, offset: number, depth: number, reading: Reading): Sized {
  const nothing: Sized = { ...refusedAt(offset), size: 0 };
  const target = reading.anchors.get(name);
  if (target === undefined) {
    const problem = reading.anchors.has(name)
      ? 'stands inside of what it repeats'
      : 'repeats an anchor that is not above';
    reading.refuse(spot && { ...spot, offset }, `*${name} ${problem}`);
    return nothing;
  }
  if (depth + target.levels > MAX_LEVELS) {
    reading.refuse(spot && { ...spot, offset }, `*${name} makes more than ${MAX_LEVELS} levels of lists and mappings`);
    return nothing;
  }
  return grow(reading, target.size, spot, offset) ? target : nothing;
}

function readScalar(value: unknown, source: string, spot: Spot | undefined, offset: number, reading: Reading): Read {
  reading.size += Math.max(1, source.length);
  const refused = (message: string) => {
    reading.refuse(spot, message);
    return refusedAt(offset);
  };
  if (value === null || typeof value === 'boolean') return scalarOf(offset, value, source);
  if (typeof value === 'string') {
    if (!value.isWellFormed()) return refused('must be valid Unicode; it holds half of a surrogate pair');
    return scalarOf(offset, value, source);
  }
  if (typeof value !== 'number' && typeof value !== 'bigint') return refused('has no form in JSON');
  const number = Number(value);
  if (!Number.isFinite(number)) return refused('has no form in JSON');
  if (!isExact(value, source)) return refused(`loses digits as a number, which would be ${number}; put it in quotes`);
  return scalarOf(offset, number, source);
}

function readList(
  items: readonly unknown[],
  spot: Spot | undefined,
  offset: number,
  depth: number,
  reading: Reading,
): Read {
  let levels = 0;
  const read = items.map((item, index) => {
    const at = { parent: spot, step: index, offset: offsetOf(item, offset) };
    const { node, levels: below } = readNode(item, at, at.offset, depth + 1, reading);
    levels = Math.max(levels, below);
    return node;
  });
  return { node: { kind: 'list', offset, items: read }, levels: levels + 1 };
}

function readMap(
  pairs: readonly Pair[],
  spot: Spot | undefined,
  offset: number,
  depth: number,
  reading: Reading,
): Read {
  const entries = new Map<string, YamlEntry>();
  const merged = new Map<string, YamlEntry>();
  let levels = 0;
  for (const { key, value } of pairs) {
    const keyOffset = offsetOf(key, offset);
    const name = isScalar(key) ? key.value : undefined;
    if (typeof name !== 'string') {
      const shown = isScalar(key) ? (key.source ?? '') : '';
      const step = { parent: spot, step: shown, offset: keyOffset };
      reading.refuse(shown === '' ? { ...(spot ?? step), offset: keyOffset } : step, keyProblem(shown));
      continue;
    }
    const at = { parent: spot, step: name, offset: keyOffset };
    const isMerge = name === '<<' && isScalar(key) && key.type === 'PLAIN';
    const first = entries.get(name);
    reading.size += name.length;
    const read = readNode(value, at, keyOffset, depth + 1, reading);
    if (isMerge) {
      mergeInto(merged, read.node, at, reading);
      levels = Math.max(levels, read.levels - 1);
    } else {
      if (first !== undefined) reading.refuse(at, 'is given twice', 'guess');
      entries.set(name, { offset: keyOffset, value: read.node });
      levels = Math.max(levels, read.levels);
    }
  }
  for (const [name, entry] of merged) if (!entries.has(name)) entries.set(name, entry);
  return { node: { kind: 'map', offset, entries }, levels: levels + 1 };
}

function keyProblem(shown: string): string {
  return shown === '' ? 'has a key that is no text' : 'must have text as its key; put the key in quotes';
}

/** What stands earlier wins, and both lose against the mapping's own keys. */
function mergeInto(merged: Map<string, YamlEntry>, node: YamlNode, at: Spot, reading: Reading): void {
  const sources = node.kind === 'list' ? node.items : [node];
  for (const source of sources) {
    if (source.kind === 'refused') return;
    if (source.kind !== 'map') {
      reading.refuse(at, 'merges what is no mapping');
      return;
    }
    // The copies are counted as they are made: a mapping of many keys may be merged into many.
    if (!grow(reading, source.entries.size, at, at.offset)) return;
    for (const [name, entry] of source.entries) if (!merged.has(name)) merged.set(name, entry);
  }
}

/** Counts what an alias or merge adds; false once it is too much, which is said once. */
function grow(reading: Reading, size: number, spot: Spot | undefined, offset: number): boolean {
  if (reading.size > MAX_FILE_BYTES) return false;
  reading.size += size;
  if (reading.size <= MAX_FILE_BYTES) return true;
  const message = `aliases make more than ${MAX_FILE_BYTES / 1_048_576} MiB of this file; write less, or repeat less of it`;
  reading.refuse(spot && { ...spot, offset }, message);
  return false;
}

function refusedAt(offset: number): Read {
  return { node: { kind: 'refused', offset }, levels: 0 };
}

function scalarOf(offset: number, value: YamlScalar['value'], source: string): Sized {
  return { node: { kind: 'scalar', offset, value, source }, levels: 0, size: 0 };
}

function offsetOf(node: unknown, fallback: number): number {
  return isAlias(node) || isScalar(node) || isSeq(node) || isMap(node) ? (node.range?.[0] ?? fallback) : fallback;
}
