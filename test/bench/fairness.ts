// `bench fairness`: how evenly turns are shared while several pipelines have jobs waiting, one of them ten times as many. The order in
// which jobs were offered is read from the ledger afterwards.
import { createNodeClient } from '@conveyor/client/node';
import type { Client } from 'pg';
import { startChild } from './child.ts';
import { openLedger, openRuns } from './ledger-recount.ts';
import { type DriverSettings, driverName } from './lifecycle-driver.ts';
import type { Figure } from './report.ts';
import { startServerProcess } from './server-process.ts';
import { temporaryDirectory } from './temporary-directory.ts';
import { setTimeout as delay } from 'node:timers/promises';

interface Flow {
  readonly pipeline: string;
  readonly weight: number;
  readonly jobs: number;
}

const batch = 250;
const pollMs = 100;

/** Measures once: two pipelines of equal weight with jobs 10:1, and then three of weights 1, 2 and 4 with equally many. */
export async function measureFairness({ jobs }: { readonly jobs: number }) {
  const equal = await measureShares([
    { pipeline: 'many', weight: 1, jobs },
    { pipeline: 'few', weight: 1, jobs: Math.ceil(jobs / 10) },
  ]);
  const weighted = await measureShares(
    [1, 2, 4].map((weight) => ({ pipeline: `weight-${weight}`, weight, jobs: Math.ceil(jobs / 3) })),
  );
  return { equal, weighted };
}

export const fairnessFigures: Figure<Awaited<ReturnType<typeof measureFairness>>>[] = [
  { name: 'two, 10:1: lag at worst', unit: 'jobs', of: ({ equal }) => equal.lag },
  { name: 'two, 10:1: share of the few', unit: '', of: ({ equal }) => equal.shares[1] ?? 0 },
  { name: 'two, 10:1: offered', unit: 'jobs/s', of: ({ equal }) => equal.jobsPerSecond },
  { name: 'three, 1:2:4: lag at worst', unit: 'jobs', of: ({ weighted }) => weighted.lag },
  { name: 'three, 1:2:4: share of 4', unit: '', of: ({ weighted }) => weighted.shares[2] ?? 0 },
];

async function measureShares(flows: readonly Flow[]) {
  await using directory = await temporaryDirectory();
  const argv = flows.flatMap(({ pipeline, weight }) => ['--queue-share', `default/${pipeline}=${weight}`]);
  await using server = await startServerProcess(directory.path, { argv });
  await using stack = new AsyncDisposableStack();
  const ledger = stack.adopt(await openLedger(directory.path), (client) => client.end());
  const { grpcAddress: address, operatorToken, driverToken } = server;
  const client = createNodeClient({ address, token: operatorToken });
  for (const { pipeline: name, jobs } of flows) {
    await client.pipelines.apply({ name, definition: { jobs: [{ name: 'job', driver: driverName }] } });
    for (let left = jobs; left > 0; left -= batch) {
      await client.runs.createBatch(Array.from({ length: Math.min(batch, left) }, () => ({ pipeline: name })));
    }
  }
  const settings: DriverSettings = { address, token: driverToken, sessions: 10, slots: 10 };
  stack.use(await startChild('./lifecycle-driver.ts', settings));
  while ((await openRuns(ledger)) > 0) await delay(pollMs);
  return await sharesOf(ledger, flows);
}

/**
 * From the first offer until one of the flows has nothing left: how far any two were from their shares at worst, over any window of
 * transactions, in jobs of weight 1, and what each got of all.
 */
async function sharesOf(ledger: Client, flows: readonly Flow[]) {
  // Offers of one transaction have the same time, and no order among them: what counts is how they stand after it.
  const { rows } = await ledger.query<{ ms: number; jobs: Record<string, number> }>(
    `select ms::float8 as ms, json_object_agg(pipeline, jobs) as jobs from (
       select a.offered_ms as ms, r.pipeline, count(*) as jobs from attempts a join runs r using (run_id) group by 1, 2) o
     group by ms order by ms`,
  );
  const left = new Map(flows.map(({ pipeline, jobs }) => [pipeline, jobs]));
  const got = new Map(flows.map(({ pipeline }) => [pipeline, 0]));
  const widest = new Map<string, { least: number; most: number }>();
  let lag = 0;
  let turns = 0;
  let lastMs = 0;
  for (const { ms, jobs } of rows) {
    for (const [pipeline, count] of Object.entries(jobs)) left.set(pipeline, (left.get(pipeline) ?? 0) - count);
    // In the transaction in which one runs out the others get what it left.
    if ([...left.values()].some((count) => count <= 0)) break;
    for (const [pipeline, count] of Object.entries(jobs)) {
      got.set(pipeline, (got.get(pipeline) ?? 0) + count);
      turns += count;
    }
    lastMs = ms;
    for (const one of flows) {
      for (const other of flows) {
        if (one.pipeline >= other.pipeline) continue;
        const ahead = (got.get(one.pipeline) ?? 0) / one.weight - (got.get(other.pipeline) ?? 0) / other.weight;
        const key = `${one.pipeline} ${other.pipeline}`;
        const range = widest.get(key) ?? { least: 0, most: 0 };
        widest.set(key, { least: Math.min(range.least, ahead), most: Math.max(range.most, ahead) });
      }
    }
  }
  for (const { least, most } of widest.values()) lag = Math.max(lag, most - least);
  const first = rows[0]?.ms ?? 0;
  return {
    lag,
    shares: flows.map(({ pipeline }) => (got.get(pipeline) ?? 0) / turns),
    jobsPerSecond: (turns / (lastMs - first)) * 1_000,
  };
}
