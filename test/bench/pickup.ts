// `bench pickup`: on an idle system, how long it takes from the call of CreateRun until a driver has the offer, may start, and
// runs the work. One run after the other, with gaps of random length so that no rhythm of the server hides anything. Health
// calls with the same gaps show what a gRPC call that does nothing costs on the machine at that moment.
import { setTimeout as delay } from 'node:timers/promises';
import { createNodeClient } from '@conveyor/client/node';
import { Client, credentials } from '@grpc/grpc-js';
import { type Child, startChild } from './child.ts';
import { syncLatency } from './disk.ts';
import { durabilitySettings, openLedger } from './ledger-recount.ts';
import { monotonicMs } from './monotonic-clock.ts';
import { type DriverPickup, driverName } from './pickup-driver.ts';
import { type PickedUpRun, type PickupSettings, type SessionPickup, sessionDriverName } from './pickup-session.ts';
import type { Figure } from './report.ts';
import { startServerProcess } from './server-process.ts';
import { percentile } from './statistics.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const warmUpRuns = 100;
/** Long enough for what the last run left to do. */
const shortestGapMs = 10;
const longestGapMs = 30;

/** Measures once, on a server and a database of its own: `jobs` through a bare session, and as many through the driver runtime. */
export async function measurePickup({ jobs }: { readonly jobs: number }) {
  await using directory = await temporaryDirectory();
  await using server = await startServerProcess(directory.path);
  await using stack = new AsyncDisposableStack();
  const ledger = stack.adopt(await openLedger(directory.path), (client) => client.end());
  const settings: PickupSettings = { address: server.grpcAddress, token: server.driverToken };
  const session = stack.use(await startChild<PickedUpRun, SessionPickup>('./pickup-session.ts', settings));
  const driver = stack.use(await startChild<PickedUpRun, DriverPickup>('./pickup-driver.ts', settings));
  const client = createNodeClient({ address: server.grpcAddress, token: server.operatorToken });
  for (const name of [sessionDriverName, driverName]) {
    await client.pipelines.apply({ name, definition: { jobs: [{ name: 'job', driver: name }] } });
  }

  const pickUp = async <Times>(pipeline: string, child: Child<PickedUpRun, Times>) => {
    await gap();
    const calledMs = monotonicMs();
    const { runId } = await client.runs.create({ pipeline });
    const answeredMs = monotonicMs();
    return { calledMs, answeredMs, ...(await child.ask({ runId })) };
  };
  for (let n = 0; n < warmUpRuns; n++) {
    await pickUp(sessionDriverName, session);
    await pickUp(driverName, driver);
  }
  const grpc = stack.adopt(new Client(server.grpcAddress, credentials.createInsecure()), (each) => each.close());
  const health: number[] = [];
  const answered: number[] = [];
  const offered: number[] = [];
  const started: number[] = [];
  const ran: number[] = [];
  for (let n = 0; n < jobs; n++) {
    await gap();
    const calledMs = monotonicMs();
    await checkHealth(grpc);
    health.push(monotonicMs() - calledMs);
    const bare = await pickUp(sessionDriverName, session);
    answered.push(bare.answeredMs - bare.calledMs);
    offered.push(bare.offerMs - bare.calledMs);
    started.push(bare.startMs - bare.calledMs);
    const withRuntime = await pickUp(driverName, driver);
    ran.push(withRuntime.runMs - withRuntime.calledMs);
  }
  return {
    health: percentiles(health),
    answered: percentiles(answered),
    offered: percentiles(offered),
    started: percentiles(started),
    ran: percentiles(ran),
    disk: await syncLatency(directory.path),
    settings: await durabilitySettings(ledger),
  };
}

export const pickupFigures: Figure<Awaited<ReturnType<typeof measurePickup>>>[] = [
  { name: 'health call, p50', unit: 'ms', of: ({ health }) => health.p50Ms },
  { name: 'health call, p99', unit: 'ms', of: ({ health }) => health.p99Ms },
  { name: 'called to answered, p50', unit: 'ms', of: ({ answered }) => answered.p50Ms },
  { name: 'called to answered, p99', unit: 'ms', of: ({ answered }) => answered.p99Ms },
  { name: 'called to offer, p50', unit: 'ms', of: ({ offered }) => offered.p50Ms },
  { name: 'called to offer, p99', unit: 'ms', of: ({ offered }) => offered.p99Ms },
  { name: 'called to start, p50', unit: 'ms', of: ({ started }) => started.p50Ms },
  { name: 'called to start, p99', unit: 'ms', of: ({ started }) => started.p99Ms },
  { name: 'called to run(), p50', unit: 'ms', of: ({ ran }) => ran.p50Ms },
  { name: 'called to run(), p99', unit: 'ms', of: ({ ran }) => ran.p99Ms },
  { name: 'disk sync, p50', unit: 'ms', of: ({ disk }) => disk.p50Ms },
  { name: 'disk sync, p99', unit: 'ms', of: ({ disk }) => disk.p99Ms },
];

function percentiles(values: readonly number[]) {
  return { p50Ms: percentile(values, 50), p99Ms: percentile(values, 99) };
}

function checkHealth(grpc: Client): Promise<unknown> {
  const asIs = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve, reject) => {
    grpc.makeUnaryRequest('/grpc.health.v1.Health/Check', asIs, asIs, Buffer.alloc(0), (error, answer) =>
      error === null ? resolve(answer) : reject(error),
    );
  });
}

function gap(): Promise<void> {
  return delay(shortestGapMs + Math.random() * (longestGapMs - shortestGapMs));
}
