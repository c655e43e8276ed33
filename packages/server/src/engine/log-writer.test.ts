import { crc32c } from '@node-rs/crc32';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { AttemptKey } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import type { JsonValue } from '../core/json.ts';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import { type PostgresProxy, startPostgresProxy } from '../store/testing/postgres-proxy.ts';
import type { LogEntry, LogResult } from './log-writer.ts';
import { type LogFixture, logFrame, MAX_LOG_BYTES, openLogFixture, readAll } from './testing/log-fixture.ts';

let database: TestDatabase;
let proxy: PostgresProxy;
let logs: LogFixture;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  proxy = await startPostgresProxy(database.config.connection);
  logs = await openLogFixture(database, { ...database.config, connection: proxy.connection });
});
afterEach(async () => {
  await logs[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
});

interface AttemptRow {
  readonly log_size: number;
  readonly log_crc32c: number;
  readonly outputs: Record<string, JsonValue> | null;
  readonly checkpoint: Buffer | null;
  readonly progress: unknown;
}

async function rowOf({ runId, job, attempt }: AttemptKey): Promise<AttemptRow> {
  const { rows } = await logs.pools.pool.query<AttemptRow>(
    'select log_size, log_crc32c, outputs, checkpoint, progress from attempts where run_id = $1 and job = $2 and attempt = $3',
    [runId, job, attempt],
  );
  return rows[0]!;
}

async function chunksOf({ runId }: AttemptKey): Promise<{ start_offset: number; length: number }[]> {
  const { rows } = await logs.pools.pool.query<{ start_offset: number; length: number }>(
    'select start_offset, length(data) from log_chunks where run_id = $1 order by start_offset',
    [runId],
  );
  return rows;
}

async function begin(): Promise<AttemptKey> {
  return await logs.start(await logs.create());
}

/** Writes while somebody else holds the attempt, so that all of it waits for one flush. */
async function writeTogether(entries: readonly LogEntry[]): Promise<LogResult[]> {
  const key = entries[0]!.key;
  const holder = await logs.pools.pool.connect();
  await holder.query('begin');
  await holder.query('select 1 from attempts where run_id = $1 for update', [key.runId]);
  const first = logs.write({ type: 'Progress', key, progress: { phase: 'RUNNING', message: '' } });
  await flushWaits();
  const written = entries.map((entry) => logs.write(entry));
  await holder.query('commit');
  holder.release();
  await first;
  return await Promise.all(written);
}

/** Resolves once a flush waits for a lock. */
async function flushWaits(): Promise<void> {
  const waiting = async () => {
    const { rowCount } = await logs.pools.pool.query(
      "select 1 from pg_stat_activity where application_name = 'conveyor logs' and datname = current_database() and wait_event_type = 'Lock'",
    );
    return rowCount;
  };
  await expect.poll(waiting).toBe(1);
}

async function endLane(): Promise<number> {
  const { rows } = await logs.pools.pool.query<{ ended: boolean }>(
    "select pg_terminate_backend(pid) as ended from pg_stat_activity where application_name = 'conveyor logs' and datname = current_database()",
  );
  return rows.length;
}

test('what is stored is what was sent, however it was split, repeated and overlapped', async () => {
  const frames = fc.array(
    fc.record({
      attempt: fc.nat(1),
      /** How far before or behind the end of what was sent it begins. */
      back: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: -5, max: 400 })),
      length: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(1, 262_143, 262_144, 262_145, 524_288)),
      isAwaited: fc.boolean(),
      channel: fc.constantFrom('STDOUT' as const, 'STDERR' as const, 'DRIVER' as const),
      unixMs: fc.constantFrom(0, 1_700_000_000_000, 1_700_000_000_001),
    }),
    { minLength: 1, maxLength: 25 },
  );
  const source = Buffer.alloc(2 ** 22);
  for (let at = 0; at < source.length; at += 4) source.writeUInt32LE(Math.imul(at, 2_654_435_761) >>> 0, at);
  await fc.assert(
    fc.asyncProperty(frames, fc.nat(), async (script, from) => {
      const keys = [await begin(), await begin()];
      const sent = [0, 0];
      const results: { result: Promise<LogResult>; expected: LogResult }[] = [];
      for (const { attempt, back, length, isAwaited, channel, unixMs } of script) {
        const end = sent[attempt]!;
        const offset = Math.max(0, end - back);
        const key = keys[attempt]!;
        // Every attempt writes other bytes, and the same ones however often it writes them.
        const data = source.subarray(attempt + offset, attempt + Math.min(offset + length, source.length - 1));
        const isGap = offset > end;
        if (!isGap) sent[attempt] = Math.max(end, offset + data.length);
        const expected: LogResult = isGap ? { type: 'Gap', offset: end } : { type: 'Stored', offset: sent[attempt]! };
        const result = logs.write({ type: 'Log', key, offset, channel, unixMs, data });
        results.push({ result, expected });
        if (isAwaited) await result;
      }
      for (const { result, expected } of results) expect(await result).toEqual(expected);
      for (const [attempt, key] of keys.entries()) {
        const log = source.subarray(attempt, attempt + sent[attempt]!);
        expect(await rowOf(key)).toMatchObject({ log_size: log.length, log_crc32c: crc32c(log) });
        const start = from % (log.length + 1);
        expect((await readAll(logs, key, { from: start, partBytes: 1_000_000 })).equals(log.subarray(start))).toBe(
          true,
        );
        for (const { length } of await chunksOf(key)) expect(length).toBeLessThanOrEqual(262_144);
        expect(await logs.finish(key, log)).toEqual({ type: 'Finished', logState: 'SEALED' });
      }
    }),
    { numRuns: 15 },
  );
});

