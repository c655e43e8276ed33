// Driver sessions over real streams: what reaches the engine, what reaches the driver, and how a stream ends.
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  type FinishOutcome,
  HeldAttemptSchema,
  SessionRequestSchema,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import type { Offer, ServerFrame, Start } from '../../core/frames.ts';
import { LIMITS } from '../../core/limits.ts';
import { RefusedError } from '../../core/refusal.ts';
import type { DriverOperations } from '../../engine/driver-operations.ts';
import { openTestDoors, type TestDoors } from '../testing/test-doors.ts';
import {
  createTestSessions,
  type FrameInit,
  HELLO,
  type OpenedSession,
  openDriver,
  type TestDriver,
  WELCOME,
} from '../testing/test-driver.ts';
import { ATTEMPT_ID, JOB_ID } from '../testing/sample-jobs.ts';
import { RUN_ID } from '../testing/sample-runs.ts';
import { createTestEngine, OPERATOR_TOKEN } from '../testing/test-engine.ts';

const key = { runId: RUN_ID, job: 0, attempt: 1 };
const about = { attemptId: ATTEMPT_ID, fence: 1 };
const hello = { case: 'hello', value: HELLO } as const;

let opened: OpenedSession[];
let doors: TestDoors;
let isOwn = false;
const drivers: TestDriver[] = [];
beforeAll(() => open());
afterEach(async () => {
  for (const driver of drivers.splice(0)) {
    driver.stream.cancel();
    driver.close();
  }
  if (isOwn) await open();
});
afterAll(() => doors[Symbol.asyncDispose]());

/** Opens doors; with an engine of its own, for one test. */
async function open(openSession?: DriverOperations['openSession']): Promise<void> {
  await doors?.[Symbol.asyncDispose]();
  const sessions = createTestSessions();
  opened = sessions.opened;
  isOwn = openSession !== undefined;
  doors = await openTestDoors(createTestEngine({ drivers: { openSession: openSession ?? sessions.openSession } }));
}

function connect(token?: string | null): TestDriver {
  const driver = openDriver(doors.grpc.address, token);
  drivers.push(driver);
  return driver;
}

/** A driver that was welcomed, and the engine's side of its session. */
async function welcomed(): Promise<{ driver: TestDriver; session: OpenedSession }> {
  const driver = connect();
  driver.say(hello);
  await eventually(() => expect(driver.heard).toHaveLength(1));
  return { driver, session: opened.at(-1)! };
}

