// The checker of the checker: for each invariant a defect or several, put into the servers' sources when they are loaded, that breaks it. The
// checker has to notice, and by that invariant.
import { setTimeout as delay } from 'node:timers/promises';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Fault } from './fault.ts';
import { jobOf } from '../e2e/jobs.ts';
import { poolName, steadyWork, type Ties, zones } from './load/shapes.ts';
import type { SourceMutation } from './preload/mutated-sources.ts';
import { commitFaults } from './scenarios/commits.ts';
import { crowdFaults } from './scenarios/crowds.ts';
import { frameFaults } from './scenarios/frames.ts';

export interface Mutation {
  /** The invariant that it breaks. */
  readonly invariant: number;
  readonly says: string;
  readonly source: SourceMutation;
  /** What brings it to light. */
  readonly fault: Fault;
}

/** How long the load goes on: not so many runs, since a defect may keep them from their end. */
const SPELL_MS = 2_000;
const RUSH = 24;
const RUSH_WORK_MS = 500;

/** Most defects need no fault to do harm. */
const peace: Fault = {
  name: 'no-fault',
  says: 'nothing happens but the load',
  async strike() {
    await delay(SPELL_MS);
    return { fired: 1 };
  },
};

/** More work at once than there is room for. */
const rushOf = (name: string, ties: Ties): Fault => ({
  name,
  says: 'many runs come at once',
  async strike(stage) {
    const runs = Array.from({ length: RUSH }, (_, n) => ({ definition: steadyWork(`rush ${n}`, RUSH_WORK_MS, ties) }));
    await stage.places[0]!.client.runs.createBatch(runs);
    await delay(SPELL_MS);
    return { fired: 1 };
  },
});
const rush = rushOf('rush', {});
const groupRush = rushOf('group-rush', { concurrency: { key: 'rush', limit: 2 } });
const rateRush = rushOf('rate-rush', { rateLimits: [{ key: 'rush', limit: 1, period: durationFromMs(1_000) }] });
const poolRush = rushOf('pool-rush', { pool: poolName });
const zoneRush = rushOf('zone-rush', { selector: { required: [{ key: 'zone', values: [zones[0]] }] } });

/** A job that nobody takes is cancelled. */
const cancelledInQueue: Fault = {
  name: 'cancelled-in-queue',
  says: 'a job is cancelled that no driver can take',
  async strike(stage) {
    const place = stage.places[0]!;
    const runId = await stage.createRun(place, { jobs: [jobOf('nobody', { steps: [] })] });
    await place.client.runs.cancel(runId, { reason: 'nobody takes it' });
    await stage.finished(runId);
    return { fired: 1 };
  },
};

const named = (faults: readonly Fault[], name: string): Fault => {
  const fault = faults.find((one) => one.name === name);
  if (fault === undefined) throw new Error(`no fault is named ${name}`);
  return fault;
};
const commitLost = named(commitFaults, 'commit-lost');
const staleWrites = named(frameFaults, 'stale-writes');
const slowReaders = named(crowdFaults, 'slow-log-readers');

const server = (path: string): string => `packages/server/src/${path}`;

