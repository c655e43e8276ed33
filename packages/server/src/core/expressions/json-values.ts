// JSON as values of CEL and back. What comes in is made when it is looked at, once, and paid for then: inputs are large, and most
// expressions look at little of them. What goes out is JSON that can be stored.
import { type CelUint, type CelValue, celList, celMap, celType, isCelList, isCelMap, isCelUint } from '@bufbuild/cel';
import { isMessage, type Message, toJson as messageToJson } from '@bufbuild/protobuf';
import { isReflectMessage } from '@bufbuild/protobuf/reflect';
import { DurationSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import type { JsonObject, JsonValue } from '../json.ts';
import type { Meter } from './meter.ts';
import { Failure } from './outcome.ts';
import { CHARACTERS_PER_STEP, ENTRY_STEPS, type Scales } from './scales.ts';

/** Writing a timestamp or a duration. */
const TIME_STEPS = 16;

/** Of one evaluation. */
export interface Importer extends Scales {
  /** What became of the lists and objects that were looked at. */
  readonly imported: Map<object, CelValue>;
}

/**
 * Whole numbers that a double holds exactly become ints, so that `params.n + 1` and `params.n % 2` work; all others become
 * doubles. The operators of numbers take both.
 */
export function fromJson(importer: Importer, value: JsonValue): CelValue {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  const known = importer.imported.get(value);
  if (known !== undefined) return known;
  const made = Array.isArray(value) ? listFromJson(importer, value) : celMap(new JsonMap(importer, value));
  importer.imported.set(value, made);
  return made;
}

function listFromJson(importer: Importer, items: readonly JsonValue[]): CelValue {
  importer.meter.charge(1 + items.length);
  return celList(items.map((item) => fromJson(importer, item)));
}

type Key = bigint | string | boolean | CelUint;

class JsonMap implements ReadonlyMap<Key, CelValue> {
  readonly #importer: Importer;
  readonly #members: JsonObject;
  #names: readonly string[] | undefined;

  constructor(importer: Importer, members: JsonObject) {
    this.#importer = importer;
    this.#members = members;
  }

  get size(): number {
    return this.#keys().length;
  }

  get(key: Key): CelValue | undefined {
    const member = typeof key === 'string' && Object.hasOwn(this.#members, key) ? this.#members[key] : undefined;
    return member === undefined ? undefined : fromJson(this.#importer, member);
  }

  has(key: Key): boolean {
    return this.get(key) !== undefined;
  }

  keys(): MapIterator<Key> {
    return this.#keys().values();
  }

  *values(): MapIterator<CelValue> {
    for (const [, value] of this.entries()) yield value;
  }

  *entries(): MapIterator<[Key, CelValue]> {
    for (const key of this.#keys()) yield [key, this.get(key) ?? null];
  }

  [Symbol.iterator](): MapIterator<[Key, CelValue]> {
    return this.entries();
  }

  forEach(callback: (value: CelValue, key: Key, map: ReadonlyMap<Key, CelValue>) => void): void {
    for (const [key, value] of this.entries()) callback(value, key, this);
  }

  #keys(): readonly string[] {
    if (this.#names === undefined) {
      this.#names = Object.keys(this.#members);
      this.#importer.meter.charge(this.#names.length);
    }
    return this.#names;
  }
}

/**
 * - int and uint: a number, when a double holds it exactly; double: a number, when it is finite
 * - timestamp and duration: text, as in the JSON of protobuf
 * - a map: an object, when its keys are text
 * - bytes and types have no JSON
 */
export function toJson(scales: Scales, value: CelValue): JsonValue | Failure {
  const { meter } = scales;
  meter.charge(1);
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'string') return textToJson(meter, value);
  if (typeof value === 'bigint') return integerToJson(value);
  if (typeof value === 'number') return Number.isFinite(value) ? value : new Failure(`${value} has no JSON`);
  if (isCelUint(value)) return integerToJson(value.value);
  if (isCelList(value)) {
    const items: JsonValue[] = [];
    for (const item of value) {
      const json = toJson(scales, item);
      if (json instanceof Failure) return json;
      items.push(json);
    }
    return items;
  }
  if (isCelMap(value)) {
    meter.charge(1 + ENTRY_STEPS * value.size);
    const members: [string, JsonValue][] = [];
    for (const [key, member] of value) {
      if (typeof key !== 'string') return new Failure(`a map with a key of type ${celType(key).name} has no JSON`);
      const name = textToJson(meter, key);
      if (name instanceof Failure) return name;
      const json = toJson(scales, member);
      if (json instanceof Failure) return json;
      members.push([name, json]);
    }
    return Object.fromEntries(members);
  }
  return objectToJson(scales, value);
}

function textToJson(meter: Meter, text: string): string | Failure {
  meter.charge(text.length / CHARACTERS_PER_STEP);
  if (!text.isWellFormed()) return new Failure('the text has half of a surrogate pair');
  return text.includes('\0') ? new Failure('the text has a NUL') : text;
}

function integerToJson(value: bigint): number | Failure {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : new Failure(`${value} is too large for a number of JSON`);
}

function objectToJson({ meter }: Scales, value: CelValue): JsonValue | Failure {
  meter.charge(TIME_STEPS);
  const json = isReflectMessage(value) ? timeToJson(value.message) : undefined;
  return json ?? new Failure(`a value of type ${celType(value).name} has no JSON`);
}

/** Undefined also of one that is out of range. */
function timeToJson(message: Message): string | undefined {
  try {
    if (isMessage(message, TimestampSchema)) return messageToJson(TimestampSchema, message);
    return isMessage(message, DurationSchema) ? messageToJson(DurationSchema, message) : undefined;
  } catch {
    return undefined;
  }
}
