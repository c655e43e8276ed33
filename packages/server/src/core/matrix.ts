// The cells of a matrix: the combinations of its axes without what is excluded, and what is included beside them. How many there would
// be is known before any is made. The rules of `include` are those that users of GitHub Actions know.
import { jsonBytes, quote, shortJson, tellFound } from './check-fields.ts';
import type { Cell } from './definition.ts';
import { canonicalJson, type JsonObject, type JsonValue } from './json.ts';
import { LIMITS } from './limits.ts';
import type { FieldViolation } from './refusal.ts';

/** A matrix whose expressions have been worked out. */
export interface MatrixValues {
  readonly axes: Readonly<Record<string, JsonValue>>;
  readonly include?: JsonValue;
  readonly exclude?: JsonValue;
}

/** Those of its values that are no lists. */
export function notLists({ axes, include = [], exclude = [] }: MatrixValues): readonly FieldViolation[] {
  const lists = Object.entries(axes).flatMap(([name, axis]) => {
    if (Array.isArray(axis)) return [];
    const hint = typeof axis === 'string' ? ': fromJSON or split makes a list of a text' : '';
    return [{ field: `axes.${name}`, description: `must be a list; it is ${shortJson(axis)}${hint}` }];
  });
  const ofObjects = Object.entries({ include, exclude }).flatMap(([field, list]) => {
    return objectsOf(list) ? [] : [{ field, description: `must be a list of objects; it is ${shortJson(list)}` }];
  });
  return [...lists, ...ofObjects];
}

/** Makes the cells in order: the axis that comes last by name changes fastest. A text says why there are none to be made. */
export function cellsOf(matrix: MatrixValues): readonly Cell[] | string {
  const wrong = notLists(matrix);
  if (wrong.length > 0) return tellFound(wrong);
  const { axes, include = [], exclude = [] } = matrix;
  const names = Object.keys(axes).sort();
  const values = names.map((name) => listOf(axes[name]));
  const [included = [], excluded = []] = [include, exclude].map(objectsOf);
  const count = names.length === 0 ? 0 : values.reduce((product, list) => product * list.length, 1);
  if (count > LIMITS.matrixCombinations) {
    return `its axes have ${count} combinations, at most ${LIMITS.matrixCombinations} are allowed`;
  }
  const comparisons = Math.max(1, count) * (included.length + excluded.length);
  if (comparisons > LIMITS.matrixComparisons) {
    return `include and exclude have ${included.length + excluded.length} entries for ${count} combinations; at most ${LIMITS.matrixComparisons} comparisons are allowed`;
  }
  const stray = excluded.flatMap((part) => Object.keys(part)).find((name) => !Object.hasOwn(axes, name));
  if (stray !== undefined) return `exclude names ${quote(stray)}, which is none of its axes: it would exclude nothing`;
  const isAll = names.length > 0 && excluded.some((part) => Object.keys(part).length === 0);
  if (isAll) return 'exclude has an entry that names no axis: it would exclude everything';
  const numberOf = createNumbering();
  const numbered = values.map((list) => list.map(numberOf));
  const twice = names.flatMap((name, axis) => {
    const place = firstTwice(numbered[axis] ?? []);
    return place === undefined ? [] : [`axis ${name} has ${shortJson(values[axis]?.[place] ?? null)} twice`];
  });
  if (twice.length > 0) return `${twice.join(', ')}: the values of an axis must be different ones`;
  const holds = comparing(names, numbered, numberOf);
  const cells = combine({ names, values, count, holds }, included, excluded);
  return typeof cells === 'string' ? cells : withKeys(names, cells);
}

/** The place of the first number that was there before. */
function firstTwice(numbers: readonly number[]): number | undefined {
  const seen = new Set<number>();
  const place = numbers.findIndex((number) => seen.size === seen.add(number).size);
  return place === -1 ? undefined : place;
}

function listOf(value: JsonValue | undefined): JsonValue[] {
  return Array.isArray(value) ? value : [];
}

