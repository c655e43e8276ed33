import { create, type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf';
import { StructSchema, ValueSchema } from '@bufbuild/protobuf/wkt';
import { SessionRequestSchema, SessionResponseSchema } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { FieldChangeSchema } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { expect, test } from 'vitest';
import { LIMITS } from '../core/limits.ts';
import { SERVICES } from './services.ts';

/** Decoders of several languages stop there, and count the entry of a map as a message. */
const LEVELS_DECODED = 100;
/** Left for programs that carry our messages in theirs. */
const TO_SPARE = 10;

/** Messages inside of each other in a value of so many lists and objects: an object is a value, a struct and an entry. */
const levelsOfValue = (levels: number): number => 3 * levels + 1;

/** The most levels of any way to a JSON value in a message, with those of the value; undefined when there is none. */
function levelsOf(desc: DescMessage, around: ReadonlySet<DescMessage> = new Set()): number | undefined {
  if (desc.typeName === ValueSchema.typeName) return levelsOfValue(LIMITS.jsonLevels);
  if (desc.typeName === StructSchema.typeName) return levelsOfValue(LIMITS.jsonLevels) - 1;
  if (around.has(desc)) return undefined;
  const inside = new Set([...around, desc]);
  const ways = desc.fields.flatMap((field): number[] => {
    const levels = field.message === undefined ? undefined : levelsOf(field.message, inside);
    return levels === undefined ? [] : [levels + (field.fieldKind === 'map' ? 2 : 1)];
  });
  // A matrix, a gate or a call as a whole is a level of a change of a definition.
  const changed = desc.typeName === FieldChangeSchema.typeName ? 3 : 0;
  return ways.length === 0 ? undefined : Math.max(...ways) + changed;
}

test('the deepest JSON fits into every message that carries any, as every language decodes it', () => {
  const messages = SERVICES.flatMap(({ methods }) => methods.flatMap(({ input, output }) => [input, output]));
  const levels = new Map([...messages, SessionRequestSchema].map((desc) => [desc.name, levelsOf(desc) ?? 0]));
  expect(levels.get(SessionResponseSchema.name)).toBeGreaterThan(levelsOfValue(LIMITS.jsonLevels));
  expect(Object.fromEntries([...levels].filter(([, deep]) => deep > LEVELS_DECODED - TO_SPARE))).toEqual({});
  expect(LIMITS.messageLevels).toBeGreaterThan(2 * Math.max(...levels.values()));
});

test('an offer of the deepest spec can be decoded', () => {
  let value: { [key: string]: unknown } | unknown[] = {};
  for (let level = 1; level < LIMITS.jsonLevels; level++) value = level === LIMITS.jsonLevels - 1 ? { value } : [value];
  const frame = { case: 'offer', value: { spec: JSON.parse(JSON.stringify(value)) } } as const;
  const message = create(SessionResponseSchema, { frames: [{ frame }] });
  expect(fromBinary(SessionResponseSchema, toBinary(SessionResponseSchema, message))).toEqual(message);
});