describe('a Hello', () => {
  it('reaches the engine with all it says, and is answered by the Welcome', async () => {
    const driver = connect();
    driver.say({
      case: 'hello',
      value: {
        ...HELLO,
        capabilities: ['x'],
        labels: { os: 'linux' },
        pools: { gpu: 2 },
        specSchema: { type: 'object' },
        version: '1.2',
        held: [create(HeldAttemptSchema, { ...about, phase: 2, logOffset: 77n })],
      },
    });
    await eventually(() => expect(driver.heard).toHaveLength(1));
    expect(opened.at(-1)?.principal).toEqual({ role: 'driver', id: 'driver', driverNames: ['shell'] });
    expect(opened.at(-1)?.hello).toEqual({
      driver: 'shell',
      instance: 'shell-1',
      incarnation: Buffer.from(HELLO.incarnation!),
      slots: 4,
      capabilities: ['x'],
      labels: { os: 'linux' },
      pools: { gpu: 2 },
      specSchema: { type: 'object' },
      version: '1.2',
      held: [{ key, phase: 'RUNNING', logOffset: 77 }],
    });
    expect(driver.heard[0]).toMatchObject({
      case: 'welcome',
      value: { sessionId: 's-1', epoch: 3n, leaseDuration: { seconds: 30n }, heartbeatInterval: { seconds: 5n } },
    });
  });

  it('with an operator token is as good', async () => {
    const driver = connect(OPERATOR_TOKEN);
    driver.say(hello);
    await eventually(() => expect(opened.at(-1)?.principal.role).toBe('operator'));
  });

  const wrong: [string, object, string][] = [
    ['another protocol version', { protocolVersion: 2 }, 'hello.protocol_version'],
    ['no driver', { driver: '' }, 'hello.driver'],
    ['a malformed driver', { driver: 'Shell' }, 'hello.driver'],
    ['no instance', { instanceId: '' }, 'hello.instance_id'],
    ['a malformed instance', { instanceId: 'a b' }, 'hello.instance_id'],
    ['a short incarnation', { incarnation: new Uint8Array(15) }, 'hello.incarnation'],
    ['a long incarnation', { incarnation: new Uint8Array(65) }, 'hello.incarnation'],
    ['too many capabilities', { capabilities: Array.from({ length: 65 }, () => 'x') }, 'hello.capabilities'],
    ['a long capability', { capabilities: ['x'.repeat(65)] }, 'hello.capabilities[0]'],
    ['a malformed label', { labels: { 'a b': '' } }, 'hello.labels'],
    ['a malformed pool', { pools: { 'a b': 1 } }, 'hello.pools'],
    ['a pool of less than nothing', { pools: { gpu: -1 } }, 'hello.pools["gpu"]'],
    ['too many slots', { slots: 10_001 }, 'hello.slots'],
    ['negative slots', { slots: -1 }, 'hello.slots'],
    ['a bad spec schema', { specSchema: { type: 'objct' } }, 'hello.spec_schema.type'],
    ['a long version', { version: 'x'.repeat(129) }, 'hello.version'],
    ['a held attempt without an id', { held: [{ fence: 1, phase: 1 }] }, 'hello.held[0].attempt_id'],
    ['a held attempt with another fence', { held: [{ ...about, fence: 2, phase: 1 }] }, 'hello.held[0].fence'],
    ['a held attempt without a phase', { held: [about] }, 'hello.held[0].phase'],
    [
      'a held attempt that is named twice',
      {
        held: [
          { ...about, phase: 1 },
          { ...about, phase: 2 },
        ],
      },
      'hello.held[1].attempt_id',
    ],
  ];
  it.each(wrong)('with %s is refused by the path of the field', async (_, change, field) => {
    const before = opened.length;
    const driver = connect();
    driver.say({ case: 'hello', value: { ...HELLO, ...change } });
    const { code, reason, violations } = await driver.ended;
    expect({ code, reason }).toEqual({ code: Code.InvalidArgument, reason: 'PROTOCOL_VIOLATION' });
    expect(violations.map((violation) => violation.field)).toContain(field);
    expect(opened).toHaveLength(before);
  });

  it('that the engine refuses ends the stream with its reason', async () => {
    await open(async () => {
      throw new RefusedError({ refused: 'TOKEN_FORBIDS', message: 'the token may not serve shell' });
    });
    const driver = connect();
    driver.say(hello);
    expect(await driver.ended).toMatchObject({ code: Code.PermissionDenied, reason: 'TOKEN_FORBIDS' });
  });

  it('is taken while frames behind it wait for the takeover', async () => {
    const gate = Promise.withResolvers<void>();
    const sessions = createTestSessions();
    await open(async (...args) => {
      await gate.promise;
      return sessions.openSession(...args);
    });
    const driver = connect();
    driver.say(hello, { case: 'heartbeat', value: { seq: 1n } });
    driver.say({ case: 'heartbeat', value: { seq: 2n } });
    gate.resolve();
    await eventually(() => expect(sessions.opened[0]?.received).toHaveLength(2));
    expect(sessions.opened[0]?.received).toEqual([
      { type: 'Heartbeat', seq: 1 },
      { type: 'Heartbeat', seq: 2 },
    ]);
  });
});