test('frames that wait for the same flush become one chunk, with a span for each channel and time', async () => {
  const key = await begin();
  const frame = (offset: number, data: string, channel: 'STDOUT' | 'STDERR', unixMs: number): LogEntry => {
    return { type: 'Log', key, offset, channel, unixMs, data: Buffer.from(data) };
  };
  const frames = [
    frame(0, 'ab', 'STDOUT', 5),
    frame(2, 'cd', 'STDOUT', 5),
    frame(4, 'e', 'STDERR', 5),
    frame(5, 'f', 'STDERR', 6),
  ];
  expect((await writeTogether(frames)).at(-1)).toEqual({ type: 'Stored', offset: 6 });
  expect(await chunksOf(key)).toEqual([{ start_offset: 0, length: 6 }]);
  const { chunks } = await logs.reader.readLog('default', key, 1, 1, 100);
  expect(chunks).toEqual([
    {
      offset: 1,
      data: Buffer.from('bcdef'),
      spans: [
        { length: 3, channel: 'STDOUT', unixMs: 5 },
        { length: 1, channel: 'STDERR', unixMs: 5 },
        { length: 1, channel: 'STDERR', unixMs: 6 },
      ],
    },
  ]);
});

test('bytes without a time are of the time when they arrived', async () => {
  const key = await begin();
  const beforeMs = Date.now();
  await logs.write({ ...logFrame(key, 0, 'now'), unixMs: 0 });
  const { chunks } = await logs.reader.readLog('default', key, 1, 0, 100);
  expect(chunks[0]!.spans[0]!.unixMs).toBeGreaterThanOrEqual(beforeMs);
  expect(chunks[0]!.spans[0]!.unixMs).toBeLessThanOrEqual(Date.now());
});

test('a log that is longer than one flush takes is stored in order', async () => {
  const key = await begin();
  const frame = Buffer.alloc(524_288, 'x');
  const frames = Array.from({ length: 20 }, (_, i) => logFrame(key, i * frame.length, frame));
  const results = await writeTogether(frames);
  expect(results.map((result) => result.type)).toEqual(frames.map(() => 'Stored'));
  expect(await rowOf(key)).toMatchObject({ log_size: 20 * frame.length });
  expect((await readAll(logs, key, { partBytes: 1_048_576 })).equals(Buffer.alloc(20 * frame.length, 'x'))).toBe(true);
});

test('only the instance that holds a running attempt writes to it', async () => {
  const running = await begin();
  const other = { instance: await logs.ledger.connect('shell', 'another'), epoch: 1 };
  expect(await logs.write(logFrame(running, 0, 'mine'), other)).toEqual({ type: 'Stale', state: 'RUNNING' });

  const offered = await logs.create();
  await logs.offer(offered);
  expect(await logs.write(logFrame(offered, 0, 'early'))).toEqual({ type: 'Stale', state: 'OFFERED' });

  expect(await logs.write(logFrame({ ...running, attempt: 9 }, 0, 'never'))).toEqual({ type: 'Stale' });

  await logs.finish(running, Buffer.alloc(0));
  const late: LogEntry[] = [
    logFrame(running, 0, 'late'),
    { type: 'Output', key: running, name: 'late', value: 1 },
    { type: 'Checkpoint', key: running, handle: Buffer.from('late') },
    { type: 'Section', key: running, section: { offset: 0, name: 'late', end: false } },
  ];
  for (const entry of late) expect(await logs.write(entry)).toEqual({ type: 'Stale', state: 'SUCCEEDED' });
  for (const key of [running, offered]) {
    expect(await rowOf(key)).toMatchObject({ log_size: 0, outputs: null, checkpoint: null });
    expect(await chunksOf(key)).toEqual([]);
  }
});

