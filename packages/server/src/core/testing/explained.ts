// A queued job that nothing blocks, and what else may be around it, as an explanation takes them.
import { blockerText } from '../blocker-text.ts';
import type { NamedJob } from '../blockers.ts';
import type { JobDefinition } from '../definition.ts';
import type { ExplainFacts, GroupFacts } from '../explain-facts.ts';
import { explainJob } from '../explain-job.ts';
import type { DriverFacts, InstanceFacts } from '../explain-instances.ts';
import type { MemberView } from '../group.ts';
import type { RunId } from '../ids.ts';
import { compilePlan, type Plan } from '../plan.ts';
import type { JobRecord, RunHeader } from '../run-state.ts';
import type { JobState } from '../states.ts';
import { definitionOf, jobNamed } from './definitions.ts';

export const NOW_MS = Date.UTC(2026, 0, 2, 3, 4, 5);
export const LATER_MS = NOW_MS + 60_000;
export const runId = '01900000-0000-7000-8000-000000000001' as RunId;
export const otherRun = '01900000-0000-7000-8000-000000000002' as RunId;
export const by = { reason: 'freeze', actor: 'ada', sinceMs: NOW_MS };
export const counts = { total: 1, open: 1, succeeded: 0, failed: 0, failureAllowed: 0, skipped: 0, cancelled: 0 };
export const run: RunHeader = { state: 'RUNNING', seq: 1, lastMs: NOW_MS, counts };
export const base = { attempt: 0, unmet: 0, badNeeds: 0, spent: {} };
export const queued: JobRecord = { ...base, state: 'QUEUED' };
export const blocked: JobRecord = { ...base, state: 'BLOCKED', unmet: 1 };
export const live = { instance: 1 };

/** An instance with one free slot. */
export function instance(no: number, change: Partial<InstanceFacts> = {}): InstanceFacts {
  const open = { labels: {}, pools: {}, slots: 1, draining: false, accepts: true, held: 0, heldOfPool: 0 };
  return { no, ...open, ...change };
}

export function driverOf(instances: readonly InstanceFacts[], change: Partial<DriverFacts> = {}): DriverFacts {
  return { driver: 'shell', placement: undefined, instances, held: [], ahead: 0, caveats: [], ...change };
}

export const free = driverOf([instance(1)]);

export function planOf(job: Partial<JobDefinition>, ...others: JobDefinition[]): Plan {
  return compilePlan(definitionOf(jobNamed('job', job), ...others));
}

/** A queued job that nothing blocks, unless it is changed. */
export function told(change: Partial<ExplainFacts>) {
  const facts = { nowMs: NOW_MS, runId, plan: planOf({}), run, index: 0, job: queued, driver: free };
  const none = { openNeeds: [], openCells: [], pauses: [], shares: {}, rates: [] };
  const { standing, blockers, caveats } = explainJob({ ...facts, ...none, ...change });
  return { standing, messages: blockers.map(blockerText), caveats, blockers };
}

export const lines = (change: Partial<ExplainFacts>): readonly string[] => told(change).messages;

export function named(job: number, state: JobState, name = `job-${job}`): NamedJob {
  return { runId, job, name, state };
}

export function holder(job: number, of: RunId = otherRun, limit = 1): MemberView {
  return { runId: of, job, readyMs: job, limit, policy: 'QUEUE', state: 'HOLDING' };
}

/** A group with these holders, and so many that wait and came before. */
export function groupOf(holders: readonly MemberView[], ahead = 0): GroupFacts {
  const front = Array.from({ length: ahead }, (_, n) => ({ ...holder(n), policy: 'QUEUE' as const }));
  const lowestLimit = holders.length === 0 ? undefined : Math.min(...holders.map(({ limit }) => limit));
  const newest = { newestReplacing: undefined, newestCancelling: undefined };
  const state = {
    holders: holders.length,
    stopping: 0,
    lowestLimit,
    oldest: undefined,
    front,
    waiting: ahead,
    ...newest,
  };
  return { key: 'deploy', state, holders };
}

export const grouped = (limit: number): Plan => planOf({ concurrency: { key: 'deploy', limit, policy: 'QUEUE' } });
export const inLine: JobRecord = { ...base, state: 'WAITING', wait: { reason: 'CONCURRENCY' }, readyMs: NOW_MS };
