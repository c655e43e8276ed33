// The functions and operators of expressions: those of the library that are deterministic, with what a call costs. A call is
// charged before it is made, by what its arguments weigh.
import {
  type CelFunc,
  CelScalar,
  type CelType,
  type CelValue,
  celEnv,
  celList,
  celType,
  isCelError,
  isCelList,
  isCelMap,
} from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';
import { beginning, quote } from '../check-fields.ts';
import { chargeCall, chargeFailedCall } from './call-costs.ts';
import { isMapKey } from './map-keys.ts';
import { Failure, type Outcome } from './outcome.ts';
import { OVERLOADS } from './overloads.ts';
import type { Scales } from './scales.ts';

/**
 * Everything that is called by a name, as `f(x)` or as `x.f()`. The macros has, all, exists, exists_one, map and filter are no
 * functions.
 *
 * - any value: size, type, dyn
 * - conversions: int, uint, double, bool, string, bytes, timestamp, duration
 * - JSON as text: fromJSON, toJSON, of which equal values have equal texts
 * - text: contains, startsWith, endsWith, matches (the pattern is a literal), charAt, indexOf, lastIndexOf, lowerAscii,
 *   upperAscii, replace, split, substring, trim, and join of a list. Places in a text count UTF-16 units.
 * - timestamps, in UTC: getFullYear, getMonth, getDate, getDayOfMonth, getDayOfWeek, getDayOfYear, getHours, getMinutes,
 *   getSeconds, getMilliseconds; the last four also of durations
 *
 * Left out are what depends on the machine (time zones, `format`) and what reads integers as milliseconds (`timestamp(int)`).
 */
export const FUNCTION_NAMES: readonly string[] = [
  'size type dyn int uint double bool string bytes timestamp duration',
  'fromJSON toJSON',
  'contains startsWith endsWith matches charAt indexOf lastIndexOf lowerAscii upperAscii',
  'replace split substring trim join',
  'getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear',
  'getHours getMinutes getSeconds getMilliseconds',
].flatMap((names) => names.split(' '));

const OPERATORS: ReadonlyMap<string, string> = new Map([
  ['!_', '!'],
  ['-_', '-'],
  ['_+_', '+'],
  ['_-_', '-'],
  ['_*_', '*'],
  ['_/_', '/'],
  ['_%_', '%'],
  ['_==_', '=='],
  ['_!=_', '!='],
  ['_<_', '<'],
  ['_<=_', '<='],
  ['_>_', '>'],
  ['_>=_', '>='],
  ['@in', 'in'],
]);

/** In place of a type, of a number of JSON: it becomes an int or a double. */
export const NUMBER = 'number';
const NUMBERS: readonly string[] = ['int', 'double'];

const TESTS: ReadonlySet<string> = new Set(['!_', '_==_', '_!=_', '_<_', '_<=_', '_>_', '_>=_', '@in']);
/** Of the library, and not offered: one reads milliseconds where CEL has seconds, one compiles its pattern at each call. */
const LEFT_OUT: ReadonlySet<string> = new Set(['timestamp(int)', 'string.matches(string)']);

export interface CelFunction {
  /** As an author writes it. */
  readonly name: string;
  /** Whether it is an operator whose operands say why it is true or false. */
  readonly isTest: boolean;
  /** Whether it may be called as `x.f()`, and as `f(x)`. */
  readonly isMethod: boolean;
  readonly isFunction: boolean;
  /** The types that its result may have, by those of its operands, which may be `dyn` or NUMBER; empty: it cannot be called so. */
  resultsOf(isMethod: boolean, types: readonly string[]): readonly string[];
  call(scales: Scales, isMethod: boolean, operands: CelValue[]): Outcome;
}

/** Finds a function or an operator by the name that the parser gives it. */
export function findFunction(name: string): CelFunction | undefined {
  return FUNCTIONS.get(name);
}

/** Of texts of which the library says how it failed to read them, and not how they are written. */
const EXAMPLES: ReadonlyMap<string, string> = new Map([
  ['timestamp', '2026-01-31T12:00:00Z'],
  ['duration', '1h30m'],
]);

/** The library puts what it was given into its messages. */
const MAX_MESSAGE = 200;

/** Overloads by the types that they are for; those that take any type are tried one by one. */
interface Overloads {
  readonly byTypes: Map<string, CelFunc>;
  readonly generic: CelFunc[];
}

const FUNCTIONS: ReadonlyMap<string, CelFunction> = collectFunctions();

