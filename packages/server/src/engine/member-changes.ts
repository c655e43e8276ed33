// What decisions make of the places of jobs in their concurrency groups, for the rows by which these are given.
import { membershipOf } from '../core/group.ts';
import { plannedJob } from '../core/plan.ts';
import type { JobRecord } from '../core/run-state.ts';
import type { GroupKey, MemberWrite } from '../store/group-rows.ts';
import type { RunContext } from './run-context.ts';

/** @param before The job as it is stored; undefined: it is new. */
export function memberChange(
  { runId, project, plan }: RunContext,
  job: number,
  before: JobRecord | undefined,
  after: JobRecord | undefined,
): MemberWrite | undefined {
  const key = after?.details?.group;
  if (after === undefined || key === undefined) return undefined;
  const state = membershipOf(after);
  if (state === (before && membershipOf(before))) return undefined;
  const { concurrency } = plannedJob(plan, job).definition;
  if (concurrency === undefined) throw new Error(`job ${job} is in a group that its definition does not name`);
  const { limit, policy } = concurrency;
  return { job: { runId, job }, group: { project, key }, state, readyMs: after.readyMs ?? 0, limit, policy };
}

/** The groups in which jobs have begun to wait for a place, or have given one up. */
export function groupsChanged(changes: readonly MemberWrite[]): readonly GroupKey[] {
  return changes.flatMap(({ group, state }) => (state === 'HOLDING' ? [] : [group]));
}
