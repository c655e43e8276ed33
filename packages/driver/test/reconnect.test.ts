// What survives a lost session: everything that is held goes on, and what may not have arrived is said again.
import {
  CancelPhase,
  FinishOutcome,
  HeldPhase,
  VerdictKind,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { FailureClass, LogState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { LeaseDoubt } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { defineDriver, type JobContext, JobStopped } from '@conveyor/driver';
import { heldWork, startDriver, startServer, working } from './fixture.ts';
import { anySession, crc32c, duration, offerOf, ScriptedServer } from './scripted-server.ts';

const { START, KEEP, STOP, FINISHED } = VerdictKind;

describe('after a lost connection', () => {
  test('the driver comes back as the same process and names what it holds', async () => {
    const server = await startServer();
    const work = heldWork();
    startDriver([server], { run: work.run });
    const first = await server.session();
    first.finishAcks = false;
    first.welcome();
    first.send(offerOf('claimed'));
    await first.next('accept');
    await first.startJob('running');
    const context = await work.context;
    await context.log('12345');
    await first.log('running', 5);
    first.fail(status.UNAVAILABLE, 'gone');

    const second = await server.session();
    expect(second.hello.incarnation).toEqual(first.hello.incarnation);
    expect(second.hello.instanceId).toBe(first.hello.instanceId);
    expect(second.hello.held).toMatchObject([
      { attemptId: 'claimed', fence: 1, phase: HeldPhase.ACCEPTED, logOffset: 0n },
      { attemptId: 'running', fence: 1, phase: HeldPhase.RUNNING, logOffset: 5n },
    ]);
  });

  test('work that is kept goes on: its log from what is durable, all that it reported, and then its result', async () => {
    const { server, session: first, work, context } = await working();
    await context.log('0123456789');
    context.output('key', 1);
    context.annotate('note');
    context.checkpoint('handle');
    await first.log('a', 10);
    first.fail(status.UNAVAILABLE, 'gone');

    const second = await server.session();
    await context.log('abc');
    context.output('later', 2);
    second.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: KEEP, logOffset: 4n }] });
    expect((await second.log('a', 9, 4)).toString()).toBe('456789abc');
    work.finish();
    expect(await second.next('finish')).toMatchObject({
      logSize: 13n,
      logCrc32c: crc32c(Buffer.from('0123456789abc')),
    });
    expect(second.arrived('output').map(({ key }) => key)).toEqual(['key', 'later']);
    expect(second.arrived('annotation')).toMatchObject([{ number: 1 }]);
    expect(second.arrived('checkpoint')).toHaveLength(1);
  });

  test('a result that got no answer is said again', async () => {
    const server = await startServer();
    startDriver([server], { run: ({ log }) => log('0123') });
    const first = await server.session();
    first.finishAcks = false;
    first.welcome();
    await first.startJob('a');
    const said = await first.next('finish');
    first.fail(status.CANCELLED, 'gone');
    const second = await server.session();
    expect(second.hello.held).toMatchObject([{ attemptId: 'a', phase: HeldPhase.FINISHED, logOffset: 4n }]);
    second.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: KEEP, logOffset: 2n }] });
    expect((await second.log('a', 2, 2)).toString()).toBe('23');
    expect(await second.next('finish')).toEqual(said);
    second.fail(status.UNAVAILABLE, 'gone');
    const third = await server.session();
    expect(third.hello.held).toEqual([]);
  });

  test('a claim whose commit is not known is said again; one that is committed runs at once', async () => {
    const server = await startServer();
    startDriver([server], { run: async () => {} });
    const first = await server.session();
    first.welcome();
    first.send(offerOf('open'), offerOf('committed'));
    await first.next('accept');
    await first.next('accept');
    first.fail(status.UNAVAILABLE, 'gone');
    const second = await server.session();
    second.welcome({
      verdicts: [
        { attemptId: 'open', fence: 1, kind: KEEP },
        { attemptId: 'committed', fence: 1, kind: START, start: { attemptId: 'committed', fence: 1 } },
      ],
    });
    expect(await second.next('accept')).toMatchObject({ attemptId: 'open' });
    expect(await second.next('finish')).toMatchObject({ attemptId: 'committed' });
  });

  test.each([
    ['STOP', [{ attemptId: 'a', fence: 1, kind: STOP }]],
    ['FINISHED', [{ attemptId: 'a', fence: 1, kind: FINISHED, logState: LogState.SEALED }]],
    ['no verdict', []],
  ])('work with the verdict %s is stopped and forgotten', async (_, verdicts) => {
    const { server, session: first, work } = await working();
    const { signal, killed } = await work.context;
    first.fail(status.UNAVAILABLE, 'gone');
    const second = await server.session();
    second.welcome({ verdicts });
    await aborted(killed);
    expect(signal.reason).toBeInstanceOf(JobStopped);
    expect(signal.reason).toMatchObject({ why: 'revoked' });
    second.fail(status.UNAVAILABLE, 'gone');
    expect((await server.session()).hello.held).toEqual([]);
    expect(second.arrived('finish')).toEqual([]);
  });

  test('a cancel that came meanwhile takes effect', async () => {
    const server = await startServer();
    startDriver([server], { run: heldWork().run });
    const first = await server.session();
    first.welcome();
    await first.startJob('a');
    first.fail(status.UNAVAILABLE, 'gone');
    const second = await server.session();
    second.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: KEEP, cancel: CancelPhase.SOFT }] });
    expect(await second.next('finish')).toMatchObject({ outcome: FinishOutcome.CANCELLED });
  });

  test('the work that wrote on meanwhile is blocked at a bound and loses nothing', async () => {
    const server = await startServer();
    const written: number[] = [];
    const chunk = Buffer.alloc(300_000, 'x');
    const begun = Promise.withResolvers<void>();
    const lost = Promise.withResolvers<void>();
    startDriver([server], {
      run: async ({ log }) => {
        begun.resolve();
        await lost.promise;
        for (let count = 1; count <= 6; count++) {
          await log(chunk);
          written.push(count);
        }
      },
    });
    const first = await server.session();
    first.welcome();
    await first.startJob('a');
    await begun.promise;
    first.fail(status.UNAVAILABLE, 'gone');
    const second = await server.session();
    lost.resolve();
    await expect.poll(() => written.length).toBe(3);
    second.welcome({
      attemptLogWindow: 10n << 20n,
      sessionLogWindow: 10n << 20n,
      verdicts: [{ attemptId: 'a', fence: 1, kind: KEEP }],
    });
    await second.log('a', 1 << 20);
    expect(written.length).toBe(3);
    second.send({ case: 'logAck', value: { attemptId: 'a', fence: 1, offset: 1n << 20n, windowEnd: 20n << 20n } });
    const rest = 6 * chunk.length - (1 << 20);
    await second.log('a', rest, 1 << 20);
    const whole = Buffer.alloc(6 * chunk.length, 'x');
    expect(await second.next('finish')).toMatchObject({ logCrc32c: crc32c(whole), logLost: false });
  });
});

