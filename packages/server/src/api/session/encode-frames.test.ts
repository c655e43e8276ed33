// The encoder by hand against the generic one: the same bytes for whatever a frame may hold.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ServerFrame } from '../../core/frames.ts';
import { makeRunId } from '../../core/ids.ts';
import type { JsonObject } from '../../core/json.ts';
import { encodeFrame, encodeGenericFrame } from './encode-frames.ts';
import { encodeHotFrame } from './encode-hot-frames.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 300 });
const count = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constantFrom(0, 127, 128, 16_383, 16_384, 2 ** 32, 2 ** 35));
const ms = fc.nat({ max: 365 * 86_400_000 });
const key = fc.record({
  runId: fc.uint8Array({ minLength: 10, maxLength: 10 }).map((random) => makeRunId(1_700_000_000_000, random)),
  job: fc.nat({ max: 9_999 }),
  attempt: fc.integer({ min: 1, max: 999_999_999 }),
});
const json: fc.Arbitrary<JsonObject> = fc
  .dictionary(text, fc.jsonValue({ stringUnit: 'grapheme', maxDepth: 4 }))
  .map((value): JsonObject => JSON.parse(JSON.stringify(value)));
const maybe = <Name extends string>(name: Name) =>
  fc.option(ms, { nil: undefined }).map((value) => ({ [name]: value }));

const frames: Readonly<Record<string, fc.Arbitrary<ServerFrame>>> = {
  LogAck: fc.record({
    type: fc.constant('LogAck' as const),
    key,
    offset: count,
    windowEnd: count,
    gap: fc.boolean(),
  }),
  FinishAck: fc.record({
    type: fc.constant('FinishAck' as const),
    key,
    logState: fc.constantFrom('SEALED' as const, 'TRUNCATED' as const, 'CORRUPT' as const),
  }),
  Start: fc.tuple(key, maybe('timeLeftMs')).map(([of, timeLeft]): ServerFrame => {
    const none = {
      needs: {},
      secrets: {},
      resumed: false,
      logOffset: 0,
      logCrc32c: 0,
      annotations: 0,
      valueNumber: 0,
      artifacts: 0,
    };
    return { type: 'Start', key: of, ...none, ...timeLeft };
  }),
  Offer: fc
    .tuple(
      key,
      fc.array(text, { minLength: 4, maxLength: 4 }),
      json,
      json,
      ms,
      ms,
      maybe('runTimeoutMs'),
      maybe('silenceTimeoutMs'),
      fc.boolean(),
    )
    .map(
      ([
        of,
        [project = '', jobName = '', pipeline = '', traceparent = ''],
        spec,
        params,
        offer,
        grace,
        run,
        silence,
        stop,
      ]) => ({
        type: 'Offer' as const,
        key: of,
        project,
        jobName,
        pipeline,
        traceparent,
        spec,
        params,
        offerTimeoutMs: offer,
        cancelGraceMs: grace,
        onLeaseDoubt: stop ? ('STOP' as const) : ('CONTINUE' as const),
        ...run,
        ...silence,
      }),
    ),
};

describe.each(Object.entries(frames))('%s by hand', (_, frame) => {
  it('has the bytes of the generic encoder', () => {
    fc.assert(
      fc.property(frame, (one) => {
        expect(Buffer.from(encodeHotFrame(one) ?? []).equals(encodeGenericFrame(one))).toBe(true);
      }),
    );
  });
});

it('a spec as large as it may be, and its numbers, survive', () => {
  const spec = {
    many: Array.from({ length: 10_000 }, (_, i) => i / 3),
    text: 'ü'.repeat(10_000),
    none: null,
    no: false,
  };
  const runId = makeRunId(0, new Uint8Array(10));
  const offer: ServerFrame = {
    type: 'Offer',
    key: { runId, job: 0, attempt: 1 },
    project: 'default',
    jobName: 'a',
    pipeline: '',
    traceparent: '',
    spec,
    params: {},
    offerTimeoutMs: 1,
    cancelGraceMs: 999,
    onLeaseDoubt: 'CONTINUE',
  };
  expect(Buffer.from(encodeFrame(offer)).equals(encodeGenericFrame(offer))).toBe(true);
});