describe('a stream that cannot go on', () => {
  it.each([
    ['no token', null],
    ['an unknown token', 'guess'],
  ])('with %s ends', async (_, token) => {
    const before = opened.length;
    const driver = connect(token);
    driver.say(hello);
    expect(await driver.ended).toMatchObject({ code: Code.Unauthenticated, reason: 'TOKEN_INVALID' });
    expect(opened).toHaveLength(before);
  });

  it('ends when it does not begin with Hello', async () => {
    const driver = connect();
    driver.say({ case: 'heartbeat', value: { seq: 1n } });
    expect(await driver.ended).toMatchObject({ code: Code.InvalidArgument, reason: 'PROTOCOL_VIOLATION' });
  });

  it('ends at a second Hello, after what came before it', async () => {
    const { driver, session } = await welcomed();
    driver.say({ case: 'heartbeat', value: { seq: 1n } }, hello, { case: 'heartbeat', value: { seq: 2n } });
    expect(await driver.ended).toMatchObject({
      reason: 'PROTOCOL_VIOLATION',
      message: expect.stringContaining('one Hello'),
    });
    expect(session.received).toEqual([{ type: 'Heartbeat', seq: 1 }]);
    expect(session.disconnected).toBe(1);
  });

  it('ends at bytes that are no message', async () => {
    const { driver, session } = await welcomed();
    driver.sayBytes(new Uint8Array([0xff, 0xff]));
    expect(await driver.ended).toMatchObject({ reason: 'PROTOCOL_VIOLATION' });
    expect(session.disconnected).toBe(1);
  });

  it('ends at a message over the limit', async () => {
    const { driver } = await welcomed();
    driver.say({ case: 'log', value: { ...about, data: new Uint8Array(2_097_152) } });
    expect(await driver.ended).toMatchObject({
      code: Code.InvalidArgument,
      reason: 'PROTOCOL_VIOLATION',
      message: expect.stringContaining(String(LIMITS.requestBytes)),
    });
  });

  it.each([-1, 10_001])('ends at %d slots', async (total) => {
    const { driver } = await welcomed();
    driver.say({ case: 'slots', value: { total } });
    expect(await driver.ended).toMatchObject({ reason: 'PROTOCOL_VIOLATION' });
  });

  it('ends when the engine fails at a frame, and the server goes on', async () => {
    const sessions = createTestSessions();
    await open(async (...args) => ({
      ...(await sessions.openSession(...args)),
      receive() {
        throw new Error('a defect');
      },
    }));
    const { driver } = await welcomed();
    driver.say({ case: 'heartbeat', value: { seq: 1n } });
    expect(await driver.ended).toMatchObject({ code: Code.Internal, reason: 'INTERNAL' });
    expect(sessions.opened[0]?.disconnected).toBe(1);
    await driver.roundTrip();
  });

  it('leaves other sessions alone', async () => {
    const { driver, session } = await welcomed();
    const other = connect();
    other.say({ case: 'heartbeat', value: { seq: 1n } });
    await other.ended;
    driver.say({ case: 'heartbeat', value: { seq: 5n } });
    await eventually(() => expect(session.received).toEqual([{ type: 'Heartbeat', seq: 5 }]));
  });

  it('is refused once the server stops', async () => {
    await open(createTestSessions().openSession);
    doors.api.beginStop();
    const driver = connect();
    driver.say(hello);
    expect(await driver.ended).toMatchObject({ code: Code.Unavailable, reason: 'SERVER_STOPPING' });
  });
});

