// Drivers that break the rules of the session itself: each stream ends with a definite status and says why, the memory of the server
// stays bounded, and a session beside it goes on as before.
import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ValueSchema } from '@bufbuild/protobuf/wkt';
import { HeldPhase, type HelloSchema, VerdictKind } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { residentBytes } from '../bench/process-usage.ts';
import { openByteStream } from './byte-driver.ts';
import { createJob, jobOf } from './jobs.ts';
import { type DriverFrameInit, finishFrame, messageOf, type RawSession, type RawStream } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';

let system: System;
let honest: RawSession;
beforeAll(async () => {
  system = await startSystem({ replicas: 1 });
  honest = await system.openSession({ at: system.replicas[0]!, hello: { driver: 'honest' } });
});
afterAll(() => system[Symbol.asyncDispose]());

// Whatever a driver did to its own session, the one beside it still works.
afterEach(async () => {
  await createJob(system.replicas[0]!.client, jobOf('honest', { steps: [] }));
  honest.say(finishFrame(await honest.startNext()));
  await honest.next('finishAck');
});

const nowhere = { attemptId: '01890000-0000-7000-8000-000000000000.0.1', fence: 1 };
const unusual: DriverFrameInit = { case: 'goodbye', value: { reason: '##' } };
const heartbeat = (seq: number): DriverFrameInit => ({ case: 'heartbeat', value: { seq: BigInt(seq) } });

function hello(change: MessageInitShape<typeof HelloSchema> = {}): DriverFrameInit {
  const value = { protocolVersion: 1, driver: 'liar', instanceId: 'liar', incarnation: randomBytes(16), slots: 1 };
  return { case: 'hello', value: { ...value, ...change } };
}

async function welcomed(): Promise<RawStream> {
  const stream = await system.openStream(system.replicas[0]!);
  stream.say(hello());
  await stream.next('welcome');
  return stream;
}

describe('a stream ends at', () => {
  const cases: Record<string, readonly [say: (stream: RawStream) => void, code: status, details: RegExp]> = {
    'a second Hello': [(stream) => stream.say(hello()), status.INVALID_ARGUMENT, /one Hello/],
    'too many slots': [
      (stream) => stream.say({ case: 'slots', value: { total: 2 ** 31 - 1 } }),
      status.INVALID_ARGUMENT,
      /slots\.total must be from 0 to 10000; got 2147483647/,
    ],
    'fewer than no slots': [
      (stream) => stream.say({ case: 'slots', value: { total: -1 } }),
      status.INVALID_ARGUMENT,
      /slots\.total must be from 0 to 10000; got -1/,
    ],
    'a message just over the limit': [
      (stream) => stream.sayBytes(new Uint8Array(1_048_577)),
      status.INVALID_ARGUMENT,
      /1048577 bytes; at most 1048576/,
    ],
    'a message far over the limit': [
      (stream) => stream.sayBytes(new Uint8Array(5_000_000)),
      status.RESOURCE_EXHAUSTED,
      /larger than max/,
    ],
    'too many frames in one message': [
      (stream) => stream.sayBytes(Buffer.alloc(1_048_576, Buffer.from([0x0a, 0]))),
      status.INVALID_ARGUMENT,
      /more than 20000 frames/,
    ],
    'more appended jobs in one message than a run may have': [
      (stream) =>
        stream.say({
          case: 'appendJobs',
          value: { ...nowhere, number: 1, jobs: Array.from({ length: 400_000 }, () => ({})) },
        }),
      status.INVALID_ARGUMENT,
      /more than 20000 frames and appended jobs/,
    ],
    'bytes that are no message': [
      (stream) => stream.sayBytes(Buffer.from('no message')),
      status.INVALID_ARGUMENT,
      /no SessionRequest/,
    ],
    'text that is not UTF-8': [
      (stream) =>
        stream.sayBytes(
          Buffer.from(
            Buffer.from(messageOf([unusual]))
              .toString('latin1')
              .replace('##', '\xff\xfe'),
            'latin1',
          ),
        ),
      status.INVALID_ARGUMENT,
      /not valid for encoding utf-8/,
    ],
    'more levels than a message may have': [
      (stream) => stream.say({ case: 'output', value: { ...nowhere, key: 'deep', value: deepValue(400) } }),
      status.INVALID_ARGUMENT,
      /a message is too deep/,
    ],
    'a half-closed stream without Goodbye': [
      (stream) => stream.halfClose(),
      status.INVALID_ARGUMENT,
      /closed without Goodbye/,
    ],
  };
  test.each(Object.entries(cases))('%s', async (_, [say, code, details]) => {
    const stream = await welcomed();
    say(stream);
    expect(await stream.ended).toMatchObject({ code, details: expect.stringMatching(details) });
  });

  test('what is no Hello, when it comes first', async () => {
    const stream = await system.openStream(system.replicas[0]!);
    stream.say(heartbeat(1));
    expect(await stream.ended).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(/first frame/),
    });
  });

  test('ten seconds without Hello', async () => {
    const beganMs = performance.now();
    const stream = await system.openStream(system.replicas[0]!);
    expect(await stream.ended).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining('no Hello came within 10 s'),
    });
    expect(performance.now() - beganMs).toBeGreaterThan(9_000);
  });
});

