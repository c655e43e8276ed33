// Jobs of many runs share the places of concurrency groups, and the tokens of rate limits, through real drivers on two replicas, of which one is killed in between: no
// group is over its limit at any instant of its ledgers, no place is lost, and every job has its turn.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ConcurrencyGroupMemberState, FailureClass, type Job, JobState, WaitReason } from '@conveyor/client';
import { ConcurrencyPolicy } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { createJob, finishedJob, jobOf } from './jobs.ts';
import { shortTiming, startSystem, type System } from './system.ts';
import type { Step } from './workload.ts';

vi.setConfig({ testTimeout: 60_000 });

let system: System;
beforeEach(async () => {
  system = await startSystem({ timing: shortTiming });
});
afterEach(() => system[Symbol.asyncDispose]());

const short: Step[] = [{ do: 'write', seed: 'short', bytes: 10_000, pieceBytes: 1_000, pauseMs: 10 }];
const long: Step[] = [{ do: 'write', seed: 'long', bytes: 600_000, pieceBytes: 1_000, pauseMs: 20 }];

async function create(
  at: number,
  key: string,
  steps: Step[],
  policy = ConcurrencyPolicy.QUEUE,
  limit = 1,
): Promise<Job> {
  const { client } = system.replicas[at]!;
  return await createJob(client, jobOf('deployer', { steps }, { concurrency: { key, limit, policy } }));
}

/** The most jobs that were under way at the same time, as all ledgers say. */
async function mostAtATime(key: string): Promise<number> {
  const moves = await system.query<{ at_once: number }>(
    `with states as (
       select e.run_id, e.time_ms, e.seq, e.job_state in ('QUEUED', 'OFFERED', 'RUNNING', 'CANCELLING') as holds
       from events e where e.job = 0 and e.run_id in (
         select run_id from events where type = 'JobEvaluated' and data ->> 'group' = $1)
     ), moves as (
       select *, lag(holds, 1, false) over (partition by run_id order by seq) as held from states
     )
     select (sum(case when holds then 1 else -1 end) over (order by time_ms, holds, run_id, seq))::int as at_once
     from moves where holds <> held`,
    [key],
  );
  return Math.max(0, ...moves.map(({ at_once }) => at_once));
}

async function membersLeft(): Promise<number> {
  return (await system.query<{ count: number }>('select count(*)::int as count from group_members'))[0]!.count;
}

test('every job has its turn although a replica is killed in between', async () => {
  for (const at of system.replicas) await system.startDriver({ name: 'deployer', at: [at], slots: 8 });
  const jobs = await Promise.all(
    Array.from({ length: 16 }, (_, n) => create(n % 2, n < 8 ? 'one' : 'three', short, undefined, n < 8 ? 1 : 3)),
  );
  const [killed, other] = system.replicas;
  const started = () =>
    system.query<{ count: number }>(`select count(*)::int as count from jobs where started_ms is not null`);
  await expect.poll(async () => (await started())[0]!.count, { interval: 20 }).toBeGreaterThan(3);
  expect(await killed!.kill()).toBe('SIGKILL');
  const states = await Promise.all(jobs.map(async (job) => JobState[(await finishedJob(other!.client, job)).state]));
  expect(states).toEqual(jobs.map(() => 'SUCCEEDED'));
  expect(await mostAtATime('one')).toBe(1);
  expect(await mostAtATime('three')).toBe(3);
  expect(await membersLeft()).toBe(0);
});

test('jobs of a rate start no more often than it allows, in order, although a replica is killed in between', async () => {
  for (const at of system.replicas) await system.startDriver({ name: 'deployer', at: [at], slots: 8 });
  const rateLimits = [{ key: 'calls', limit: 3, period: { seconds: 1n } }];
  const [killed, other] = system.replicas;
  const jobs: Job[] = [];
  for (let n = 0; n < 12; n++) {
    jobs.push(await createJob(system.replicas[n % 2]!.client, jobOf('deployer', { steps: [] }, { rateLimits })));
  }
  const last = jobs.at(-1)!;
  await expect.poll(async () => (await other!.client.jobs.get(last.jobId)).wait?.untilTime).toBeDefined();
  const { wait } = await other!.client.jobs.get(last.jobId);
  expect(wait?.reason).toBe(WaitReason.RATE);
  expect(await killed!.kill()).toBe('SIGKILL');
  const states = await Promise.all(jobs.map(async (job) => JobState[(await finishedJob(other!.client, job)).state]));
  expect(states).toEqual(jobs.map(() => 'SUCCEEDED'));
  const taken = await system.query<{ time_ms: number }>(
    `select time_ms from events where type = 'JobQueued' order by time_ms`,
  );
  for (const [from, { time_ms: beginMs }] of taken.entries()) {
    for (const [to, { time_ms: endMs }] of taken.entries()) {
      if (to >= from) expect(to - from + 1).toBeLessThanOrEqual(3 * (1 + (endMs - beginMs) / 1_000) + 1e-6);
    }
  }
});

test('a newer job takes the turn or the place of an older one, or is refused, as it says', async () => {
  await system.startDriver({ name: 'deployer', slots: 8 });
  const [{ client: a }, { client: b }] = [system.replicas[0]!, system.replicas[1]!];
  const stateOf = async ({ jobId }: Job) => JobState[(await a.jobs.get(jobId)).state];
  const first = await create(0, 'site', long);
  await expect.poll(() => stateOf(first)).toBe('RUNNING');
  const waiting = await create(1, 'site', short);
  await expect.poll(() => stateOf(waiting)).toBe('WAITING');
  const { wait, concurrencyGroup } = await b.jobs.get(waiting.jobId);
  expect([wait?.reason, concurrencyGroup]).toEqual([WaitReason.CONCURRENCY, 'site']);
  const members = await Array.fromAsync(b.jobs.groupMembers('site', { pageSize: 1 }));
  expect(members.map(({ jobId, state }) => [jobId, ConcurrencyGroupMemberState[state]])).toEqual([
    [first.jobId, 'HOLDING'],
    [waiting.jobId, 'WAITING'],
  ]);
  const groups = await Array.fromAsync(a.jobs.groups({ pageSize: 1 }));
  expect(groups).toMatchObject([{ key: 'site', holdingCount: 1, waitingCount: 1, limit: 1 }]);
  expect(await a.jobs.group('nobody is in it')).toMatchObject({ holdingCount: 0, waitingCount: 0, limit: 0 });
  const refused = await finishedJob(b, await create(0, 'site', short, ConcurrencyPolicy.REJECT));
  expect(JobState[refused.state]).toBe('FAILED');
  expect([FailureClass[refused.failure!.class], refused.failure!.message]).toEqual([
    'REJECTED',
    'every place of group site is held, and the job is not to wait for one',
  ]);
  const newer = await create(1, 'site', short, ConcurrencyPolicy.REPLACE_PENDING);
  expect(JobState[(await finishedJob(a, waiting)).state]).toBe('CANCELLED');
  expect(await stateOf(first)).toBe('RUNNING');
  const newest = await create(0, 'site', short, ConcurrencyPolicy.CANCEL_RUNNING);
  expect(JobState[(await finishedJob(b, newer)).state]).toBe('CANCELLED');
  expect(JobState[(await finishedJob(b, first)).state]).toBe('CANCELLED');
  expect(JobState[(await finishedJob(b, newest)).state]).toBe('SUCCEEDED');
  expect(await mostAtATime('site')).toBe(1);
  expect(await membersLeft()).toBe(0);
});