describe('a frame of a driver', () => {
  const artifact = {
    name: 'app',
    digest: `sha256:${'0a'.repeat(32)}`,
    uri: 's3://b/app',
    mediaType: 'application/gzip',
  };
  const outputs = { kind: { case: 'stringValue', value: 'v' } } as const;
  const frames: [FrameInit, object][] = [
    [
      { case: 'heartbeat', value: { seq: 9n } },
      { type: 'Heartbeat', seq: 9 },
    ],
    [
      { case: 'slots', value: { total: 0 } },
      { type: 'Slots', total: 0 },
    ],
    [{ case: 'drain', value: {} }, { type: 'Drain' }],
    [
      { case: 'goodbye', value: { reason: 'bye' } },
      { type: 'Goodbye', reason: 'bye' },
    ],
    [
      { case: 'adopt', value: about },
      { type: 'Adopt', key },
    ],
    [
      { case: 'disown', value: about },
      { type: 'Disown', key },
    ],
    [
      { case: 'accept', value: about },
      { type: 'Accept', key },
    ],
    [
      { case: 'reject', value: { ...about, reason: 'full', retryAfter: durationFromMs(1_500), invalid: true } },
      { type: 'Reject', key, reason: 'full', retryAfterMs: 1_500, invalid: true },
    ],
    [
      { case: 'log', value: { ...about, offset: 5n, channel: 2, unixMs: 1_700_000_000_000n, data: Buffer.from('hi') } },
      { type: 'Log', key, offset: 5, channel: 'STDERR', unixMs: 1_700_000_000_000, data: Buffer.from('hi') },
    ],
    [
      { case: 'log', value: { ...about, data: Buffer.from('x') } },
      { type: 'Log', key, offset: 0, channel: 'STDOUT', unixMs: 0, data: Buffer.from('x') },
    ],
    [
      { case: 'section', value: { ...about, section: { offset: 3n, name: 'make', end: true } } },
      { type: 'Section', key, section: { offset: 3, name: 'make', end: true } },
    ],
    [
      { case: 'output', value: { ...about, key: 'k', value: outputs } },
      { type: 'Output', key, name: 'k', value: 'v' },
    ],
    [
      { case: 'progress', value: { ...about, progress: { phase: 1, message: 'pull', fraction: 0.25 } } },
      { type: 'Progress', key, progress: { phase: 'PREPARING', message: 'pull', fraction: 0.25 } },
    ],
    [
      { case: 'annotation', value: { ...about, number: 2, annotation: { level: 3, text: 't', link: 'l' } } },
      { type: 'Annotation', key, number: 2, annotation: { level: 'ERROR', text: 't', link: 'l' } },
    ],
    [
      { case: 'checkpoint', value: { ...about, handle: Buffer.from('pod-1') } },
      { type: 'Checkpoint', key, handle: Buffer.from('pod-1') },
    ],
    [
      { case: 'declareArtifact', value: { ...about, number: 2, artifact: { ...artifact, sizeBytes: 9n } } },
      { type: 'DeclareArtifact', key, number: 2, artifact: { ...artifact, sizeBytes: 9 } },
    ],
    [
      { case: 'getValue', value: { ...about, number: 1, key: 'k' } },
      { type: 'GetValue', key, number: 1, name: 'k' },
    ],
    [
      { case: 'setValue', value: { ...about, number: 2, key: 'k', value: outputs, expectedVersion: 0n } },
      { type: 'SetValue', key, number: 2, name: 'k', value: 'v', expected: 0 },
    ],
    [
      { case: 'deleteValue', value: { ...about, number: 3, key: 'k' } },
      { type: 'DeleteValue', key, number: 3, name: 'k', expected: undefined },
    ],
    [
      { case: 'finish', value: { ...about, outcome: 1, logSize: 10n, logCrc32c: 0xfedcba98 } },
      {
        type: 'Finish',
        key,
        outcome: 'SUCCEEDED',
        failureClass: 'WORKLOAD',
        message: '',
        logSize: 10,
        logCrc32c: 0xfedcba98,
        logLost: false,
      },
    ],
    [
      {
        case: 'finish',
        value: {
          ...about,
          outcome: 2,
          failureClass: 2,
          message: 'a\0b',
          exitCode: 0,
          retryAfter: durationFromMs(2_000),
          logLost: true,
        },
      },
      {
        type: 'Finish',
        key,
        outcome: 'FAILED',
        failureClass: 'DRIVER',
        message: 'a\ufffdb',
        exitCode: 0,
        retryAfterMs: 2_000,
        logSize: 0,
        logCrc32c: 0,
        logLost: true,
      },
    ],
  ];
  it.each(frames.map(([frame, value]) => [frame.case, frame, value] as const))(
    '%s reaches the engine',
    async (_, frame, value) => {
      const { driver, session } = await welcomed();
      driver.say(frame);
      await eventually(() => expect(session.received).toHaveLength(1));
      const [received] = session.received;
      // Bytes arrive as another kind of array.
      expect(JSON.parse(JSON.stringify(received, bytesAsText))).toEqual(JSON.parse(JSON.stringify(value, bytesAsText)));
    },
  );

  it('that takes long is followed by a rest of its stream, so that others have their turn', async () => {
    const sessions = createTestSessions();
    const spans: { readonly from: number; readonly to: number }[] = [];
    await open(async (...args) => ({
      ...(await sessions.openSession(...args)),
      receive() {
        const from = performance.now();
        while (performance.now() < from + 60);
        spans.push({ from, to: performance.now() });
      },
    }));
    const { driver } = await welcomed();
    for (const seq of [1n, 2n]) driver.say({ case: 'heartbeat', value: { seq } });
    await eventually(() => expect(spans).toHaveLength(2));
    expect(spans[1]!.from - spans[0]!.to).toBeGreaterThan(120);
  });

  it('that is not known is ignored', async () => {
    const { driver, session } = await welcomed();
    driver.sayBytes(Buffer.concat([Buffer.from([0x0a, 0x04, 0xfa, 0x3e, 0x01, 0x00]), heartbeat(4n)]));
    await eventually(() => expect(session.received).toEqual([{ type: 'Heartbeat', seq: 4 }]));
  });

  it('keeps its order among the frames of a message', async () => {
    const { driver, session } = await welcomed();
    const seqs = Array.from({ length: 50 }, (_, i) => i + 1);
    driver.say(...seqs.map((seq): FrameInit => ({ case: 'heartbeat', value: { seq: BigInt(seq) } })));
    await eventually(() => expect(session.received).toHaveLength(50));
    expect(session.received).toEqual(seqs.map((seq) => ({ type: 'Heartbeat', seq })));
  });

  it.each([
    ['another fence', { ...about, fence: 2 }],
    ['no attempt id', { attemptId: 'x', fence: 1 }],
    ['a job id', { attemptId: JOB_ID, fence: 1 }],
  ])('with %s is misaddressed', async (_, address) => {
    const { driver, session } = await welcomed();
    driver.say({ case: 'accept', value: address });
    await eventually(() => expect(session.received).toEqual([{ type: 'Misaddressed', ...address }]));
  });

  const malformed: [string, FrameInit, RegExp][] = [
    ['no log bytes', { case: 'log', value: about }, /^Log: data must have 1 to 524288 bytes; has 0/],
    ['too many log bytes', { case: 'log', value: { ...about, data: new Uint8Array(524_289) } }, /^Log: data/],
    ['a negative offset', { case: 'log', value: { ...about, offset: -1n, data: Buffer.from('x') } }, /^Log: offset/],
    ['an impossible time', { case: 'log', value: { ...about, unixMs: -1n, data: Buffer.from('x') } }, /^Log: unix_ms/],
    ['a long reason', { case: 'reject', value: { ...about, reason: 'x'.repeat(4_097) } }, /^Reject: reason/],
    [
      'a long retry',
      { case: 'reject', value: { ...about, retryAfter: durationFromMs(86_400_001) } },
      /^Reject: retry_after/,
    ],
    ['no section', { case: 'section', value: about }, /^Section: section is required/],
    [
      'a long section',
      { case: 'section', value: { ...about, section: { name: 'x'.repeat(257) } } },
      /^Section: section.name/,
    ],
    ['no output key', { case: 'output', value: { ...about, value: outputs } }, /^Output: key is required/],
    [
      'a malformed output key',
      { case: 'output', value: { ...about, key: 'a b', value: outputs } },
      /^Output: key must be/,
    ],
    ['no output value', { case: 'output', value: { ...about, key: 'k' } }, /^Output: value is required/],
    [
      'an output that JSON cannot say',
      { case: 'output', value: { ...about, key: 'k', value: { kind: { case: 'numberValue', value: NaN } } } },
      /^Output: value/,
    ],
    [
      'an oversize output',
      {
        case: 'output',
        value: { ...about, key: 'k', value: { kind: { case: 'stringValue', value: 'x'.repeat(65_536) } } },
      },
      /^Output: value must have at most 65536 bytes/,
    ],
    [
      'NUL in an output',
      { case: 'output', value: { ...about, key: 'k', value: { kind: { case: 'stringValue', value: '\0' } } } },
      /NUL/,
    ],
    [
      'a fraction over 1',
      { case: 'progress', value: { ...about, progress: { fraction: 1.5 } } },
      /^Progress: progress.fraction/,
    ],
    [
      'a long progress',
      { case: 'progress', value: { ...about, progress: { message: 'x'.repeat(1_025) } } },
      /^Progress:/,
    ],
    ['annotation 0', { case: 'annotation', value: { ...about, annotation: { text: 'x' } } }, /^Annotation: number/],
    ['no annotation', { case: 'annotation', value: { ...about, number: 1 } }, /^Annotation: annotation is required/],
    [
      'a long annotation',
      { case: 'annotation', value: { ...about, number: 1, annotation: { text: 'x'.repeat(4_097) } } },
      /^Annotation: annotation.text/,
    ],
    [
      'a long checkpoint',
      { case: 'checkpoint', value: { ...about, handle: new Uint8Array(4_097) } },
      /^Checkpoint: handle/,
    ],
    [
      'no artifact',
      { case: 'declareArtifact', value: { ...about, number: 1 } },
      /^DeclareArtifact: artifact is required/,
    ],
    ['artifact 0', { case: 'declareArtifact', value: { ...about, artifact } }, /^DeclareArtifact: number must be/],
    [
      'an artifact too many',
      { case: 'declareArtifact', value: { ...about, number: 1_001, artifact } },
      /^DeclareArtifact: number must be from 1 to 1000/,
    ],
    [
      'a malformed digest',
      { case: 'declareArtifact', value: { ...about, number: 1, artifact: { ...artifact, digest: 'sha256:0' } } },
      /^DeclareArtifact: artifact.digest must be written/,
    ],
    [
      'an artifact of negative size',
      { case: 'declareArtifact', value: { ...about, number: 1, artifact: { ...artifact, sizeBytes: -1n } } },
      /^DeclareArtifact: artifact.size_bytes must be 0 or more/,
    ],
    ['value 0', { case: 'getValue', value: { ...about, key: 'k' } }, /^GetValue: number must be 1 or more/],
    ['no value key', { case: 'getValue', value: { ...about, number: 1 } }, /^GetValue: key is required/],
    ['no value', { case: 'setValue', value: { ...about, number: 1, key: 'k' } }, /^SetValue: value is required/],
    [
      'a malformed value key',
      { case: 'setValue', value: { ...about, number: 1, key: 'a b', value: outputs } },
      /^SetValue: key must be/,
    ],
    [
      'an oversize value',
      {
        case: 'setValue',
        value: { ...about, number: 1, key: 'k', value: { kind: { case: 'stringValue', value: 'x'.repeat(65_536) } } },
      },
      /^SetValue: value must have at most 65536 bytes/,
    ],
    [
      'a negative expected version',
      { case: 'setValue', value: { ...about, number: 1, key: 'k', value: outputs, expectedVersion: -1n } },
      /^SetValue: expected_version must be 0 or more/,
    ],
    [
      'a deletion of what is not there',
      { case: 'deleteValue', value: { ...about, number: 1, key: 'k', expectedVersion: 0n } },
      /^DeleteValue: expected_version must be 1 or more/,
    ],
    ['no outcome', { case: 'finish', value: about }, /^Finish: outcome/],
    ['an unknown outcome', { case: 'finish', value: { ...about, outcome: 9 as FinishOutcome } }, /^Finish: outcome/],
    [
      'a class that is not its to say',
      { case: 'finish', value: { ...about, outcome: 2, failureClass: 3 } },
      /^Finish: failure_class/,
    ],
    ['a negative size', { case: 'finish', value: { ...about, outcome: 1, logSize: -1n } }, /^Finish: log_size/],
  ];
  it.each(malformed)('with %s fails its attempt, not the session', async (_, frame, problem) => {
    const { driver, session } = await welcomed();
    driver.say(frame, { case: 'heartbeat', value: { seq: 1n } });
    await eventually(() => expect(session.received).toHaveLength(2));
    expect(session.received[0]).toEqual({ type: 'Malformed', key, problem: expect.stringMatching(problem) });
  });

  it('Finish is cut, not refused, when its message is long', async () => {
    const { driver, session } = await welcomed();
    driver.say({ case: 'finish', value: { ...about, outcome: 2, message: 'ä'.repeat(4_096) } });
    await eventually(() => expect(session.received).toHaveLength(1));
    const { message } = session.received[0] as { message: string };
    expect(Buffer.byteLength(message)).toBeLessThanOrEqual(LIMITS.messageBytes);
    expect(message).toMatch(/^ä{2046}…$/);
  });
});

