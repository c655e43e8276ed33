// What decisions make of the places of jobs in their concurrency groups, and of their waits for tokens, for the rows by which these are
// given.
import { membershipOf } from '../core/group.ts';
import { plannedJob } from '../core/plan.ts';
import { isWaitingForRate } from '../core/rate.ts';
import type { JobRecord } from '../core/run-state.ts';
import { groupLimitOf, ratesTaken } from '../core/shares.ts';
import type { MemberWrite } from '../store/group-rows.ts';
import type { RateWait, RateWaitWrite } from '../store/rate-rows.ts';
import type { SharedKey } from '../store/start-locks.ts';
import type { RunContext } from './run-context.ts';

export interface StartChange {
  readonly member?: MemberWrite;
  readonly rateWait?: RateWaitWrite;
  /** Rate limits for which it has begun to wait, or whose line it has left without taking any tokens. */
  readonly rates: readonly SharedKey[];
}

/** @param before The job as it is stored; undefined: it is new. */
export function startChange(
  context: RunContext,
  job: number,
  before: JobRecord | undefined,
  after: JobRecord | undefined,
): StartChange | undefined {
  if (after?.details?.group === undefined && after?.details?.rates === undefined) return undefined;
  const member = memberChange(context, job, before, after);
  const rateWait = rateChange(context, job, before, after);
  if (member === undefined && rateWait === undefined) return undefined;
  // Tokens are taken by whoever is at the front: the others wait for as long as before.
  const rates =
    rateWait === undefined || after.state === 'QUEUED' ? [] : rateWaitsOf(context, job, after).map(({ rate }) => rate);
  return { ...(member !== undefined && { member }), ...(rateWait !== undefined && { rateWait }), rates };
}

function memberChange(
  { runId, project, plan }: RunContext,
  job: number,
  before: JobRecord | undefined,
  after: JobRecord,
): MemberWrite | undefined {
  const key = after.details?.group;
  const state = membershipOf(after);
  if (key === undefined || state === (before && membershipOf(before))) return undefined;
  const { definition } = plannedJob(plan, job);
  const limit = groupLimitOf(definition, after.details);
  if (definition.concurrency === undefined || limit === undefined)
    throw new Error(`job ${job} is in a group of which its definition has no limit`);
  const { policy } = definition.concurrency;
  return { job: { runId, job }, group: { project, key }, state, readyMs: after.readyMs ?? 0, limit, policy };
}

function rateChange(
  context: RunContext,
  job: number,
  before: JobRecord | undefined,
  after: JobRecord,
): RateWaitWrite | undefined {
  const [waited, waits] = [before !== undefined && isWaitingForRate(before), isWaitingForRate(after)];
  const told = isTold(after);
  if (waited === waits && (before === undefined || isTold(before) === told)) return undefined;
  const { runId } = context;
  return {
    job: { runId, job },
    readyMs: after.readyMs ?? 0,
    told,
    waits: waits ? rateWaitsOf(context, job, after) : [],
  };
}

function isTold(job: JobRecord): boolean {
  return job.state === 'WAITING' && 'expectedMs' in job.wait;
}

/** What a job takes of its rate limits, in their order. */
export function rateWaitsOf({ project, plan }: RunContext, job: number, { details }: JobRecord): readonly RateWait[] {
  const taken = ratesTaken(plannedJob(plan, job).definition, details);
  return taken.map(({ key, costMs, periodMs }) => ({ rate: { project, key }, costMs, periodMs }));
}

/** The groups and rate limits on whose jobs somebody has to look. */
export interface StartsChanged {
  readonly groups: readonly SharedKey[];
  readonly rates: readonly SharedKey[];
}

/** Groups in which jobs have begun to wait or left a place, and rate limits for which jobs wait, or behind whom others did. */
export function startsChanged(changes: readonly StartChange[]): StartsChanged {
  return {
    groups: changes.flatMap(({ member }) => (member === undefined || member.state === 'HOLDING' ? [] : [member.group])),
    rates: changes.flatMap(({ rates }) => rates),
  };
}
