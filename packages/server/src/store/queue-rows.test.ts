// Claims of the queue on real connections: no row goes to two who claim at the same time, none is lost, and each flow keeps its order.
import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { formatJobId, type RunId } from '../core/ids.ts';
import { connectionOptions } from './connection-options.ts';
import { listQueues, pauseQueue, resumeQueue } from './queue-pauses.ts';
import { claimQueued, dequeue, enqueue, findFlows, type FlowClaim, type QueueInsert } from './queue-rows.ts';
import { createTestDatabase, type TestDatabase } from './testing/database.ts';

let database: TestDatabase;
let replicas: readonly Client[];

beforeAll(async () => {
  database = await createTestDatabase();
  replicas = [1, 2].map((n) => new Client(connectionOptions(database.config, `replica ${n}`)));
  await Promise.all(replicas.map((client) => client.connect()));
});
afterAll(async () => {
  await Promise.all(replicas.map((client) => client.end()));
  await database[Symbol.asyncDispose]();
});
beforeEach(() => replicas[0]!.query('truncate queue, queue_pauses'));

const flowOf = (n: number): string => `${String(n).padStart(8, '0')}-0000-0000-0000-000000000000`;

function row(flow: number, rest: Partial<QueueInsert> = {}): QueueInsert {
  const key = { runId: randomUUID() as RunId, job: 0 };
  const place = { project: `project-${flow}`, pipeline: `pipeline-${flow}`, flow: flowOf(flow) };
  return { key, driver: 'shell', ...place, placed: false, priority: 0, stickyKey: undefined, rank: 0, ...rest };
}

function claim(flow: number, quantum: number, fromRank = 0): FlowClaim {
  const from = { rank: fromRank, no: 0 };
  return { flow: flowOf(flow), project: `project-${flow}`, pipeline: `pipeline-${flow}`, from, quantum };
}

test('two replicas that claim at the same time share every row between them', async () => {
  const flows = [1, 2, 3];
  const rows = flows.flatMap((flow) => Array.from({ length: 700 }, (_, rank) => row(flow, { rank })));
  await enqueue(replicas[0]!, rows);
  const taken = await Promise.all(
    replicas.map(async (client) => {
      const own: string[] = [];
      for (;;) {
        await client.query('begin');
        const claimed = await claimQueued(
          client,
          'shell',
          flows.map((flow) => claim(flow, 20)),
        );
        await dequeue(client, claimed);
        await client.query('commit');
        own.push(...claimed.map(formatJobId));
        const { rows: left } = await client.query('select from queue limit 1');
        if (left.length === 0) return own;
      }
    }),
  );
  const all = taken.flat();
  expect(new Set(all).size).toBe(all.length);
  expect(all.toSorted()).toEqual(rows.map(({ key }) => formatJobId(key)).toSorted());
  expect(Math.min(...taken.map((own) => own.length))).toBeGreaterThan(0);
});

test('what one holds another passes over, and gets once it was given back', async () => {
  const [one, other] = replicas;
  await enqueue(
    one!,
    [0, 1, 2].map((rank) => row(1, { rank })),
  );
  await one!.query('begin');
  expect((await claimQueued(one!, 'shell', [claim(1, 2)])).map(({ rank }) => rank)).toEqual([0, 1]);
  expect((await claimQueued(other!, 'shell', [claim(1, 2)])).map(({ rank }) => rank)).toEqual([2]);
  await one!.query('rollback');
  expect((await claimQueued(other!, 'shell', [claim(1, 2)])).map(({ rank }) => rank)).toEqual([0, 1]);
});

test('each flow is claimed in the order of its ranks, as far as it was asked for', async () => {
  const [client] = replicas;
  const ranks = [5, 1, 3, 1, 4];
  await enqueue(
    client!,
    [1, 2].flatMap((flow) => ranks.map((rank) => row(flow, { rank }))),
  );
  const claimed = await claimQueued(client!, 'shell', [claim(2, 2, 3), claim(1, 3)]);
  const byFlow = Map.groupBy(claimed, ({ flow }) => flow);
  expect(byFlow.get(flowOf(1))?.map(({ rank }) => rank)).toEqual([1, 1, 3]);
  expect(byFlow.get(flowOf(2))?.map(({ rank }) => rank)).toEqual([3, 4]);
});

