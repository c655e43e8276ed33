// The checker of the checker: for each invariant one defect, put into the servers' sources when they are loaded, that breaks it. The
// checker has to notice, and by that invariant.
import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from './fault.ts';
import { steadyWork } from './load/shapes.ts';
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

/** Most defects need no fault to do harm. */
const peace: Fault = {
  name: 'no-fault',
  says: 'nothing happens but the load',
  async strike() {
    await delay(SPELL_MS);
    return { fired: 1 };
  },
};

/** More work at once than there are slots. */
const rush: Fault = {
  name: 'rush',
  says: 'many runs come at once',
  async strike(stage) {
    const runs = Array.from({ length: RUSH }, (_, number) => ({ definition: steadyWork(`rush ${number}`, 500) }));
    await stage.places[0]!.client.runs.createBatch(runs);
    await delay(SPELL_MS);
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
];
