import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { LogState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { JobService, type TailLogResponseSchema } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { describe, expect, it } from 'vitest';
import type { LogPart } from './log-tail.ts';
import { clientThrough, doors } from './testing/doors.ts';
import { startScriptedServer } from './testing/scripted-server.ts';

const quick = { initialDelayMs: 1, maxDelayMs: 5 };
const log = Buffer.from('one\ntwo\nthree\nfour\n');

type Message = MessageInitShape<typeof TailLogResponseSchema>;

function chunk(from: number, to: number, more: { logState?: LogState; sections?: Section[] } = {}): Message {
  const chunks = [{ offset: BigInt(from), data: log.subarray(from, to) }];
  return { attempt: 2, logState: more.logState ?? LogState.OPEN, chunks, sections: more.sections ?? [] };
}

interface Section {
  offset: bigint;
  name: string;
  end: boolean;
}

/** Says each connection's messages; `break` ends the connection badly. */
async function startLogServer(connections: readonly (readonly (Message | 'break')[])[]) {
  const calls: { attempt: number; offset: bigint }[] = [];
  const server = await startScriptedServer((router) =>
    router.service(JobService, {
      async *tailLog({ attempt, offset }) {
        const messages = connections[calls.length] ?? [];
        calls.push({ attempt, offset });
        for (const message of messages) {
          if (message === 'break') throw new ConnectError('going away', Code.Unavailable);
          yield message;
        }
      },
    }),
  );
  return Object.assign(server, { calls });
}

function bytesOf(parts: readonly LogPart[]): string {
  return Buffer.concat(parts.flatMap(({ chunks }) => chunks.map(({ data }) => data))).toString();
}

describe.each(doors)('tailing a log over %s', (door) => {
  it('gives every byte once, of the attempt that it began with', async () => {
    const sealed = { attempt: 2, logState: LogState.SEALED };
    await using server = await startLogServer([
      [{}, chunk(0, 5), chunk(5, 9), 'break'],
      [{}, 'break'],
      [chunk(9, 19), sealed],
    ]);
    const parts = await Array.fromAsync(clientThrough(door, server).jobs.tailLog('j', {}, quick));
    expect(bytesOf(parts)).toBe(log.toString());
    expect(parts.at(-1)?.logState).toBe(LogState.SEALED);
    expect(server.calls).toEqual([
      { attempt: 0, offset: 0n },
      { attempt: 2, offset: 9n },
      { attempt: 2, offset: 9n },
    ]);
  });

  it('goes on when the stream ends well before the log does', async () => {
    await using server = await startLogServer([[chunk(0, 4)], [chunk(4, 19, { logState: LogState.TRUNCATED })]]);
    const parts = await Array.fromAsync(clientThrough(door, server).jobs.tailLog('j', { attempt: 2 }, quick));
    expect(bytesOf(parts)).toBe(log.toString());
  });

  it('tells of a section at the break once', async () => {
    const begin = { offset: 4n, name: 'compile', end: false };
    const end = { offset: 8n, name: 'compile', end: true };
    await using server = await startLogServer([
      [chunk(0, 4), { attempt: 2, sections: [begin] }, 'break'],
      [chunk(4, 19, { sections: [begin, end], logState: LogState.SEALED })],
    ]);
    const parts = await Array.fromAsync(clientThrough(door, server).jobs.tailLog('j', {}, quick));
    const sections = parts.flatMap((part) => part.sections.map(({ offset, name, end }) => ({ offset, name, end })));
    expect(sections).toEqual([begin, end]);
  });

  it.each([
    ['a gap', [chunk(0, 4), chunk(5, 9)]],
    ['a repeat', [chunk(0, 4), chunk(0, 4)]],
  ])('throws rather than pass on %s', async (_, messages) => {
    await using server = await startLogServer([messages]);
    const tail = Array.fromAsync(clientThrough(door, server).jobs.tailLog('j', {}, quick));
    await expect(tail).rejects.toMatchObject({ code: 'data_loss' });
  });
});

describe('reading a stored log', () => {
  it('reads on from offset to offset up to its end', async () => {
    const calls: { attempt: number; offset: bigint }[] = [];
    await using server = await startScriptedServer((router) =>
      router.service(JobService, {
        readLog({ attempt, offset }) {
          calls.push({ attempt, offset });
          const from = Number(offset);
          const data = log.subarray(from, from + 8);
          return { attempt: 3, chunks: [{ offset, data }], logSize: BigInt(log.length), logState: LogState.OPEN };
        },
      }),
    );
    const parts = await Array.fromAsync(clientThrough('HTTP', server).jobs.readLog('j', { offset: 4n }));
    expect(bytesOf(parts)).toBe(log.subarray(4).toString());
    expect(calls).toEqual([
      { attempt: 0, offset: 4n },
      { attempt: 3, offset: 12n },
    ]);
  });
});