describe('a frame of the control plane', () => {
  const offer: Offer = {
    key,
    project: 'default',
    jobName: 'build',
    pipeline: 'ci',
    spec: { run: 'make', deep: [{ a: null }] },
    params: { sha: 'abc' },
    offerTimeoutMs: 15_000,
    runTimeoutMs: 90_500,
    cancelGraceMs: 10_000,
    onLeaseDoubt: 'STOP',
    traceparent: '00-x',
  };
  const begin: Start = {
    key,
    needs: { clone: { state: 'SUCCEEDED', outputs: { dir: '/w', n: 1 } } },
    secrets: { TOKEN: 's' },
    timeLeftMs: 1_000,
    resumed: true,
    logOffset: 12,
    logCrc32c: 0xdeadbeef,
    annotations: 3,
    valueNumber: 8,
    artifacts: 2,
  };
  const addressed = { attemptId: ATTEMPT_ID, fence: 1 };
  const offered = {
    ...addressed,
    project: 'default',
    runId: RUN_ID,
    jobId: JOB_ID,
    job: 'build',
    pipeline: 'ci',
    spec: { run: 'make', deep: [{ a: null }] },
    params: { sha: 'abc' },
    offerTimeout: { seconds: 15n },
    runTimeout: { seconds: 90n, nanos: 500_000_000 },
    cancelGracePeriod: { seconds: 10n },
    onLeaseDoubt: 2,
    traceparent: '00-x',
  };
  const started = {
    ...addressed,
    needs: { clone: { state: 7, values: { dir: { kind: { value: '/w' } }, n: { kind: { value: 1 } } } } },
    secrets: { TOKEN: 's' },
    timeLeft: { seconds: 1n },
    resumed: true,
    logOffset: 12n,
    logCrc32c: 0xdeadbeef,
    annotations: 3,
    valueNumber: 8,
    artifacts: 2,
  };
  const frames: [ServerFrame, object][] = [
    [
      { type: 'Offer', ...offer },
      { case: 'offer', value: offered },
    ],
    [
      { type: 'Start', ...begin },
      { case: 'start', value: started },
    ],
    [
      { type: 'Pulse', seq: 4, leaseLeftMs: 29_500 },
      { case: 'pulse', value: { seq: 4n, leaseLeft: { seconds: 29n, nanos: 500_000_000 } } },
    ],
    [
      { type: 'LogAck', key, offset: 3, windowEnd: 9, gap: true },
      { case: 'logAck', value: { ...addressed, offset: 3n, windowEnd: 9n, gap: true } },
    ],
    [
      { type: 'Cancel', key, phase: 'KILL', reason: 'enough' },
      { case: 'cancel', value: { ...addressed, phase: 2, reason: 'enough' } },
    ],
    [
      { type: 'FinishAck', key, logState: 'TRUNCATED' },
      { case: 'finishAck', value: { ...addressed, logState: 3 } },
    ],
    [
      { type: 'LogMissing', key, offset: 7 },
      { case: 'logMissing', value: { ...addressed, offset: 7n } },
    ],
    [
      { type: 'ValueAnswer', key, number: 4, value: { a: [null] }, version: 9 },
      { case: 'valueAnswer', value: { ...addressed, number: 4, version: 9n, error: 0, message: '' } },
    ],
    [
      {
        type: 'ValueAnswer',
        key,
        number: 4,
        version: 2,
        refusal: { refused: 'VERSION_MISMATCH', message: 'it has 2' },
      },
      { case: 'valueAnswer', value: { ...addressed, version: 2n, error: 28, message: 'it has 2' } },
    ],
    [{ type: 'Drain' }, { case: 'drain', value: {} }],
    [
      { type: 'Revoke', attemptId: 'any', fence: 8, reason: 'stale', state: 'LOST' },
      { case: 'revoke', value: { attemptId: 'any', fence: 8, reason: 'stale', state: 7 } },
    ],
    [
      { type: 'Revoke', attemptId: 'any', fence: 8, reason: '' },
      { case: 'revoke', value: { state: 0 } },
    ],
    [
      {
        type: 'Welcome',
        ...WELCOME,
        verdicts: [
          { kind: 'START', key, start: begin },
          { kind: 'KEEP', key, logOffset: 5, cancel: 'SOFT' },
          { kind: 'STOP', key },
          { kind: 'FINISHED', key, logState: 'SEALED' },
        ],
        orphans: [
          {
            offer,
            checkpoint: Buffer.from('pod'),
            logOffset: 6,
            logCrc32c: 1,
            annotations: 0,
            valueNumber: 0,
            artifacts: 0,
            ranMs: 0,
          },
        ],
      },
      {
        case: 'welcome',
        value: {
          verdicts: [
            { ...addressed, kind: 1, start: started },
            { ...addressed, kind: 2, logOffset: 5n, cancel: 1 },
            { ...addressed, kind: 3 },
            { ...addressed, kind: 4, logState: 2 },
          ],
          orphans: [{ offer: offered, logOffset: 6n, cancel: 0 }],
        },
      },
    ],
  ];
  it.each(frames.map(([frame, value]) => [frame.type, frame, value] as const))(
    '%s reaches the driver',
    async (_, frame, value) => {
      const { driver, session } = await welcomed();
      session.link.send(frame);
      await eventually(() => expect(driver.heard).toHaveLength(2));
      expect(driver.heard[1]).toMatchObject(value);
    },
  );

  it('goes out with all others of its turn, acknowledgements of log bytes last', async () => {
    const { driver, session } = await welcomed();
    for (let i = 0; i < 100; i++) {
      session.link.send({ type: 'LogAck', key, offset: i, windowEnd: 9, gap: false });
      session.link.send({ type: 'FinishAck', key, logState: 'SEALED' });
    }
    await eventually(() => expect(driver.heard).toHaveLength(201));
    expect(driver.messages).toEqual([1, 200]);
    const cases = driver.heard.slice(1).map((frame) => frame.case);
    expect(cases).toEqual([...Array<string>(100).fill('finishAck'), ...Array<string>(100).fill('logAck')]);
  });

  it('goes into as many messages as it takes to stay below the limit', async () => {
    const { driver, session } = await welcomed();
    const params = { x: 'y'.repeat(60_000) };
    for (let i = 0; i < 200; i++) session.link.send({ type: 'Offer', ...offer, params });
    await eventually(() => expect(driver.heard).toHaveLength(201));
    expect(driver.messages.length).toBeGreaterThan(4);
    expect(session.link.queuedBytes()).toBe(0);
  });

  it('that is larger than any message fails its attempt', async () => {
    const { driver, session } = await welcomed();
    const outputs = { x: 'y'.repeat(LIMITS.responseBytes) };
    session.link.send({ type: 'Start', ...begin, needs: { clone: { state: 'SUCCEEDED', outputs } } });
    session.link.send({ type: 'Drain' });
    await eventually(() => expect(driver.heard).toHaveLength(2));
    expect(session.received).toEqual([{ type: 'Malformed', key, problem: expect.stringContaining('its Start frame') }]);
  });

  it('a Welcome leaves out the orphans that do not fit', async () => {
    const sessions = createTestSessions();
    const orphans = Array.from({ length: 100 }, () => ({
      offer: { ...offer, params: { x: 'y'.repeat(60_000) } },
      checkpoint: new Uint8Array(),
      logOffset: 0,
      logCrc32c: 0,
      annotations: 0,
      valueNumber: 0,
      artifacts: 0,
      ranMs: 0,
    }));
    await open(async (principal, said, link) =>
      sessions.openSession(principal, said, {
        ...link,
        send: (frame) => link.send(frame.type === 'Welcome' ? { ...frame, orphans } : frame),
      }),
    );
    const driver = connect();
    driver.say(hello);
    await eventually(() => expect(driver.heard).toHaveLength(1));
    expect(driver.heard[0]).toMatchObject({ case: 'welcome', value: { orphans: { length: 50 } } });
  });

  it('waits in memory, counted, while the driver does not read', async () => {
    const { driver, session } = await welcomed();
    driver.stream.pause();
    const params = { x: 'y'.repeat(60_000) };
    const push = setInterval(() => session.link.send({ type: 'Offer', ...offer, params }), 1);
    await eventually(() => expect(session.link.queuedBytes()).toBeGreaterThan(1_048_576));
    clearInterval(push);
    driver.stream.resume();
    await eventually(() => expect(session.link.queuedBytes()).toBe(0));
  });
});