function collectFunctions(): ReadonlyMap<string, CelFunction> {
  const names = new Set([...FUNCTION_NAMES, ...OPERATORS.keys()]);
  const overloads = new Map<string, Overloads>();
  for (const overload of celEnv({ funcs: [...strings, ...OVERLOADS] }).funcs) {
    if (!names.has(overload.name) || LEFT_OUT.has(overload.id) || takesTimeZone(overload)) continue;
    const group: Overloads = overloads.get(overload.name) ?? { byTypes: new Map(), generic: [] };
    overloads.set(overload.name, group);
    if (overload.arguments.includes(CelScalar.DYN)) group.generic.push(overload);
    else group.byTypes.set(overload.id, overload);
  }
  return new Map(Array.from(overloads, ([id, group]) => [id, createFunction(id, group)]));
}

function takesTimeZone({ name, arguments: args }: CelFunc): boolean {
  return name.startsWith('get') && args.length > 0;
}

function createFunction(id: string, overloads: Overloads): CelFunction {
  const name = OPERATORS.get(id) ?? id;
  const all = [...overloads.byTypes.values(), ...overloads.generic];
  return {
    name,
    isTest: TESTS.has(id),
    isMethod: all.some(({ target }) => target !== undefined),
    isFunction: all.some(({ target }) => target === undefined),
    resultsOf: (isMethod, types) =>
      all.filter((overload) => mayTake(overload, isMethod, types)).map(({ result }) => result.name),
    call(scales, isMethod, operands) {
      chargeCall(scales, id, operands);
      const own = callWithoutLibrary(id, operands);
      if (own !== undefined) return own;
      const types = operands.map((operand) => celType(operand).name);
      const result = callOverload(id, overloads, isMethod, operands, types);
      if (result === undefined) return new Failure(`cannot apply ${name} to ${types.join(' and ')}`);
      if (!isCelError(result)) return result;
      chargeFailedCall(scales);
      const [text] = operands;
      const example = EXAMPLES.get(name);
      return typeof text === 'string' && example !== undefined
        ? new Failure(`${name}: ${quote(text)} is none; one is written as ${quote(example)}`)
        : new Failure(`${name}: ${beginning(result.message, MAX_MESSAGE)}`);
    },
  };
}

function mayTake({ target, arguments: args }: CelFunc, isMethod: boolean, types: readonly string[]): boolean {
  if ((target !== undefined) !== isMethod) return false;
  const wanted = target === undefined ? args : [target, ...args];
  const isTaken = ({ name }: CelType, type: string | undefined): boolean =>
    name === 'dyn' || type === 'dyn' || name === type || (type === NUMBER && NUMBERS.includes(name));
  return wanted.length === types.length && wanted.every((type, place) => isTaken(type, types[place]));
}

function callOverload(
  id: string,
  { byTypes, generic }: Overloads,
  isMethod: boolean,
  operands: CelValue[],
  types: readonly string[],
): ReturnType<CelFunc['call']> {
  const target = isMethod ? operands[0] : undefined;
  const args = isMethod ? operands.slice(1) : operands;
  const key = isMethod ? `${types[0]}.${id}(${types.slice(1).join(',')})` : `${id}(${types.join(',')})`;
  const exact = byTypes.get(key);
  if (exact !== undefined) return exact.call(0, target, args);
  for (const overload of generic) {
    const result = overload.call(0, target, args);
    if (result !== undefined) return result;
  }
  return undefined;
}

/** What the library gets wrong or is slow at; undefined when it is asked. */
function callWithoutLibrary(id: string, operands: readonly CelValue[]): CelValue | undefined {
  const [left, right] = operands;
  if (typeof left === 'bigint' && typeof right === 'bigint') return compareScalars(id, left, right);
  if (typeof left === 'string' && typeof right === 'string') return compareScalars(id, left, right);
  if (id === '@in') return isKeyOf(operands);
  return id === '_+_' ? concatLists(operands) : undefined;
}

/** Most calls are comparisons, and finding the overload of one takes ten times as long as to compare. */
function compareScalars<T extends bigint | string>(id: string, left: T, right: T): boolean | undefined {
  switch (id) {
    case '_==_':
      return left === right;
    case '_!=_':
      return left !== right;
    case '_<_':
      return left < right;
    case '_<=_':
      return left <= right;
    case '_>_':
      return left > right;
    case '_>=_':
      return left >= right;
    default:
      return undefined;
  }
}

/** The library takes a key for missing when its value is null. */
function isKeyOf([key, map]: readonly CelValue[]): boolean | undefined {
  if (key === undefined || map === undefined || !isCelMap(map) || !isMapKey(key)) return undefined;
  return map.get(key) !== undefined;
}

/** The library keeps the two lists, so that a list that was added to often is as deep as that. */
function concatLists([left, right]: readonly CelValue[]): CelValue | undefined {
  if (left === undefined || right === undefined || !isCelList(left) || !isCelList(right)) return undefined;
  return celList([...left, ...right]);
}
