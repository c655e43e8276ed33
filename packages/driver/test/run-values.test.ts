// What work reads and changes of the values of its run, and how that outlives a session.
import { create, fromJson, type MessageInitShape } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import type { ValueAnswerSchema } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { HeldPhase, VerdictKind, VerdictSchema } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { ErrorReason } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import { status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { JobStopped, type JobContext, RunValueError } from '@conveyor/driver';
import { startDriver, startServer, working } from './fixture.ts';
import type { ScriptedSession } from './scripted-server.ts';

const capabilities = ['values'];

function answer(session: ScriptedSession, number: number, value: MessageInitShape<typeof ValueAnswerSchema>): void {
  session.send({ case: 'valueAnswer', value: { attemptId: 'a', fence: 1, number, ...value } });
}

describe('a value', () => {
  test('is read, set and deleted by the run of the attempt', async () => {
    const { session, context } = await working({ capabilities });
    expect(session.hello.capabilities).toContain('values');
    const read = context.values.get('gate');
    const get = await session.next('getValue');
    expect(get).toMatchObject({ attemptId: 'a', fence: 1, key: 'gate' });
    answer(session, get.number, { value: fromJson(ValueSchema, { open: [null, 1] }), version: 7n });
    expect(await read).toEqual({ value: { open: [null, 1] }, version: 7 });

    const set = context.values.set('gate', 'shut', { expectedVersion: 7 });
    const said = await session.next('setValue');
    expect(said).toMatchObject({ key: 'gate', value: { kind: { value: 'shut' } }, expectedVersion: 7n });
    expect(said.number).toBeGreaterThan(get.number);
    answer(session, said.number, { version: 9n });
    expect(await set).toBe(9);

    const gone = context.values.delete('gate');
    const dropped = await session.next('deleteValue');
    expect(dropped.expectedVersion).toBeUndefined();
    answer(session, dropped.number, {});
    await gone;
    const none = context.values.get('gate');
    answer(session, (await session.next('getValue')).number, {});
    expect(await none).toBeUndefined();
  });

  test('that has another version than expected is told with the one that it has', async () => {
    const { session, context } = await working({ capabilities });
    const set = context.values.set('owner', 'me', { expectedVersion: 0 });
    const { number } = await session.next('setValue');
    answer(session, number, { version: 4n, error: ErrorReason.VERSION_MISMATCH, message: 'it has version 4' });
    await expect(set).rejects.toMatchObject({ reason: 'VERSION_MISMATCH', version: 4, message: 'it has version 4' });
    await expect(set).rejects.toBeInstanceOf(RunValueError);
  });

  test('is changed one at a time, in the order of the calls', async () => {
    const { session, context } = await working({ capabilities });
    const first = context.values.set('a', 1);
    const second = context.values.set('b', 2);
    const { number } = await session.next('setValue');
    const read = context.values.get('c');
    const get = await session.next('getValue');
    answer(session, get.number, {});
    expect(await read).toBeUndefined();
    expect(session.arrived('setValue')).toEqual([]);
    answer(session, number, { version: 1n, error: ErrorReason.LIMIT_REACHED, message: 'too many' });
    await expect(first).rejects.toMatchObject({ reason: 'LIMIT_REACHED' });
    const next = await session.next('setValue');
    expect(next).toMatchObject({ key: 'b' });
    answer(session, next.number, { version: 2n });
    expect(await second).toBe(2);
  });

  const bad: [string, (context: JobContext) => Promise<unknown>, RegExp][] = [
    ['a malformed key', ({ values }) => values.get('a b'), /value key "a b"/],
    ['NUL', ({ values }) => values.set('a', ['\0']), /contains NUL/],
    [
      'too many levels',
      ({ values }) => values.set('a', JSON.parse(`${'['.repeat(26)}${']'.repeat(26)}`)),
      /has more than 25 lists and objects/,
    ],
    ['more than 64 KiB', ({ values }) => values.set('a', 'x'.repeat(65_536)), /65538 bytes/],
    ['a negative version', ({ values }) => values.set('a', 1, { expectedVersion: -1 }), /expectedVersion -1/],
    ['a deletion of nothing', ({ values }) => values.delete('a', { expectedVersion: 0 }), /expectedVersion 0/],
  ];
  test.each(bad)('with %s is refused here', async (_, call, message) => {
    const { session, context } = await working({ capabilities });
    await expect(call(context)).rejects.toThrow(RangeError);
    await expect(call(context)).rejects.toThrow(message);
    expect(session.arrived('setValue')).toEqual([]);
  });
});

describe('what was asked', () => {
  test('is asked again, unchanged, in the next session, until it is answered', async () => {
    const { server, session, context } = await working({ capabilities });
    const set = context.values.set('gate', 1);
    const said = await session.next('setValue');
    session.fail(status.UNAVAILABLE, 'gone');
    const next = await server.session();
    expect(next.hello.held).toMatchObject([{ attemptId: 'a', phase: HeldPhase.RUNNING }]);
    next.welcome({
      capabilities,
      verdicts: [create(VerdictSchema, { attemptId: 'a', fence: 1, kind: VerdictKind.KEEP })],
    });
    expect(await next.next('setValue')).toEqual(said);
    answer(next, said.number, { version: 3n });
    // A late repetition of the answer has no effect.
    answer(next, said.number, { version: 9n });
    expect(await set).toBe(3);
  });

  test('goes out before the result, although nobody waits for it', async () => {
    const server = await startServer();
    startDriver([server], { run: async ({ values }) => void values.set('last', 1) });
    const session = await server.session();
    session.welcome({ capabilities });
    await session.startJob('a');
    await session.next('finish');
    const order = session.messages.flat();
    expect(order.indexOf('setValue')).toBeLessThan(order.indexOf('finish'));
    expect(order).toContain('setValue');
  });

  test("is given up when the attempt is no longer this driver's", async () => {
    const { session, context } = await working({ capabilities });
    const read = context.values.get('gate');
    await session.next('getValue');
    session.send({ case: 'revoke', value: { attemptId: 'a', fence: 1, reason: 'lost' } });
    await expect(read).rejects.toBeInstanceOf(JobStopped);
    await expect(context.values.get('gate')).rejects.toThrow();
  });

  test('is refused by a control plane that does not know values', async () => {
    const { context } = await working({ capabilities: [] });
    await expect(context.values.get('gate')).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
    await expect(context.values.set('gate', 1)).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
  });

  test('is given up when the next session is with one that does not', async () => {
    const { server, session, context } = await working({ capabilities });
    const read = context.values.get('gate');
    await session.next('getValue');
    session.fail(status.UNAVAILABLE, 'gone');
    (await server.session()).welcome({
      verdicts: [create(VerdictSchema, { attemptId: 'a', fence: 1, kind: VerdictKind.KEEP })],
    });
    await expect(read).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
  });
});

test('adopted work goes on behind the numbers of the earlier process', async () => {
  const server = await startServer();
  startDriver([server], {
    run: async () => {},
    adopt: async ({ values }) => void (await values.set('gate', 1)),
  });
  const session = await server.session();
  session.welcome({ capabilities, orphans: [{ offer: { attemptId: 'a', fence: 1 } }] });
  await session.next('adopt');
  session.send({ case: 'start', value: { attemptId: 'a', fence: 1, resumed: true, valueNumber: 6 } });
  expect(await session.next('setValue')).toMatchObject({ number: 7 });
  answer(session, 7, { version: 1n });
  await session.next('finish');
});
