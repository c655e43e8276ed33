// What a driver's work can say, and how that travels, while the session lasts.
import { setImmediate as turn } from 'node:timers/promises';
import { FinishOutcome } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { AnnotationLevel, FailureClass, JobState, ProgressPhase } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { LogChannel } from '@conveyor/protocol/conveyor/v1/log_pb.js';
import { describe, expect, test } from 'vitest';
import { JobFailure } from '@conveyor/driver';
import { heldWork, startDriver, startServer, working } from './fixture.ts';
import { crc32c, duration, offerOf } from './scripted-server.ts';

describe('a session', () => {
  test('opens with what the driver is', async () => {
    const server = await startServer();
    const driver = startDriver([server], {
      labels: { zone: 'a' },
      specSchema: { type: 'object' },
      version: '1.2.3',
      run: async () => {},
    });
    const session = await server.session();
    expect(session.token).toBe('Bearer secret');
    expect(session.hello).toMatchObject({
      protocolVersion: 1,
      driver: 'worker',
      instanceId: driver.instanceId,
      labels: { zone: 'a' },
      slots: 4,
      specSchema: { type: 'object' },
      version: '1.2.3',
      held: [],
    });
    expect(session.hello.incarnation.length).toBeGreaterThanOrEqual(16);
    session.welcome();
    await driver.ready;
  });

  test('heartbeats at the interval that the server asks for', async () => {
    const server = await startServer();
    startDriver([server], { run: async () => {} });
    const session = await server.session();
    session.welcome({ heartbeatInterval: duration(0.1) });
    for (const seq of [1n, 2n, 3n]) expect(await session.next('heartbeat')).toMatchObject({ seq });
  });

  test('ignores frames that it does not know, and goes on', async () => {
    const server = await startServer();
    startDriver([server], { run: async () => {} });
    const session = await server.session();
    session.welcome();
    session.sendUnknownFrame();
    await session.startJob('a');
    await session.next('finish');
  });
});

describe('an offer', () => {
  test('runs only after Start, with all that Offer and Start said', async () => {
    const server = await startServer();
    const seen: unknown[] = [];
    startDriver([server], {
      run: async ({ job, spec, params, needs, secrets }) => {
        seen.push(job, spec, params, needs, secrets);
      },
    });
    const session = await server.session();
    session.welcome();
    session.send(offerOf('a', { spec: { n: 1 }, params: { p: 'q' }, traceparent: '00-1-2-01' }));
    expect(await session.next('accept')).toMatchObject({ attemptId: 'a', fence: 1 });
    expect(seen).toEqual([]);
    const before = {
      state: JobState.SUCCEEDED,
      values: { image: { kind: { case: 'stringValue', value: 'i' } as const } },
    };
    session.send({ case: 'start', value: { attemptId: 'a', fence: 1, secrets: { key: 'value' }, needs: { before } } });
    expect(await session.next('finish')).toMatchObject({ attemptId: 'a', outcome: FinishOutcome.SUCCEEDED });
    expect(seen).toEqual([
      {
        project: 'default',
        runId: 'run',
        jobId: 'job-of-a',
        name: 'build',
        pipeline: 'pipeline',
        attemptId: 'a',
        attempt: 1,
        traceparent: '00-1-2-01',
      },
      { n: 1 },
      { p: 'q' },
      { before: { state: 'SUCCEEDED', outputs: { image: 'i' } } },
      { key: 'value' },
    ]);
  });

  test('beyond the free slots is rejected; a slot is free again when its work has ended', async () => {
    const server = await startServer();
    const work = heldWork();
    startDriver([server], { slots: 1, run: work.run });
    const session = await server.session();
    session.finishAcks = false;
    session.welcome();
    session.send(offerOf('a'), offerOf('b'));
    expect(await session.next('reject')).toMatchObject({ attemptId: 'b', fence: 1, reason: 'no slot is free' });
    session.send({ case: 'start', value: { attemptId: 'a', fence: 1 } });
    await work.context;
    session.send(offerOf('c'));
    expect(await session.next('reject')).toMatchObject({ attemptId: 'c' });
    work.finish();
    await session.next('finish');
    session.send(offerOf('d'));
    await session.next('accept');
    expect(await session.next('accept')).toMatchObject({ attemptId: 'd' });
  });

  test('that is withdrawn frees its slot and never runs', async () => {
    const server = await startServer();
    const ran: string[] = [];
    startDriver([server], { slots: 1, run: async ({ job }) => void ran.push(job.attemptId) });
    const session = await server.session();
    session.welcome();
    session.send(offerOf('a'));
    await session.next('accept');
    session.send({ case: 'revoke', value: { attemptId: 'a', fence: 1, reason: 'withdrawn' } });
    session.send({ case: 'start', value: { attemptId: 'a', fence: 1 } });
    await session.startJob('b');
    await session.next('finish');
    expect(ran).toEqual(['b']);
  });
});

