// Owns the JSON Schema of a kind of file, for editors: it accepts what message-file.ts reads as the message, and describes each field by
// its comment in the contract. Draft 7, which is what editors know.
import { type DescEnum, type DescField, type DescMessage, type JsonObject, ScalarType } from '@bufbuild/protobuf';
import { DurationSchema, ListValueSchema, StructSchema, TimestampSchema, ValueSchema } from '@bufbuild/protobuf/wkt';
import { PipelineRefSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import {
  DURATION_PATTERN,
  EXPRESSION_PATTERN,
  alternativesIn,
  boundsOf,
  choicesOf,
  expressionFieldOf,
} from '../message-fields.ts';
import type { FileKind } from '../message-file.ts';
import { TIME_PATTERN } from '../text.ts';

/** The comments of the contract, by the full name of what they are about. */
export type Comments = ReadonlyMap<string, string>;

/** The schema of files of a kind. */
export function messageSchema(kind: FileKind<DescMessage>, title: string, comments: Comments): JsonObject {
  const definitions = new Map<string, JsonObject>();
  const root = objectSchema(kind.desc, { comments, definitions });
  const beside = Object.entries(kind.beside).map(([name, { type, description }]) => [
    name,
    { ...scalarSchema(type), description },
  ]);
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title,
    ...root,
    properties: { ...Object.fromEntries(beside), ...propertiesOf(kind.desc, { comments, definitions }) },
    definitions: Object.fromEntries([...definitions].toSorted(([a], [b]) => (a < b ? -1 : 1))),
  };
}

interface Context {
  readonly comments: Comments;
  /** Of the messages met so far. */
  readonly definitions: Map<string, JsonObject>;
}

function objectSchema(desc: DescMessage, context: Context): JsonObject {
  const exclusive = [
    ...desc.fields.filter(({ name, jsonName }) => name !== jsonName).map(({ name, jsonName }) => [jsonName, name]),
    ...alternativesIn(desc).flatMap((fields) =>
      fields.flatMap((one, index) => fields.slice(index + 1).flatMap((other) => pairsOf(one, other))),
    ),
  ];
  return {
    ...described(desc.typeName, context),
    type: 'object',
    properties: propertiesOf(desc, context),
    additionalProperties: false,
    ...(exclusive.length > 0 && { allOf: exclusive.map((pair) => ({ not: { required: pair } })) }),
  };
}

function pairsOf(one: DescField, other: DescField): string[][] {
  const spellings = ({ name, jsonName }: DescField) => [...new Set([jsonName, name])];
  return spellings(one).flatMap((a) => spellings(other).map((b) => [a, b]));
}

/** Each field in both its spellings, of which editors offer one. */
function propertiesOf(desc: DescMessage, context: Context): JsonObject {
  return Object.fromEntries(
    desc.fields.flatMap((field) => {
      const schema = { ...nullable(fieldSchema(field, context)), ...fieldDescription(field, context) };
      const spellings: [string, JsonObject][] = [[field.jsonName, schema]];
      const isOtherwise = desc.fields.some((number) => expressionFieldOf(number) === field);
      // It is given by the name of the number that it stands for.
      if (isOtherwise) schema['doNotSuggest'] = true;
      if (field.name !== field.jsonName) spellings.push([field.name, { ...schema, doNotSuggest: true }]);
      return spellings;
    }),
  );
}

function fieldSchema(field: DescField, context: Context): JsonObject {
  switch (field.fieldKind) {
    case 'list':
      return { type: 'array', items: elementSchema(field, context) };
    case 'map':
      return { type: 'object', additionalProperties: elementSchema(field, context) };
    case 'message':
    case 'enum':
    case 'scalar':
      return elementSchema(field, context);
  }
}

function elementSchema(field: DescField, context: Context): JsonObject {
  if (field.message !== undefined) return messageRef(field.message, context);
  if (field.enum !== undefined) return enumSchema(field.enum);
  if (expressionFieldOf(field) !== undefined) {
    const expression = { type: 'string', pattern: EXPRESSION_PATTERN.source };
    return { anyOf: [scalarSchema(ScalarType.INT32), expression] };
  }
  return scalarSchema(field.scalar ?? ScalarType.STRING);
}

function messageRef(desc: DescMessage, context: Context): JsonObject {
  switch (desc.typeName) {
    case StructSchema.typeName:
      return { type: 'object' };
    case ListValueSchema.typeName:
      return { type: 'array' };
    case ValueSchema.typeName:
      return {};
    case DurationSchema.typeName:
      return { type: 'string', pattern: DURATION_PATTERN.source };
    case TimestampSchema.typeName:
      return { type: 'string', pattern: TIME_PATTERN.source };
    case PipelineRefSchema.typeName:
      return { anyOf: [{ type: 'string' }, definitionRef(desc, context)] };
  }
  return definitionRef(desc, context);
}

function definitionRef(desc: DescMessage, context: Context): JsonObject {
  const name = desc.typeName.slice(desc.file.proto.package.length + 1);
  if (!context.definitions.has(name)) {
    // It may come to itself again.
    context.definitions.set(name, {});
    context.definitions.set(name, objectSchema(desc, context));
  }
  return { $ref: `#/definitions/${name}` };
}

/** What editors offer, and the other spellings that are read. */
function enumSchema(desc: DescEnum): JsonObject {
  const choices = choicesOf(desc);
  const anyCase = (text: string) => text.replaceAll(/[a-z]/g, (letter) => `[${letter}${letter.toUpperCase()}]`);
  const spellings = choices.flatMap(({ short, name }) => [anyCase(short), name]);
  return {
    anyOf: [{ enum: choices.map(({ short }) => short) }, { type: 'string', pattern: `^(?:${spellings.join('|')})$` }],
  };
}

function scalarSchema(scalar: ScalarType): JsonObject {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return { type: 'string' };
    case ScalarType.BOOL:
      return { type: 'boolean' };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { type: 'number' };
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
    case ScalarType.UINT64:
    case ScalarType.FIXED64: {
      const { min, max } = boundsOf(scalar);
      return { type: 'integer', minimum: min, maximum: max };
    }
  }
}

/** A field that is given as nothing is not given. */
function nullable(schema: JsonObject): JsonObject {
  const { type, anyOf, $ref } = schema;
  if (typeof type === 'string') return { ...schema, type: [type, 'null'] };
  if (Array.isArray(anyOf)) return { ...schema, anyOf: [...anyOf, { type: 'null' }] };
  return $ref === undefined ? schema : { anyOf: [schema, { type: 'null' }] };
}

function fieldDescription(field: DescField, context: Context): JsonObject {
  const own = described(`${field.parent.typeName}.${field.name}`, context)['description'];
  const values = (field.enum?.values ?? []).filter(({ number }) => number !== 0);
  const choices = choicesOf(field.enum).map(({ short }, index) => {
    const name = `${field.enum?.typeName}.${values[index]?.name}`;
    return `${short}: ${context.comments.get(name) ?? ''}`;
  });
  const lines = [...(typeof own === 'string' ? [own] : []), ...choices];
  return lines.length === 0 ? {} : { description: lines.join('\n') };
}

function described(name: string, { comments }: Context): JsonObject {
  const description = comments.get(name);
  return description === undefined ? {} : { description };
}
