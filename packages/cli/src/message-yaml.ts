// Owns messages of the contract as YAML that reads back as the same message: enums by their short names, and quotes wherever a plain
// text would mean something else.
import {
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  type MessageShape,
  toJson,
} from '@bufbuild/protobuf';
import { Document, Scalar, visit } from 'yaml';
import { choicesOf, EXPRESSION_PATTERN, expressionFieldOf } from './message-fields.ts';

/** A message as a file holds it, with the fields beside it first. */
export function messageYaml<Desc extends DescMessage>(
  desc: Desc,
  beside: JsonObject,
  message: MessageShape<Desc>,
): string {
  return yamlOf({ ...beside, ...messageJson(desc, message) });
}

/** A message in its JSON form, with the short names of enums. */
export function messageJson<Desc extends DescMessage>(desc: Desc, message: MessageShape<Desc>): JsonObject {
  const json = shortened(desc, toJson(desc, message));
  return isObject(json) ? json : {};
}

/** JSON as YAML. */
export function yamlOf(json: JsonValue): string {
  const document = new Document(json, { aliasDuplicateObjects: false });
  visit(document, {
    Scalar(_, node) {
      // Plain it would be a merge; and spaces of other kinds and invisible characters would not be seen or be lost.
      if (node.value === '<<' || (typeof node.value === 'string' && /[^\P{C}\n]|[^\P{Z} ]/u.test(node.value))) {
        node.type = Scalar.QUOTE_DOUBLE;
      }
    },
  });
  return document.toString({ lineWidth: 0 }).trimEnd();
}

function shortened(desc: DescMessage, json: JsonValue): JsonValue {
  if (!isObject(json) || desc.typeName.startsWith('google.protobuf.')) return json;
  const fields = new Map(desc.fields.map((field) => [field.jsonName, field]));
  const numbers = new Map(desc.fields.map((field) => [expressionFieldOf(field)?.jsonName, field.jsonName]));
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => {
      const number = typeof value === 'string' && EXPRESSION_PATTERN.test(value) ? numbers.get(name) : undefined;
      return [number ?? name, shortenedField(fields.get(name), value)];
    }),
  );
}

function shortenedField(field: DescField | undefined, value: JsonValue): JsonValue {
  const one = (element: JsonValue): JsonValue => {
    if (field?.message !== undefined) return shortened(field.message, element);
    return choicesOf(field?.enum).find(({ name }) => name === element)?.short ?? element;
  };
  if (field?.fieldKind === 'list' && Array.isArray(value)) return value.map(one);
  if (field?.fieldKind === 'map' && isObject(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, element]) => [key, one(element)]));
  }
  return one(value);
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
