// A log that is longer than its windows, or than the server takes.
import { describe, expect, test } from 'vitest';
import { startDriver, startServer } from './fixture.ts';
import { crc32c, offerOf } from './scripted-server.ts';

describe('a large log', () => {
  test('stays within the windows, blocks its writer, and arrives whole', async () => {
    const server = await startServer();
    const attemptLogWindow = 100_000;
    const bytes = Buffer.from(Array.from({ length: 3 << 20 }, (_, i) => (i * 7 + (i >> 8)) & 255));
    let written = false;
    startDriver([server], {
      run: async ({ log }) => {
        await log.pipe(slices(bytes, 50_000));
        written = true;
      },
    });
    const session = await server.session();
    session.welcome({ attemptLogWindow: BigInt(attemptLogWindow), sessionLogWindow: 1n << 20n });
    await session.startJob('a');
    expect(await session.log('a', attemptLogWindow)).toEqual(bytes.subarray(0, attemptLogWindow));
    expect(written).toBe(false);
    let at = attemptLogWindow;
    while (at < bytes.length) {
      expect(session.arrived('log')).toEqual([]);
      session.send({
        case: 'logAck',
        value: { attemptId: 'a', fence: 1, offset: BigInt(at), windowEnd: BigInt(at + attemptLogWindow) },
      });
      const expected = bytes.subarray(at, at + attemptLogWindow);
      expect((await session.log('a', expected.length, at)).equals(expected)).toBe(true);
      at += expected.length;
    }
    expect(await session.next('finish')).toMatchObject({
      logSize: BigInt(bytes.length),
      logCrc32c: crc32c(bytes),
      logLost: false,
    });
  });

  test('shares the window of its session with other logs', async () => {
    const server = await startServer();
    startDriver([server], { run: ({ log }) => log(new Uint8Array(100_000)) });
    const session = await server.session();
    session.finishAcks = false;
    session.welcome({ sessionLogWindow: 150_000n });
    await session.startJob('a');
    await session.log('a', 100_000);
    await session.startJob('b');
    await session.next('finish');
    expect(await session.log('b', 50_000)).toHaveLength(50_000);
    // What control frames say passes the bytes that are held back.
    session.send(offerOf('c'));
    await session.next('accept');
    expect(session.arrived('log')).toEqual([]);
    session.send({ case: 'logAck', value: { attemptId: 'a', fence: 1, offset: 100_000n, windowEnd: 1_000_000n } });
    await session.log('b', 50_000, 50_000);
    await session.next('finish');
  });

  test('beyond the limit of the server is cut, and says so', async () => {
    const server = await startServer();
    startDriver([server], { run: ({ log }) => log('0123456789') });
    const session = await server.session();
    session.welcome({ maxLogBytes: 4n });
    await session.startJob('a');
    expect((await session.log('a', 4)).toString()).toBe('0123');
    expect(await session.next('finish')).toMatchObject({ logSize: 4n, logLost: true });
  });
});

async function* slices(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
