// A control plane that lies, errs or speaks nonsense: whatever it says, no work runs twice, what is held is kept or let go by a word that
// allows it, and the driver goes on.
import { type HeldAttempt, HeldPhase, VerdictKind } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { status } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { JobContext } from '@conveyor/driver';
import { type HeldWork, heldWork, startDriver, startServer } from './fixture.ts';
import { crc32c, duration, offerOf, type ScriptedServer, type ScriptedSession } from './scripted-server.ts';

type Said = Parameters<ScriptedSession['send']>[number];

/** A driver that holds one attempt, which runs until the test ends it, and how often anything ran. */
async function runningJob(): Promise<{
  readonly server: ScriptedServer;
  readonly session: ScriptedSession;
  readonly work: HeldWork;
  readonly context: JobContext;
  readonly ran: string[];
}> {
  const server = await startServer();
  const work = heldWork();
  const ran: string[] = [];
  startDriver([server], {
    run: (context) => {
      ran.push(context.job.attemptId);
      return work.run(context);
    },
  });
  const session = await server.session();
  session.welcome();
  await session.startJob('a');
  return { server, session, work, context: await work.context, ran };
}

/** Returns once the driver has heard all that was said to it before. */
async function heard(session: ScriptedSession): Promise<void> {
  session.send(offerOf('last'));
  for (;;) if ((await session.next('accept')).attemptId === 'last') return;
}

describe('what is said about', () => {
  const strangers = {
    'no attempt that it holds': { attemptId: 'x', fence: 1 },
    'another fence': { attemptId: 'a', fence: 2 },
  };
  const frames: Record<string, (about: { attemptId: string; fence: number }) => Said> = {
    Start: (about) => ({ case: 'start', value: about }),
    Cancel: (about) => ({ case: 'cancel', value: { ...about, phase: 2, reason: 'enough' } }),
    Revoke: (about) => ({ case: 'revoke', value: { ...about, reason: 'lost' } }),
    FinishAck: (about) => ({ case: 'finishAck', value: about }),
    LogAck: (about) => ({ case: 'logAck', value: { ...about, offset: 4n, windowEnd: 9n, gap: true } }),
    LogMissing: (about) => ({ case: 'logMissing', value: { ...about, offset: 2n } }),
  };

  test.each(
    Object.entries(strangers).flatMap(([whom, about]) =>
      Object.entries(frames).map(([name, frame]) => [whom, name, frame(about)] as const),
    ),
  )('%s changes nothing: %s', async (_, __, frame) => {
    const { session, work, context, ran } = await runningJob();
    await context.log('0123456789');
    await session.log('a', 10);
    session.send(frame);
    await heard(session);
    expect(context.signal.aborted).toBe(false);
    work.finish();
    expect(await session.next('finish')).toMatchObject({ attemptId: 'a', fence: 1, logSize: 10n, logLost: false });
    expect(session.arrived('log')).toEqual([]);
    expect(ran).toEqual(['a']);
  });
});