describe('the end of a session', () => {
  it('is OK after Goodbye, once the engine has given back what was held', async () => {
    const { driver, session } = await welcomed();
    driver.say({ case: 'goodbye', value: {} });
    driver.stream.end();
    await eventually(() => expect(session.received).toEqual([{ type: 'Goodbye', reason: '' }]));
    session.link.send({ type: 'Revoke', attemptId: 'x', fence: 1, reason: '' });
    session.link.end(undefined);
    expect(await driver.ended).toMatchObject({ code: 0 });
    expect(driver.heard.at(-1)).toMatchObject({ case: 'revoke' });
    expect(session.disconnected).toBe(0);
  });

  it('is what the engine says, after what it said before', async () => {
    const { driver, session } = await welcomed();
    session.link.send({ type: 'Drain' });
    session.link.end({ refused: 'SESSION_SUPERSEDED', message: 'another session of shell-1 took over' });
    expect(await driver.ended).toMatchObject({ code: Code.Aborted, reason: 'SESSION_SUPERSEDED' });
    expect(driver.heard.at(-1)).toMatchObject({ case: 'drain' });
  });

  it('is told to the engine once when the driver cancels', async () => {
    const { driver, session } = await welcomed();
    driver.stream.cancel();
    await eventually(() => expect(session.disconnected).toBe(1));
    session.link.send({ type: 'Drain' });
    session.link.end(undefined);
    await driver.ended;
    expect(session.disconnected).toBe(1);
  });

  it('is told to the engine once when the connection breaks', async () => {
    const [host, port] = doors.grpc.address.split(':');
    const sockets: Socket[] = [];
    const proxy = createServer((socket) => {
      const onward = connectTcp(Number(port), host);
      sockets.push(socket, onward);
      for (const end of [socket, onward]) end.on('error', () => {});
      socket.pipe(onward).pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const driver = openDriver(`127.0.0.1:${(proxy.address() as AddressInfo).port}`);
    drivers.push(driver);
    driver.say(hello);
    await eventually(() => expect(driver.heard).toHaveLength(1));
    for (const socket of sockets) socket.resetAndDestroy();
    proxy.close();
    await eventually(() => expect(opened.at(-1)?.disconnected).toBe(1));
  });

  it('is not well when the stream is only half-closed', async () => {
    const { driver, session } = await welcomed();
    driver.stream.end();
    expect(await driver.ended).toMatchObject({ reason: 'PROTOCOL_VIOLATION' });
    expect(session.disconnected).toBe(1);
  });

  it('is told to an engine that welcomes a driver which is gone already', async () => {
    const gate = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const sessions = createTestSessions();
    await open(async (...args) => {
      asked.resolve();
      await gate.promise;
      return sessions.openSession(...args);
    });
    const driver = connect();
    driver.say(hello);
    await asked.promise;
    driver.stream.cancel();
    await driver.ended;
    await driver.roundTrip();
    gate.resolve();
    await eventually(() => expect(sessions.opened[0]?.disconnected).toBe(1));
  });

  it('comes within the time that a Hello may take', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const driver = connect();
      await driver.roundTrip();
      await vi.advanceTimersByTimeAsync(10_000);
      expect(await driver.ended).toMatchObject({
        reason: 'PROTOCOL_VIOLATION',
        message: expect.stringContaining('10 s'),
      });
    } finally {
      vi.useRealTimers();
    }
  });
});

function eventually(check: () => void): Promise<void> {
  return vi.waitFor(check, { interval: 5, timeout: 10_000 });
}

function heartbeat(seq: bigint): Uint8Array {
  const frames = [{ frame: { case: 'heartbeat', value: { seq } } }] as const;
  return toBinary(SessionRequestSchema, create(SessionRequestSchema, { frames: [...frames] }));
}

function bytesAsText(_: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  const buffer = value as { type?: unknown; data?: unknown } | null;
  return buffer !== null && typeof buffer === 'object' && buffer.type === 'Buffer'
    ? Buffer.from(buffer.data as number[]).toString('hex')
    : value;
}
