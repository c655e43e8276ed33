// JSON Schema (2020-12) of params and specs. A schema is compiled by itself: it cannot refer to anything outside, and leaves
// nothing behind. `format` is an annotation, as the specification has it.
import { Ajv2020, type ErrorObject, type Options } from 'ajv/dist/2020.js';
import { RE2JS } from 're2js';
import { addViolation, checkJson, type Found, jsonLevels, memberPath, quote } from './check-fields.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { loosen, markMembers } from './known-values.ts';
import { LIMITS } from './limits.ts';
import { nearestName } from './nearest-name.ts';

export interface Schema {
  /** Whether a check of so many bytes of JSON may take long: how often a schema is applied is not bounded by its size and the value's. */
  isCostly(valueBytes: number): boolean;
  /**
   * Adds what is wrong with the value, with paths under `field`.
   * @returns A copy of the value with the schema's defaults filled in.
   */
  check(found: Found, field: string, value: JsonObject): JsonObject;
  /** Checks what is known of values with expressions in them, before these are worked out. What it returns is of no use. */
  readonly ofKnown: Schema;
}

const DIALECT = 'https://json-schema.org/draft/2020-12/schema';
const MAX_ERRORS = 20;
/** Of the bytes of a schema times those of a value: a check of so many takes some milliseconds at most. */
const COSTLY_BYTES = 16_000_000;
/** By which a schema comes to itself again, or compares everything with everything. */
const COSTLY_KEYWORDS = /"(?:\$ref|\$dynamicRef|uniqueItems)"/;

/** Patterns take time in proportion to the text that they are matched against, whatever they are: those of JavaScript need not. */
function regExp(pattern: string): { test(text: string): boolean } {
  try {
    return RE2JS.compile(RE2JS.translateRegExp(pattern));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.replace('error parsing regexp: ', '') : String(cause);
    const message = `the pattern ${quote(pattern)} is no regular expression as RE2 has them, without look-around and back-references: ${why}`;
    throw new Error(message, { cause });
  }
}

const OPTIONS: Options = {
  allErrors: true,
  // Errors then hold the schema that they are about.
  verbose: true,
  strict: false,
  useDefaults: true,
  validateFormats: false,
  logger: false,
  code: { regExp: Object.assign(regExp, { code: 'regExp' }) },
};

const metaSchema = new Ajv2020(OPTIONS);

/** Takes anything. */
const ANY: Schema = {
  isCostly: () => false,
  check: (_found, _field, value) => value,
  get ofKnown() {
    return ANY;
  },
};

