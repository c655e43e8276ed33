// `bench backlog`: how fast jobs are claimed, and offered, run and finished, with so many queued. The backlog is made of copies of one run in
// the tables, and filled up as it is taken, so that it has its length all the time.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@conveyor/client';
import { createNodeClient } from '@conveyor/client/node';
import type { Client as Ledger } from 'pg';
import type { RunId } from '../../packages/server/src/core/ids.ts';
import { countFlows } from '../../packages/server/src/store/demand-rows.ts';
import { claimQueued, dequeue, enqueue, type QueueInsert } from '../../packages/server/src/store/queue-rows.ts';
import { type Child, startChild } from './child.ts';
import { openLedger } from './ledger-recount.ts';
import { type DriverSettings, type DriverTotals, driverName } from './lifecycle-driver.ts';
import type { Figure } from './report.ts';
import { startServerProcess } from './server-process.ts';
import { median, percentile } from './statistics.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const pipeline = 'backlog';
const claimAtOnce = 500;
const claimRounds = 100;
const fewRows = 1_000;
const offersForMs = 6_000;
const demandRounds = 30;
/** Longer than the server rests between two readings of this size. */
const demandGapMs = 400;
/** As the server counts. */
const countBudget = 100_000;
const fillMs = 25;

export interface BacklogOptions {
  readonly jobs: number;
}

/** Measures once, on a server and a database of its own. */
export async function measureBacklog({ jobs }: BacklogOptions) {
  await using directory = await temporaryDirectory();
  await using server = await startServerProcess(directory.path);
  await using stack = new AsyncDisposableStack();
  const ledger = stack.adopt(await openLedger(directory.path), (client) => client.end());
  const { grpcAddress: address, operatorToken, driverToken } = server;
  const client = createNodeClient({ address, token: operatorToken });
  await client.pipelines.apply({ name: pipeline, definition: { jobs: [{ name: 'job', driver: driverName }] } });
  await client.runs.create({ pipeline });
  await keepModel(ledger);
  await copyRuns(ledger, jobs - 1);
  // What copying leaves to be done is not to be measured.
  await ledger.query('vacuum (analyze) runs, jobs, queue, events');
  await ledger.query('checkpoint');

  const few = stack.adopt(await openLedger(directory.path), (other) => other.end());
  await few.query('set plan_cache_mode = force_generic_plan');
  await ledger.query('set plan_cache_mode = force_generic_plan');
  const claims = await measureClaims(ledger, few);
  const demand = await measureDemand(client, ledger);
  const settings: DriverSettings = { address, token: driverToken, sessions: 25, slots: 20 };
  const filled = new AbortController();
  const drivers: Child<object, DriverTotals>[] = [];
  for (let n = 1; n <= 2; n++) drivers.push(stack.use(await startChild('./lifecycle-driver.ts', settings)));
  const jobsRun = async (): Promise<number> => {
    const totals = await Promise.all(drivers.map((driver) => driver.ask({})));
    return totals.reduce((sum, total) => sum + total.jobs, 0);
  };
  const filler = keepFilled(ledger, jobs, jobsRun, filled.signal);
  await delay(offersForMs / 3);
  const before = { jobs: await jobsRun(), ms: performance.now() };
  await delay(offersForMs);
  const after = { jobs: await jobsRun(), ms: performance.now() };
  filled.abort();
  const lowest = await filler;
  return {
    ...claims,
    ...demand,
    runPerSecond: ((after.jobs - before.jobs) / (after.ms - before.ms)) * 1_000,
    lowestBacklog: lowest,
  };
}

export const backlogFigures: Figure<Awaited<ReturnType<typeof measureBacklog>>>[] = [
  { name: `claims, ${claimAtOnce} at a time`, unit: 'jobs/s', of: ({ claimsPerSecond }) => claimsPerSecond },
  { name: 'of those with 1,000 queued', unit: '', of: ({ claimsToFew }) => claimsToFew },
  { name: 'one count of the queue', unit: 'ms', of: ({ countMs }) => countMs },
  { name: 'run created to demand told, p50', unit: 'ms', of: ({ toldMs }) => percentile(toldMs, 50) },
  { name: 'run created to demand told, p90', unit: 'ms', of: ({ toldMs }) => percentile(toldMs, 90) },
  { name: 'offered, run and finished', unit: 'jobs/s', of: ({ runPerSecond }) => runPerSecond },
  { name: 'backlog, lowest', unit: 'jobs', of: ({ lowestBacklog }) => lowestBacklog },
];

/** The one run that was created, apart from what happens to it. */
async function keepModel(ledger: Ledger): Promise<void> {
  for (const table of ['runs', 'jobs', 'queue', 'events']) {
    await ledger.query(`create table model_${table} as select * from ${table}`);
  }
}

