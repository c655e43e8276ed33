// Owns what the database itself says of a measurement: how many of what it holds, when, and how durably. It reads the tables
// and asks no part of the server.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';

/** What the tables hold, of all jobs that were ever created. */
export interface LedgerCounts {
  readonly runs: number;
  readonly succeededRuns: number;
  readonly succeededJobs: number;
  readonly attempts: number;
  readonly sealedAttempts: number;
  readonly events: number;
  /** Runs whose events are not numbered from 1 to the run's own `seq`. */
  readonly runsWithGaps: number;
  /** What the attempts say of their logs, and what is stored of them. */
  readonly logBytes: number;
  readonly storedLogBytes: number;
}

/** Milliseconds by the database's clock. */
export interface LedgerTimes {
  readonly lastFinishMs: number;
  readonly createdToStarted: { readonly p50Ms: number; readonly p99Ms: number };
  readonly offeredToStarted: { readonly p50Ms: number; readonly p99Ms: number };
}

/** Settings that decide whether a commit is durable, by name. */
export type DurabilitySettings = Readonly<Record<string, string>>;

/** Connects to the embedded database of a running server. */
export async function openLedger(dataDir: string): Promise<Client> {
  const home = join(dataDir, 'postgres');
  const { password } = JSON.parse(await readFile(join(home, 'credentials.json'), 'utf8')) as { password: string };
  const host = join(home, 'cluster');
  const client = new Client({ host, port: 5432, user: 'conveyor', database: 'postgres', password });
  await client.connect();
  await client.query('set search_path = conveyor');
  return client;
}

/** The id of the embedded database's first process, whose children are all the others. */
export async function postmasterPid(dataDir: string): Promise<number> {
  const [pid] = (await readFile(join(dataDir, 'postgres', 'cluster', 'postmaster.pid'), 'utf8')).split('\n');
  return Number(pid);
}

export async function recount(ledger: Client): Promise<LedgerCounts> {
  return await oneRow<LedgerCounts>(
    ledger,
    `select
       (select count(*) from runs)::float8 as "runs",
       (select count(*) from runs where state = 'SUCCEEDED')::float8 as "succeededRuns",
       (select count(*) from jobs where state = 'SUCCEEDED' and attempt = 1)::float8 as "succeededJobs",
       (select count(*) from attempts)::float8 as "attempts",
       (select count(*) from attempts where log_state = 'SEALED')::float8 as "sealedAttempts",
       (select count(*) from events)::float8 as "events",
       (select count(*) from runs left join lateral
          (select count(*) as events, min(seq) as first, max(seq) as last from events where events.run_id = runs.run_id)
          on true where (events, first, last) is distinct from (runs.seq, 1, runs.seq))::float8 as "runsWithGaps",
       (select sum(log_size) from attempts)::float8 as "logBytes",
       (select sum(octet_length(data)) from log_chunks)::float8 as "storedLogBytes"`,
  );
}

/** How many runs have not finished. */
export async function openRuns(ledger: Client): Promise<number> {
  const { open } = await oneRow<{ open: number }>(
    ledger,
    'select count(*)::float8 as open from runs where finished_ms is null',
  );
  return open;
}

/** Times of the runs that were created at `sinceMs` or later. */
export async function ledgerTimes(ledger: Client, sinceMs: number): Promise<LedgerTimes> {
  const row = await oneRow<Record<'last' | 'created50' | 'created99' | 'offered50' | 'offered99', number>>(
    ledger,
    `select max(r.finished_ms)::float8 as last,
       percentile_disc(0.5) within group (order by a.started_ms - r.created_ms)::float8 as created50,
       percentile_disc(0.99) within group (order by a.started_ms - r.created_ms)::float8 as created99,
       percentile_disc(0.5) within group (order by a.started_ms - a.offered_ms)::float8 as offered50,
       percentile_disc(0.99) within group (order by a.started_ms - a.offered_ms)::float8 as offered99
     from runs r join attempts a using (run_id) where r.created_ms >= $1`,
    [sinceMs],
  );
  return {
    lastFinishMs: row.last,
    createdToStarted: { p50Ms: row.created50, p99Ms: row.created99 },
    offeredToStarted: { p50Ms: row.offered50, p99Ms: row.offered99 },
  };
}

export async function durabilitySettings(ledger: Client): Promise<DurabilitySettings> {
  const { rows } = await ledger.query<{ name: string; setting: string }>(
    `select name, setting from pg_settings
     where name in ('server_version', 'fsync', 'full_page_writes', 'synchronous_commit') order by name`,
  );
  return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
}

/** How many rows a second one connection inserts when it commits each by itself: what the disk and the database allow at least. */
export async function singleCommitsPerSecond(ledger: Client): Promise<number> {
  const forMs = 1_000;
  await ledger.query('create table public.bench_commits (n int)');
  try {
    const began = performance.now();
    let commits = 0;
    while (performance.now() - began < forMs) {
      await ledger.query({
        name: 'bench-commit',
        text: 'insert into public.bench_commits values ($1)',
        values: [commits++],
      });
    }
    return (commits / (performance.now() - began)) * 1000;
  } finally {
    await ledger.query('drop table public.bench_commits');
  }
}

async function oneRow<Row extends object>(ledger: Client, text: string, values: unknown[] = []): Promise<Row> {
  const { rows } = await ledger.query<Row>(text, values);
  if (rows[0] === undefined) throw new Error(`no row of: ${text}`);
  return rows[0];
}