test('a session writes no more once another one has taken its instance over', async () => {
  const key = await begin();
  const next = await logs.takeOver();
  expect(await logs.write(logFrame(key, 0, 'old'))).toEqual({ type: 'Superseded' });
  expect(await logs.write(logFrame(key, 0, 'new'), next)).toMatchObject({ type: 'Stored' });
  expect((await readAll(logs, key)).toString()).toBe('new');
});

test('a write that meets a takeover under way waits, and is refused', async () => {
  const key = await begin();
  const taker = await logs.pools.pool.connect();
  await taker.query('begin');
  await taker.query('update instances set epoch = epoch + 1 where no = $1', [logs.writer.instance]);
  const writing = logs.write(logFrame(key, 0, 'old'));
  await flushWaits();
  await taker.query('commit');
  taker.release();
  expect(await writing).toEqual({ type: 'Superseded' });
  expect(await chunksOf(key)).toEqual([]);
});

test('a write that meets the end of its attempt waits, and is refused', async () => {
  const key = await begin();
  const { instance } = logs.writer;
  const lose = { type: 'Lose', job: 0, attempt: 1, instance, failureClass: 'INVALID', message: '', random: 0 } as const;
  const writing = await logs.ledger.inTransaction(async (submit) => {
    await submit(key.runId, { ...lose, content: undefined });
    const result = logs.write(logFrame(key, 0, 'late'));
    await flushWaits();
    return { result };
  });
  expect(await writing.result).toEqual({ type: 'Stale', state: 'FAILED' });
  expect(await chunksOf(key)).toEqual([]);
});

test('a result is accepted when its log is complete, and says so when it differs', async () => {
  const missing = await begin();
  await logs.write(logFrame(missing, 0, 'ab'));
  expect(await logs.finish(missing, Buffer.from('abc'))).toEqual({ type: 'LogMissing', offset: 2 });
  await logs.write(logFrame(missing, 2, 'c'));
  expect(await logs.finish(missing, Buffer.from('abc'))).toEqual({ type: 'Finished', logState: 'SEALED' });

  const differs = await begin();
  await logs.write(logFrame(differs, 0, 'abc'));
  expect(await logs.finish(differs, Buffer.from('abd'))).toEqual({ type: 'Finished', logState: 'CORRUPT' });
});

test('what was written before is settled before a result is asked for', async () => {
  const key = await begin();
  expect(logs.logWriter.settled(key)).toBeUndefined();
  const seen: string[] = [];
  logs.logWriter.write(logs.writer, logFrame(key, 0, 'a'), (result) => seen.push(result.type));
  logs.logWriter.write(logs.writer, logFrame(key, 5, 'b'), (result) => seen.push(result.type));
  await logs.logWriter.settled(key);
  expect(seen).toEqual(['Stored', 'Gap']);
  expect(logs.logWriter.settled(key)).toBeUndefined();
});

test('outputs, progress and the checkpoint are kept with the attempt, the latest of each', async () => {
  const key = await begin();
  const output = (name: string, value: JsonValue): LogEntry => ({ type: 'Output', key, name, value });
  await writeTogether([
    output('image', 'a"\\b'),
    output('__proto__', { deep: [1, null] }),
    output('image', 'c\u0000d'),
    { type: 'Checkpoint', key, handle: Buffer.from([0, 1]) },
    { type: 'Checkpoint', key, handle: Buffer.from([0, 255, 34, 92]) },
    { type: 'Progress', key, progress: { phase: 'PREPARING', message: 'one' } },
    { type: 'Progress', key, progress: { phase: 'RUNNING', message: 'two', fraction: 0.5 } },
  ]);
  await logs.write(output('count', 3));
  const { outputs, checkpoint, progress } = await rowOf(key);
  expect(Object.entries(outputs!)).toEqual([
    ['image', 'c\u0000d'],
    ['__proto__', { deep: [1, null] }],
    ['count', 3],
  ]);
  expect(checkpoint).toEqual(Buffer.from([0, 255, 34, 92]));
  expect(progress).toEqual({ phase: 'RUNNING', message: 'two', fraction: 0.5 });
});

