// Prepared statements run by generic plans, also on a database that is new and was never analysed: then PostgreSQL guesses, and a
// statement that lets it choose may read a whole table for each job. Every statement has to reach its rows by a key.
import { readdir } from 'node:fs/promises';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { connectionOptions } from './connection-options.ts';
import { ensureLogPartitions } from './log-partitions.ts';
import type * as sql from './sql.ts';
import { createTestDatabase, type TestDatabase } from './testing/database.ts';

/** Statements that read a table whole, and why they may. */
const exempt: Readonly<Record<string, string>> = {
  expired_leases:
    'once a second; a lease is one narrow row a session, and an index on its end would be written by each heartbeat',
  all_connected_instances:
    'at most a tenth of the time, while somebody watches demand; a lease is one narrow row a session',
  touch_replica: 'once a second; a replica is one row',
  oldest_replica: 'once a second; a replica is one row',
  drain_matching: 'when somebody drains drivers by a pattern',
  forget_replicas: 'once a stop; a replica is one row',
  forget_commit_marks: 'every minute; a lane is one narrow row',
  claim_deleted_runs: 'a partial index of the deleted runs that still have rows; empty at rest',
  forget_schedule_requests: 'every minute, bounded',
  pause_queue: 'when somebody pauses a queue; a pause is one row, and there are 1,000 at most',
};

const statements = vi.hoisted((): sql.Statement[] => []);

// Nothing is replaced: what the modules of the store define is also noted here.
vi.mock('./sql.ts', async (importOriginal) => {
  const original = await importOriginal<typeof sql>();
  const statement: typeof original.statement = (name, text) => {
    const defined = original.statement(name, text);
    statements.push(defined);
    return defined;
  };
  return { ...original, statement };
});

let database: TestDatabase;
let client: Client;

beforeAll(async () => {
  const files = await readdir(import.meta.dirname);
  const modules = files.filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
  await Promise.all(modules.map((file) => import(/* @vite-ignore */ `./${file}`)));
  database = await createTestDatabase();
  client = new Client(connectionOptions(database.config, 'plans'));
  await client.connect();
  await ensureLogPartitions(client);
  await client.query('set plan_cache_mode = force_generic_plan');
});
afterAll(async () => {
  await client.end();
  await database[Symbol.asyncDispose]();
});

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Index Cond'?: string;
  readonly Plans?: readonly PlanNode[];
}

async function planOf({ name, text }: sql.Statement): Promise<PlanNode> {
  await client.query(`prepare ${name} as ${text}`);
  const { rows: prepared } = await client.query<{ parameters: number }>(
    'select cardinality(parameter_types) as parameters from pg_prepared_statements where name = $1',
    [name],
  );
  const nulls = Array.from({ length: prepared[0]!.parameters }, () => 'null').join(', ');
  const call = nulls === '' ? name : `${name}(${nulls})`;
  const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(`explain (format json) execute ${call}`);
  return rows[0]!['QUERY PLAN'][0].Plan;
}

/** Tables that always have one row. */
const single = new Set(['cluster']);

/** Indexes of lists: what they lead to is as much as a project has. */
const listIndex = /^runs_by_/;

/** The parts of a plan that read more rows the more there are. */
function wholeReads(node: PlanNode, isLimited = false): string[] {
  const { 'Node Type': type, 'Relation Name': table, 'Index Name': index, 'Index Cond': key, Plans: inner = [] } = node;
  const readsIndex = type === 'Index Scan' || type === 'Index Only Scan' || type === 'Bitmap Index Scan';
  const hasKey = key !== undefined && !listIndex.test(index ?? '');
  const isWhole = (type === 'Seq Scan' && !single.has(table ?? '')) || (readsIndex && !hasKey && !isLimited);
  const below = inner.flatMap((child) => wholeReads(child, type === 'Limit'));
  return isWhole ? [`${type} of ${index ?? table}`, ...below] : below;
}

test('every statement reaches its rows by a key, on a database that was never analysed', async () => {
  const { rows } = await client.query(
    "select relname from pg_class where relname in ('runs', 'jobs') and reltuples >= 0",
  );
  expect(rows).toEqual([]);
  const found: Record<string, string[]> = {};
  for (const statement of statements) {
    const reads = wholeReads(await planOf(statement));
    if (reads.length > 0 && exempt[statement.name] === undefined) found[statement.name] = reads;
  }
  expect(found).toEqual({});
  expect(statements.length).toBeGreaterThan(40);
});

test('no statement is planned to read a table whole that was empty when that was planned', async () => {
  await client.query('vacuum analyze');
  await client.query('deallocate all');
  const found: string[] = [];
  for (const statement of statements) {
    const isWhole = wholeReads(await planOf(statement)).some((read) => read.startsWith('Seq Scan'));
    if (isWhole && exempt[statement.name] === undefined) found.push(statement.name);
  }
  expect(found).toEqual([]);
});

test('calls that only wait are not read', async () => {
  await client.query('begin');
  await client.query(
    `insert into calls (run_id, job, project, child_run, stirs, seen)
     select gen_random_uuid(), 0, 'default', gen_random_uuid(), 1, 1 from generate_series(1, 20000)`,
  );
  const first = `'00000000-0000-0000-0000-000000000000'`;
  const asked = {
    projects_to_start: `'', 10`,
    projects_to_stop: `'', 10`,
    projects_to_settle: `'', 10`,
    calls_to_start: `'default', ${first}, 10, 10`,
    calls_to_stop: `'default', ${first}, 10, 10`,
    calls_to_settle: `'default', ${first}, 10, 10`,
  };
  for (const [name, values] of Object.entries(asked)) {
    const text = statements.find((statement) => statement.name === name)!.text;
    await client.query(`prepare ${name}_once as ${text}`);
    const { rows } = await client.query(`explain (analyze, buffers, format json) execute ${name}_once(${values})`);
    const plan = rows[0]['QUERY PLAN'][0].Plan;
    expect(plan['Shared Hit Blocks'] + plan['Shared Read Blocks'], name).toBeLessThan(50);
  }
  await client.query('rollback');
});

test('every exemption is that of a statement', () => {
  const names = new Set(statements.map(({ name }) => name));
  expect(Object.keys(exempt).filter((name) => !names.has(name))).toEqual([]);
});

test('a statement that leaves the choice to the planner is found out', async () => {
  const careless = [
    { name: 'by_column', text: 'select * from attempts where log_size = $1' },
    { name: 'by_project', text: 'select j.job from jobs j join runs r on r.run_id = j.run_id where r.project = $1' },
    { name: 'by_index', text: 'select run_id from runs order by run_id' },
  ];
  for (const statement of careless) expect(wholeReads(await planOf(statement)), statement.name).not.toEqual([]);
});
