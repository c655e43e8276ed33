// What JSON Schema itself lets pass although it is surely a slip: keywords and formats that are misspelt, which would say nothing, and
// defaults that do not fit where they are filled in. Other keywords are notes of somebody's own, as the specification has it.
import { addViolation, type Found, jsonBytes, memberPath, quote } from './check-fields.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { compileSchema } from './json-schema.ts';
import { nearestName } from './nearest-name.ts';

/** Those that hold a schema or a list of schemas, and those that hold schemas by name. */
const SCHEMAS = [
  ['items', 'additionalProperties', 'unevaluatedProperties', 'unevaluatedItems', 'contains', 'propertyNames'],
  ['not', 'if', 'then', 'else', 'contentSchema', 'allOf', 'anyOf', 'oneOf', 'prefixItems'],
].flat();
const NAMED = ['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas'];
const OTHERS = [
  '$schema $id $anchor $dynamicAnchor $ref $dynamicRef $vocabulary $comment type enum const multipleOf maximum minimum',
  'exclusiveMaximum exclusiveMinimum maxLength minLength pattern maxItems minItems uniqueItems maxContains minContains',
  'maxProperties minProperties required dependentRequired dependencies title description default deprecated readOnly',
  // The last ones are of OpenAPI.
  'writeOnly examples format contentEncoding contentMediaType example nullable',
].flatMap((words) => words.split(' '));
const KEYWORDS: readonly string[] = [...SCHEMAS, ...NAMED, ...OTHERS];

const FORMATS: readonly string[] = [
  'date-time date time duration email idn-email hostname idn-hostname ipv4 ipv6 uri uri-reference iri iri-reference',
  'uri-template uuid json-pointer relative-json-pointer regex',
  // In wide use beside those of the specification.
  'url iso-time iso-date-time int32 int64 uint32 uint64 float double byte binary password',
].flatMap((words) => words.split(' '));

/** Defaults that are looked at: each is checked by a schema of its own. */
const MAX_DEFAULTS = 50;

interface Walk {
  readonly found: Found;
  defaults: number;
}

/** Adds the slips in a schema that is valid by itself to `found`, with paths under `field`. */
export function checkSchemaWords(found: Found, field: string, schema: JsonObject): void {
  visit({ found, defaults: 0 }, field, schema);
}

function visit(walk: Walk, field: string, schema: JsonValue): void {
  if (Array.isArray(schema)) {
    for (const [index, one] of schema.entries()) visit(walk, `${field}[${index}]`, one);
    return;
  }
  if (!isObject(schema)) return;
  const { found } = walk;
  for (const [word, value] of Object.entries(schema)) {
    const near = KEYWORDS.includes(word) || word.startsWith('x-') ? undefined : nearestName(word, KEYWORDS);
    if (near !== undefined)
      addViolation(found, `${field}.${word}`, `is no keyword of JSON Schema; did you mean ${quote(near)}?`);
    if (SCHEMAS.includes(word)) visit(walk, `${field}.${word}`, value);
    if (!NAMED.includes(word) || !isObject(value)) continue;
    for (const [name, one] of Object.entries(value)) {
      visit(walk, memberPath(`${field}.${word}`, name), one);
      if (word === 'properties') checkDefault(walk, memberPath(`${field}.${word}`, name), name, one);
    }
  }
  const { format } = schema;
  if (typeof format !== 'string' || FORMATS.includes(format)) return;
  const near = nearestName(format, FORMATS);
  if (near !== undefined)
    addViolation(found, `${field}.format`, `there is no format ${quote(format)}; did you mean ${quote(near)}?`);
}

/** One whose check may take long, such as by references, is left to the run. */
function checkDefault(walk: Walk, field: string, name: string, schema: JsonValue): void {
  if (!isObject(schema) || schema['default'] === undefined || ++walk.defaults > MAX_DEFAULTS) return;
  const filling = compileSchema([], field, { properties: { [name]: schema } });
  if (filling === undefined || filling.isCostly(jsonBytes(schema['default']))) return;
  const wrong: Found = [];
  filling.check(wrong, '', {});
  const [first] = wrong;
  if (first === undefined) return;
  const place = first.field.slice(memberPath('', name).length);
  addViolation(
    walk.found,
    `${field}.default`,
    `does not fit its own schema: ${place === '' ? 'it' : `its ${place.slice(1)}`} ${first.description}`,
  );
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