describe('a Hello is refused by the path of its field:', () => {
  const cases: Record<string, readonly [change: MessageInitShape<typeof HelloSchema>, details: RegExp]> = {
    '100,000 attempts': [
      { held: Array.from({ length: 100_000 }, () => ({ attemptId: 'x', fence: 1 })) },
      /hello\.held must have at most 10000 entries; has 100000/,
    ],
    'too many labels': [
      { labels: Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`label-${index}`, ''])) },
      /hello\.labels must have at most 64 entries; has 20000/,
    ],
    'a huge label': [{ labels: { os: 'x'.repeat(900_000) } }, /hello\.labels\["os"\] must have at most 256 characters/],
    'a huge schema': [
      { specSchema: { description: 'x'.repeat(900_000) } },
      /hello\.spec_schema must have at most 65536/,
    ],

    'a schema that is none': [{ specSchema: { type: 'objct' } }, /hello\.spec_schema\.type/],
    'a schema of a schema elsewhere': [
      { specSchema: { $ref: 'https://example.com/schema.json' } },
      /hello\.spec_schema can't resolve reference/,
    ],
  };
  test.each(Object.entries(cases))('%s', async (_, [change, details]) => {
    const stream = await system.openStream(system.replicas[0]!);
    stream.say(hello(change));
    expect(await stream.ended).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(details),
    });
  });
});

test('a Hello that names ten thousand attempts of nobody is told to stop each', async () => {
  const held = Array.from({ length: 10_000 }, (_, job) => ({
    attemptId: nowhere.attemptId.replace('.0.1', `.${job}.1`),
    fence: 1,
    phase: HeldPhase.RUNNING,
  }));
  const stream = await system.openStream(system.replicas[0]!);
  stream.say(hello({ held }));
  const { verdicts } = await stream.next('welcome');
  expect(verdicts).toHaveLength(10_000);
  expect(new Set(verdicts.map(({ kind }) => kind))).toEqual(new Set([VerdictKind.STOP]));
});

test('frames that are not known are ignored', async () => {
  const stream = await welcomed();
  stream.sayBytes(Buffer.concat([Buffer.from([0x0a, 0x04, 0xfa, 0x3e, 0x01, 0x00]), messageOf([heartbeat(1)])]));
  expect(await stream.next('pulse')).toMatchObject({ seq: 1n });
});

test('ten thousand tiny frames are each answered, in one message and in as many', async () => {
  const stream = await welcomed();
  const accept: DriverFrameInit = { case: 'accept', value: { attemptId: 'x', fence: 1 } };
  stream.say(...Array<DriverFrameInit>(10_000).fill(accept));
  for (let sent = 0; sent < 10_000; sent++) stream.say(accept);
  let answered = 0;
  await expect.poll(() => (answered += stream.arrived('revoke').length)).toBe(20_000);
});

describe('the memory of the server stays bounded', () => {
  /** Far less than what was sent, or meant to be. */
  const MAX_GROWTH = 100_000_000;

  async function growthOf(attack: () => Promise<void>): Promise<number> {
    const { pid } = system.replicas[0]!;
    const before = await residentBytes(pid);
    let most = before;
    let over = false;
    const watching = (async () => {
      while (!over) most = Math.max(most, await residentBytes(pid));
    })();
    await attack().finally(() => (over = true));
    await watching;
    return most - before;
  }

  test('by a frame that says it has 1 GiB', async () => {
    let sent = 0;
    const growth = await growthOf(async () => {
      using stream = await openByteStream(system.replicas[0]!.ready.grpcAddress, await system.token('driver'));
      const head = Buffer.alloc(5);
      head.writeUInt32BE(2 ** 30, 1);
      const piece = Buffer.alloc(1_048_576);
      await stream.write(Buffer.concat([head, piece]));
      for (; sent < 1_024 && !stream.isOver(); sent++) await stream.write(piece);
      expect(await stream.ended).toEqual({ status: String(status.RESOURCE_EXHAUSTED) });
    });
    expect(sent).toBeLessThan(100);
    expect(growth).toBeLessThan(MAX_GROWTH);
  });

  test('by 1 GiB in a compressed frame', async () => {
    // Compressed in parts, which gunzip takes as one.
    const part = gzipSync(Buffer.alloc(67_108_864));
    const data = Buffer.concat(Array<Buffer>(16).fill(part));
    const growth = await growthOf(async () => {
      using stream = await openByteStream(system.replicas[0]!.ready.grpcAddress, await system.token('driver'), 'gzip');
      const head = Buffer.alloc(5);
      head[0] = 1;
      head.writeUInt32BE(data.length, 1);
      await stream.write(Buffer.concat([head, data]));
      expect(await stream.ended).toEqual({ status: String(status.RESOURCE_EXHAUSTED) });
    });
    expect(growth).toBeLessThan(MAX_GROWTH);
  });
});

/** A list in a list in a list. */
function deepValue(levels: number): MessageInitShape<typeof ValueSchema> {
  let value: MessageInitShape<typeof ValueSchema> = { kind: { case: 'boolValue', value: true } };
  for (let level = 0; level < levels; level++) value = { kind: { case: 'listValue', value: { values: [value] } } };
  return value;
}