/** Compiles a schema; undefined when something is wrong with it, which is then added to `found` with paths under `field`. */
export function compileSchema(found: Found, field: string, schema: JsonObject): Schema | undefined {
  const before = found.length;
  checkJson(found, field, schema, LIMITS.schemaBytes);
  checkDialect(found, field, schema);
  if (found.length > before) return undefined;
  if (metaSchema.validateSchema(schema) !== true) {
    for (const error of withoutTypes(deepest(metaSchema.errors)))
      addViolation(found, pathOf(field, error), describe(error));
    return undefined;
  }
  try {
    return build(schema);
  } catch (error) {
    // Ajv throws for a reference that it cannot resolve and for a pattern that is no regular expression; its stack ends at a reference
    // that comes to itself with nothing in between.
    if (error instanceof RangeError)
      addViolation(found, field, 'refers to itself without an end: let each reference be of a part');
    else if (!addPatterns(found, field, schema))
      addViolation(found, field, error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

/** Adds the patterns of a schema that are none, each at its place. Returns whether there is any. */
function addPatterns(found: Found, field: string, schema: JsonValue): boolean {
  if (typeof schema !== 'object' || schema === null) return false;
  let isAny = false;
  for (const [key, value] of Object.entries(schema)) {
    const at = pathTo(field, [key]);
    const names = key === 'patternProperties' && typeof value === 'object' && value !== null ? Object.keys(value) : [];
    for (const pattern of key === 'pattern' && typeof value === 'string' ? [value] : names) {
      const problem = patternProblem(pattern);
      if (problem === undefined) continue;
      addViolation(found, at, problem);
      isAny = true;
    }
    if (!VALUES.includes(key)) isAny = addPatterns(found, at, value) || isAny;
  }
  return isAny;
}

/** Keywords of which the values are no schemas. */
const VALUES = ['const', 'enum', 'default', 'examples'];

function patternProblem(pattern: string): string | undefined {
  try {
    regExp(pattern);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function build(schema: JsonObject): Schema {
  // An instance keeps every schema that it compiled, by its $id: one of its own for each.
  const validate = new Ajv2020({ ...OPTIONS, meta: false, validateSchema: false }).compile(schema);
  const text = JSON.stringify(schema);
  const hasCostly = COSTLY_KEYWORDS.test(text);
  let ofKnown: Schema | undefined;
  return {
    get ofKnown() {
      ofKnown ??= buildLoosened(schema);
      return ofKnown;
    },
    isCostly: (valueBytes) => hasCostly || text.length * valueBytes > COSTLY_BYTES,
    check(into, valueField, value) {
      const filled = structuredClone(value);
      if (validate(filled)) {
        // A default may stand at any depth, and may be deep itself.
        if (jsonLevels(filled) > Math.max(LIMITS.jsonLevels, jsonLevels(value)))
          checkJson(into, valueField, filled, Infinity);
        return filled;
      }
      for (const error of deepest(validate.errors)) addViolation(into, pathOf(valueField, error), describe(error));
      return filled;
    },
  };
}

function buildLoosened(schema: JsonObject): Schema {
  try {
    const loosened = build(loosen(schema));
    return {
      isCostly: (valueBytes) => loosened.isCostly(valueBytes),
      check: (found, field, value) => loosened.check(found, field, markMembers(value)),
      get ofKnown() {
        return this;
      },
    };
  } catch {
    // What some part of it refers to was left out.
    return ANY;
  }
}

function checkDialect(found: Found, field: string, schema: JsonObject): void {
  const { $schema } = schema;
  if ($schema === undefined || $schema === DIALECT || $schema === `${DIALECT}#`) return;
  addViolation(found, `${field}.$schema`, `must be ${DIALECT} or left out; got ${quoteJson($schema)}`);
}

/** Of several alternatives that failed, ajv also reports the alternative itself: the errors below it say more. */
function deepest(errors: readonly ErrorObject[] | null | undefined): readonly ErrorObject[] {
  const all = errors ?? [];
  const telling = all.filter(({ keyword }) => keyword !== 'anyOf' && keyword !== 'oneOf' && keyword !== 'if');
  return (telling.length > 0 ? telling : all).slice(0, MAX_ERRORS);
}

/** A type that is none could also have been a list of types: what is told is the names that there are. */
function withoutTypes(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const listed = new Set(errors.flatMap(({ keyword, instancePath }) => (keyword === 'enum' ? [instancePath] : [])));
  return errors.filter(({ keyword, instancePath }) => keyword !== 'type' || !listed.has(instancePath));
}

/** The path of the value that an error is about: its JSON pointer, in the notation of field paths. */
function pathOf(field: string, { instancePath, params }: ErrorObject): string {
  const names: string[] = instancePath.split('/').slice(1).map(unescapePointer);
  const inner: unknown = params['missingProperty'] ?? params['additionalProperty'] ?? params['unevaluatedProperty'];
  if (typeof inner === 'string') names.push(inner);
  return pathTo(field, names);
}

function pathTo(field: string, names: readonly string[]): string {
  return names.reduce((path, name) => (/^[0-9]+$/.test(name) ? `${path}[${name}]` : memberPath(path, name)), field);
}

function unescapePointer(token: string): string {
  return token.replaceAll('~1', '/').replaceAll('~0', '~');
}

function describe({ keyword, params, message, parentSchema, data }: ErrorObject): string {
  const limit = Number(params['limit']);
  switch (keyword) {
    case 'required':
      return 'is required';
    case 'additionalProperties':
    case 'unevaluatedProperties': {
      const wrong: unknown = params['additionalProperty'] ?? params['unevaluatedProperty'];
      const known: unknown = parentSchema?.['properties'];
      return `is not known to the schema${hint(wrong, typeof known === 'object' && known !== null ? Object.keys(known) : [])}`;
    }
    case 'enum':
      return `must be one of ${shown(params['allowedValues'])}${hint(data, textsOf(params['allowedValues']))}`;
    case 'const':
      return `must be ${quoteJson(params['allowedValue'])}`;
    case 'minimum':
      return `must be at least ${limit}${got(data)}`;
    case 'maximum':
      return `must be at most ${limit}${got(data)}`;
    case 'exclusiveMinimum':
      return `must be more than ${limit}${got(data)}`;
    case 'exclusiveMaximum':
      return `must be less than ${limit}${got(data)}`;
    case 'minLength':
    case 'minItems':
    case 'minProperties':
      return `must have at least ${limit} ${counted(keyword, limit)}; has ${sizeOf(data)}`;
    case 'maxLength':
    case 'maxItems':
    case 'maxProperties':
      return `must have at most ${limit} ${counted(keyword, limit)}; has ${sizeOf(data)}`;
    case 'type':
    case 'pattern':
    case 'multipleOf':
      return `${message ?? `fails ${keyword}`}${got(data)}`;
    default:
      return message ?? `fails ${keyword}`;
  }
}

/** What a value is, unless it stands for what is not known yet. */
function got(data: unknown): string {
  if (typeof data === 'string' && data.includes('\0')) return '';
  if (typeof data !== 'object' || data === null) return `; got ${quoteJson(data)}`;
  return `; got ${Array.isArray(data) ? 'a list' : 'an object'}`;
}

function counted(keyword: string, limit: number): string {
  const [one, many] = keyword.endsWith('Length')
    ? ['character', 'characters']
    : keyword.endsWith('Items')
      ? ['item', 'items']
      : ['property', 'properties'];
  return limit === 1 ? one : many;
}

/** As JSON Schema counts: characters of a text, items of a list, properties of an object. */
function sizeOf(data: unknown): number {
  if (typeof data === 'string') return Array.from(data).length;
  return Object.keys(Object(data)).length;
}

function hint(wrong: unknown, names: readonly string[]): string {
  const near = typeof wrong === 'string' ? nearestName(wrong, names) : undefined;
  return near === undefined ? '' : `; did you mean ${quote(near)}?`;
}

function textsOf(values: unknown): readonly string[] {
  return Array.isArray(values) ? values.filter((value) => typeof value === 'string') : [];
}

function shown(values: unknown): string {
  const list: unknown[] = Array.isArray(values) ? values : [values];
  const first = list.slice(0, 10).map(quoteJson);
  return list.length > first.length ? `${first.join(', ')}, …` : first.join(', ');
}

function quoteJson(value: unknown): string {
  return typeof value === 'string' ? quote(value) : JSON.stringify(value);
}