describe('bytes that did not arrive', () => {
  test('are sent again when they left a gap, once for many reports of it', async () => {
    const { session, work, context } = await working();
    await context.log('0123456789');
    await session.log('a', 10);
    const gap = {
      case: 'logAck' as const,
      value: { attemptId: 'a', fence: 1, offset: 6n, windowEnd: 1000n, gap: true },
    };
    session.send(gap, gap);
    session.send(gap);
    expect((await session.log('a', 4, 6)).toString()).toBe('6789');
    work.finish();
    await session.next('finish');
    expect(session.arrived('log')).toEqual([]);
  });

  test('are sent again when Finish counted them, and then Finish', async () => {
    const server = await startServer();
    startDriver([server], { run: ({ log }) => log('0123456789') });
    const session = await server.session();
    session.finishAcks = false;
    session.welcome();
    await session.startJob('a');
    const said = await session.next('finish');
    await session.log('a', 10);
    session.send({ case: 'logMissing', value: { attemptId: 'a', fence: 1, offset: 3n } });
    expect((await session.log('a', 7, 3)).toString()).toBe('3456789');
    expect(await session.next('finish')).toEqual(said);
  });

  test('are given up, and said to be lost, when they were acknowledged before', async () => {
    const { session, work, context } = await working();
    session.finishAcks = false;
    await context.log('0123456789');
    await session.log('a', 10);
    session.send({ case: 'logAck', value: { attemptId: 'a', fence: 1, offset: 10n, windowEnd: 1000n } });
    work.finish();
    await session.next('finish');
    session.send({ case: 'logMissing', value: { attemptId: 'a', fence: 1, offset: 3n } });
    expect(await session.next('finish')).toMatchObject({ logSize: 10n, logLost: true });
  });
});

