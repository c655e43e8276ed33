import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { AttemptKey } from '../core/ids.ts';
import { RefusedError } from '../core/refusal.ts';
import type { LogPart, LogSection } from '../core/views.ts';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import { joinParts, logFrame, type LogFixture, openLogFixture, readAll } from './testing/log-fixture.ts';

let database: TestDatabase;
let logs: LogFixture;
let stop: AbortController;

beforeAll(async () => {
  database = await createTestDatabase();
  logs = await openLogFixture(database);
});
afterAll(async () => {
  await logs[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(() => {
  stop = new AbortController();
});
afterEach(() => stop.abort(new Error('the test is over')));

interface TailOptions {
  readonly attempt?: number;
  readonly from?: number;
  readonly project?: string;
  readonly reader?: LogFixture['reader'];
}

/** Tails to the end. `began` resolves with the first part. */
function tail(key: AttemptKey, { attempt, from = 0, project = 'default', reader = logs.reader }: TailOptions = {}) {
  const parts: LogPart[] = [];
  const began = Promise.withResolvers<void>();
  async function run(): Promise<{ parts: LogPart[]; bytes: string; last: LogPart | undefined }> {
    try {
      for await (const part of reader.tailLog(project, key, attempt, from, stop.signal)) {
        parts.push(part);
        began.resolve();
      }
      return { parts, bytes: joinParts(parts, from).toString('latin1'), last: parts.at(-1) };
    } catch (error) {
      began.reject(error);
      throw error;
    }
  }
  const done = run();
  // A test may wait for one of them only.
  for (const promise of [done, began.promise]) promise.catch(() => undefined);
  return { parts, began: began.promise, done };
}

function reasonOf(error: unknown): string {
  return error instanceof RefusedError ? error.refusal.refused : String(error);
}

async function refusalOf(work: Promise<unknown>): Promise<string> {
  return await work.then(() => 'nothing was refused', reasonOf);
}

/** Bytes that tell where in a log they are. */
function numbered(length: number): Buffer {
  return Buffer.from(
    Array.from({ length: Math.ceil(length / 8) }, (_, i) => String(i).padStart(8, '.')).join(''),
  ).subarray(0, length);
}

/** Writes a log frame by frame, each in a flush of its own. */
async function writeSlowly(key: AttemptKey, log: Buffer, frameBytes: number): Promise<void> {
  for (let at = 0; at < log.length; at += frameBytes) {
    expect((await logs.write(logFrame(key, at, log.subarray(at, at + frameBytes)))).type).toBe('Stored');
  }
}

test('a log is read from any offset on', async () => {
  const key = await logs.start(await logs.create());
  const log = numbered(5_000);
  await writeSlowly(key, log, 700);
  for (const from of [0, 1, 699, 700, 701, 3_456, 4_999, 5_000]) {
    expect(await readAll(logs, key, { from, partBytes: 333 })).toEqual(log.subarray(from));
  }
  const part = await logs.reader.readLog('default', key, undefined, 650, 100);
  expect(part).toMatchObject({ attempt: 1, nextOffset: 750, logSize: 5_000, logState: 'OPEN' });
  expect(
    part.chunks.map(({ offset, data, spans }) => [offset, data.length, spans.map(({ length }) => length)]),
  ).toEqual([
    [650, 50, [50]],
    [700, 50, [50]],
  ]);
});

test('behind the last stored byte there is nothing to read', async () => {
  const key = await logs.start(await logs.create());
  await logs.write(logFrame(key, 0, 'all'));
  for (const from of [3, 4, 1_000_000]) {
    const part = await logs.reader.readLog('default', key, undefined, from, 100);
    expect(part).toMatchObject({ chunks: [], nextOffset: from, logSize: 3, logState: 'OPEN' });
  }
});

test('a log of many small chunks is read and tailed to its end', async () => {
  const key = await logs.start(await logs.create());
  const log = numbered(12_000);
  const tailed = tail(key);
  await writeSlowly(key, log, 10);
  await logs.finish(key, log);
  expect(await readAll(logs, key, { from: 11_000 })).toEqual(log.subarray(11_000));
  expect((await tail(key, { from: 11_990 }).done).bytes).toBe(log.subarray(11_990).toString());
  expect((await tailed.done).bytes).toBe(log.toString());
});

test('tails that begin at any time and offset give history and what comes without a seam', async () => {
  const key = await logs.start(await logs.create());
  const log = numbered(60_000);
  const tails: { from: number; done: Promise<{ bytes: string }> }[] = [];
  for (let at = 0, frame = 0; at < log.length; frame++) {
    const length = 1 + ((frame * 7_919) % 1_500);
    const written = logs.write(logFrame(key, at, log.subarray(at, at + length)));
    if (frame % 5 === 0) {
      // Before what is stored, at its end, and behind it.
      const from = Math.min(log.length, Math.max(0, at + ((frame % 3) - 1) * 900));
      tails.push({ from, done: tail(key, { from }).done });
    }
    if (frame % 4 !== 0) await written;
    at += length;
  }
  await logs.logWriter.settled(key);
  expect(await logs.finish(key, log)).toEqual({ type: 'Finished', logState: 'SEALED' });
  expect(tails.length).toBeGreaterThan(10);
  for (const { from, done } of tails) expect((await done).bytes === log.toString('latin1', from)).toBe(true);
});

test('a tail gives a first part at once, is OPEN until its last part, and says then what is known of the log', async () => {
  const key = await logs.start(await logs.create());
  const tailed = tail(key);
  await tailed.began;
  expect(tailed.parts[0]).toMatchObject({ chunks: [], sections: [], nextOffset: 0, logState: 'OPEN' });
  await logs.write(logFrame(key, 0, 'some'));
  await logs.finish(key, Buffer.from('same'));
  const { parts, bytes, last } = await tailed.done;
  expect(bytes).toBe('some');
  expect(parts.slice(0, -1).every(({ logState }) => logState === 'OPEN')).toBe(true);
  expect(last).toMatchObject({ attempt: 1, logState: 'CORRUPT', nextOffset: 4 });
});

test('a tail of an ended attempt gives all of it, however long', async () => {
  const key = await logs.start(await logs.create());
  const log = numbered(3_000_000);
  for (let at = 0; at < log.length; at += 400_000) void logs.write(logFrame(key, at, log.subarray(at, at + 400_000)));
  await logs.logWriter.settled(key);
  await logs.finish(key, log);
  const { bytes, parts, last } = await tail(key).done;
  expect(bytes === log.toString('latin1')).toBe(true);
  expect(Math.max(...parts.map((part) => part.chunks.reduce((sum, { data }) => sum + data.length, 0)))).toBe(131_072);
  expect(last?.logState).toBe('SEALED');
});

test('a replica that hears of nothing tails what another one writes', async () => {
  const key = await logs.start(await logs.create());
  const tailed = tail(key, { reader: logs.elsewhere });
  await tailed.began;
  await logs.write(logFrame(key, 0, 'first '));
  await expect.poll(() => joinParts(tailed.parts, 0).toString(), { timeout: 3_000 }).toBe('first ');
  await logs.write(logFrame(key, 6, 'second'));
  await logs.finish(key, Buffer.from('first second'));
  expect((await tailed.done).bytes).toBe('first second');
});

test('a tail waits for the first attempt', async () => {
  const key = await logs.create();
  const tailed = tail(key);
  await tailed.began;
  expect(tailed.parts[0]).toMatchObject({ attempt: 0 });
  await logs.start(key);
  await logs.write(logFrame(key, 0, 'here'));
  await logs.finish(key, Buffer.from('here'));
  const { bytes, last } = await tailed.done;
  expect([bytes, last?.attempt]).toEqual(['here', 1]);
});

test('a tail that named no attempt passes over offers that were not accepted', async () => {
  const key = await logs.create();
  await logs.offer(key);
  const tailed = tail(key);
  await tailed.began;
  const { instance } = logs.writer;
  await logs.ledger.submit(key.runId, { type: 'Withdraw', job: 0, attempt: 1, instance, expired: true, random: 0 });
  const second = await logs.start({ ...key, attempt: 2 });
  await logs.write(logFrame(second, 0, 'two'));
  await logs.finish(second, Buffer.from('two'));
  const { bytes, last } = await tailed.done;
  expect([bytes, last?.attempt]).toEqual(['two', 2]);
  // By its number it can be read all the same.
  expect(await tail(key, { attempt: 1 }).done).toMatchObject({ bytes: '', last: { attempt: 1 } });
});

test('a tail stays with the attempt that it began with', async () => {
  const first = await logs.start(await logs.create());
  await logs.write(logFrame(first, 0, 'one'));
  // It hears of nothing, so the next attempt has begun when it reads again.
  const tailed = tail(first, { reader: logs.elsewhere });
  await expect.poll(() => joinParts(tailed.parts, 0).toString(), { timeout: 3_000 }).toBe('one');
  await logs.finish(first, Buffer.from('one'), 'FAILED');
  const second = await logs.start({ ...first, attempt: 2 });
  await logs.write(logFrame(second, 0, 'other'));
  expect(await tailed.done).toMatchObject({ bytes: 'one', last: { attempt: 1, logState: 'SEALED' } });
  await logs.finish(second, Buffer.from('other'));
  expect((await tail(first).done).bytes).toBe('other');
  expect((await tail(first, { attempt: 1 }).done).bytes).toBe('one');
});

test('a tail of an attempt that may still come waits for it', async () => {
  const first = await logs.start(await logs.create());
  const tailed = tail(first, { attempt: 2 });
  await tailed.began;
  await logs.write(logFrame(first, 0, 'one'));
  await logs.finish(first, Buffer.from('one'), 'FAILED');
  const second = await logs.start({ ...first, attempt: 2 });
  await logs.write(logFrame(second, 0, 'two'));
  await logs.finish(second, Buffer.from('two'));
  expect((await tailed.done).bytes).toBe('two');
});

test('what never ran has no log', async () => {
  const key = await logs.create();
  expect(await refusalOf(logs.reader.readLog('default', key, undefined, 0, 100))).toBe('ATTEMPT_NOT_FOUND');
  const tailed = tail(key);
  await tailed.began;
  await logs.ledger.submit(key.runId, { type: 'CancelRun', reason: 'enough', force: false });
  expect(await refusalOf(tailed.done)).toBe('ATTEMPT_NOT_FOUND');
});

test('what is not there, and what is another project’s, is refused alike', async () => {
  const key = await logs.start(await logs.create());
  const cases: [project: string, key: AttemptKey, attempt: number | undefined, refusal: string][] = [
    ['elsewhere', key, undefined, 'RUN_NOT_FOUND'],
    [
      'default',
      { ...key, runId: key.runId.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')) as typeof key.runId },
      undefined,
      'RUN_NOT_FOUND',
    ],
    ['default', { ...key, job: 1 }, undefined, 'JOB_NOT_FOUND'],
  ];
  for (const [project, asked, attempt, refusal] of cases) {
    expect(await refusalOf(logs.reader.readLog(project, asked, attempt, 0, 100))).toBe(refusal);
    expect(await refusalOf(tail(asked, { project, ...(attempt !== undefined && { attempt }) }).done)).toBe(refusal);
  }
  expect(await refusalOf(logs.reader.readLog('default', key, 7, 0, 100))).toBe('ATTEMPT_NOT_FOUND');
  await logs.finish(key, Buffer.alloc(0));
  expect(await refusalOf(tail(key, { attempt: 7 }).done)).toBe('ATTEMPT_NOT_FOUND');
});

test('sections come with the bytes behind them, and at the very end with the last part', async () => {
  const key = await logs.start(await logs.create());
  const tailed = tail(key);
  const section = (offset: number, name: string, end: boolean): LogSection => ({ offset, name, end });
  const sections = [
    section(0, 'build', false),
    section(4, 'build', true),
    section(4, 'test', false),
    section(8, 'test', true),
  ];
  await logs.write({ type: 'Section', key, section: sections[0]! });
  await logs.write(logFrame(key, 0, 'made'));
  await logs.write({ type: 'Section', key, section: sections[1]! });
  await logs.write({ type: 'Section', key, section: sections[2]! });
  await logs.write(logFrame(key, 4, 'seen'));
  await logs.write({ type: 'Section', key, section: sections[3]! });
  await logs.finish(key, Buffer.from('madeseen'));
  const { parts } = await tailed.done;
  expect(parts.flatMap((part) => part.sections)).toEqual(sections);
  for (const { sections: at, nextOffset, logState } of parts) {
    for (const { offset } of at) expect(offset < nextOffset || logState !== 'OPEN').toBe(true);
  }
  expect((await logs.reader.readLog('default', key, 1, 4, 4)).sections).toEqual(sections.slice(1));
  expect((await logs.reader.readLog('default', key, 1, 0, 4)).sections).toEqual(sections.slice(0, 1));
});

test('a hundred tails of one log share their reads', async () => {
  const key = await logs.start(await logs.create());
  const tails = Array.from({ length: 100 }, () => tail(key));
  await Promise.all(tails.map(({ began }) => began));
  await turn();
  let connections = 0;
  const count = () => connections++;
  logs.pools.pool.on('acquire', count);
  const log = numbered(2_000);
  await writeSlowly(key, log, 100);
  await logs.finish(key, log);
  for (const { done } of tails) expect((await done).bytes).toBe(log.toString());
  logs.pools.pool.off('acquire', count);
  // Each flush wakes all of them; each for itself they would read 2,000 times.
  expect(connections).toBeLessThan(400);
});

test('a tail that is called off ends with the reason', async () => {
  const key = await logs.start(await logs.create());
  const tailed = tail(key);
  await tailed.began;
  stop.abort(new Error('called off'));
  await expect(tailed.done).rejects.toThrow('called off');
});
