// What a flush reads for decisions on places and tokens: the groups and buckets concerned are locked, then looked at, and the clock is read
// last, so that nothing is given before the time at which another job left it.
import { type GroupState, membershipOf, noteMove, type PlaceView, type Position, viewOf } from '../core/group.ts';
import { plannedJob } from '../core/plan.ts';
import { type RateState, type RateView, rateViewOf, takeTokens } from '../core/rate.ts';
import type { JobRecord } from '../core/run-state.ts';
import { groupLimitOf } from '../core/shares.ts';
import { loadGroups } from '../store/group-rows.ts';
import { readClock } from '../store/ledger-rows.ts';
import { loadRates } from '../store/rate-rows.ts';
import { lockStarts, type SharedKey } from '../store/start-locks.ts';
import type { Tx } from '../store/sql.ts';
import { rateWaitsOf } from './member-changes.ts';
import type { RunContext } from './run-context.ts';
import type { RunWork } from './run-work.ts';

/** What a flush has locked, by project and key. Its works share it, and each sees what those before it decided. */
export interface LockedStarts {
  readonly groups: ReadonlyMap<string, GroupState>;
  readonly rates: ReadonlyMap<string, RateState & SharedKey>;
  /** The time from which it decides. */
  readonly nowMs: number;
}

export interface StartsLoaded {
  /** Undefined when nothing is claimed. */
  readonly starts: LockedStarts | undefined;
  /** The works of which somebody else holds what they claim. */
  readonly missed: ReadonlySet<RunWork>;
}

/** Gives the works what their claims ask about. @param wait Whether to wait for what somebody else holds. */
export async function loadPlaces(tx: Tx, works: readonly RunWork[], wait: boolean): Promise<StartsLoaded> {
  const claiming = new Map(works.map((work) => [work, claimedBy(work)] as const).filter(([, keys]) => keys.length > 0));
  const groups = new Map<string, SharedKey>();
  const rates = new Map<string, SharedKey>();
  for (const claims of claiming.values()) {
    for (const { kind, id, key } of claims) (kind === 'GROUP' ? groups : rates).set(id, key);
  }
  if (groups.size + rates.size === 0) return { starts: undefined, missed: new Set() };
  const [groupKeys, rateKeys] = [[...groups.values()], [...rates.values()]];
  const [locks, groupStates, rateStates, nowMs] = await Promise.all([
    lockStarts(tx, groupKeys, rateKeys, wait),
    groupKeys.length > 0 ? loadGroups(tx, groupKeys) : [],
    rateKeys.length > 0 ? loadRates(tx, rateKeys) : [],
    readClock(tx),
  ]);
  const starts = {
    groups: new Map([...groups.keys()].map((id, i) => [id, present(groupStates[i])])),
    rates: new Map([...rates].map(([id, key], i) => [id, { ...key, ...present(rateStates[i]) }])),
    nowMs,
  };
  const missed = new Set<RunWork>();
  for (const [work, claims] of claiming) {
    work.starts = starts;
    if (!claims.every(({ kind, key }) => (kind === 'GROUP' ? locks.group(key) : locks.rate(key)))) missed.add(work);
  }
  return { starts, missed };
}

interface Claimed {
  readonly kind: 'GROUP' | 'RATE';
  readonly id: string;
  readonly key: SharedKey;
}

/** The groups and buckets that the commands for a run ask about. */
function claimedBy({ context, submissions, jobs }: RunWork): readonly Claimed[] {
  const { project } = context;
  return submissions.flatMap(({ command }): Claimed[] => {
    if (command.type !== 'ClaimPlace') return [];
    const { group, rates = [] } = jobs.get(command.job)?.details ?? {};
    const ofGroup =
      group === undefined ? [] : [{ kind: 'GROUP' as const, id: idOf(context, group), key: { project, key: group } }];
    return [
      ...ofGroup,
      ...rates.map((key) => ({ kind: 'RATE' as const, id: idOf(context, key), key: { project, key } })),
    ];
  });
}

export interface StartViews {
  readonly place?: PlaceView;
  readonly rate?: RateView;
}

/** What is known of what a job waits for; nothing of what nobody has locked. */
export function startViewsOf({ starts, context }: RunWork, job: number, record: JobRecord | undefined): StartViews {
  if (record === undefined || starts === undefined) return {};
  const { group: key, rates } = record.details ?? {};
  const group = key === undefined ? undefined : starts.groups.get(idOf(context, key));
  const place = group && viewOf(group, positionOf(context, job, record), limitOf(context, job, record));
  const rate = rates && rateOf(starts, context, job, record);
  return { ...(place !== undefined && { place }), ...(rate !== undefined && { rate }) };
}

/** All of its buckets have to have what it takes. */
function rateOf(starts: LockedStarts, context: RunContext, job: number, record: JobRecord): RateView | undefined {
  const position = positionOf(context, job, record);
  const views = rateWaitsOf(context, job, record).map(({ rate: { key }, costMs, periodMs }) => {
    const rate = starts.rates.get(idOf(context, key));
    return rate && rateViewOf(rate, { ...position, costMs, periodMs }, starts.nowMs);
  });
  const known = views.filter((view) => view !== undefined);
  if (known.length < views.length) return undefined;
  return {
    allowed: known.every(({ allowed }) => allowed),
    expectedMs: Math.max(...known.map(({ expectedMs }) => expectedMs)),
  };
}

/** Tells groups and buckets what was decided on a job. */
export function noteStart(
  { starts, context }: RunWork,
  job: number,
  before: JobRecord | undefined,
  after: JobRecord,
): void {
  if (starts === undefined || after.details === undefined) return;
  const { group: key } = after.details;
  const position = positionOf(context, job, after);
  const group = key === undefined ? undefined : starts.groups.get(idOf(context, key));
  if (group !== undefined) {
    noteMove(group, position, limitOf(context, job, after), before && membershipOf(before), membershipOf(after));
  }
  if (before?.state !== 'WAITING' || after.state !== 'QUEUED') return;
  for (const { rate, costMs, periodMs } of rateWaitsOf(context, job, after)) {
    const bucket = starts.rates.get(idOf(context, rate.key));
    if (bucket === undefined) throw new Error(`job ${job} was queued without the lock of rate limit ${rate.key}`);
    takeTokens(bucket, { ...position, costMs, periodMs }, starts.nowMs);
  }
}

function idOf({ project }: RunContext, key: string): string {
  return `${project}\n${key}`;
}

function positionOf({ runId }: RunContext, job: number, { readyMs = 0 }: JobRecord): Position {
  return { runId, job, readyMs };
}

function limitOf({ plan }: RunContext, job: number, { details }: JobRecord): number {
  return present(groupLimitOf(plannedJob(plan, job).definition, details));
}

function present<T>(state: T | undefined): T {
  if (state === undefined) throw new Error('a group or a rate limit was not loaded, or has no limit');
  return state;
}
