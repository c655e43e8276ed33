// Counts of a real queue: exact while it is short, bounded when it is long, and by whom each flow is kept back.
import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { JobKey, RunId } from '../core/ids.ts';
import { connectionOptions } from './connection-options.ts';
import { countFlows, type CountedFlow, type FlowPlace } from './demand-rows.ts';
import { pauseQueue } from './queue-pauses.ts';
import { claimQueued, enqueue, leaveQueue } from './queue-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/database.ts';

let database: TestDatabase;
let client: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  client = new Client(connectionOptions(database.config, 'demand'));
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await database[Symbol.asyncDispose]();
});
beforeEach(() => client.query('truncate queue, queue_pauses, jobs'));

const flowOf = (n: number): string => `${String(n).padStart(8, '0')}-0000-0000-0000-000000000000`;

interface Fill {
  readonly driver?: string;
  readonly state?: string;
  readonly queuedMs?: number;
  readonly rank?: number;
}

/** Queues jobs of a flow, all alike; their ranks grow. */
async function fill(
  flow: number,
  count: number,
  { driver = 'shell', state = 'QUEUED', queuedMs = 1_000, rank = 0 }: Fill = {},
) {
  await client.query(
    `with made as (select gen_random_uuid() as run_id, i from generate_series(1, $1::int) i),
     queued as (insert into jobs (run_id, job, project, state, attempt, unmet, bad_needs, ready_ms, queued_ms, finished_ms)
       select run_id, 0, 'p', $2, 0, 0, 0, $3::bigint, $3::bigint + i, case when $2 = 'QUEUED' then null else 1 end from made)
     insert into queue (run_id, job, project, driver, pipeline, flow, rank)
     select run_id, 0, 'p', $4, $5, $6, $7::bigint + i from made`,
    [count, state, queuedMs, driver, `pipeline-${flow}`, flowOf(flow), rank],
  );
}

async function all(budget = 100_000, pageSize = 100): Promise<CountedFlow[]> {
  const found: CountedFlow[] = [];
  let next: FlowPlace | undefined = { driver: '', flow: flowOf(0), budget };
  while (next !== undefined) {
    const page = await countFlows(client, next, pageSize);
    found.push(...page.flows);
    next = page.next;
  }
  return found;
}

const shown = (flows: readonly CountedFlow[]) =>
  flows.map(({ driver, pipeline, queued, more }) => `${driver} ${pipeline} ${queued}${more ? '+' : ''}`);

test('flows of all drivers are counted, however they are paged', async () => {
  await fill(2, 3, { driver: 'b' });
  await fill(1, 1, { driver: 'a' });
  await fill(3, 2, { driver: 'a' });
  await fill(1, 4, { driver: 'c' });
  const expected = ['a pipeline-1 1', 'a pipeline-3 2', 'b pipeline-2 3', 'c pipeline-1 4'];
  for (const pageSize of [1, 2, 3, 4, 100]) expect(shown(await all(100_000, pageSize))).toEqual(expected);
});

test('rows of jobs that are not queued any more do not count, and the oldest of the others tells the age', async () => {
  await fill(1, 2, { state: 'CANCELLED', queuedMs: 10 });
  // Of a higher priority: their turn comes first, but they have not waited longest.
  await fill(1, 2, { queuedMs: 9_000, rank: -60_000 });
  await fill(1, 3, { queuedMs: 5_000, rank: 5_000 });
  await fill(2, 1, { state: 'CANCELLED' });
  const [one, other] = await all();
  expect(one).toMatchObject({ queued: 5, more: false, oldestMs: 5_001 });
  expect(other).toMatchObject({ queued: 0, oldestMs: undefined });
});

test('a flow names a job that is queued, whatever comes before it', async () => {
  await fill(1, 2, { state: 'CANCELLED', rank: -10 });
  // Of a run that was deleted.
  await client.query('delete from jobs where run_id = (select run_id from queue order by rank limit 1)');
  await fill(1, 2);
  const [flow] = await all();
  const { rows } = await client.query<{ run_id: string }>(
    `select run_id from queue join jobs using (run_id) where state = 'QUEUED' order by rank`,
  );
  expect(rows).toHaveLength(2);
  expect(flow).toMatchObject({ queued: 2, first: { runId: rows[0]!.run_id, job: 0 } });
});

test('a long queue is counted up to a bound, and less of each once much was counted', async () => {
  await fill(1, 10_500);
  await fill(2, 1_200);
  await fill(3, 99);
  await fill(4, 100);
  expect(shown(await all())).toEqual([
    'shell pipeline-1 10000+',
    'shell pipeline-2 1200',
    'shell pipeline-3 99',
    'shell pipeline-4 100',
  ]);
  const few = ['shell pipeline-1 500+', 'shell pipeline-2 100+', 'shell pipeline-3 99', 'shell pipeline-4 100+'];
  for (const pageSize of [1, 100]) expect(shown(await all(500, pageSize))).toEqual(few);
});

test.each([
  ['the driver', { driver: 'shell', project: '', pipeline: '' }, [true, true]],
  ['the project', { driver: 'shell', project: 'p', pipeline: '' }, [true, true]],
  ['the pipeline', { driver: 'shell', project: 'p', pipeline: 'pipeline-1' }, [true, false]],
  ['another driver', { driver: 'other', project: '', pipeline: '' }, [false, false]],
  ['another project', { driver: 'shell', project: 'q', pipeline: '' }, [false, false]],
])('a pause of %s keeps back what it covers', async (_, name, paused) => {
  await fill(1, 1);
  await fill(2, 1);
  await pauseQueue(client, { ...name, actor: '', reason: '' }, 10);
  expect((await all()).map((flow) => flow.paused)).toEqual(paused);
});

test('jobs leave the queue, but for those that a claim holds, which nobody waits for', async () => {
  const keys = Array.from({ length: 3 }, (): JobKey => ({ runId: randomUUID() as RunId, job: 0 }));
  const place = { project: 'p', driver: 'shell', pipeline: '', flow: flowOf(1), placed: false, priority: 0 };
  await enqueue(
    client,
    keys.map((key, rank) => ({ ...place, key, stickyKey: undefined, rank })),
  );
  const other = new Client(connectionOptions(database.config, 'claims'));
  await other.connect();
  try {
    await other.query('begin');
    await claimQueued(other, 'shell', [
      { flow: flowOf(1), project: 'p', pipeline: '', from: { rank: 0, no: 0 }, quantum: 1 },
    ]);
    await leaveQueue(client, keys.slice(0, 2));
    const { rows } = await client.query<{ run_id: string }>('select run_id from queue order by rank');
    expect(rows.map(({ run_id: runId }) => runId)).toEqual([keys[0]!.runId, keys[2]!.runId]);
  } finally {
    await other.end();
  }
});

test('jobs leave by their keys, also when that was planned while the queue was empty', async () => {
  await client.query('vacuum analyze queue');
  await client.query('begin');
  await leaveQueue(client, [{ runId: randomUUID() as RunId, job: 0 }]);
  const { rows } = await client.query<{ 'QUERY PLAN': string }>("explain execute leave_queue('{}', '{}')");
  await client.query('commit');
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
  expect(plan).toContain('Index Scan using queue_pkey');
  expect(plan).not.toContain('Seq Scan');
});
