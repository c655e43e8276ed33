// How work ends before its time, and how a driver leaves.
import {
  CancelPhase,
  FinishOutcome,
  HeldPhase,
  VerdictKind,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { AttemptState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { defineDriver, JobFailure, type JobStopped } from '@conveyor/driver';
import { heldWork, startDriver, startServer, working } from './fixture.ts';
import { crc32c, offerOf } from './scripted-server.ts';

describe('a cancel', () => {
  test('asks first and insists later; work that gives way is cancelled', async () => {
    const server = await startServer();
    const events: string[] = [];
    startDriver([server], {
      run: ({ signal, killed }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => events.push('signal'));
          killed.addEventListener('abort', () => {
            events.push('killed');
            reject(new JobFailure({ message: 'exit 137', exitCode: 137 }));
          });
        }),
    });
    const session = await server.session();
    session.welcome();
    await session.startJob('a');
    session.send({ case: 'cancel', value: { attemptId: 'a', fence: 1, phase: CancelPhase.SOFT, reason: 'by ann' } });
    await expect.poll(() => events).toEqual(['signal']);
    session.send({ case: 'cancel', value: { attemptId: 'a', fence: 1, phase: CancelPhase.KILL } });
    expect(await session.next('finish')).toMatchObject({
      outcome: FinishOutcome.CANCELLED,
      message: 'exit 137',
      exitCode: 137,
    });
    expect(events).toEqual(['signal', 'killed']);
  });

  test('is known to work that looks only later, with its reason', async () => {
    const server = await startServer();
    const started = Promise.withResolvers<void>();
    const cancelled = Promise.withResolvers<void>();
    startDriver([server], {
      run: async (context) => {
        started.resolve();
        await cancelled.promise;
        throw new Error('aborted', { cause: context.signal.reason });
      },
    });
    const session = await server.session();
    session.welcome();
    await session.startJob('a');
    await started.promise;
    session.send(
      { case: 'cancel', value: { attemptId: 'a', fence: 1, phase: CancelPhase.SOFT, reason: 'by ann' } },
      offerOf('after'),
    );
    await session.next('accept');
    cancelled.resolve();
    expect(await session.next('finish')).toMatchObject({ outcome: FinishOutcome.CANCELLED, message: 'by ann' });
  });

  test('does not undo work that succeeds all the same', async () => {
    const server = await startServer();
    startDriver([server], {
      run: ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
    });
    const session = await server.session();
    session.welcome();
    await session.startJob('a');
    session.send({ case: 'cancel', value: { attemptId: 'a', fence: 1, phase: CancelPhase.SOFT } });
    expect(await session.next('finish')).toMatchObject({ outcome: FinishOutcome.SUCCEEDED });
  });

  test('with another fence has no effect', async () => {
    const { session, context } = await working();
    session.send({ case: 'cancel', value: { attemptId: 'a', fence: 2, phase: CancelPhase.KILL } });
    session.send(offerOf('after'));
    await session.next('accept');
    expect(context.signal.aborted).toBe(false);
  });
});

describe('a revoked attempt', () => {
  test('is stopped, forgotten, and keeps its slot until its work has ended', async () => {
    const server = await startServer();
    const end = Promise.withResolvers<void>();
    const stop = Promise.withResolvers<JobStopped>();
    startDriver([server], {
      slots: 1,
      run: async ({ job, killed, log }) => {
        if (job.attemptId !== 'a') return;
        killed.addEventListener('abort', () => stop.resolve(killed.reason));
        // A writer that waits for room is let go.
        await log(new Uint8Array(2 << 20));
        await end.promise;
      },
    });
    const session = await server.session();
    session.welcome({ attemptLogWindow: 1000n });
    await session.startJob('a');
    session.send({
      case: 'revoke',
      value: { attemptId: 'a', fence: 1, reason: 'the lease was lost', state: AttemptState.LOST },
    });
    expect(await stop.promise).toMatchObject({ why: 'revoked', message: 'the lease was lost' });
    session.send(offerOf('b'));
    expect(await session.next('reject')).toMatchObject({ attemptId: 'b' });
    end.resolve();
    await expect
      .poll(async () => {
        session.send(offerOf('c'));
        return session.arrived('accept').some(({ attemptId }) => attemptId === 'c');
      })
      .toBe(true);
    expect(session.arrived('finish')).toEqual([]);
  });
});

