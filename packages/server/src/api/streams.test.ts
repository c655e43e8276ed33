// How calls end that are not answered: cancelled, out of time, or cut by a stop. Handlers that never look at their signal are ended
// all the same.
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { describe, expect, it, vi } from 'vitest';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { LIMITS } from '../core/limits.ts';
import type { RunOperations } from '../engine/engine.ts';
import { refusalOf } from './testing/any-call.ts';
import { openTestDoors, PROTOCOLS } from './testing/test-doors.ts';
import { JOB_ID } from './testing/sample-jobs.ts';
import { EVENTS, RUN, RUN_ID } from './testing/sample-runs.ts';
import { createTestEngine } from './testing/test-engine.ts';

/** Says one thing, then nothing more until it is aborted; then ends quietly, as if all had been said. */
function quietWatch() {
  const signals: AbortSignal[] = [];
  const watch: RunOperations['watch'] = async function* (_project, _runId, _afterSeq, signal) {
    signals.push(signal);
    yield EVENTS;
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  };
  return { signals, watch };
}

/** Never answers and never looks at anything. */
const deaf = () => new Promise<never>(() => {});

describe.each(PROTOCOLS)('over %s', (protocol) => {
  it('a stream that its client cancels aborts the signal of its handler', async () => {
    const { watch, signals } = quietWatch();
    await using doors = await openTestDoors(createTestEngine({ runs: { watch } }));
    const abort = new AbortController();
    const client = createClient(RunService, doors.transports()[protocol]);
    await expect(async () => {
      for await (const _ of client.watchRun({ runId: RUN_ID }, { signal: abort.signal })) abort.abort();
    }).rejects.toThrow(ConnectError);
    await vi.waitFor(() => expect(signals[0]?.aborted).toBe(true));
  });

  it('a stream ends with DEADLINE_EXCEEDED at its deadline, also when its handler ends quietly', async () => {
    const { watch, signals } = quietWatch();
    await using doors = await openTestDoors(createTestEngine({ runs: { watch } }));
    const client = createClient(RunService, doors.transports()[protocol]);
    const { code } = await refusalOf(Array.fromAsync(client.watchRun({ runId: RUN_ID }, { timeoutMs: 100 })));
    expect(code).toBe(Code.DeadlineExceeded);
    await vi.waitFor(() => expect(signals[0]?.aborted).toBe(true));
  });

  it('a unary call whose handler never answers ends at its deadline', async () => {
    await using doors = await openTestDoors(createTestEngine({ runs: { get: deaf } }));
    const client = createClient(RunService, doors.transports()[protocol]);
    const { code } = await refusalOf(client.getRun({ runId: RUN_ID }, { timeoutMs: 100 }));
    expect(code).toBe(Code.DeadlineExceeded);
  });

  it('open streams end with SERVER_STOPPING when the server stops; calls in flight finish', async () => {
    const { watch } = quietWatch();
    const answer = Promise.withResolvers<typeof RUN>();
    const asked = Promise.withResolvers<void>();
    const get: RunOperations['get'] = () => {
      asked.resolve();
      return answer.promise;
    };
    await using doors = await openTestDoors(createTestEngine({ runs: { watch, get } }));
    const client = createClient(RunService, doors.transports()[protocol]);
    const inFlight = client.getRun({ runId: RUN_ID });
    const stream = client.watchRun({ runId: RUN_ID })[Symbol.asyncIterator]();
    await Promise.all([asked.promise, stream.next()]);
    doors.api.beginStop();
    expect(await refusalOf(stream.next())).toMatchObject({ code: Code.Unavailable, reason: 'SERVER_STOPPING' });
    answer.resolve(RUN);
    expect((await inFlight).run?.runId).toBe(RUN_ID);
  });

  it('one stream more than there may be is refused, and taken once another one is over', async () => {
    const { watch } = quietWatch();
    using _ = withStreams(2);
    await using doors = await openTestDoors(createTestEngine({ runs: { watch } }));
    const client = createClient(RunService, doors.transports()[protocol]);
    const open = async () => {
      const abort = new AbortController();
      const stream = client.watchRun({ runId: RUN_ID }, { signal: abort.signal })[Symbol.asyncIterator]();
      await stream.next();
      return abort;
    };
    const [first] = [await open(), await open()];
    expect(await refusalOf(open())).toMatchObject({ code: Code.ResourceExhausted, reason: 'LIMIT_REACHED' });
    first.abort();
    await vi.waitFor(open);
  });

  it.each(['ends', 'fails'])('the place of a stream that %s by itself is free again', async (how) => {
    async function* watch() {
      yield EVENTS;
      if (how === 'fails') throw new Error('a defect');
    }
    using _ = withStreams(1);
    await using doors = await openTestDoors(createTestEngine({ runs: { watch } }));
    const client = createClient(RunService, doors.transports()[protocol]);
    for (let n = 0; n < 3; n++) {
      const outcome = await Array.fromAsync(client.watchRun({ runId: RUN_ID })).catch((error: unknown) => error);
      const code = outcome instanceof ConnectError ? outcome.code : undefined;
      expect(code).toBe(how === 'fails' ? Code.Internal : undefined);
    }
  });

  it('a stream that fails later ends with the reason', async () => {
    const watch: RunOperations['watch'] = async function* () {
      yield EVENTS;
      throw new Error('a defect');
    };
    await using doors = await openTestDoors(createTestEngine({ runs: { watch } }));
    const client = createClient(RunService, doors.transports()[protocol]);
    const stream = client.watchRun({ runId: RUN_ID })[Symbol.asyncIterator]();
    expect((await stream.next()).value?.events).toHaveLength(EVENTS.length);
    expect(await refusalOf(stream.next())).toMatchObject({ code: Code.Internal, reason: 'INTERNAL' });
  });

  it('a reader that is slow holds the writer back', async () => {
    let produced = 0;
    const data = new Uint8Array(262_144);
    async function* tailLog() {
      for (; produced < 400; produced++) {
        const chunks = [{ offset: produced * data.length, data, spans: [] }];
        yield { attempt: 1, chunks, sections: [], nextOffset: 0, logSize: 0, logState: 'OPEN' as const };
      }
    }
    await using doors = await openTestDoors(createTestEngine({ jobs: { tailLog } }));
    const abort = new AbortController();
    const client = createClient(JobService, doors.transports()[protocol]);
    const stream = client.tailLog({ jobId: JOB_ID }, { signal: abort.signal })[Symbol.asyncIterator]();
    await stream.next();
    await settled(() => produced);
    // Over HTTP the buffers of both sockets are in between, as large as the system makes them.
    expect(produced).toBeLessThan(protocol === 'gRPC' ? 10 : 100);
    abort.abort();
  });
});

/** Has the server take so many streams, until disposed. */
function withStreams(streams: number): Disposable {
  const limits: { streams: number } = LIMITS;
  const usual = limits.streams;
  limits.streams = streams;
  return { [Symbol.dispose]: () => void (limits.streams = usual) };
}

/** Waits until a value has stayed the same for a while. */
async function settled(read: () => number): Promise<void> {
  let last = read();
  await vi.waitFor(
    () => {
      const before = last;
      last = read();
      expect(last).toBe(before);
    },
    { interval: 200, timeout: 10_000 },
  );
}
