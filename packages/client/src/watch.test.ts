import { type MessageInitShape, create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { type Event, EventSchema } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import { RunState } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import { RunService, type WatchRunsResponseSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { describe, expect, it } from 'vitest';
import { clientThrough, doors } from './testing/doors.ts';
import { refusal } from './testing/refusal.ts';
import { type ScriptedServer, startScriptedServer } from './testing/scripted-server.ts';

const quick = { initialDelayMs: 1, maxDelayMs: 5 };

function ledger(length: number): Event[] {
  return Array.from({ length }, (_, index) =>
    create(EventSchema, {
      runId: 'r',
      seq: BigInt(index + 1),
      kind: index + 1 === length ? { case: 'runFinished', value: {} } : { case: 'jobQueued', value: {} },
    }),
  );
}

/** How a connection ends after two more events: by a status, or never, until the test cuts it. */
type Ending = 'ok' | 'unavailable' | 'cancelled' | 'open';

interface LedgerServer extends ScriptedServer {
  /** `after_seq` of each call. */
  readonly cursors: readonly bigint[];
}

async function startLedgerServer(events: readonly Event[], endings: readonly Ending[]): Promise<LedgerServer> {
  const cursors: bigint[] = [];
  const server = await startScriptedServer((router) =>
    router.service(RunService, {
      async *watchRun({ afterSeq }, { signal }) {
        const ending = endings[cursors.length] ?? 'ok';
        cursors.push(afterSeq);
        yield {};
        yield { events: events.filter(({ seq }) => seq > afterSeq).slice(0, 2) };
        if (ending === 'unavailable') throw new ConnectError('going away', Code.Unavailable);
        if (ending === 'cancelled') throw new ConnectError('drained', Code.Canceled);
        if (ending === 'open') await aborted(signal);
      },
      getRun: () => ({ run: { state: RunState.SUCCEEDED, seq: BigInt(events.length) } }),
    }),
  );
  return Object.assign(server, { cursors });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

describe.each(doors)('watching a run over %s', (door) => {
  it('yields every event once over streams that end early in every way', async () => {
    const events = ledger(9);
    await using server = await startLedgerServer(events, ['unavailable', 'cancelled', 'ok', 'open', 'ok']);
    const breaks: string[] = [];
    const seen: bigint[] = [];
    const watch = clientThrough(door, server).runs.watch('r', {
      ...quick,
      onReconnect: ({ code }) => breaks.push(code),
    });
    for await (const { seq } of watch) {
      seen.push(seq);
      if (seq === 8n) server.cutConnections();
    }
    expect(seen).toEqual([1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n]);
    expect(server.cursors).toEqual([0n, 2n, 4n, 6n, 8n]);
    expect(breaks.slice(0, 3)).toEqual(['unavailable', 'cancelled', 'unavailable']);
  });

  it('ends at once when the run had finished before the cursor', async () => {
    await using server = await startLedgerServer(ledger(3), []);
    expect(await Array.fromAsync(clientThrough(door, server).runs.watch('r', { ...quick, afterSeq: 3n }))).toEqual([]);
    expect(server.cursors).toEqual([3n]);
  });

  it('throws rather than pass on a ledger with a gap', async () => {
    await using server = await startLedgerServer(
      ledger(4).filter(({ seq }) => seq !== 2n),
      [],
    );
    const watch = Array.fromAsync(clientThrough(door, server).runs.watch('r', quick));
    await expect(watch).rejects.toMatchObject({ code: 'data_loss' });
  });

  it('throws what the server refuses, without another try', async () => {
    let calls = 0;
    await using server = await startScriptedServer((router) =>
      router.service(RunService, {
        // oxlint-disable-next-line require-yield
        async *watchRun() {
          calls += 1;
          throw refusal('not_found', 'RUN_NOT_FOUND', 'no run r');
        },
      }),
    );
    const watch = Array.fromAsync(clientThrough(door, server).runs.watch('r', quick));
    await expect(watch).rejects.toMatchObject({ code: 'not_found', reason: 'RUN_NOT_FOUND', message: 'no run r' });
    expect(calls).toBe(1);
  });

  it('opens a silent connection again', async () => {
    await using server = await startLedgerServer(ledger(3), ['open']);
    const breaks: string[] = [];
    const options = { ...quick, silenceMs: 1_000, onReconnect: ({ message }: Error) => breaks.push(message) };
    const events = await Array.fromAsync(clientThrough(door, server).runs.watch('r', options));
    expect(events.map(({ seq }) => seq)).toEqual([1n, 2n, 3n]);
    expect(breaks).toEqual(['nothing was heard for 1000 ms']);
  });

  it("ends with the signal's reason, and ends the call on the server", async () => {
    const ended = Promise.withResolvers<void>();
    await using server = await startScriptedServer((router) =>
      router.service(RunService, {
        async *watchRun(_, { signal }) {
          yield { events: ledger(2).slice(0, 1) };
          await aborted(signal);
          ended.resolve();
        },
      }),
    );
    const controller = new AbortController();
    const reason = new Error('the page was closed');
    const watch = async () => {
      for await (const _ of clientThrough(door, server).runs.watch('r', { ...quick, signal: controller.signal })) {
        controller.abort(reason);
      }
    };
    await expect(watch()).rejects.toBe(reason);
    await ended.promise;
  });

  it('ends the call on the server when its reader leaves', async () => {
    const ended = Promise.withResolvers<void>();
    await using server = await startScriptedServer((router) =>
      router.service(RunService, {
        async *watchRun(_, { signal }) {
          yield { events: ledger(2).slice(0, 1) };
          await aborted(signal);
          ended.resolve();
        },
      }),
    );
    for await (const _ of clientThrough(door, server).runs.watch('r')) break;
    await ended.promise;
  });
});

type Message = MessageInitShape<typeof WatchRunsResponseSchema>;

/** Says each connection's messages, then breaks it off; after the last connection's it stays silent. */
async function startRunsServer(connections: readonly (readonly Message[])[]) {
  const cursors: string[] = [];
  const server = await startScriptedServer((router) =>
    router.service(RunService, {
      async *watchRuns({ cursor }, { signal }) {
        const messages = connections[cursors.length] ?? [];
        cursors.push(cursor);
        yield* messages;
        if (cursors.length === connections.length) await aborted(signal);
        throw new ConnectError('going away', Code.Unavailable);
      },
    }),
  );
  return Object.assign(server, { cursors });
}

describe.each(doors)('watching all runs over %s', (door) => {
  const change = (runId: string, left = false) => ({ run: { runId }, left });

  it('gives the snapshot whole although its first try broke off, then each change once', async () => {
    await using server = await startRunsServer([
      [{ changes: [change('a'), change('gone')] }],
      [{ changes: [change('a')] }, { changes: [change('b')], snapshotComplete: true, cursor: 'c1' }],
      [{ cursor: 'c1' }, { changes: [change('a', true)], cursor: 'c2' }],
      [{ changes: [change('c')], cursor: 'c3' }],
    ]);
    const seen: unknown[] = [];
    for await (const update of clientThrough(door, server).runs.watchAll({ labels: { repo: 'x' } }, quick)) {
      seen.push(
        update.kind === 'snapshot'
          ? { snapshot: update.runs.map(({ runId }) => runId), cursor: update.cursor }
          : { changes: update.changes.map(({ run, left }) => [run?.runId, left]), cursor: update.cursor },
      );
      if (seen.length === 3) break;
    }
    expect(seen).toEqual([
      { snapshot: ['a', 'b'], cursor: 'c1' },
      { changes: [['a', true]], cursor: 'c2' },
      { changes: [['c', false]], cursor: 'c3' },
    ]);
    expect(server.cursors).toEqual(['', '', 'c1', 'c2']);
  });

  it('goes on behind a cursor without a snapshot', async () => {
    await using server = await startRunsServer([[{ changes: [change('d')], cursor: 'c9' }]]);
    for await (const update of clientThrough(door, server).runs.watchAll({}, { ...quick, cursor: 'c8' })) {
      expect(update.kind).toBe('changes');
      break;
    }
    expect(server.cursors).toEqual(['c8']);
  });
});