describe('a replica', () => {
  test('that drains is left for another one, with what is held', async () => {
    const servers = [await startServer(), await startServer()];
    startDriver(servers, { run: heldWork().run });
    const first = await anySession(servers);
    first.welcome();
    await first.startJob('a');
    first.send({ case: 'drain', value: {} });
    const second = await anySession(servers);
    expect(second.hello.held).toMatchObject([{ attemptId: 'a', phase: HeldPhase.RUNNING }]);
    expect(second.server).not.toBe(first.server);
    await first.left;
  });

  test('that answers no heartbeat is left', async () => {
    const server = await startServer();
    startDriver([server], { run: async () => {} });
    const first = await server.session();
    first.pulses = false;
    first.welcome({ heartbeatInterval: duration(0.02) });
    const second = await server.session();
    expect(second.hello.incarnation).toEqual(first.hello.incarnation);
    await first.left;
  });

  test('that is not there is passed over, and found when it comes back', async () => {
    const gone = await ScriptedServer.start();
    const port = Number(gone.address.split(':')[1]);
    await gone[Symbol.asyncDispose]();
    const driver = startDriver([gone], { run: async () => {} });
    const server = await startServer(port);
    (await server.session()).welcome();
    await driver.ready;
  });
});

describe('a driver that cannot go on', () => {
  test('says so when its first connect is refused', async () => {
    const server = await startServer();
    const driver = startDriver([server], { run: async () => {} });
    (await server.session()).fail(status.UNAUTHENTICATED, 'no such token');
    await expect(driver.finished).rejects.toThrow('the control plane refused driver worker: no such token');
  });

  test('keeps trying when it was welcome once', async () => {
    const server = await startServer();
    startDriver([server], { run: async () => {} });
    const first = await server.session();
    first.welcome();
    first.fail(status.PERMISSION_DENIED, 'not now');
    (await server.session()).welcome();
  });

  test('stops its work when another process keeps taking over', async () => {
    const server = await startServer();
    const work = heldWork();
    const driver = startDriver([server], { run: work.run });
    const first = await server.session();
    first.welcome();
    await first.startJob('a');
    const { signal } = await work.context;
    first.fail(status.ABORTED, 'superseded');
    for (let takeover = 2; takeover <= 3; takeover++) {
      const next = await server.session();
      next.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: KEEP }] });
      next.fail(status.ABORTED, 'superseded');
    }
    await expect(driver.finished).rejects.toThrow(`another process runs as instance ${driver.instanceId}`);
    expect(signal.reason).toMatchObject({ why: 'revoked' });
  });
});

describe('a lease that runs out unanswered', () => {
  test('stops work that must never run twice, and no other', async () => {
    const server = await startServer();
    const stopped: string[] = [];
    const started: string[] = [];
    startDriver([server], {
      run: async ({ job, signal }: JobContext) => {
        started.push(job.attemptId);
        await aborted(signal);
        stopped.push(`${job.attemptId} ${signal.reason.why}`);
        throw signal.reason;
      },
    });
    const first = await server.session();
    first.welcome({ leaseDuration: duration(0.3), heartbeatInterval: duration(60) });
    await first.startJob('once', { onLeaseDoubt: LeaseDoubt.STOP });
    await first.startJob('again', { onLeaseDoubt: LeaseDoubt.CONTINUE });
    expect(await first.next('finish')).toMatchObject({
      attemptId: 'once',
      outcome: FinishOutcome.FAILED,
      failureClass: FailureClass.DRIVER,
    });
    expect(started).toEqual(['once', 'again']);
    expect(stopped).toEqual(['once lease-in-doubt']);
  });

  test('does not run out while heartbeats are answered', async () => {
    const server = await startServer();
    const work = heldWork();
    startDriver([server], { run: work.run });
    const session = await server.session();
    session.welcome({ leaseDuration: duration(0.4), heartbeatInterval: duration(0.05) });
    await session.startJob('once', { onLeaseDoubt: LeaseDoubt.STOP });
    const { signal } = await work.context;
    for (let count = 0; count < 16; count++) await session.next('heartbeat');
    expect(signal.aborted).toBe(false);
  });
});

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });
}

test('a control plane that is not there is told of ever less often, by its address', async () => {
  const gone = await startServer();
  const { address } = gone;
  await gone[Symbol.asyncDispose]();
  const told: (readonly [fields: object, message: string])[] = [];
  const third = Promise.withResolvers<void>();
  const warn = (...words: readonly [fields: object, message: string]): void => {
    told.push(words);
    if (told.length === 3) third.resolve();
  };
  const logger = { info: () => {}, warn };
  const worker = defineDriver({ name: 'worker', run: async () => {} });
  await using _driver = worker.start({ addresses: [address], token: 'secret', logger });
  await third.promise;
  expect(told).toMatchObject([1, 2, 4].map((tries) => [{ address, tries }, `cannot reach ${address}; trying on`]));
  expect(JSON.stringify(told)).not.toContain('Resolution note');
});
