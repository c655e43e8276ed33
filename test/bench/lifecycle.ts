// `bench lifecycle`: jobs a second from BatchCreateRuns to success with ten log lines each, everything durable, through real
// driver processes over gRPC. What the database holds is counted afterwards, and must be what was asked for.
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { type Child, startChild } from './child.ts';
import { syncLatency } from './disk.ts';
import {
  type LedgerCounts,
  durabilitySettings,
  ledgerTimes,
  openLedger,
  openRuns,
  postmasterPid,
  recount,
  singleCommitsPerSecond,
} from './ledger-recount.ts';
import type { CreateJobs, CreatedJobs, CreatorSettings } from './lifecycle-creator.ts';
import type { DriverSettings, DriverTotals } from './lifecycle-driver.ts';
import { familyProcessorMs, processorMs } from './process-usage.ts';
import type { Figure } from './report.ts';
import { startServerProcess } from './server-process.ts';
import { temporaryDirectory } from './temporary-directory.ts';

export interface LifecycleOptions {
  readonly jobs: number;
  /** Where the server and the drivers leave processor profiles. Default: they make none. */
  readonly profileDir: string | undefined;
}

const driverProcesses = 2;
const sessionsPerProcess = 25;
const slotsPerSession = 20;
/** Run first and not measured, so that plans and code are as warm as in a server that has been up for a while. */
const warmUpJobs = 5_000;
const stalledAfterMs = 30_000;
const pollMs = 20;

/** Measures once, on a server and a database of its own. */
export async function measureLifecycle({ jobs, profileDir }: LifecycleOptions) {
  const profile = (name: string): string[] =>
    profileDir === undefined
      ? []
      : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${name}.cpuprofile`];
  await using directory = await temporaryDirectory();
  const dataDir = directory.path;
  await using server = await startServerProcess(dataDir, { nodeArgv: profile('server') });
  await using stack = new AsyncDisposableStack();
  const ledger = stack.adopt(await openLedger(dataDir), (client) => client.end());
  const settings = await durabilitySettings(ledger);
  const disk = await syncLatency(dataDir);
  const commitsPerSecond = await singleCommitsPerSecond(ledger);

  const { grpcAddress: address, operatorToken, driverToken } = server;
  const driverSettings: DriverSettings = {
    address,
    token: driverToken,
    sessions: sessionsPerProcess,
    slots: slotsPerSession,
  };
  const drivers: Child<object, DriverTotals>[] = [];
  for (let n = 1; n <= driverProcesses; n++) {
    drivers.push(stack.use(await startChild('./lifecycle-driver.ts', driverSettings, profile(`drivers-${n}`))));
  }
  const creatorSettings: CreatorSettings = { address, token: operatorToken };
  const creator = stack.use(await startChild<CreateJobs, CreatedJobs>('./lifecycle-creator.ts', creatorSettings));

  const postmaster = await postmasterPid(dataDir);
  const usage = async () => ({
    server: await processorMs(server.pid),
    postgres: await familyProcessorMs(postmaster),
    drivers: sum(await Promise.all(drivers.map(({ pid }) => processorMs(pid)))),
    creator: await processorMs(creator.pid),
  });

  await creator.ask({ jobs: warmUpJobs });
  await untilRun(drivers, ledger, warmUpJobs);
  const before = await usage();
  const created = await creator.ask({ jobs });
  const totals = await untilRun(drivers, ledger, warmUpJobs + jobs);
  const after = await usage();

  const { lastFinishMs, ...pickup } = await ledgerTimes(ledger, created.firstCallMs);
  const elapsedMs = lastFinishMs - created.firstCallMs;
  const counts = await recount(ledger);
  return {
    jobsPerSecond: (jobs / elapsedMs) * 1000,
    elapsedMs,
    createMs: created.lastAnswerMs - created.firstCallMs,
    ...pickup,
    processorUsPerJob: {
      server: ((after.server - before.server) / jobs) * 1000,
      postgres: ((after.postgres - before.postgres) / jobs) * 1000,
      drivers: ((after.drivers - before.drivers) / jobs) * 1000,
      creator: ((after.creator - before.creator) / jobs) * 1000,
    },
    singleCommitsPerSecond: commitsPerSecond,
    disk,
    settings,
    counts,
    differences: differences(counts, warmUpJobs + jobs, totals.logBytes),
  };
}

export const lifecycleFigures: Figure<Awaited<ReturnType<typeof measureLifecycle>>>[] = [
  { name: 'throughput', unit: 'jobs/s', of: ({ jobsPerSecond }) => jobsPerSecond },
  { name: 'created to started, p50', unit: 'ms', of: ({ createdToStarted }) => createdToStarted.p50Ms },
  { name: 'created to started, p99', unit: 'ms', of: ({ createdToStarted }) => createdToStarted.p99Ms },
  { name: 'offered to started, p50', unit: 'ms', of: ({ offeredToStarted }) => offeredToStarted.p50Ms },
  { name: 'offered to started, p99', unit: 'ms', of: ({ offeredToStarted }) => offeredToStarted.p99Ms },
  { name: 'all created after', unit: 'ms', of: ({ createMs }) => createMs },
  { name: 'processor, server', unit: 'us/job', of: ({ processorUsPerJob }) => processorUsPerJob.server },
  { name: 'processor, PostgreSQL', unit: 'us/job', of: ({ processorUsPerJob }) => processorUsPerJob.postgres },
  { name: 'processor, drivers', unit: 'us/job', of: ({ processorUsPerJob }) => processorUsPerJob.drivers },
  { name: 'processor, creator', unit: 'us/job', of: ({ processorUsPerJob }) => processorUsPerJob.creator },
  { name: 'disk sync, p50', unit: 'ms', of: ({ disk }) => disk.p50Ms },
  { name: 'disk sync, p99', unit: 'ms', of: ({ disk }) => disk.p99Ms },
  { name: 'one row a commit', unit: 'commits/s', of: ({ singleCommitsPerSecond }) => singleCommitsPerSecond },
];

/** Waits until so many jobs were run and no run is open any more. */
async function untilRun(
  drivers: readonly Child<object, DriverTotals>[],
  ledger: Client,
  jobs: number,
): Promise<DriverTotals> {
  let run = 0;
  let progressMs = performance.now();
  for (;;) {
    const totals = await Promise.all(drivers.map((driver) => driver.ask({})));
    const now = sum(totals.map((total) => total.jobs));
    if (now >= jobs && (await openRuns(ledger)) === 0) {
      return { jobs: now, logBytes: sum(totals.map(({ logBytes }) => logBytes)) };
    }
    if (now > run) progressMs = performance.now();
    run = now;
    if (performance.now() - progressMs > stalledAfterMs) throw new Error(`stalled after ${run} of ${jobs} jobs`);
    await delay(pollMs);
  }
}

/** Each count that is not what it must be, as text; none when all is well. */
function differences(counts: LedgerCounts, jobs: number, logBytes: number): string[] {
  const due: Partial<LedgerCounts> = {
    runs: jobs,
    succeededRuns: jobs,
    succeededJobs: jobs,
    attempts: jobs,
    sealedAttempts: jobs,
    runsWithGaps: 0,
    logBytes,
    storedLogBytes: logBytes,
  };
  return Object.entries(due).flatMap(([name, value]) => {
    const counted = counts[name as keyof LedgerCounts];
    return counted === value ? [] : [`${name} is ${counted}, not ${value}`];
  });
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