test('a row with a sticky key tells how long it has been queued, whatever its priority', async () => {
  const [client] = replicas;
  const rank = Date.now() - 5_000 - 7 * 60_000;
  await enqueue(client!, [row(1, { rank, priority: 7, stickyKey: 'repo' }), row(1, { rank: rank + 1 })]);
  const [sticky, other] = await claimQueued(client!, 'shell', [claim(1, 2)]);
  expect(sticky).toMatchObject({ stickyKey: 'repo', priority: 7 });
  expect(sticky!.waitedMs).toBeGreaterThanOrEqual(4_000);
  expect(sticky!.waitedMs).toBeLessThan(60_000);
  expect(other).not.toHaveProperty('waitedMs');
});

test('flows are found in the gaps between those that are known', async () => {
  const [client] = replicas;
  await enqueue(
    client!,
    [1, 2, 3, 5, 8].flatMap((flow) => [row(flow), row(flow, { placed: flow === 3 })]),
  );
  await enqueue(client!, [row(4, { driver: 'other' })]);
  const found = async (gaps: readonly (readonly [number, number])[], limit = 10) =>
    (
      await findFlows(
        client!,
        'shell',
        gaps.map(([low, high]) => ({ low: flowOf(low), high: flowOf(high) })),
        limit,
      )
    ).map(({ flow }) => Number(flow.slice(0, 8)));
  expect(await found([[0, 99]])).toEqual([1, 2, 3, 5, 8]);
  expect(
    await found([
      [0, 2],
      [2, 5],
      [5, 99],
    ]),
  ).toEqual([1, 3, 8]);
  expect(await found([[0, 99]], 2)).toEqual([1, 2]);
  expect(await found([[3, 5]])).toEqual([]);
});

test('rows of a replica of the version before are a flow of their own', async () => {
  const [client] = replicas;
  await client!.query(
    `insert into queue (run_id, job, project, driver) values (gen_random_uuid(), 0, 'p', 'shell'), (gen_random_uuid(), 0, 'q', 'shell')`,
  );
  const [old, ...others] = await findFlows(client!, 'shell', [{ low: flowOf(0), high: flowOf(1) }], 10);
  expect(others).toEqual([]);
  expect(old).toMatchObject({ flow: '00000000-0000-0000-0000-000000000001', placed: false, pipeline: '' });
  const claimed = () =>
    claimQueued(client!, 'shell', [
      { flow: old!.flow, project: '', pipeline: '', from: { rank: 0, no: 0 }, quantum: 9 },
    ]);
  expect((await claimed()).map(({ rank }) => Math.abs(rank - Date.now()) < 60_000)).toEqual([true, true]);
  await pauseQueue(client!, { driver: 'shell', project: 'p', pipeline: '', actor: 'ana', reason: 'test' }, 10);
  const open = (await claimed()).map(({ runId }) => runId);
  const { rows } = await client!.query('select project from queue where run_id = any($1)', [open]);
  expect(rows).toEqual([{ project: 'q' }]);
});

test('a pause covers what it names: all, a project, or a pipeline', async () => {
  const [client] = replicas;
  await enqueue(client!, [row(1), row(2), row(3), row(3, { driver: 'other' })]);
  const claimed = async (): Promise<string[]> => {
    const rows = await claimQueued(client!, 'shell', [claim(1, 5), claim(2, 5), claim(3, 5)]);
    return rows.map(({ flow }) => flow.slice(7, 8)).toSorted();
  };
  const pause = (project: string, pipeline: string, max = 10) =>
    pauseQueue(client!, { driver: 'shell', project, pipeline, actor: 'ana', reason: 'test' }, max);
  await pause('project-1', '');
  expect(await claimed()).toEqual(['2', '3']);
  await pause('project-2', 'pipeline-9');
  expect(await claimed()).toEqual(['2', '3']);
  await pause('project-2', 'pipeline-2');
  expect(await claimed()).toEqual(['3']);
  expect(await pause('', '', 3)).toBeUndefined();
  await pause('', '');
  expect(await claimed()).toEqual([]);
  const named = { driver: 'shell', project: 'project-1', pipeline: '' };
  expect(await resumeQueue(client!, { ...named, project: '' })).toBe(true);
  expect(await resumeQueue(client!, { ...named, project: '' })).toBe(false);
  expect(await claimed()).toEqual(['3']);
  const queues = await listQueues(client!, '', 10, 2);
  expect(queues).toMatchObject([
    { driver: 'other', queued: 1, pauses: [] },
    { driver: 'shell', queued: 2 },
  ]);
  expect(queues[1]!.pauses.map(({ pipeline }) => pipeline)).toEqual(['', 'pipeline-2', 'pipeline-9']);
  expect(await listQueues(client!, 'other', 10, 2)).toHaveLength(1);
});