describe('an attempt runs once, although the server', () => {
  const begin: Said = { case: 'start', value: { attemptId: 'a', fence: 1 } };

  test('starts it again while it runs, and after it ended', async () => {
    const { session, work, ran } = await runningJob();
    session.finishAcks = false;
    session.send(begin, begin);
    await heard(session);
    work.finish();
    await session.next('finish');
    session.send(begin);
    session.send(offerOf('b'));
    await session.next('accept');
    expect(ran).toEqual(['a']);
  });

  test('starts it before it was offered', async () => {
    const server = await startServer();
    const ran: string[] = [];
    startDriver([server], { run: async ({ job }) => void ran.push(job.attemptId) });
    const session = await server.session();
    session.welcome();
    session.send(begin);
    session.send(offerOf('a'));
    await session.next('accept');
    expect(ran).toEqual([]);
    session.send(begin);
    await session.next('finish');
    expect(ran).toEqual(['a']);
  });

  test('offers it again while it runs, and after its result was acknowledged', async () => {
    const { session, work, ran } = await runningJob();
    session.send(offerOf('a'), begin);
    await heard(session);
    work.finish();
    await session.next('finish');
    session.send(offerOf('a'), begin);
    expect(await session.next('reject')).toMatchObject({ attemptId: 'a', reason: 'the attempt was held before' });
    expect(ran).toEqual(['a']);
  });

  test('offers it with another fence', async () => {
    const { session, ran } = await runningJob();
    session.send(offerOf('a', { fence: 2 }), { case: 'start', value: { attemptId: 'a', fence: 2 } });
    expect(await session.next('reject')).toMatchObject({ fence: 2, reason: 'the attempt is held with another fence' });
    expect(ran).toEqual(['a']);
  });

  test('says that it is an orphan, although it runs here, or says so twice', async () => {
    const server = await startServer();
    const ran: string[] = [];
    const work = heldWork();
    const run = (context: JobContext): Promise<void> => {
      ran.push(context.job.attemptId);
      return work.run(context);
    };
    startDriver([server], { slots: 2, run, adopt: run });
    const first = await server.session();
    first.welcome();
    await first.startJob('a');
    await work.context;
    first.fail(status.UNAVAILABLE, 'gone');
    const second = await server.session();
    const verdicts = [{ attemptId: 'a', fence: 1, kind: VerdictKind.KEEP }];
    const orphans = ['a', 'b', 'b'].map((id) => ({ offer: offerOf(id).value }));
    second.welcome({ verdicts, orphans });
    expect(await second.next('adopt')).toMatchObject({ attemptId: 'b' });
    const resumed: Said = { case: 'start', value: { attemptId: 'b', fence: 1, resumed: true } };
    second.send(begin, resumed, resumed);
    work.finish();
    await second.next('finish');
    await second.next('finish');
    expect(ran).toEqual(['a', 'b']);
    // Both slots are free again.
    second.send(offerOf('c'), offerOf('d'));
    await second.next('accept');
    await second.next('accept');
    expect(second.arrived('adopt')).toEqual([]);
  });

  test('offers far more than there are slots', async () => {
    const server = await startServer();
    startDriver([server], { slots: 2, run: async () => {} });
    const session = await server.session();
    session.welcome();
    session.send(...Array.from({ length: 5_000 }, (_, number) => offerOf(`a${number}`)));
    for (let rejected = 0; rejected < 4_998; rejected++) await session.next('reject');
    expect(session.arrived('accept').map(({ attemptId }) => attemptId)).toEqual(['a0', 'a1']);
  });
});

describe('a log', () => {
  test('that is acknowledged before it was sent arrives whole', async () => {
    const server = await startServer();
    const work = heldWork();
    startDriver([server], { run: work.run });
    const session = await server.session();
    session.welcome({ attemptLogWindow: 5n });
    await session.startJob('a');
    const context = await work.context;
    await context.log('0123456789');
    expect((await session.log('a', 5)).toString()).toBe('01234');
    session.send({ case: 'logAck', value: { attemptId: 'a', fence: 1, offset: 8n, windowEnd: 1_000n } });
    expect((await session.log('a', 5, 5)).toString()).toBe('56789');
    session.send({ case: 'logAck', value: { attemptId: 'a', fence: 1, offset: 1n << 62n, windowEnd: 1n << 62n } });
    await context.log('abc');
    expect((await session.log('a', 3, 10)).toString()).toBe('abc');
    work.finish();
    const whole = Buffer.from('0123456789abc');
    expect(await session.next('finish')).toMatchObject({ logSize: 13n, logCrc32c: crc32c(whole), logLost: false });
  });

  test('that is kept up to where it never was goes on from where it is', async () => {
    const { server, session, work, context } = await runningJob();
    await context.log('0123');
    await session.log('a', 4);
    session.fail(status.UNAVAILABLE, 'gone');
    const second = await server.session();
    await context.log('456');
    second.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: VerdictKind.KEEP, logOffset: 1n << 40n }] });
    expect((await second.log('a', 3, 4)).toString()).toBe('456');
    work.finish();
    expect(await second.next('finish')).toMatchObject({ logSize: 7n, logCrc32c: crc32c(Buffer.from('0123456')) });
  });

  test('that is kept at a negative offset counts as lost, and its work goes on', async () => {
    const { server, session, work, context } = await runningJob();
    await context.log('0123');
    await session.log('a', 4);
    session.fail(status.UNAVAILABLE, 'gone');
    const second = await server.session();
    second.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: VerdictKind.KEEP, logOffset: -1n }] });
    work.finish();
    expect(await second.next('finish')).toMatchObject({ logSize: 4n, logLost: true });
  });

  test('of which everything may be sent at once is still held back at the bound of its memory', async () => {
    const server = await startServer();
    let written = 0;
    const piece = Buffer.alloc(300_000, 'x');
    startDriver([server], {
      run: async ({ log }) => {
        for (; written < 8; written++) await log(piece);
      },
    });
    const session = await server.session();
    const huge = (1n << 63n) - 1n;
    session.welcome({ attemptLogWindow: huge, sessionLogWindow: huge, maxLogBytes: huge });
    await session.startJob('a');
    await session.log('a', 1 << 20);
    expect(session.arrived('log')).toEqual([]);
    expect(written).toBe(3);
    for (let at = 1 << 20; at < 8 * piece.length; ) {
      session.send({ case: 'logAck', value: { attemptId: 'a', fence: 1, offset: BigInt(at), windowEnd: -1n } });
      const { data } = await session.next('log');
      at += data.length;
    }
    expect(await session.next('finish')).toMatchObject({ logSize: BigInt(8 * piece.length), logLost: false });
  });

  test('that Finish counts and that is missed behind its end is counted again', async () => {
    const { session, work } = await runningJob();
    session.finishAcks = false;
    work.finish();
    const said = await session.next('finish');
    session.send({ case: 'logMissing', value: { attemptId: 'a', fence: 1, offset: 1n << 40n } });
    expect(await session.next('finish')).toEqual(said);
  });
});

