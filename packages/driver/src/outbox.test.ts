// The outbox against a transport that the test drives: what goes into which message, and in which order.
import { create, fromBinary } from '@bufbuild/protobuf';
import { OfferSchema, SessionRequestSchema } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { LogChannel } from '@conveyor/protocol/conveyor/v1/log_pb.js';
import { describe, expect, test } from 'vitest';
import { Attempt } from './attempt.ts';
import { acceptFrame, outputFrame } from './frames.ts';
import { Outbox, type OutboxLimits } from './outbox.ts';

/** An outbox, the messages that it sent as one short text a frame, and the way to say that one is on its way. */
function createOutbox(limits: Partial<OutboxLimits> = {}) {
  const messages: string[][] = [];
  const sizes: number[] = [];
  const sent: (() => void)[] = [];
  let overflows = 0;
  const outbox = new Outbox(
    (message, done) => {
      const { frames } = fromBinary(SessionRequestSchema, message);
      messages.push(
        frames.map(({ frame }) => {
          if (frame.case === 'log')
            return `log ${frame.value.attemptId} ${frame.value.offset}+${frame.value.data.length}`;
          return frame.value !== undefined && 'attemptId' in frame.value
            ? `${frame.case} ${frame.value.attemptId}`
            : String(frame.case);
        }),
      );
      sizes.push(message.length);
      sent.push(done);
    },
    { maxMessageBytes: 1 << 20, sessionLogWindow: 1 << 30, ...limits },
    () => overflows++,
  );
  return { outbox, messages, sizes, release: () => sent.shift()?.(), overflows: () => overflows };
}

function startAttempt(outbox: Outbox, attemptId: string, windowBytes = 1 << 30): Attempt {
  const offer = create(OfferSchema, { attemptId, fence: 1 });
  const attempt = new Attempt(offer, acceptFrame({ id: attemptId, fence: 1 }), undefined, (speaker, urgent) =>
    outbox.speak(speaker, urgent),
  );
  attempt.start(0, 0, { maxLogBytes: 1 << 30, windowBytes });
  return attempt;
}

const succeeded = { outcome: 1, failureClass: 0, message: '', exitCode: undefined, retryAfterMs: undefined };
const KiB = 1024;

describe('an outbox', () => {
  test('tells when more waits than may, and takes no more', async () => {
    const { outbox, messages, release, overflows } = createOutbox();
    outbox.say(acceptFrame({ id: 'first', fence: 1 }));
    await expect.poll(() => messages.length).toBe(1);
    const frame = acceptFrame({ id: 'a', fence: 1 });
    for (let said = 0; said < 50_000; said++) outbox.say(frame);
    expect(overflows()).toBe(0);
    outbox.say(acceptFrame({ id: 'last', fence: 1 }));
    expect(overflows()).toBe(1);
    release();
    await expect.poll(() => messages.flat().length).toBe(50_001);
    expect(messages.flat()).not.toContain('accept last');
  });

  test('puts what is said in one turn into one message', async () => {
    const { outbox, messages } = createOutbox();
    for (const id of ['a', 'b', 'c']) outbox.say(acceptFrame({ id, fence: 1 }));
    await expect.poll(() => messages).toEqual([['accept a', 'accept b', 'accept c']]);
  });

  test('has one message on its way, and puts what is said meanwhile into the next', async () => {
    const { outbox, messages, release } = createOutbox();
    outbox.say(acceptFrame({ id: 'a', fence: 1 }));
    await expect.poll(() => messages).toHaveLength(1);
    for (const id of ['b', 'c']) outbox.say(acceptFrame({ id, fence: 1 }));
    // Another outbox that had as long did send.
    const other = createOutbox();
    other.outbox.say(acceptFrame({ id: 'd', fence: 1 }));
    await expect.poll(() => other.messages).toHaveLength(1);
    expect(messages).toHaveLength(1);
    release();
    await expect.poll(() => messages).toEqual([['accept a'], ['accept b', 'accept c']]);
  });

  test('keeps messages within their limit', async () => {
    const { outbox, messages, sizes } = createOutbox({ maxMessageBytes: 2000 });
    const frame = outputFrame({ id: 'a', fence: 1 }, 'key', 'x'.repeat(400));
    for (let count = 0; count < 5; count++) outbox.say(frame);
    await expect.poll(() => messages.map((frames) => frames.length)).toEqual([2, 2, 1]);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2000);
  });

  test('says control frames before log bytes, and a result only after all bytes that it counts', async () => {
    const { outbox, messages, release } = createOutbox();
    const attempt = startAttempt(outbox, 'a');
    void attempt.write(new Uint8Array(300 * KiB), LogChannel.STDOUT);
    attempt.finish(succeeded);
    outbox.say(acceptFrame({ id: 'b', fence: 1 }));
    await expect.poll(() => messages).toHaveLength(1);
    expect(messages[0]?.[0]).toBe('accept b');
    expect(messages[0]?.at(-1)).toBe(`log a ${192 * KiB}+${64 * KiB}`);
    outbox.say(acceptFrame({ id: 'c', fence: 1 }));
    release();
    await expect.poll(() => messages).toHaveLength(2);
    expect(messages[1]).toEqual(['accept c', `log a ${256 * KiB}+${44 * KiB}`, 'finish a']);
  });

  test('lets logs take turns, and a result never waits for the log of another', async () => {
    const { outbox, messages, release } = createOutbox({ sessionLogWindow: 160 * KiB });
    const [a, b, c] = [startAttempt(outbox, 'a'), startAttempt(outbox, 'b'), startAttempt(outbox, 'c')];
    for (const attempt of [a, b]) void attempt.write(new Uint8Array(200 * KiB), LogChannel.STDOUT);
    c.finish(succeeded);
    await expect
      .poll(() => messages)
      .toEqual([[`log a 0+${64 * KiB}`, `log b 0+${64 * KiB}`, 'finish c', `log a ${64 * KiB}+${32 * KiB}`]]);
    release();
    outbox.changeLog(b, () => b.log.acknowledge(64 * KiB, 1 << 30));
    await expect.poll(() => messages[1]).toEqual([`log b ${64 * KiB}+${64 * KiB}`]);
    release();
    // What an attempt had in flight that is held no more makes room for the others.
    outbox.forget(a);
    await expect.poll(() => messages[2]).toEqual([`log b ${128 * KiB}+${64 * KiB}`, `log b ${192 * KiB}+${8 * KiB}`]);
  });

  test('says only the latest of what replaces itself', async () => {
    const { outbox, messages } = createOutbox();
    const attempt = startAttempt(outbox, 'a');
    for (let count = 0; count < 100; count++)
      attempt.report('progress', acceptFrame({ id: `step ${count}`, fence: 1 }));
    await expect.poll(() => messages).toEqual([['accept step 99']]);
  });
});