/** The ranks of the copies grow as if they had been queued one after the other. */
async function copyRuns(ledger: Ledger, count: number): Promise<void> {
  if (count <= 0) return;
  await ledger.query('begin');
  await ledger.query(
    'create temporary table copies on commit drop as select gen_random_uuid() as run_id, i from generate_series(1, $1::int) i',
    [count],
  );
  for (const table of ['runs', 'jobs', 'events', 'queue']) await copyRows(ledger, table);
  await ledger.query('commit');
}

/** Copies the rows of a table for each of the new runs. Rank, and whatever the database numbers, is its own. */
async function copyRows(ledger: Ledger, table: string): Promise<void> {
  const { rows } = await ledger.query<{ name: string }>(
    `select attname as name from pg_attribute
     where attrelid = $1::regclass and attnum > 0 and not attisdropped and attidentity = '' and attname <> 'rank'`,
    [table],
  );
  const names = rows.map(({ name }) => name);
  const values = names.map((name) => (name === 'run_id' ? 'c.run_id' : `m.${name}`));
  await ledger.query(
    `insert into ${table} (${names.join(', ')}) select ${values.join(', ')} from model_${table} m, copies c`,
  );
}

/**
 * Claims and takes out what was claimed, on one connection, as a dispatcher does, in turns with the same in a table of 1,000 rows: whatever
 * else the machine does at the time then harms both. What was taken is queued again outside of the time.
 */
async function measureClaims(ledger: Ledger, few: Ledger) {
  const { rows } = await ledger.query<Omit<QueueInsert, 'key' | 'stickyKey'>>(
    'select project, driver, pipeline, flow, placed, priority, rank from model_queue',
  );
  const [model] = rows;
  if (model === undefined) throw new Error('nothing is queued');
  await few.query('create schema few');
  await few.query('create table few.queue (like queue including all)');
  await few.query('set search_path = few, conveyor');
  const fill = (client: Ledger, runIds: readonly RunId[]): Promise<void> => {
    const rank = Date.now();
    return enqueue(
      client,
      runIds.map((runId) => ({ ...model, key: { runId, job: 0 }, stickyKey: undefined, rank })),
    );
  };
  await fill(
    few,
    Array.from({ length: fewRows }, () => randomUUID() as RunId),
  );
  const { flow, project, driver } = model;
  const from = { rank: Number.MIN_SAFE_INTEGER, no: 0 };
  const claims = [{ flow, project, pipeline: model.pipeline, from, quantum: claimAtOnce }];
  const claim = async (client: Ledger): Promise<number> => {
    const beganMs = performance.now();
    await client.query('begin');
    const claimed = await claimQueued(client, driver, claims);
    await dequeue(client, claimed);
    await client.query('commit');
    const rate = (claimed.length / (performance.now() - beganMs)) * 1_000;
    await fill(
      client,
      claimed.map(({ runId }) => runId),
    );
    return rate;
  };
  const rates: { readonly all: number; readonly few: number }[] = [];
  for (let round = 0; round < claimRounds; round++) rates.push({ all: await claim(ledger), few: await claim(few) });
  const all = median(rates.map((rate) => rate.all));
  return { claimsPerSecond: all, claimsToFew: all / median(rates.map((rate) => rate.few)) };
}

/** How long it takes to count what is queued, and until a watcher of demand is told of a job of a driver that nobody has heard of. */
async function measureDemand(client: Client, ledger: Ledger) {
  const counts: number[] = [];
  for (let round = 0; round < demandRounds; round++) {
    const beganMs = performance.now();
    await countFlows(ledger, { driver: '', flow: '00000000-0000-0000-0000-000000000000', budget: countBudget }, 500);
    counts.push(performance.now() - beganMs);
  }
  const stop = new AbortController();
  const updates = client.drivers.watchDemand({}, { signal: stop.signal })[Symbol.asyncIterator]();
  await updates.next();
  const toldMs: number[] = [];
  for (let round = 0; round < demandRounds; round++) {
    await delay(demandGapMs * (0.5 + Math.random()));
    const driver = `nobody-${round}`;
    await client.runs.create({ definition: { jobs: [{ name: 'job', driver }] } });
    const answeredMs = performance.now();
    for (let told = false; !told; ) {
      const update = await updates.next();
      if (update.done === true) throw new Error('a watch of demand has no end');
      told = update.value.demands.some((demand) => demand.driver === driver);
    }
    toldMs.push(performance.now() - answeredMs);
  }
  stop.abort();
  return { countMs: median(counts), toldMs };
}

/** Fills the backlog up until the abort. Returns how short it was at worst. */
async function keepFilled(
  ledger: Ledger,
  jobs: number,
  jobsRun: () => Promise<number>,
  signal: AbortSignal,
): Promise<number> {
  let lowest = jobs;
  for (let run = 0; !signal.aborted; await delay(fillMs)) {
    const now = await jobsRun();
    lowest = Math.min(lowest, jobs - (now - run));
    await copyRuns(ledger, now - run);
    run = now;
  }
  return lowest;
}
