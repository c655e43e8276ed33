// Two replicas that keep only so many runs: whoever made a run, whoever deletes it, it is gone at both, and nothing of it is left.
import type { Client } from '@conveyor/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createJob, finishedJob, jobOf, storedLog } from './jobs.ts';
import { startSystem, type System } from './system.ts';

const KEPT = 3;
let system: System;
beforeAll(async () => {
  system = await startSystem({ retention: { maxRuns: KEPT } });
});
afterAll(() => system[Symbol.asyncDispose]());

async function runIds(client: Client): Promise<string[]> {
  return (await Array.fromAsync(client.runs.list())).map(({ runId }) => runId);
}

test('runs that are kept no longer leave every list and watch, and then the database', async () => {
  const [a, b] = system.replicas;
  const gate = system.newGate();
  await system.startDriver({ name: 'keeper', slots: 8 });
  const running = await createJob(a!.client, jobOf('keeper', { steps: [{ do: 'wait', file: gate.file }] }));
  const stop = new AbortController();
  const left = new Set<string>();
  const watching = (async () => {
    for await (const update of b!.client.runs.watchAll({}, { signal: stop.signal })) {
      if (update.kind !== 'changes') continue;
      for (const { run, left: isLeft } of update.changes) if (isLeft && run !== undefined) left.add(run.runId);
    }
  })();
  const made: string[] = [];
  for (let i = 0; i < 8; i++) {
    const { client } = system.replicas[i % 2]!;
    const job = await createJob(client, jobOf('keeper', { steps: [{ do: 'say', text: `run ${i}\n` }] }));
    await finishedJob(client, job);
    made.push(job.runId);
  }
  const kept = made.slice(-KEPT);
  await expect.poll(() => runIds(a!.client), { timeout: 30_000 }).toEqual([...kept.toReversed(), running.runId]);
  expect(await runIds(b!.client)).toEqual([...kept.toReversed(), running.runId]);
  await expect.poll(() => [...left].toSorted()).toEqual(made.slice(0, -KEPT).toSorted());
  const rows = `select (select count(*) from jobs)::int as jobs, (select count(distinct run_id) from events)::int as ledgers,
    (select count(*) from deleted_runs where settled_xid is null)::int as unsettled`;
  await expect.poll(() => system.query(rows)).toEqual([{ jobs: KEPT + 1, ledgers: KEPT + 1, unsettled: 0 }]);

  // One that goes on is kept, however old, and goes once it has finished.
  await gate.open();
  await expect.poll(() => runIds(b!.client), { timeout: 30_000 }).toEqual(kept.toReversed());
  stop.abort();
  await watching.catch(() => undefined);
}, 90_000);

test('a run is deleted at one replica, is gone at the other, and verified where it is kept', async () => {
  const [a, b] = system.replicas;
  const job = await createJob(a!.client, jobOf('keeper', { steps: [{ do: 'say', text: 'kept\n' }] }));
  await finishedJob(b!.client, job);
  expect((await storedLog(b!.client, job.jobId)).toString()).toBe('kept\n');
  const { verified, discrepancyCount } = await b!.httpClient.runs.verify(job.runId);
  expect(verified).toMatchObject({ jobs: 1n, attempts: 1n, logs: 1n, logBytes: 5n });
  expect(discrepancyCount).toBe(0n);
  await system.query('update jobs set finished_ms = finished_ms + 1 where run_id = $1', [job.runId]);
  expect(await a!.client.runs.verify(job.runId)).toMatchObject({
    discrepancyCount: 1n,
    discrepancies: [{ where: 'jobs[0].finished_ms' }],
  });
  await b!.client.runs.delete(job.runId);
  for (const { client, httpClient } of system.replicas) {
    for (const each of [client, httpClient]) {
      await expect(each.runs.get(job.runId)).rejects.toMatchObject({ code: 'not_found', reason: 'RUN_NOT_FOUND' });
      await expect(storedLog(each, job.jobId)).rejects.toMatchObject({ code: 'not_found' });
      await expect(each.runs.delete(job.runId)).rejects.toMatchObject({ reason: 'RUN_NOT_FOUND' });
    }
  }
});
