// Owns what may never happen in concurrency groups and rate limits, worked out in the plainest way from what the jobs of all runs are.
import type { ConcurrencyPolicy } from '../definition.ts';
import { comparePositions, type GroupState, type Membership, membershipOf, type Waiter } from '../group.ts';
import type { JobRecord } from '../run-state.ts';

export interface Member extends Waiter {
  readonly key: string;
  readonly state: Membership;
}

/** Tokens that a job took. */
export interface Taken {
  readonly atMs: number;
  readonly cost: number;
}

export function claim(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`broken: ${what}`);
}

/** A group as its rows say it is, worked out in the plainest way. */
export function groupOf(members: readonly Member[]): GroupState {
  const sorted = members.toSorted(comparePositions);
  const holders = sorted.filter(({ state }) => state !== 'WAITING');
  const waiters = sorted.filter(({ state }) => state === 'WAITING');
  const replaces: readonly ConcurrencyPolicy[] = ['REPLACE_PENDING', 'CANCEL_RUNNING'];
  return {
    holders: holders.length,
    stopping: holders.filter(({ state }) => state === 'STOPPING').length,
    lowestLimit: holders.length === 0 ? undefined : Math.min(...holders.map(({ limit }) => limit)),
    oldest: holders.find(({ state }) => state === 'HOLDING'),
    front: waiters.slice(0, 3),
    waiting: waiters.length,
    newestReplacing: waiters.findLast(({ policy }) => replaces.includes(policy)),
    newestCancelling: waiters.findLast(({ policy }) => policy === 'CANCEL_RUNNING'),
  };
}

export function byKey(members: readonly Member[]): ReadonlyMap<string, readonly Member[]> {
  return Map.groupBy(members, ({ key }) => key);
}

export function checkLimits(members: readonly Member[]): void {
  for (const [key, all] of byKey(members)) {
    const holders = all.filter(({ state }) => state !== 'WAITING');
    const limit = Math.min(...holders.map((one) => one.limit));
    claim(holders.length === 0 || holders.length <= limit, `group ${key} is never over its limit`);
  }
}

/** In no window are more tokens taken than may have gathered before it and come in it. */
export function checkRate(
  taken: readonly Taken[],
  { limit, periodMs }: { readonly limit: number; readonly periodMs: number },
): void {
  const last = taken.at(-1);
  if (last === undefined) return;
  let sum = 0;
  for (const { atMs, cost } of taken.toReversed()) {
    sum += cost;
    const most = limit + (limit * (last.atMs - atMs)) / periodMs;
    claim(sum <= most + 1e-6, 'a rate is never exceeded in any window');
  }
}

/** What a claim has done is what it was to do. */
export function checkClaim(group: GroupState, before: JobRecord, after: JobRecord, at: Waiter): void {
  if (membershipOf(before) === 'WAITING') {
    const ahead = group.front.filter((one) => comparePositions(one, at) < 0).length;
    const newer = group.newestReplacing !== undefined && comparePositions(group.newestReplacing, at) > 0;
    if (after.state === 'CANCELLED') claim(newer, 'only a newer job takes a turn');
    if (after.state === 'FAILED') claim(at.policy === 'REJECT', 'only who is not to wait is refused');
    const room = Math.min(at.limit, group.lowestLimit ?? at.limit) - group.holders;
    if (after.state === 'QUEUED') claim(ahead < room, 'places are given in order');
    if (after.state === 'QUEUED' && newer) claim(room >= group.waiting, 'a newer job is not overtaken by an older one');
  }
  const stopped = membershipOf(before) === 'HOLDING' && membershipOf(after) !== 'HOLDING';
  const { newestCancelling } = group;
  if (stopped) {
    claim(
      newestCancelling !== undefined && comparePositions(newestCancelling, at) > 0,
      'a place is taken away for a newer job only',
    );
  }
}

/** Where nobody moves any more, everything that a policy says has been done. */
export function checkRest(members: readonly Member[]): void {
  for (const all of byKey(members).values()) {
    const sorted = all.toSorted(comparePositions);
    const holders = sorted.filter(({ state }) => state !== 'WAITING');
    const [first, ...others] = sorted.filter(({ state }) => state === 'WAITING');
    if (first === undefined) continue;
    const waiters = [first, ...others];
    const limit = Math.min(first.limit, ...holders.map((one) => one.limit));
    claim(holders.length >= limit, 'no place is free while a job waits for one');
    claim(
      waiters.every(({ policy }) => policy !== 'REJECT'),
      'nobody waits who is not to',
    );
    const newest = waiters.findLast(({ policy }) => policy === 'REPLACE_PENDING' || policy === 'CANCEL_RUNNING');
    claim(newest === undefined || newest === first, 'nobody waits whose turn a newer job takes');
    const cancelling = waiters.findLast(({ policy }) => policy === 'CANCEL_RUNNING');
    if (cancelling === undefined) continue;
    const older = holders.filter((one) => comparePositions(one, cancelling) < 0);
    const stops = holders.some(({ state }) => state === 'STOPPING');
    claim(stops || older.length === 0, 'a newer job has older ones stopped');
  }
}