describe('a verdict', () => {
  /** What the driver does about a verdict on the attempt that it runs. */
  async function judged(...verdicts: object[]) {
    const job = await runningJob();
    job.session.fail(status.UNAVAILABLE, 'gone');
    const second = await job.server.session();
    second.welcome({ verdicts: verdicts.map((verdict) => ({ attemptId: 'a', fence: 1, ...verdict })) });
    await heard(second);
    return { ...job, second };
  }

  test.each([
    ['of a kind that it does not know', [{ kind: 77 as VerdictKind }]],
    ['of no kind', [{}]],
    ['about another fence', [{ kind: VerdictKind.KEEP, fence: 2 }]],
    ['about another attempt', [{ kind: VerdictKind.KEEP, attemptId: 'x' }]],
    ['that is taken back', [{ kind: VerdictKind.KEEP }, { kind: VerdictKind.STOP }, { kind: VerdictKind.KEEP }]],
  ])('%s lets nothing go on', async (_, verdicts) => {
    const { context, second, server } = await judged(...verdicts);
    expect(context.killed.reason).toMatchObject({ why: 'revoked' });
    second.fail(status.UNAVAILABLE, 'gone');
    expect(idsOf((await server.session()).hello.held)).toEqual(['last']);
  });

  test.each([
    ['START, with a start', [{ kind: VerdictKind.START, start: { attemptId: 'a', fence: 1 } }]],
    ['START, without one', [{ kind: VerdictKind.START }]],
    ['KEEP, twice', [{ kind: VerdictKind.KEEP }, { kind: VerdictKind.KEEP }]],
  ])('%s lets what runs go on', async (_, verdicts) => {
    const { context, second, work, ran } = await judged(...verdicts);
    await context.log('more');
    expect((await second.log('a', 4)).toString()).toBe('more');
    work.finish();
    expect(await second.next('finish')).toMatchObject({ attemptId: 'a', logSize: 4n });
    expect(ran).toEqual(['a']);
  });

  test('START without a start is asked about', async () => {
    const server = await startServer();
    startDriver([server], { run: async () => {} });
    const first = await server.session();
    first.welcome();
    first.send(offerOf('a'));
    await first.next('accept');
    first.fail(status.UNAVAILABLE, 'gone');
    const second = await server.session();
    second.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: VerdictKind.START }] });
    expect(await second.next('accept')).toMatchObject({ attemptId: 'a' });
  });
});