describe('work', () => {
  test('says outputs, progress, annotations, checkpoints and sections before its result', async () => {
    const server = await startServer();
    startDriver([server], {
      run: async (context) => {
        const section = context.log.section('compile');
        await context.log('hé\n');
        section.end();
        section.end();
        context.output('digest', 'old');
        context.output('digest', { sha256: ['ab', 1, null] });
        context.progress({ phase: 'preparing', message: 'pulling' });
        context.progress({ message: 'half way', fraction: 0.5 });
        context.annotate('flaky', { level: 'warning', link: 'https://example.org/' });
        context.annotate('slow');
        context.checkpoint('here');
      },
    });
    const session = await server.session();
    session.welcome();
    await session.startJob('a');
    expect(await session.next('finish')).toMatchObject({ attemptId: 'a', fence: 1, logSize: 4n });
    expect(session.arrived('section').map(({ section }) => section)).toMatchObject([
      { offset: 0n, name: 'compile', end: false },
      { offset: 4n, name: 'compile', end: true },
    ]);
    const outputs = session.arrived('output');
    expect(outputs).toHaveLength(1);
    expect(outputs[0]).toMatchObject({ key: 'digest', value: { kind: { case: 'structValue' } } });
    expect(session.arrived('progress').map(({ progress }) => progress)).toMatchObject([
      { phase: ProgressPhase.RUNNING, message: 'half way', fraction: 0.5 },
    ]);
    expect(session.arrived('annotation')).toMatchObject([
      { number: 1, annotation: { level: AnnotationLevel.WARNING, text: 'flaky', link: 'https://example.org/' } },
      { number: 2, annotation: { level: AnnotationLevel.INFO, text: 'slow', link: '' } },
    ]);
    expect(session.arrived('checkpoint')).toMatchObject([{ attemptId: 'a', handle: Buffer.from('here') }]);
  });

  test('that logs ten lines and ends travels as one log frame and its result in one message', async () => {
    const server = await startServer();
    startDriver([server], {
      run: async ({ log }) => {
        for (let line = 1; line <= 10; line++) await log(`line ${line}\n`);
      },
    });
    const session = await server.session();
    session.welcome();
    await session.startJob('a');
    const finish = await session.next('finish');
    expect(session.messages.at(-1)).toEqual(['log', 'finish']);
    const [log] = session.arrived('log');
    const text = Array.from({ length: 10 }, (_, i) => `line ${i + 1}\n`).join('');
    expect(Buffer.from(log?.data ?? []).toString()).toBe(text);
    expect(finish).toMatchObject({
      logSize: BigInt(text.length),
      logCrc32c: crc32c(Buffer.from(text)),
      logLost: false,
    });
  });

  test('of several attempts travels in one message when it comes together', async () => {
    const server = await startServer();
    startDriver([server], { run: async ({ log }) => log('x\n') });
    const session = await server.session();
    session.welcome();
    const ids = ['a', 'b', 'c'];
    session.send(...ids.map((id) => offerOf(id)));
    for (const _ of ids) await session.next('accept');
    session.send(...ids.map((attemptId) => ({ case: 'start' as const, value: { attemptId, fence: 1 } })));
    for (const _ of ids) await session.next('finish');
    expect(session.messages).toEqual([
      ['accept', 'accept', 'accept'],
      ['log', 'finish', 'log', 'finish', 'log', 'finish'],
    ]);
  });

  test('keeps the channels of its log apart and in order', async () => {
    const server = await startServer();
    startDriver([server], {
      run: async ({ log }) => {
        await log('out');
        await log('err', { channel: 'stderr' });
        await log('drv', { channel: 'driver' });
      },
    });
    const session = await server.session();
    session.welcome();
    await session.startJob('a');
    await session.next('finish');
    expect(
      session.arrived('log').map(({ offset, channel, data }) => [offset, channel, Buffer.from(data).toString()]),
    ).toEqual([
      [0n, LogChannel.STDOUT, 'out'],
      [3n, LogChannel.STDERR, 'err'],
      [6n, LogChannel.DRIVER, 'drv'],
    ]);
  });

  test.each([
    [
      'a JobFailure',
      new JobFailure({ message: 'exit 3', exitCode: 3, retryAfterMs: 1500 }),
      {
        failureClass: FailureClass.WORKLOAD,
        message: 'exit 3',
        exitCode: 3,
        retryAfter: { seconds: 1n, nanos: 500_000_000 },
      },
    ],
    [
      'a JobFailure of another class',
      new JobFailure({ class: 'INVALID', message: 'no such tool' }),
      {
        failureClass: FailureClass.INVALID,
        message: 'no such tool',
      },
    ],
    [
      'any other error',
      new TypeError('x is not a function'),
      {
        failureClass: FailureClass.DRIVER,
        message: 'x is not a function',
      },
    ],
    [
      'an error with text that cannot be stored',
      new JobFailure({ message: `nul \0 and ${'é'.repeat(4096)}` }),
      {
        message: `nul \ufffd and ${'é'.repeat(2042)}`,
      },
    ],
  ])('that throws %s fails as that says', async (_, thrown, expected) => {
    const server = await startServer();
    startDriver([server], { run: () => Promise.reject(thrown) });
    const session = await server.session();
    session.welcome();
    await session.startJob('a');
    expect(await session.next('finish')).toMatchObject({ outcome: FinishOutcome.FAILED, ...expected });
  });

  test('is told at once when it says what the contract forbids', async () => {
    const server = await startServer();
    const thrown: unknown[] = [];
    startDriver([server], {
      run: async (context) => {
        const attempts = [
          () => context.output('a key', 1),
          () => context.output('big', 'x'.repeat(65_536)),
          () => context.output('nul', ['\0']),
          () => context.output('deep', JSON.parse(`${'['.repeat(26)}${']'.repeat(26)}`)),
          () => context.checkpoint(new Uint8Array(4097)),
          () => context.progress({ fraction: 1.5 }),
        ];
        context.output('fits', '\\u0000'.repeat(5));
        context.output('fits', 'x'.repeat(65_000));
        for (const attempt of attempts) {
          try {
            attempt();
          } catch (error) {
            thrown.push(error);
          }
        }
      },
    });
    const session = await server.session();
    session.welcome();
    await session.startJob('a');
    await session.next('finish');
    expect(thrown).toHaveLength(6);
    expect(thrown.every((error) => error instanceof RangeError)).toBe(true);
    expect(session.arrived('output').map(({ key }) => key)).toEqual(['fits']);
  });

  test('says nothing more once it has ended', async () => {
    const { session, work, context } = await working();
    session.finishAcks = false;
    work.finish();
    expect(await session.next('finish')).toMatchObject({ logSize: 0n });
    await context.log('late');
    context.output('late', true);
    await session.startJob('b');
    await session.next('finish');
    await turn();
    expect(session.arrived('log')).toEqual([]);
    expect(session.arrived('output')).toEqual([]);
  });
});
