// What is known before a run of a value with expressions in it: its keys, its constant parts, and that a text which an expression is only
// a part of stays a text. A schema that is loosened says of such a value only what holds whatever the expressions come to.
import { splitTemplate } from './expressions/split-template.ts';
import { mentionsTemplate } from './expressions/template.ts';
import type { JsonObject, JsonValue } from './json.ts';

// No text of JSON that is taken from anybody has a NUL in it.
const ANY_VALUE = '\0value';
const ANY_TEXT = '\0text';

/** What a schema says of the value at its own place, whatever is inside of it. Other keywords say nothing, or nothing that is sure. */
const SHAPE = [
  ['$schema', '$id', '$anchor', '$dynamicAnchor', '$ref', '$dynamicRef', 'default', 'required', 'dependentRequired'],
  ['propertyNames', 'minProperties', 'maxProperties', 'minItems', 'maxItems'],
].flat();
const SCALAR = [
  ['enum', 'const', 'pattern', 'minLength', 'maxLength'],
  ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
].flat();
/** Those that hold one schema, several by name, and several in a list. */
const ONE = ['items', 'additionalProperties', 'unevaluatedProperties'];
const NAMED = ['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas'];
const LISTED = ['prefixItems'];

/** A value with marks in place of what its expressions come to. */
export function markUnknown(value: JsonValue): JsonValue {
  if (typeof value === 'string') return mentionsTemplate(value) ? markText(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  return Array.isArray(value) ? value.map(markUnknown) : markMembers(value);
}

/** As markUnknown, of an object. */
export function markMembers(value: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, markUnknown(member)]));
}

function markText(text: string): string {
  const split = splitTemplate(text);
  // What is wrong with an expression is told by who compiles it.
  if ('unclosedAt' in split) return ANY_VALUE;
  const [first, ...more] = split;
  if (split.some((segment) => 'source' in segment)) return more.length === 0 ? ANY_VALUE : ANY_TEXT;
  return first !== undefined && 'text' in first ? first.text : '';
}

/** A schema that takes a marked value if there is any value of its expressions with which the given schema takes the whole. */
export function loosen(schema: JsonObject): JsonObject {
  const isFilledLater = 'if' in schema && JSON.stringify([schema['then'], schema['else']]).includes('"default"');
  const allOf = [...listOf(schema['allOf']).map(loosenAny), ...ofValue(schema), ...ofChoices(schema)];
  return {
    ...pick(schema, isFilledLater ? SHAPE.filter((keyword) => keyword !== 'required') : SHAPE),
    ...loosenMembers(schema, ONE, loosenAny),
    ...loosenMembers(schema, NAMED, (named) => mapObject(named, loosenAny)),
    ...loosenMembers(schema, LISTED, (list) => (Array.isArray(list) ? list.map(loosenAny) : list)),
    ...(allOf.length > 0 && { allOf }),
  };
}

function loosenAny(schema: JsonValue): JsonValue {
  return isObject(schema) ? loosen(schema) : schema;
}

/** What depends on the value itself holds unless that is not known; its type also where it is only known to be a text. */
function ofValue(schema: JsonObject): JsonObject[] {
  const { enum: listed, const: only } = schema;
  const type = pick(schema, ['type', 'nullable']);
  // A list or an object among the values may be what one with expressions comes to.
  const isOpen = [...listOf(listed), only].some((value) => typeof value === 'object' && value !== null);
  const scalar = pick(schema, isOpen ? SCALAR.filter((keyword) => keyword !== 'enum' && keyword !== 'const') : SCALAR);
  return [
    ...('type' in type ? [{ if: { const: ANY_VALUE }, else: type }] : []),
    ...(Object.keys(scalar).length > 0 ? [{ if: { enum: [ANY_VALUE, ANY_TEXT] }, else: scalar }] : []),
  ];
}

/** Of alternatives, one at least may hold: which is not known, so neither whether several do. */
function ofChoices(schema: JsonObject): JsonObject[] {
  const { if: condition, then = true, else: otherwise = true } = schema;
  const choices = [schema['anyOf'], schema['oneOf']].map(listOf).filter((choice) => choice.length > 0);
  return [
    ...choices.map((choice) => ({ anyOf: choice.map(loosenAny) })),
    ...(condition === undefined
      ? []
      : [{ anyOf: [{ allOf: [loosenAny(condition), loosenAny(then)] }, loosenAny(otherwise)] }]),
  ];
}

function loosenMembers(
  schema: JsonObject,
  names: readonly string[],
  change: (member: JsonValue) => JsonValue,
): JsonObject {
  return mapObject(pick(schema, names), change);
}

function mapObject(value: JsonValue, change: (member: JsonValue) => JsonValue): JsonObject {
  return Object.fromEntries(
    Object.entries(isObject(value) ? value : {}).map(([name, member]) => [name, change(member)]),
  );
}

function pick(schema: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => names.includes(name)));
}

function listOf(value: JsonValue | undefined): readonly JsonValue[] {
  return Array.isArray(value) ? value : value === undefined ? [] : [value];
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