describe('a session', () => {
  test('hears nothing before its Welcome, and no second one', async () => {
    const server = await startServer();
    const work = heldWork();
    startDriver([server], { run: work.run });
    const session = await server.session();
    session.send(offerOf('early'), { case: 'drain', value: {} }, { case: 'pulse', value: { seq: 9n } });
    session.welcome();
    await session.startJob('a');
    const { signal } = await work.context;
    session.welcome({ heartbeatInterval: duration(0.001), verdicts: [] });
    await heard(session);
    expect(signal.aborted).toBe(false);
    expect(session.arrived('heartbeat')).toEqual([]);
    expect(session.arrived('accept')).toEqual([]);
  });

  test('is left when its Welcome says no lease, and opened again', async () => {
    const server = await startServer();
    const driver = startDriver([server], { run: async () => {} });
    for (const fields of [{ leaseDuration: duration(0) }, { heartbeatInterval: duration(-5) }]) {
      const session = await server.session();
      session.welcome(fields);
      await session.left;
    }
    (await server.session()).welcome();
    await driver.ready;
  });

  test('may have times longer than any timer', async () => {
    const warnings: string[] = [];
    const note = ({ name }: Error): void => void warnings.push(name);
    process.on('warning', note);
    onTestFinished(() => void process.off('warning', note));
    const server = await startServer();
    const work = heldWork();
    startDriver([server], { run: work.run });
    const session = await server.session();
    session.welcome({ leaseDuration: duration(1e9), heartbeatInterval: duration(1e9) });
    await session.startJob('a', { onLeaseDoubt: 2 });
    const { signal } = await work.context;
    await heard(session);
    expect(session.arrived('heartbeat')).toEqual([]);
    expect(signal.aborted).toBe(false);
    expect(warnings).toEqual([]);
  });

  test('whose Welcome never comes is left', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const server = await startServer();
    startDriver([server], { run: async () => {} });
    const session = await server.session();
    await vi.advanceTimersByTimeAsync(10_000);
    await session.left;
    vi.useRealTimers();
    (await server.session()).welcome();
  });

  test.each([
    ['bytes that are no message', Uint8Array.of(0xff, 0xff, 0xff)],
    ['text that is no UTF-8', Uint8Array.of(0x0a, 8, 0x52, 6, 0x0a, 4, 0xc3, 0x28, 0xff, 0xfe)],
    ['a message larger than any', new Uint8Array(5 << 20)],
  ])('that says %s is left, and what is held goes on in the next', async (_, bytes) => {
    const { server, session, work, ran } = await runningJob();
    session.sendBytes(bytes);
    const second = await server.session();
    expect(second.hello.held).toMatchObject([{ attemptId: 'a', phase: HeldPhase.RUNNING }]);
    second.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: VerdictKind.KEEP }] });
    work.finish();
    await second.next('finish');
    expect(ran).toEqual(['a']);
  });

  test.each(statuses().filter((name) => name !== 'OK'))(
    'that ends with %s is opened again with what is held',
    async (name) => {
      const { server, session, work, context, ran } = await runningJob();
      session.fail(status[name], 'for no reason');
      const second = await server.session();
      expect(second.hello.held).toMatchObject([{ attemptId: 'a', phase: HeldPhase.RUNNING }]);
      expect(context.signal.aborted).toBe(false);
      second.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: VerdictKind.KEEP }] });
      work.finish();
      await second.next('finish');
      expect(ran).toEqual(['a']);
    },
  );

  test('that ends with OK, which nobody asked for, is opened again with what is held', async () => {
    const { server, session, work, ran } = await runningJob();
    session.end();
    const second = await server.session();
    second.welcome({ verdicts: [{ attemptId: 'a', fence: 1, kind: VerdictKind.KEEP }] });
    work.finish();
    await second.next('finish');
    expect(ran).toEqual(['a']);
  });

  const final = ['UNAUTHENTICATED', 'PERMISSION_DENIED', 'INVALID_ARGUMENT', 'UNIMPLEMENTED'];
  test.each(statuses().filter((name) => name !== 'OK'))('refused at the first connect with %s', async (name) => {
    const server = await startServer();
    const driver = startDriver([server], { run: async () => {} });
    (await server.session()).fail(status[name], 'not you');
    if (final.includes(name)) {
      await expect(driver.finished).rejects.toThrow('the control plane refused driver worker: not you');
      return;
    }
    (await server.session()).welcome();
    await driver.ready;
  });
});

test('a result that is acknowledged before there is one ends the work', async () => {
  const { session, context } = await runningJob();
  session.send({ case: 'finishAck', value: { attemptId: 'a', fence: 1 } });
  await expect.poll(() => context.killed.aborted).toBe(true);
  expect(context.killed.reason).toMatchObject({ why: 'revoked' });
  await heard(session);
  expect(session.arrived('finish')).toEqual([]);
});

function idsOf(held: readonly HeldAttempt[]): string[] {
  return held.map(({ attemptId }) => attemptId);
}

function statuses(): (keyof typeof status)[] {
  return Object.keys(status).filter((name): name is keyof typeof status => Number.isNaN(Number(name)));
}