export const mutations: readonly Mutation[] = [
  {
    invariant: 1,
    says: 'a commit without a reply counts as done',
    fault: commitLost,
    source: {
      file: server('store/transaction.ts'),
      find: 'if (!(await tookEffect(lane, name, token))) throw error.cause;',
      replace: '',
    },
  },
  {
    invariant: 2,
    says: 'the row of a job is not told when it was started',
    fault: peace,
    source: {
      file: server('store/job-rows.ts'),
      find: 'started_ms = u.started_ms, finished_ms = u.finished_ms, wait = u.wait',
      replace: 'started_ms = j.started_ms, finished_ms = u.finished_ms, wait = u.wait',
    },
  },
  {
    invariant: 3,
    says: 'the epoch of who writes a log is not compared',
    fault: staleWrites,
    source: {
      file: server('engine/log-writer.ts'),
      find: 'if (instances.get(item.writer.instance)?.epoch !== item.writer.epoch)',
      replace: 'if (instances.get(item.writer.instance) === undefined)',
    },
  },
  {
    invariant: 4,
    says: 'a second result is acknowledged like the first',
    fault: staleWrites,
    source: {
      file: server('core/attempt.ts'),
      find: 'content?.result !== undefined && content.result === resultOf(command)',
      replace: 'content?.result !== undefined',
    },
  },
  {
    invariant: 5,
    says: 'stored bytes begin one too late',
    fault: peace,
    source: {
      file: server('store/log-rows.ts'),
      find: 'substring($1::bytea from at for length)',
      replace: 'substring($1::bytea from at + 1 for length)',
    },
  },
  {
    invariant: 6,
    says: 'who follows all runs is not told of their last events',
    fault: peace,
    source: {
      file: server('engine/flush.ts'),
      find: 'last !== undefined && changesFeed(work)',
      replace: 'last !== undefined && last.event.type !== "RunFinished" && changesFeed(work)',
    },
  },
  {
    invariant: 7,
    says: 'a job is ready with one need still open',
    fault: peace,
    source: { file: server('core/settle.ts'), find: 'job.unmet > 0', replace: 'job.unmet > 1' },
  },
  {
    invariant: 8,
    says: 'what an instance holds takes no slot',
    fault: rush,
    source: { file: server('engine/session.ts'), find: 'Math.max(0, slots - holds.taken())', replace: 'slots' },
  },
  {
    invariant: 8,
    says: 'what an instance holds takes no slot of its pool',
    fault: poolRush,
    source: {
      file: server('engine/session.ts'),
      find: 'Math.max(0, (facts.offers.pools[pool] ?? 0) - holds.takenOf(pool))',
      replace: 'facts.offers.pools[pool] ?? 0',
    },
  },
  {
    invariant: 8,
    says: 'what is cancelled in the queue stays there',
    fault: cancelledInQueue,
    source: {
      file: server('store/queue-rows.ts'),
      find: 'where run_id = u.run_id and job = u.job for update skip locked) q))',
      replace: 'where run_id = u.run_id and job = u.job + 1 for update skip locked) q))',
    },
  },
  {
    invariant: 9,
    says: 'a request id that was used is free',
    fault: peace,
    source: {
      file: server('store/run-rows.ts'),
      find: 'on conflict (project, request_id) do nothing returning run_id',
      replace: 'on conflict (project, request_id) do update set run_id = excluded.run_id returning run_id',
    },
  },
  {
    invariant: 10,
    says: 'a job whose needs are met is not put into the queue',
    fault: peace,
    source: {
      file: server('engine/flush.ts'),
      find: `work.loaded.get(job)?.state === 'QUEUED';`,
      replace: `['QUEUED', 'BLOCKED'].includes(work.loaded.get(job)?.state ?? '');`,
    },
  },
  {
    invariant: 11,
    says: 'runs of every project are read',
    fault: peace,
    source: {
      file: server('store/run-views.ts'),
      find: `.where('project', '=', project);`,
      replace: `.where('project', '!=', '');`,
    },
  },
  {
    invariant: 12,
    says: 'what a stream is sent is kept, and sent whether it is read or not',
    fault: slowReaders,
    source: {
      file: server('api/grpc/call-adapter.ts'),
      find: 'await send(call, part, context.signal);',
      replace: '(globalThis.kept ??= []).push(encode(method.output, part)); call.write(part);',
    },
  },
  {
    invariant: 13,
    says: 'who holds a place of a group is not counted',
    fault: groupRush,
    source: {
      file: server('store/group-rows.ts'),
      find: "where project = u.project and key = u.key and state <> 'WAITING') h",
      replace: "where project = u.project and key = u.key and state = 'STOPPING') h",
    },
  },
  {
    invariant: 13,
    says: 'who has finished keeps its place',
    fault: groupRush,
    source: {
      file: server('store/group-rows.ts'),
      find: 'where m.run_id = u.run_id and m.job = u.job`',
      replace: "where m.run_id = u.run_id and m.job = u.job and m.state = 'WAITING'`",
    },
  },
  {
    invariant: 14,
    says: 'what was taken out of a bucket is not noted',
    fault: rateRush,
    source: { file: server('core/rate.ts'), find: '  rate.taken = true;\n', replace: '' },
  },
  {
    invariant: 14,
    says: 'who has its tokens goes on waiting for them',
    fault: rateRush,
    source: {
      file: server('store/rate-rows.ts'),
      find: 'where w.run_id = u.run_id and w.job = u.job`',
      replace: 'where w.run_id = u.run_id and w.job = u.job + 1`',
    },
  },
  {
    invariant: 15,
    says: 'what a job requires of an instance is not compared',
    fault: zoneRush,
    source: {
      file: server('core/placement.ts'),
      find: 'selector.required.every((rule) => holds(rule, labels))',
      replace: 'labels !== undefined',
    },
  },
];
