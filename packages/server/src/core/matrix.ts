// The cells of a matrix: the combinations of its axes without what is excluded, and what is included beside them. How many there would
// be is known before any is made. The rules of `include` are those that users of GitHub Actions know.
import type { Cell } from './definition.ts';
import { canonicalJson, type JsonObject, type JsonValue } from './json.ts';
import { LIMITS } from './limits.ts';

/** A matrix whose expressions have been worked out. */
export interface MatrixValues {
  readonly axes: Readonly<Record<string, JsonValue>>;
  readonly include?: JsonValue;
  readonly exclude?: JsonValue;
}

/** Makes the cells in order: the axis that comes last by name changes fastest. A text says why there are none to be made. */
export function cellsOf({ axes, include = [], exclude = [] }: MatrixValues): readonly Cell[] | string {
  const names = Object.keys(axes).sort();
  const lists = names.map((name) => axes[name] ?? null);
  const wrong = names[lists.findIndex((list) => !Array.isArray(list))];
  if (wrong !== undefined) return `axis ${wrong} must be a list; it is ${shown(axes[wrong])}`;
  const included = objectsOf(include);
  if (included === undefined) return `include must be a list of objects; it is ${shown(include)}`;
  const excluded = objectsOf(exclude);
  if (excluded === undefined) return `exclude must be a list of objects; it is ${shown(exclude)}`;
  const values = lists.map((list) => (Array.isArray(list) ? list : []));
  const count = names.length === 0 ? 0 : values.reduce((product, list) => product * list.length, 1);
  if (count > LIMITS.matrixCombinations) {
    return `its axes have ${count} combinations, at most ${LIMITS.matrixCombinations} are allowed`;
  }
  const combined = combinations(names, values, count).filter((cell) => !excluded.some((part) => holds(cell, part)));
  const cells = addIncluded(names, combined, included);
  if (cells.length > LIMITS.matrixCells)
    return `it has ${cells.length} cells, at most ${LIMITS.matrixCells} are allowed`;
  const bytes = JSON.stringify(cells).length;
  if (bytes > LIMITS.matrixBytes)
    return `its cells are ${bytes} bytes as JSON, at most ${LIMITS.matrixBytes} are allowed`;
  return withKeys(names, cells);
}

function objectsOf(value: JsonValue): readonly JsonObject[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const objects = value.filter(isObject);
  return objects.length === value.length ? objects : undefined;
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function combinations(names: readonly string[], values: readonly JsonValue[][], count: number): JsonObject[] {
  return Array.from({ length: count }, (_, number) => {
    const cell: [string, JsonValue][] = [];
    let rest = number;
    for (let axis = names.length - 1; axis >= 0; axis--) {
      const list = values[axis] ?? [];
      cell.unshift([names[axis] ?? '', list[rest % list.length] ?? null]);
      rest = Math.floor(rest / list.length);
    }
    return Object.fromEntries(cell);
  });
}

/** Whether a cell has every value of a part of one. */
function holds(cell: JsonObject, part: JsonObject): boolean {
  return Object.entries(part).every(
    ([name, value]) => name in cell && canonicalJson(cell[name]) === canonicalJson(value),
  );
}

function addIncluded(
  names: readonly string[],
  combined: readonly JsonObject[],
  included: readonly JsonObject[],
): JsonObject[] {
  const cells = combined.map((cell) => ({ ...cell }));
  const alone: JsonObject[] = [];
  for (const entry of included) {
    const part = Object.fromEntries(Object.entries(entry).filter(([name]) => names.includes(name)));
    const met = cells.filter((_, index) => holds(combined[index] ?? {}, part));
    for (const cell of met) Object.assign(cell, entry);
    if (met.length === 0) alone.push(entry);
  }
  return [...cells, ...alone];
}

const PLAIN = /^[A-Za-z0-9_.:/@+-]{1,40}$/;
const MAX_KEY = 60;

/** The key of a cell is its values of the axes, or its number where these are no short texts or not its alone. */
function withKeys(names: readonly string[], cells: readonly JsonObject[]): readonly Cell[] {
  const taken = new Set<string>();
  return cells.map((values, position) => {
    const named = names.filter((name) => name in values);
    const parts = (named.length > 0 ? named : Object.keys(values).sort()).map((name) => plainText(values[name]));
    const text = parts.join(',');
    const isPlain = parts.length > 0 && text.length <= MAX_KEY && parts.every((part) => PLAIN.test(part));
    const key = isPlain && !taken.has(text) ? text : `#${position + 1}`;
    taken.add(key);
    return { key, values };
  });
}

/** A value as a part of a key; of a list or an object, what is none. */
function plainText(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : JSON.stringify(value ?? null);
}

function shown(value: JsonValue | undefined): string {
  const text = JSON.stringify(value ?? null);
  return text.length <= 100 ? text : `${text.slice(0, 100)}…`;
}
