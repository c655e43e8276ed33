// The spool against its invariants: what is taken, over any acknowledgements and rewinds, is what was written.
import { LogChannel } from '@conveyor/protocol/conveyor/v1/log_pb.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc32c } from '@node-rs/crc32';
import { LogSpool, spoolBytes, waitingBytes } from './log-spool.ts';

const roomy = { maxLogBytes: Number.MAX_SAFE_INTEGER, windowBytes: Number.MAX_SAFE_INTEGER };

function spoolOf(bounds: Partial<typeof roomy> = {}): LogSpool {
  const spool = new LogSpool();
  spool.begin(0, 0, { ...roomy, ...bounds });
  return spool;
}

function takeAll(spool: LogSpool, sliceBytes = 1 << 16): Buffer {
  const parts: Uint8Array[] = [];
  for (let slice = spool.take(sliceBytes); slice !== undefined; slice = spool.take(sliceBytes)) parts.push(slice.data);
  return Buffer.concat(parts);
}

/** Whether a write is held, without waiting for it. */
async function isHeld(write: Promise<void>): Promise<boolean> {
  return Promise.race([write.then(() => true), Promise.resolve().then(() => Promise.resolve(false))]);
}

describe('a log spool', () => {
  test('gives what was written at about one time on one channel as one slice', () => {
    const spool = spoolOf();
    for (const text of ['a', 'bé', 'c']) void spool.write(text, LogChannel.STDOUT);
    void spool.write('x', LogChannel.STDERR);
    expect(spool.take(100)).toMatchObject({ offset: 0, channel: LogChannel.STDOUT, data: Buffer.from('abéc') });
    expect(spool.take(100)).toMatchObject({ offset: 5, channel: LogChannel.STDERR, data: Buffer.from('x') });
    expect(spool.take(100)).toBeUndefined();
    void spool.write('y', LogChannel.STDERR);
    expect(spool.take(100)).toMatchObject({ offset: 6, data: Buffer.from('y') });
  });

  test('gives no more than the window allows', () => {
    const spool = spoolOf({ windowBytes: 4 });
    void spool.write('0123456789', LogChannel.STDOUT);
    expect(takeAll(spool).toString()).toBe('0123');
    expect(spool.sendable).toBe(false);
    spool.acknowledge(2, 7);
    expect(takeAll(spool).toString()).toBe('456');
    expect(spool.inFlight).toBe(5);
  });

  test('makes a writer wait at its bound, until bytes are durable', async () => {
    const spool = spoolOf();
    expect(await isHeld(spool.write(new Uint8Array(spoolBytes), LogChannel.STDOUT))).toBe(true);
    const waiting = spool.write('more', LogChannel.STDOUT);
    expect(await isHeld(waiting)).toBe(false);
    expect(takeAll(spool)).toHaveLength(spoolBytes);
    expect(spool.drained).toBe(false);
    spool.acknowledge(10, Number.MAX_SAFE_INTEGER);
    await waiting;
    expect(takeAll(spool).toString()).toBe('more');
    expect(spool.drained).toBe(true);
  });

  test('drops what nobody waited for, past a bound, and says so', () => {
    const spool = spoolOf();
    void spool.write(new Uint8Array(spoolBytes), LogChannel.STDOUT);
    void spool.write(new Uint8Array(waitingBytes), LogChannel.STDOUT);
    expect(spool.lost).toBe(false);
    void spool.write('x', LogChannel.STDOUT);
    expect(spool.lost).toBe(true);
  });

  describe('of a log that would be too long', () => {
    const maxLogBytes = 1_000;
    const notice = '\nThe log is cut here: it has reached the 1000 bytes that it may have.\n';
    const contentEnd = maxLogBytes - notice.length;

    test('keeps what leaves room for a last line, which says so', async () => {
      const spool = spoolOf({ maxLogBytes });
      await spool.write('x'.repeat(contentEnd), LogChannel.STDOUT);
      expect(spool.lost).toBe(false);
      await spool.write('é', LogChannel.STDOUT);
      await spool.write('more', LogChannel.STDOUT);
      expect(takeAll(spool).toString()).toBe('x'.repeat(contentEnd) + notice);
      expect(spool).toMatchObject({ written: maxLogBytes, drained: true, lost: true });
    });

    test('lets a writer go that waits with more than fits', async () => {
      const spool = spoolOf({ maxLogBytes });
      const write = spool.write(new Uint8Array(3 * spoolBytes), LogChannel.STDOUT);
      const behind = spool.write('behind', LogChannel.STDOUT);
      await Promise.all([write, behind]);
      expect(takeAll(spool)).toHaveLength(maxLogBytes);
      expect(spool).toMatchObject({ drained: true, lost: true });
    });

    test.each([contentEnd + 1, maxLogBytes, maxLogBytes + 1])('adds no line when it begins at %i', async (offset) => {
      const spool = new LogSpool();
      spool.begin(offset, 7, { ...roomy, maxLogBytes });
      await spool.write('on', LogChannel.STDOUT);
      expect(takeAll(spool)).toHaveLength(0);
      expect(spool).toMatchObject({ written: offset, crc32c: 7, drained: true, lost: true });
    });
  });

  test('lets its writers go when it is closed', async () => {
    const spool = spoolOf();
    const waiting = spool.write(new Uint8Array(2 * spoolBytes), LogChannel.STDOUT);
    spool.close();
    await waiting;
    await spool.write('more', LogChannel.STDOUT);
    expect(spool.take(100)).toBeUndefined();
    expect(spool.inFlight).toBe(0);
  });

  test('over any course of events sends every byte as it was written, and one CRC of all', () => {
    const write = fc.record({
      kind: fc.constant('write' as const),
      size: fc.nat(5000),
      channel: fc.constantFrom(1, 2, 3),
    });
    const take = fc.record({ kind: fc.constant('take' as const), size: fc.integer({ min: 1, max: 3000 }) });
    const acknowledge = fc.record({
      kind: fc.constant('acknowledge' as const),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const rewind = fc.record({
      kind: fc.constant('rewind' as const),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(write, take, acknowledge, rewind), { maxLength: 60 }), (events) => {
        const spool = spoolOf();
        const written: number[] = [];
        const received: number[] = [];
        let durable = 0;
        const receive = (size: number): void => {
          const slice = spool.take(size);
          if (slice === undefined) return;
          expect(slice.offset).toBeLessThanOrEqual(received.length);
          received.splice(slice.offset, received.length, ...slice.data);
        };
        for (const event of events) {
          if (event.kind === 'write') {
            const bytes = Uint8Array.from({ length: event.size }, (_, i) => (written.length + i * 13) & 255);
            written.push(...bytes);
            void spool.write(bytes, event.channel);
          } else if (event.kind === 'take') {
            receive(event.size);
          } else {
            const offset = durable + Math.floor((spool.sent - durable) * event.share);
            durable = offset;
            if (event.kind === 'acknowledge') spool.acknowledge(offset, Number.MAX_SAFE_INTEGER);
            else spool.restart(offset, Number.MAX_SAFE_INTEGER);
          }
        }
        while (spool.sendable) receive(4096);
        expect(received).toEqual(written);
        expect(spool.crc32c).toBe(crc32c(Uint8Array.from(written)));
        expect(spool).toMatchObject({ written: written.length, drained: true, lost: false });
      }),
    );
  });
});