describe('an orphan', () => {
  const orphan = {
    offer: offerOf('a', { spec: { n: 1 } }).value,
    checkpoint: Buffer.from('pod-7'),
    logOffset: 100n,
  };

  test('is adopted with its handle, and goes on where its log is durable', async () => {
    const server = await startServer();
    const adopted: unknown[] = [];
    startDriver([server], {
      run: () => Promise.reject(new Error('it runs already')),
      adopt: async ({ spec, log, annotate }, handle) => {
        adopted.push(spec, handle.toString(), log.offset);
        await log('on');
        annotate('the third');
      },
    });
    const session = await server.session();
    session.welcome({ orphans: [orphan] });
    expect(await session.next('adopt')).toMatchObject({ attemptId: 'a', fence: 1 });
    expect(adopted).toEqual([]);
    const earlier = Buffer.alloc(100, 'earlier ');
    session.send({
      case: 'start',
      value: { attemptId: 'a', fence: 1, resumed: true, logOffset: 100n, logCrc32c: crc32c(earlier), annotations: 2 },
    });
    expect(await session.next('annotation')).toMatchObject({ number: 3, annotation: { text: 'the third' } });
    expect((await session.log('a', 2, 100)).toString()).toBe('on');
    expect(await session.next('finish')).toMatchObject({
      outcome: FinishOutcome.SUCCEEDED,
      logSize: 102n,
      logCrc32c: crc32c(Buffer.concat([earlier, Buffer.from('on')])),
      logLost: false,
    });
    expect(adopted).toEqual([{ n: 1 }, 'pod-7', 100]);
  });

  test('whose adoption got no answer is named and adopted again', async () => {
    const server = await startServer();
    startDriver([server], { run: async () => {}, adopt: async () => {} });
    const first = await server.session();
    first.welcome({ orphans: [orphan] });
    await first.next('adopt');
    first.fail(status.UNAVAILABLE, 'gone');
    const second = await server.session();
    expect(second.hello.held).toMatchObject([{ attemptId: 'a', phase: HeldPhase.ACCEPTED }]);
    second.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: VerdictKind.KEEP, logOffset: 100n }] });
    await second.next('adopt');
  });

  test.each([
    ['resolves', async (): Promise<void> => {}],
    ['throws', (): Promise<void> => Promise.reject(new Error('stopped'))],
  ])('that was being cancelled is adopted to be stopped, and cancelled when adopt %s', async (_, end) => {
    const server = await startServer();
    const adopted: unknown[] = [];
    const stopped = Promise.withResolvers<void>();
    startDriver([server], {
      run: async () => {},
      async adopt({ signal, killed, log }, handle) {
        adopted.push(handle.toString(), signal.reason.why, killed.aborted);
        await log('stopping');
        killed.addEventListener('abort', () => stopped.resolve());
        await stopped.promise;
        return end();
      },
    });
    const session = await server.session();
    session.welcome({ orphans: [{ ...orphan, cancel: CancelPhase.SOFT }] });
    await session.next('adopt');
    session.send({ case: 'start', value: { attemptId: 'a', fence: 1, resumed: true, logOffset: 100n } });
    expect((await session.log('a', 8, 100)).toString()).toBe('stopping');
    expect(adopted).toEqual(['pod-7', 'cancelled', false]);
    session.send({ case: 'cancel', value: { attemptId: 'a', fence: 1, phase: CancelPhase.KILL } });
    expect(await session.next('finish')).toMatchObject({ outcome: FinishOutcome.CANCELLED, logSize: 108n });
  });

  test('is given up by a driver that adopts nothing', async () => {
    const server = await startServer();
    startDriver([server], { run: async () => {} });
    const session = await server.session();
    session.welcome({ orphans: [orphan] });
    expect(await session.next('disown')).toMatchObject({ attemptId: 'a', fence: 1 });
  });
});

describe('a driver that drains', () => {
  test('takes no more, ends what it has, has it acknowledged, and says Goodbye', async () => {
    const server = await startServer();
    const work = heldWork();
    const driver = startDriver([server], { run: work.run });
    const session = await server.session();
    session.finishAcks = false;
    session.welcome();
    await session.startJob('a');
    await work.context;
    const drained = driver.drain();
    await session.next('drain');
    session.send(offerOf('b'));
    expect(await session.next('reject')).toMatchObject({ attemptId: 'b', reason: 'the driver is draining' });
    work.finish();
    await session.next('finish');
    expect(session.arrived('goodbye')).toEqual([]);
    session.send({ case: 'finishAck', value: { attemptId: 'a', fence: 1 } });
    await session.next('goodbye');
    await drained;
    await session.left;
  });

  test('drains on over a reconnect', async () => {
    const server = await startServer();
    const work = heldWork();
    const driver = startDriver([server], { run: work.run });
    const first = await server.session();
    first.welcome();
    await first.startJob('a');
    await work.context;
    const drained = driver.drain();
    await first.next('drain');
    first.fail(status.UNAVAILABLE, 'gone');
    const second = await server.session();
    second.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: VerdictKind.KEEP }] });
    await second.next('drain');
    work.finish();
    await second.next('goodbye');
    await drained;
  });

  test('leaves at once when it was never connected', async () => {
    const driver = defineDriver({ name: 'worker', run: async () => {} }).start({
      addresses: ['127.0.0.1:1'],
      token: 'secret',
    });
    await driver.drain();
  });
});

describe('a driver that is disposed', () => {
  test('stops its work, waits for it, and gives it back by Goodbye without a result', async () => {
    const server = await startServer();
    const ended: string[] = [];
    const stop = new AbortController();
    const started = Promise.withResolvers<void>();
    const driver = defineDriver({
      name: 'worker',
      async run({ killed }) {
        started.resolve();
        await new Promise((resolve) => killed.addEventListener('abort', resolve));
        ended.push(killed.reason.why);
        throw killed.reason;
      },
    }).start({ addresses: [server.address], token: 'secret', signal: stop.signal });
    const session = await server.session();
    session.welcome();
    await session.startJob('a');
    await started.promise;
    stop.abort();
    await session.next('goodbye');
    expect(ended).toEqual(['driver-stopping']);
    expect(session.arrived('finish')).toEqual([]);
    await driver.finished;
  });
});

test.each([
  [{ name: 'Worker' }, 'driver name "Worker"'],
  [{ name: 'worker', slots: 1.5 }, 'slots is 1.5'],
])('a definition out of bounds is refused: %o', (settings, message) => {
  expect(() => defineDriver({ ...settings, run: async () => {} })).toThrow(message);
});
