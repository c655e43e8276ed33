// Many at once: readers that stop reading, a driver that writes as fast as it may, drivers that all connect again.
import { setTimeout as delay } from 'node:timers/promises';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  JobService,
  TailLogRequestSchema,
  TailLogResponseSchema,
} from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { Client, type ClientReadableStream, credentials, Metadata } from '@grpc/grpc-js';
import { startProxy } from '../../../packages/server/src/store/testing/proxy.ts';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import { residentBytes } from '../../bench/process-usage.ts';
import { jobOf } from '../../e2e/jobs.ts';
import { startProcess } from '../../e2e/processes.ts';
import { linesOf, sha256 } from '../../e2e/workload.ts';
import type { HerdSettings } from '../drivers/herd.ts';
import { untilTrue } from '../eventually.ts';
import type { Fault } from '../fault.ts';
import { limitPassed } from '../sessions.ts';
import type { Stage } from '../stage.ts';

const READERS = 500;
/** What readers that do not read may leave in the memory of a server, 256 KiB each, and what the load beside them needs. */
const READERS_GROWTH_BYTES = READERS * 2 ** 18 + 220 * 2 ** 20;
/** How long the readers go on not reading when the log is complete. */
const STALL_MS = 5_000;
const HERD = 2_000;
const HERD_LIMIT_MS = 20_000;
/** How much longer a run of one short job may take while others flood the server, on a machine that is busy otherwise, too. */
const crowdedLimitMs = (usualMs: number): number => 3_000 + 5 * usualMs;

export const crowdFaults: readonly Fault[] = [
  {
    name: 'slow-log-readers',
    says: `${READERS} readers tail a log and stop reading; whoever writes it and whoever reads it are not held up`,
    async strike(stage) {
      const place = stage.places[0]!;
      const usualMs = await usualRun(stage);
      const before = await residentBytes(place.server().pid);
      const written = { seed: 'crowd', bytes: 8_000_000 };
      const runId = await stage.createRun(place, {
        jobs: [
          jobOf('worker', { steps: [{ do: 'write', ...written, pieceBytes: 50_000, pauseMs: 5 }] }, { name: 'crowd' }),
        ],
      });
      const jobId = `${runId}.0`;
      await using readers = await openReaders(stage, place.server().ready.grpcAddress, jobId);
      const sinceMs = monotonicMs();
      const tailed: Uint8Array[] = [];
      for await (const { chunks } of place.client.jobs.tailLog(jobId)) tailed.push(...chunks.map(({ data }) => data));
      const tookMs = monotonicMs() - sinceMs;
      await stage.finished(runId);
      // Nothing is sent meanwhile to who does not read.
      await delay(STALL_MS);
      const grown = (await residentBytes(place.server().pid)) - before;
      const probedMs = await stage.recovery(monotonicMs(), [place]);
      return {
        fired: readers.waiting(),
        complaints: [
          ...(sha256(Buffer.concat(tailed)) === sha256(linesOf(written.seed, written.bytes)) ? [] : ['a log was torn']),
          ...limitPassed('a log of 8 MB', tookMs, 30_000),
          ...limitPassed('a run beside them', probedMs, crowdedLimitMs(usualMs)),
          ...(grown <= READERS_GROWTH_BYTES ? [] : [`the server grew by ${Math.round(grown / 2 ** 20)} MiB`]),
        ],
      };
    },
  },
  {
    name: 'log-flood',
    says: 'a driver writes logs as fast as its windows allow; others keep their pace',
    async strike(stage) {
      const usualMs = await usualRun(stage);
      const bytes = 6_000_000;
      await stage.startDriver({ name: 'flooder' });
      const names = ['a', 'b', 'c', 'd'];
      const jobs = names.map((name) =>
        jobOf('flooder', { steps: [{ do: 'write', seed: name, bytes, pieceBytes: 262_144 }] }, { name }),
      );
      const runId = await stage.createRun(stage.places[0]!, { jobs });
      const stored = async () => {
        const [row] = await stage.system.query<{ bytes: number }>(
          'select coalesce(sum(log_size), 0)::float8 as bytes from attempts where run_id = $1',
          [runId],
        );
        return row?.bytes ?? 0;
      };
      await untilTrue('the flood', async () => (await stored()) > 500_000);
      const tookMs: number[] = [];
      while ((await stored()) < names.length * bytes) tookMs.push(await stage.recovery(monotonicMs()));
      await stage.finished(runId);
      const [medianMs = 0] = tookMs.toSorted((a, b) => a - b).slice(tookMs.length >> 1);
      const complaints = limitPassed('a run beside the flood', medianMs, crowdedLimitMs(usualMs));
      return { fired: tookMs.length, recoveryMs: medianMs, complaints };
    },
  },
  {
    name: 'mass-reconnect',
    says: `a replica that holds ${HERD.toLocaleString('en')} idle sessions is killed, and all of them go to another`,
    scene: { timing: { leaseMs: 30_000, heartbeatMs: 5_000 } },
    async strike(stage) {
      const [victim, other] = [stage.places[0]!, stage.places[1]!];
      const usualMs = await usualRun(stage);
      const token = await stage.system.token('driver');
      await using elsewhere = await startProxy(addressOf(other.server().ready.grpcAddress));
      // Until all of them are at the victim nobody gets through to the other.
      await elsewhere.cut();
      const settings: HerdSettings = {
        name: 'herd',
        instances: HERD,
        addresses: [victim.server().ready.grpcAddress, elsewhere.address],
        token,
      };
      await using _herd = await startProcess(new URL('../drivers/herd.ts', import.meta.url), settings);
      const at = async (id: string) => {
        const [row] = await stage.system.query<{ count: number }>(
          `select count(*)::int as count from instances where driver = 'herd' and replica = $1`,
          [id],
        );
        return row?.count ?? 0;
      };
      const { replica } = await other.client.server.info();
      const fired = await at((await victim.client.server.info()).replica);
      await elsewhere.open();
      const sinceMs = monotonicMs();
      await victim.server().kill();
      await untilTrue('the herd at the other replica', async () => (await at(replica)) === HERD, 60_000);
      const recoveryMs = monotonicMs() - sinceMs;
      const probedMs = await stage.recovery(monotonicMs(), [other]);
      await victim.start();
      return {
        fired,
        recoveryMs,
        complaints: [
          ...(fired === HERD ? [] : [`${fired} sessions were at the replica, and not ${HERD}`]),
          ...limitPassed('all sessions at another replica', recoveryMs, HERD_LIMIT_MS),
          ...limitPassed('a run after that', probedMs, crowdedLimitMs(usualMs)),
        ],
      };
    },
  },
];

