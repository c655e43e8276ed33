// Owns the way from a path as the server writes it to the field of a file: by the names that the file has for what is on it.
import { readJson } from './json.ts';
import type { Spot, YamlEntry, YamlMap, YamlNode } from './yaml-tree.ts';

/** The keys of a file that were read as fields of another name, by these names. */
export type MeantFields = Map<YamlMap, Map<string, string>>;

/** A field that a path leads to. */
export interface FieldPlace {
  /** Where it begins. */
  readonly offset: number;
  /** Its path in the names that the file has for it; undefined for the whole file. */
  readonly spot: Spot | undefined;
  /** Undefined where the path leads nowhere. */
  readonly node: YamlNode | undefined;
}

const EXPRESSION_SUFFIX = /(?:_expression|Expression)$/;

/**
 * Where the field at a path begins, its key when it has one; where a path leads nowhere, it begins where the last one on it does. An
 * expression is given by the name of the number that it stands for. A condition begins where its text does.
 */
export function placeOfField(root: YamlNode, path: string, meant: MeantFields): FieldPlace {
  let node: YamlNode | undefined = root;
  let offset = root.offset;
  let spot: Spot | undefined;
  for (const step of parsePath(path)) {
    const key: string | undefined = node?.kind === 'map' ? keyOf(node, String(step), meant) : undefined;
    const entry: YamlEntry | undefined = node?.kind === 'map' && key !== undefined ? node.entries.get(key) : undefined;
    node = entry?.value ?? (node?.kind === 'list' && typeof step === 'number' ? node.items[step] : undefined);
    if (node !== undefined) offset = (step === 'if' ? undefined : entry?.offset) ?? node.offset;
    spot = { parent: spot, step: key ?? step, offset };
  }
  return { offset, spot, node };
}

/** The key of a field, which may be written in camelCase or snake_case, or be one that was read as it. */
function keyOf(map: YamlMap, name: string, meant: MeantFields): string | undefined {
  const number = name.replace(EXPRESSION_SUFFIX, '');
  const names = [name, camelCase(name), number, camelCase(number)];
  const given = names.find((key) => map.entries.has(key));
  return given ?? names.map((one) => meant.get(map)?.get(one)).find((key) => key !== undefined);
}

function camelCase(name: string): string {
  return name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Reads a path as the server writes it, such as `jobs[2].labels["a.b"]`. */
function parsePath(text: string): (string | number)[] {
  return Array.from(text.matchAll(/\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([^.[\]]+)/g), ([, index, key, field]) =>
    index === undefined ? (field ?? unescaped(key ?? '')) : Number(index),
  );
}

function unescaped(key: string): string {
  const text = readJson(`"${key}"`);
  return typeof text === 'string' ? text : key;
}