test('outputs of an attempt are bounded together, as JSON', async () => {
  const key = await begin();
  const output = (name: string, value: JsonValue): LogEntry => ({ type: 'Output', key, name, value });
  // {"a":"…","b":"…"} of exactly so many bytes, the last one of two.
  const rest = LIMITS.outputBytes - JSON.stringify({ a: '', b: 'é' }).length - 1;
  expect(await logs.write(output('a', 'x'.repeat(rest)))).toMatchObject({ type: 'Stored' });
  const results = await writeTogether([output('b', 'éx'), output('b', 'é'), output('c', 1), output('a', 'small')]);
  expect(results.map(({ type }) => type)).toEqual(['Invalid', 'Stored', 'Invalid', 'Stored']);
  expect((await rowOf(key)).outputs).toEqual({ a: 'small', b: 'é' });
  expect(await logs.write(output('c', 'x'.repeat(LIMITS.outputBytes)))).toMatchObject({
    type: 'Invalid',
    problem: expect.stringContaining(String(LIMITS.outputBytes)),
  });
});

test('what is beyond the largest log is dropped, and never asked for', async () => {
  const key = await begin();
  const nearEnd = MAX_LOG_BYTES - 2;
  await logs.pools.pool.query('update attempts set log_size = $2 where run_id = $1', [key.runId, nearEnd]);
  expect(await logs.write(logFrame(key, nearEnd + 1, 'bc'))).toEqual({ type: 'Gap', offset: nearEnd });
  const full: LogResult = { type: 'Stored', offset: MAX_LOG_BYTES };
  expect(await logs.write(logFrame(key, nearEnd, 'abc'))).toEqual(full);
  expect(await chunksOf(key)).toEqual([{ start_offset: nearEnd, length: 2 }]);
  expect(await rowOf(key)).toMatchObject({ log_size: MAX_LOG_BYTES, log_crc32c: crc32c('ab') });
  // Behind the end, far behind it, over it, and before it.
  const late = [
    logFrame(key, MAX_LOG_BYTES, 'd'),
    logFrame(key, MAX_LOG_BYTES + 9, 'e'),
    logFrame(key, nearEnd, 'xyz'),
  ];
  expect(await writeTogether(late)).toEqual([full, full, full]);
  expect(await rowOf(key)).toMatchObject({ log_size: MAX_LOG_BYTES, log_crc32c: crc32c('ab') });
});

test('sections are kept once, and what is more than their bound is left out', async () => {
  const key = await begin();
  const section = (i: number): LogEntry => ({
    type: 'Section',
    key,
    section: { offset: 0, name: `s${i}`, end: false },
  });
  const all = Array.from({ length: LIMITS.sections + 5 }, (_, i) => section(i));
  await writeTogether([logFrame(key, 0, 'x'), ...all.slice(0, 600), ...all.slice(0, 10)]);
  const results = await writeTogether(all.slice(600));
  expect(new Set(results.map(({ type }) => type))).toEqual(new Set(['Stored']));
  const { sections } = await logs.reader.readLog('default', key, 1, 0, 10);
  // What was repeated counted once it was there.
  expect(sections.map(({ name }) => name)).toEqual(Array.from({ length: LIMITS.sections }, (_, i) => `s${i}`));
});

test('an entry that can never be stored fails alone', async () => {
  const keys = [await begin(), await begin(), await begin()];
  const poison: LogEntry = { type: 'Section', key: keys[1]!, section: { offset: 0, name: 'nul \0', end: false } };
  const results = await writeTogether([
    logFrame(keys[0]!, 0, 'a'),
    logFrame(keys[1]!, 0, 'b'),
    poison,
    logFrame(keys[2]!, 0, 'c'),
  ]);
  expect(results.map(({ type }) => type)).toEqual(['Stored', 'Stored', 'Failed', 'Stored']);
  expect(await Promise.all(keys.map(async (key) => (await readAll(logs, key)).toString()))).toEqual(['a', 'b', 'c']);
});

