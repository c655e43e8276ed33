import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatAttemptId, formatJobId, makeRunId, parseAttemptId, parseJobId, parseRunId } from './ids.ts';

const bytes = fc.uint8Array({ minLength: 10, maxLength: 16 });
const times = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const runIds = fc.tuple(times, bytes).map(([unixMs, random]) => makeRunId(unixMs, random));
const RUN = '01890a5d-ac96-774b-bcce-b302099a8057';

describe('a run id', () => {
  test('is the UUID of version 7 that RFC 9562 gives as its example', () => {
    // Appendix A.6: 2022-02-22 19:22:22 UTC, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F.
    const random = Uint8Array.of(0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f);
    expect(makeRunId(1_645_557_742_000, random)).toBe('017f22e2-79b0-7cc3-98c4-dc0c0c07398f');
  });

  test('is read back, has version 7 and its variant, and sorts by time', () => {
    fc.assert(
      fc.property(times, bytes, (unixMs, random) => {
        const id = makeRunId(unixMs, random);
        expect(parseRunId(id)).toBe(id);
        expect(id).toMatch(/^.{14}7.{4}[89ab]/);
        const later = makeRunId(unixMs + 1, new Uint8Array(10));
        if (unixMs < 2 ** 48 - 1) expect(id < later).toBe(true);
      }),
    );
  });

  test.each(['', 'x', RUN.toUpperCase(), `${RUN} `, ` ${RUN}`, `${RUN}\n`, RUN.replaceAll('-', ''), `{${RUN}}`])(
    'is not %j',
    (text) => expect(parseRunId(text)).toBeUndefined(),
  );
});

describe('the ids of jobs and attempts', () => {
  test('are read back', () => {
    const numbers = fc.integer({ min: 1, max: 999_999_999 });
    fc.assert(
      fc.property(runIds, fc.nat(999_999_999), numbers, (runId, job, attempt) => {
        expect(parseJobId(formatJobId({ runId, job }))).toEqual({ runId, job });
        expect(parseAttemptId(formatAttemptId({ runId, job, attempt }))).toEqual({ runId, job, attempt });
      }),
    );
  });

  test('have one text each: what is read is written the same', () => {
    const texts = fc.tuple(runIds, fc.stringMatching(/^[.\-+ 0-9a-f]{0,14}$/)).map(([id, rest]) => `${id}${rest}`);
    fc.assert(
      fc.property(texts, (text) => {
        const job = parseJobId(text);
        if (job !== undefined) expect(formatJobId(job)).toBe(text);
        const attempt = parseAttemptId(text);
        if (attempt !== undefined) expect(formatAttemptId(attempt)).toBe(text);
        expect(job !== undefined && attempt !== undefined).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    RUN,
    `${RUN}.`,
    `${RUN}.01`,
    `${RUN}.-1`,
    `${RUN}.1e3`,
    `${RUN}.1234567890`,
    `${RUN}:1`,
    '.1',
    `x${RUN}.1`,
  ])('are not %j', (text) => {
    expect(parseJobId(text)).toBeUndefined();
    expect(parseAttemptId(text)).toBeUndefined();
  });

  test.each([`${RUN}.1.0`, `${RUN}.1.01`, `${RUN}.1.`, `${RUN}..1`, `${RUN}.1.2.3`])('of attempts are not %j', (text) =>
    expect(parseAttemptId(text)).toBeUndefined(),
  );
});