function objectsOf(value: JsonValue): readonly JsonObject[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const objects = value.filter(isObject);
  return objects.length === value.length ? objects : undefined;
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value of each axis, by its place in the list. */
type Combination = readonly number[];

interface Combinations {
  readonly names: readonly string[];
  readonly values: readonly JsonValue[][];
  readonly count: number;
  /** Whether a combination has every value of a part of one. */
  readonly holds: (part: JsonObject) => (cell: Combination) => boolean;
}

/** How many cells there are, and how large, is known before any is made: a value may be in all of them. */
function combine(
  { names, values, count, holds }: Combinations,
  included: readonly JsonObject[],
  excluded: readonly JsonObject[],
): readonly JsonObject[] | string {
  const excludes = excluded.map(holds);
  const all = Array.from({ length: count }, (_, number) => combinationOf(values, number));
  const combined = all.filter((cell) => !excludes.some((isExcluded) => isExcluded(cell)));
  const met = included.map((entry) => {
    const isMet = holds(Object.fromEntries(Object.entries(entry).filter(([name]) => names.includes(name))));
    return [...combined.keys()].filter((index) => isMet(combined[index] ?? []));
  });
  const alone = included.filter((_, index) => met[index]?.length === 0);
  const total = combined.length + alone.length;
  if (total > LIMITS.matrixCells) return `it has ${total} cells, at most ${LIMITS.matrixCells} are allowed`;
  const sizes = values.map((list, axis) => list.map((value) => jsonBytes({ [names[axis] ?? '']: value })));
  const bytes =
    combined.reduce((sum, cell) => cell.reduce((own, place, axis) => own + (sizes[axis]?.[place] ?? 0), sum), 0) +
    included.reduce((sum, entry, index) => sum + jsonBytes(entry) * Math.max(1, met[index]?.length ?? 0), 0);
  if (bytes > LIMITS.matrixBytes) {
    return `its cells are ${bytes} bytes as JSON, at most ${LIMITS.matrixBytes} are allowed`;
  }
  const cells = combined.map(
    (cell) => new Map(names.map((name, axis) => [name, values[axis]?.[cell[axis] ?? 0] ?? null])),
  );
  for (const [index, entry] of included.entries()) {
    for (const place of met[index] ?? [])
      for (const [name, value] of Object.entries(entry)) cells[place]?.set(name, value);
  }
  return [...cells.map((cell) => Object.fromEntries(cell)), ...alone];
}

function combinationOf(values: readonly JsonValue[][], number: number): Combination {
  const places: number[] = [];
  let rest = number;
  for (let axis = values.length - 1; axis >= 0; axis--) {
    const length = values[axis]?.length ?? 1;
    places[axis] = rest % length;
    rest = Math.floor(rest / length);
  }
  return places;
}

/** Gives equal values the same number: each is made into a text once, and compared by number. */
function createNumbering(): (value: JsonValue) => number {
  const numbers = new Map<string, number>();
  return (value) => {
    const text = canonicalJson(value);
    const known = numbers.get(text) ?? numbers.size;
    numbers.set(text, known);
    return known;
  };
}

function comparing(
  names: readonly string[],
  numbered: readonly (readonly number[])[],
  numberOf: (value: JsonValue) => number,
): Combinations['holds'] {
  return (part) => {
    const wanted = Object.entries(part).map(([name, value]) => [names.indexOf(name), numberOf(value)] as const);
    return (cell) => wanted.every(([axis, number]) => numbered[axis]?.[cell[axis] ?? -1] === number);
  };
}

const PLAIN = /^[A-Za-z0-9_.:/@+-]{1,40}$/;
const MAX_KEY = 60;

/** The key of a cell is its values of the axes, or its number where these are no short texts or not its alone. */
function withKeys(names: readonly string[], cells: readonly JsonObject[]): readonly Cell[] {
  const taken = new Set<string>();
  return cells.map((values, position) => {
    const named = names.filter((name) => Object.hasOwn(values, name));
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
