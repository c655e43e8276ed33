import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { DriverService, type WatchDemandResponseSchema } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import { describe, expect, it } from 'vitest';
import { clientThrough, doors } from './testing/doors.ts';
import { startScriptedServer } from './testing/scripted-server.ts';

type Message = MessageInitShape<typeof WatchDemandResponseSchema>;

const quick = { initialDelayMs: 1, maxDelayMs: 5 };

function change(driver: string, queued: number, rest: { ended?: boolean; pool?: string; held?: number } = {}) {
  const { ended = false, ...demand } = rest;
  return { demand: { driver, queued, ...demand }, ended };
}

/** Says each connection's messages, then breaks it off; after the last connection's it stays silent. */
async function startDemandServer(connections: readonly (readonly Message[])[]) {
  const asked: (readonly string[])[] = [];
  const server = await startScriptedServer((router) =>
    router.service(DriverService, {
      async *watchDemand({ drivers }, { signal }) {
        const messages = connections[asked.length] ?? [];
        asked.push(drivers);
        yield* messages;
        if (asked.length === connections.length) {
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
        }
        throw new ConnectError('going away', Code.Unavailable);
      },
    }),
  );
  return Object.assign(server, { asked });
}

describe.each(doors)('watching demand over %s', (door) => {
  it('gives all that there is, then what changes of it, over a connection that breaks', async () => {
    await using server = await startDemandServer([
      [{ changes: [change('never', 9)] }],
      [
        { changes: [change('b', 1), change('b', 2, { pool: 'gpu' })] },
        { changes: [change('a', 3), change('c', 1)], snapshotComplete: true },
        {},
        { changes: [change('b', 0, { ended: true, held: 1 }), change('a', 4)] },
      ],
      // As before, but for one that has ended, and one that is new.
      [
        { changes: [change('b', 2, { pool: 'gpu' }), change('a', 4)] },
        { changes: [change('d', 1)], snapshotComplete: true },
      ],
      [
        { changes: [change('b', 2, { pool: 'gpu' }), change('a', 4), change('d', 1)], snapshotComplete: true },
        { changes: [change('d', 2)] },
      ],
    ]);
    const seen: unknown[] = [];
    for await (const { demands, changes } of clientThrough(door, server).drivers.watchDemand(
      { drivers: ['a'] },
      quick,
    )) {
      seen.push({
        demands: demands.map(({ driver, pool, queued }) => `${driver}${pool} ${queued}`),
        changes: changes.map(
          ({ demand, ended }) => `${demand.driver}${demand.pool} ${demand.queued} ${demand.held} ${ended}`,
        ),
      });
      if (seen.length === 4) break;
    }
    expect(seen).toEqual([
      {
        demands: ['a 3', 'b 1', 'bgpu 2', 'c 1'],
        changes: ['b 1 0 false', 'bgpu 2 0 false', 'a 3 0 false', 'c 1 0 false'],
      },
      { demands: ['a 4', 'bgpu 2', 'c 1'], changes: ['b 0 1 true', 'a 4 0 false'] },
      { demands: ['a 4', 'bgpu 2', 'd 1'], changes: ['c 0 0 true', 'd 1 0 false'] },
      { demands: ['a 4', 'bgpu 2', 'd 2'], changes: ['d 2 0 false'] },
    ]);
    expect(server.asked).toEqual([['a'], ['a'], ['a'], ['a']]);
  });

  it('says at once that there is none', async () => {
    await using server = await startDemandServer([[{ snapshotComplete: true }]]);
    for await (const update of clientThrough(door, server).drivers.watchDemand()) {
      expect(update).toEqual({ demands: [], changes: [] });
      break;
    }
  });
});
