// What is known of a concurrency group under its lock, and what that means for each of its jobs. Who holds a place is never counted
// apart: it is read from what the jobs are, and kept up with what the same flush decides.
import type { ConcurrencyPolicy } from './definition.ts';
import type { JobRecord } from './run-state.ts';
import { isJobFinished } from './states.ts';

/** What a job is to its group: a place is held from QUEUED on, until the job has finished, waits or is held back. */
export type Membership = 'WAITING' | 'HOLDING' | 'STOPPING';

/** Where a job stands: by when its needs first allowed it to run, whatever it has waited for since. */
export interface Position {
  readonly runId: string;
  readonly job: number;
  readonly readyMs: number;
}

export interface Waiter extends Position {
  readonly limit: number;
  readonly policy: ConcurrencyPolicy;
}

export interface GroupState {
  /** How many jobs hold a place, those that are being stopped among them. */
  holders: number;
  stopping: number;
  /** The lowest limit that any holder states; undefined without holders. */
  lowestLimit: number | undefined;
  /** The holder that came first and is not being stopped. */
  oldest: Position | undefined;
  /** The first of those that wait, in order. */
  readonly front: Waiter[];
  /** How many wait in all. */
  waiting: number;
  /** The newest waiter before which older ones give way, and the newest for which holders are cancelled. */
  readonly newestReplacing: Position | undefined;
  readonly newestCancelling: (Position & { readonly limit: number }) | undefined;
}

/** A group as it is told of. */
export interface GroupView {
  readonly key: string;
  readonly holding: number;
  readonly waiting: number;
  readonly limit: number;
}

/** Whether a job that came last would find no place, by its own limit and those of the jobs that hold one. */
export function isFullFor({ holders, waiting, lowestLimit }: GroupState, limit: number): boolean {
  return holders + waiting >= Math.min(limit, lowestLimit ?? limit);
}

/** A job of a group as it is told of. */
export interface MemberView extends Waiter {
  readonly state: Membership;
}

export function groupView(key: string, { holders, waiting, lowestLimit, front }: GroupState): GroupView {
  return { key, holding: holders, waiting, limit: lowestLimit ?? front[0]?.limit ?? 0 };
}

/** What a decision on one job needs to know of its group. */
export interface PlaceView {
  /** Whether there is a place for it now. */
  readonly hasRoom: boolean;
  /** Whether a newer job takes its turn. */
  readonly isReplaced: boolean;
  /** Whether a newer job needs the place that it holds. */
  readonly mustYield: boolean;
  readonly holders: number;
  readonly limit: number;
}

/** What a job is to its group; undefined: nothing, or it has none. */
export function membershipOf(job: JobRecord): Membership | undefined {
  if (job.details?.group === undefined || job.state === 'BLOCKED' || isJobFinished(job.state)) return undefined;
  if (job.state === 'WAITING') return job.wait.reason === 'CONCURRENCY' ? 'WAITING' : undefined;
  return job.state === 'CANCELLING' ? 'STOPPING' : 'HOLDING';
}

/** Whether a job that may start has to wait for a place first. */
export function lacksPlace(job: JobRecord): boolean {
  return job.details?.group !== undefined && membershipOf(job) !== 'HOLDING';
}

export function comparePositions(a: Position, b: Position): number {
  if (a.readyMs !== b.readyMs) return a.readyMs - b.readyMs;
  if (a.runId !== b.runId) return a.runId < b.runId ? -1 : 1;
  return a.job - b.job;
}

/** How many of those in line came before. */
export function countAhead(line: readonly Position[], member: Position): number {
  let [from, to] = [0, line.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    const other = line[middle];
    if (other !== undefined && comparePositions(other, member) < 0) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** @param limit That of the job's own definition. */
export function viewOf(group: GroupState, member: Position, limit: number): PlaceView {
  const ahead = countAhead(group.front, member);
  const next = group.front[ahead];
  const isInLine = next !== undefined && isSame(next, member);
  const isKnown = ahead < group.front.length || group.waiting <= group.front.length;
  const lowest = Math.min(limit, group.lowestLimit ?? limit);
  const room = lowest - group.holders;
  const { newestReplacing, newestCancelling, oldest } = group;
  const replaced = newestReplacing !== undefined && comparePositions(newestReplacing, member) > 0;
  return {
    hasRoom: isKnown && ahead < room,
    isReplaced: replaced && room < group.waiting + (isInLine ? 0 : 1),
    mustYield:
      oldest !== undefined &&
      isSame(oldest, member) &&
      newestCancelling !== undefined &&
      comparePositions(newestCancelling, member) > 0 &&
      Math.min(newestCancelling.limit, lowest) - group.holders + group.stopping < 1,
    holders: group.holders,
    limit: lowest,
  };
}

/** Follows what was decided on one of its jobs. What is not told leaves less room than there is, never more. */
export function noteMove(
  group: GroupState,
  member: Position,
  limit: number,
  from: Membership | undefined,
  to: Membership | undefined,
): void {
  if (from === to) return;
  const at = countAhead(group.front, member);
  const waiter = group.front[at];
  if (waiter !== undefined && isSame(waiter, member)) {
    group.front.splice(at, 1);
    group.waiting--;
  }
  if (to === 'HOLDING') {
    group.holders++;
    group.lowestLimit = Math.min(limit, group.lowestLimit ?? limit);
  }
  if (to === 'STOPPING') group.stopping++;
  if (group.oldest !== undefined && isSame(group.oldest, member)) group.oldest = undefined;
}

function isSame(a: Position, b: Position): boolean {
  return a.runId === b.runId && a.job === b.job;
}

/** The jobs of a group on whose place somebody has to decide now. */
export function candidatesOf(group: GroupState): readonly Position[] {
  const { front, oldest } = group;
  const waiters = front.filter((waiter) => {
    const { hasRoom, isReplaced } = viewOf(group, waiter, waiter.limit);
    return hasRoom || isReplaced || waiter.policy === 'REJECT';
  });
  const yields = oldest !== undefined && viewOf(group, oldest, group.lowestLimit ?? 1).mustYield;
  return yields ? [...waiters, oldest] : waiters;
}
