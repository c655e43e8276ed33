// Owns arbitrary messages of the contract for tests, made by their descriptors: whatever a file can say, and nothing that it cannot.
import {
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  type MessageShape,
  ScalarType,
  fromJson,
} from '@bufbuild/protobuf';
import fc from 'fast-check';
import { alternativesIn, boundsOf, choicesOf, expressionFieldOf } from '../message-fields.ts';

/** Any message. @param fields Only these fields of it; default all. */
export function messages<Desc extends DescMessage>(
  desc: Desc,
  fields?: readonly string[],
): fc.Arbitrary<MessageShape<Desc>> {
  return messageJson(desc, 0, fields).map((json) => fromJson(desc, json));
}

const text = fc.oneof(
  fc.string({ unit: 'binary' }).map((value) => value.toWellFormed()),
  fc.string({ unit: 'grapheme' }),
  // What YAML could take for something else.
  fc.constantFrom(
    '',
    ' ',
    '~',
    'null',
    'yes',
    'true',
    '1',
    '0x1F',
    '1e3',
    '.inf',
    '2026-01-31',
    '- a',
    'a: b',
    '#',
    '<<',
    '&a',
    '*a',
  ),
  fc.constantFrom(
    '!a',
    '%a',
    '---',
    '...',
    'a\n',
    '\n a',
    '\ta',
    'a\r\nb',
    '"',
    "'",
    '\uFEFF',
    '\u2028',
    '__proto__',
    '{',
    '[',
    '|',
    '>',
  ),
);
const { value: anyJson } = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    text,
    fc.constantFrom<JsonValue>(null, true, false),
    withoutMinusZero(fc.double({ noNaN: true, noDefaultInfinity: true })),
    fc.integer(),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(text, tie('value'), { maxKeys: 3 }),
  ),
}));
const anyObject: fc.Arbitrary<JsonObject> = fc.dictionary(text, anyJson, { maxKeys: 3 });
const durations = fc.oneof(
  fc.nat(),
  fc.nat({ max: 315_360_000 }).map((seconds) => seconds * 1_000),
);

/** Written as JSON it is 0. */
function withoutMinusZero(numbers: fc.Arbitrary<number>): fc.Arbitrary<number> {
  return numbers.map((number) => (number === 0 ? 0 : number));
}

function messageJson(desc: DescMessage, depth: number, only?: readonly string[]): fc.Arbitrary<JsonValue> {
  switch (desc.typeName) {
    case 'google.protobuf.Struct':
      return anyObject;
    case 'google.protobuf.ListValue':
      return fc.array(anyJson, { maxLength: 3 });
    case 'google.protobuf.Value':
      return anyJson.filter((value) => value !== null);
    case 'google.protobuf.Duration':
      return durations.map((ms) => `${(ms / 1_000).toFixed(3)}s`);
    case 'google.protobuf.Timestamp':
      return fc
        .date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true })
        .map((date) => date.toISOString());
  }
  // A message may hold itself.
  const fields = desc.fields.filter(
    ({ message, name }) => (only?.includes(name) ?? true) && (depth < 5 || message === undefined),
  );
  const record = fc.record(Object.fromEntries(fields.map((field) => [field.jsonName, fieldJson(field, depth)])), {
    requiredKeys: [],
  });
  return fc.tuple(record, fc.infiniteStream(fc.nat())).map(([json, choice]) => {
    const left = new Map<string, JsonValue>();
    for (const [name, value] of Object.entries(json)) if (value !== undefined) left.set(name, value);
    for (const members of alternativesIn(desc)) {
      const given = members.filter(({ jsonName }) => left.has(jsonName));
      const kept = given[Number(choice.next().value) % Math.max(1, given.length)];
      for (const member of given) if (member !== kept) left.delete(member.jsonName);
    }
    return Object.fromEntries(left);
  });
}

function fieldJson(field: DescField, depth: number): fc.Arbitrary<JsonValue> {
  const element = elementJson(field, depth);
  switch (field.fieldKind) {
    case 'list':
      return fc.array(element, { maxLength: 3 });
    case 'map':
      return fc.dictionary(text, element, { maxKeys: 3 });
    case 'message':
    case 'enum':
    case 'scalar':
      return element;
  }
}

/** Whether it is for an expression in place of a number. */
function isExpressionField(field: DescField): boolean {
  return field.parent.fields.some((number) => expressionFieldOf(number) === field);
}

function elementJson(field: DescField, depth: number): fc.Arbitrary<JsonValue> {
  if (field.message !== undefined) return messageJson(field.message, depth + 1);
  if (field.enum !== undefined) return fc.constantFrom(...choicesOf(field.enum).map(({ name }) => name));
  const { scalar } = field;
  if (isExpressionField(field))
    return fc.oneof(
      text,
      text.map((source) => `\${{ ${source} }}`),
    );
  if (scalar === ScalarType.STRING) return text;
  if (scalar === ScalarType.BOOL) return fc.boolean();
  if (scalar === ScalarType.DOUBLE || scalar === ScalarType.FLOAT) {
    return withoutMinusZero(fc.float({ noNaN: true, noDefaultInfinity: true }));
  }
  return fc.integer(boundsOf(scalar));
}