/** How long a run of one short job takes at every replica now: the slowest of a few. */
async function usualRun(stage: Stage): Promise<number> {
  const tookMs: number[] = [];
  for (let run = 0; run < 3; run++) tookMs.push(await stage.recovery(monotonicMs()));
  return Math.max(...tookMs);
}

interface Readers extends AsyncDisposable {
  /** How many have begun, and have neither read on nor been given up. */
  waiting(): number;
}

/** Opens tails of a log and reads the first message of each: that the tail is there. */
async function openReaders(stage: Stage, address: string, jobId: string): Promise<Readers> {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${await stage.system.token('operator')}`);
  // Ten connections, so that the window of one does not stand for all of them.
  const clients = Array.from(
    { length: 10 },
    () => new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 }),
  );
  const open = new Set<ClientReadableStream<unknown>>();
  const streams = Array.from({ length: READERS }, (_, index) => {
    const stream = clients[index % clients.length]!.makeServerStreamRequest(
      `/${JobService.typeName}/${JobService.method.tailLog.name}`,
      (id: string) => Buffer.from(toBinary(TailLogRequestSchema, create(TailLogRequestSchema, { jobId: id }))),
      (bytes) => fromBinary(TailLogResponseSchema, bytes),
      jobId,
      metadata,
    );
    stream.on('error', () => open.delete(stream));
    return new Promise<void>((resolve) => {
      stream.once('data', () => {
        stream.pause();
        open.add(stream);
        resolve();
      });
    }).then(() => stream);
  });
  await Promise.all(streams);
  return {
    waiting: () => open.size,
    async [Symbol.asyncDispose]() {
      for (const stream of await Promise.all(streams)) stream.cancel();
      for (const client of clients) client.close();
    },
  };
}

function addressOf(text: string): { readonly host: string; readonly port: number } {
  const [host = '', port = ''] = text.split(':');
  return { host, port: Number(port) };
}
