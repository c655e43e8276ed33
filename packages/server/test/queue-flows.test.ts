// Claims over many flows of a real queue: every row is reached, however many flows there are, and turns are shared from the first claim on.
import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { FairOrder } from '../src/core/fair-order.ts';
import type { RunId } from '../src/core/ids.ts';
import { jobNamed } from '../src/core/testing/definitions.ts';
import { connectionOptions } from '../src/store/connection-options.ts';
import { dequeue, enqueue, type QueueInsert, type QueueRow } from '../src/store/queue-rows.ts';
import { createTestDatabase, type TestDatabase } from '../src/store/testing/database.ts';
import { createPlans } from '../src/engine/plans.ts';
import { type Flow, linesOf } from '../src/engine/queue-flows.ts';
import { queueEntry } from '../src/engine/queue-entry.ts';
import { claimFlows, createQueues, type Queue } from '../src/engine/queues.ts';

let database: TestDatabase;
let client: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  client = new Client(connectionOptions(database.config, 'queues'));
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await database[Symbol.asyncDispose]();
});
beforeEach(() => client.query('truncate queue'));

const job = jobNamed('job');

function rows(project: string, pipeline: string, count: number, queuedMs: number, rest = {}): QueueInsert[] {
  return Array.from({ length: count }, (_, i) =>
    queueEntry({ runId: randomUUID() as RunId, project, pipeline }, 0, { ...job, ...rest }, queuedMs + i),
  );
}

const plans = createPlans();

/** One round of a dispatcher that has room for `limit` jobs of any flow. Returns whose turns they were. */
async function round(queue: Queue, limit: number): Promise<{ readonly flow: Flow; readonly row: QueueRow }[]> {
  await client.query('begin');
  const claimed = await claimFlows(client, 'shell', queue, { limit, room: () => limit, passed: [] }, plans);
  const taken = serve(queue.order, claimed, limit);
  await dequeue(
    client,
    taken.map(({ row }) => row),
  );
  await client.query('commit');
  return taken;
}

function serve(order: FairOrder, claimed: Awaited<ReturnType<typeof claimFlows>>, limit: number) {
  const taken: { readonly flow: Flow; readonly row: QueueRow }[] = [];
  const lines = linesOf(claimed.map(({ flow, rows: own }) => ({ ...names(flow), flow, own }))).map((flows) => {
    const all = flows.flatMap(({ flow, own }) => own.map((row) => ({ flow, row })));
    return { line: { ...names(flows[0]!.flow), all: all.values() }, count: all.length };
  });
  order.serve(lines, limit, ({ all }) => {
    const next = all.next();
    if (next.done !== true) taken.push(next.value);
    return next.done !== true;
  });
  return taken;
}

function names({ project, pipeline }: Flow) {
  return { project, pipeline };
}

const newQueue = (): Queue => createQueues(() => 1).of('shell');

test('every row of a thousand flows is reached, though not all flows are known at a time', async () => {
  const all = Array.from({ length: 1_000 }, (_, i) => rows(`p${i % 7}`, `pipeline-${i}`, 2, i));
  await enqueue(client, all.flat());
  const queue = newQueue();
  const taken = new Set<RunId>();
  let idle = 0;
  for (let n = 0; taken.size < 2_000 && idle < 1_000; n++) {
    const turns = await round(queue, 20);
    for (const { row } of turns) taken.add(row.runId);
    idle = turns.length === 0 ? idle + 1 : 0;
  }
  expect(taken.size).toBe(2_000);
});

test('a flow that comes to a backlog gets its share from the first claim on, whatever it had before', async () => {
  const queue = newQueue();
  await enqueue(client, [...rows('p', 'long', 3_000, 0), ...rows('p', 'short', 1, 0)]);
  for (let n = 0; n < 3; n++) await round(queue, 100);
  for (const burst of [500, 700]) {
    await enqueue(client, rows('p', 'short', burst, 0));
    let [long, short] = [0, 0];
    for (let n = 0; n < 3; n++) {
      for (const { flow } of await round(queue, 100)) {
        if (flow.pipeline === 'long') long++;
        else short++;
      }
      expect(Math.abs(long - short)).toBeLessThanOrEqual(2);
    }
    expect(long + short).toBe(300);
  }
});

test('a backlog beside one that trickles is claimed at full speed', async () => {
  const queue = newQueue();
  await enqueue(client, rows('p', 'long', 1_000, 0));
  await round(queue, 100);
  for (let n = 0; n < 5; n++) {
    await enqueue(client, rows('p', 'trickle', 1, 0));
    expect(await round(queue, 100)).toHaveLength(100);
  }
});

test('a job of a higher priority passes those that are queued, also where claims have gone on', async () => {
  const queue = newQueue();
  const nowMs = Date.now();
  await enqueue(client, rows('p', 'x', 500, nowMs));
  await round(queue, 100);
  await enqueue(client, rows('p', 'x', 1, nowMs, { priority: 3 }));
  let high: number | undefined;
  await expect
    .poll(async () => (await round(queue, 1)).map(({ row }) => (high ??= row.priority || undefined)), {
      timeout: 3_000,
    })
    .toEqual([3]);
  await enqueue(client, rows('p', 'x', 1, nowMs, { priority: 5 }));
  expect((await round(queue, 1)).map(({ row }) => row.priority)).toEqual([5]);
});

test('a flow whose placement cannot be told is left alone', async () => {
  const queue = newQueue();
  // Of runs that are gone.
  await enqueue(client, [...rows('p', 'x', 5, 0, { pool: 'gpu' }), ...rows('p', 'x', 5, 0)]);
  const taken = [...(await round(queue, 50)), ...(await round(queue, 50))];
  expect(taken).toHaveLength(5);
  expect(taken.every(({ flow }) => flow.placement === undefined)).toBe(true);
  expect(queue.flows.gaps()).toHaveLength(2);
});