test('a flush whose session is ended under it is done again', async () => {
  const key = await begin();
  const holder = await logs.pools.pool.connect();
  await holder.query('begin');
  await holder.query('select 1 from attempts where run_id = $1 for update', [key.runId]);
  const writing = [logs.write(logFrame(key, 0, 'ab')), logs.write(logFrame(key, 2, 'cd'))];
  await flushWaits();
  expect(await endLane()).toBe(1);
  await holder.query('commit');
  holder.release();
  expect((await Promise.all(writing)).map(({ type }) => type)).toEqual(['Stored', 'Stored']);
  expect((await readAll(logs, key)).toString()).toBe('abcd');
});

test('what was committed counts when the reply is lost', async () => {
  const key = await begin();
  await logs.write(logFrame(key, 0, 'ab'));
  const broken = proxy.atCommit({ point: 'unanswered' });
  const writing = logs.write(logFrame(key, 2, 'cd'));
  await broken;
  expect(await writing).toEqual({ type: 'Stored', offset: 4 });
  expect(await chunksOf(key)).toEqual([
    { start_offset: 0, length: 2 },
    { start_offset: 2, length: 2 },
  ]);
});

test('what is written while the database is away is stored when it is back', async () => {
  const key = await begin();
  await proxy.cut();
  const writing = [logs.write(logFrame(key, 0, 'ab')), logs.write(logFrame(key, 2, 'cd'))];
  await proxy.open();
  expect((await Promise.all(writing)).map(({ type }) => type)).toEqual(['Stored', 'Stored']);
  expect((await readAll(logs, key)).toString()).toBe('abcd');
});

test('what waits when the writer stops has failed', async () => {
  const key = await begin();
  await proxy.cut();
  const writing = [logs.write(logFrame(key, 0, 'ab')), logs.write(logFrame(key, 2, 'cd'))];
  const stopped = logs.logWriter[Symbol.asyncDispose]();
  await proxy.open();
  await stopped;
  for (const { type } of await Promise.all(writing)) expect(type).toBe('Failed');
  expect(logs.logWriter.settled(key)).toBeUndefined();
});

test('an instance that says much does not keep others waiting behind all of it', async () => {
  const loud = await begin();
  const quiet = await logs.create();
  const no = await logs.ledger.connect('shell', 'quiet');
  await logs.ledger.submit(quiet.runId, { type: 'Offer', job: 0, instance: no, instanceId: 'quiet' });
  await logs.ledger.submit(quiet.runId, { type: 'Accept', job: 0, attempt: 1, instance: no });
  const piece = Buffer.alloc(65_536, 'x');
  const order: string[] = [];
  const written = Array.from({ length: 256 }, (_, i) =>
    logs.write(logFrame(loud, i * piece.length, piece)).then(() => order.push('loud')),
  );
  written.push(logs.write(logFrame(quiet, 0, 'hush'), { instance: no, epoch: 1 }).then(() => order.push('quiet')));
  await Promise.all(written);
  // 16 MiB are four flushes; in each the quiet one would have had its turn.
  expect(order.indexOf('quiet')).toBeLessThan(100);
  expect((await readAll(logs, loud)).length).toBe(256 * piece.length);
});

test('while much waits for the database windows reopen by little', async () => {
  const key = await begin();
  expect(await logs.write(logFrame(key, 0, 'x'))).toMatchObject({ type: 'Stored' });
  expect(logs.logWriter.windowBytes()).toBe(LIMITS.attemptLogWindow);
  proxy.freeze();
  const written = Array.from({ length: 130 }, (_, i) => logs.write(pieceOf(key, i)));
  expect(logs.logWriter.windowBytes()).toBeLessThan(LIMITS.attemptLogWindow / 4);
  proxy.thaw();
  await Promise.all(written);
  expect(logs.logWriter.windowBytes()).toBe(LIMITS.attemptLogWindow);
});

test('what waits for the database is bounded', async () => {
  const key = await begin();
  await proxy.cut();
  const refused: unknown[] = [];
  const fits = Math.floor(LIMITS.pendingLogBytes / (LIMITS.logFrameBytes + 256));
  for (let i = 0; i < fits; i++) void logs.write(pieceOf(key, i));
  for (let i = 0; i < 3; i++) refused.push(await logs.write(pieceOf(key, fits + i)));
  for (const result of refused) {
    expect(result).toMatchObject({ type: 'Failed', error: { refusal: { refused: 'DATABASE_UNAVAILABLE' } } });
  }
});

const piece = Buffer.alloc(LIMITS.logFrameBytes, 'x');

/** The piece with a number, of which there is one copy in memory. */
function pieceOf(key: AttemptKey, number: number): LogEntry {
  return { ...logFrame(key, 1 + number * piece.length, ''), data: piece };
}
