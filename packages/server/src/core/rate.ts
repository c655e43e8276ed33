// What is known of a rate limit under its lock, and what that means for each job that waits for it. A bucket of tokens that fills evenly is
// kept as one number, the time at which it is full: taking a token moves that time on by what the token takes to come (the generic cell
// rate algorithm, ITU-T I.371). What is full need not be stored.
import { comparePositions, countAhead, type Position } from './group.ts';
import type { JobRecord } from './run-state.ts';

export interface RateWaiter extends Position {
  /** How long the tokens that it takes need to come. */
  readonly costMs: number;
  readonly periodMs: number;
  /** Whether it was told until when it is likely to wait. */
  readonly told: boolean;
}

export interface RateState {
  fullMs: number;
  /** The first of those that wait, in order. */
  readonly front: RateWaiter[];
  /** Whether the front is all of them. */
  readonly isWhole: boolean;
  /** Whether tokens were taken since it was read. */
  taken: boolean;
}

/** What a decision on one job needs to know of its rate limits. */
export interface RateView {
  /** Whether the tokens are there, for it and for those before it. */
  readonly allowed: boolean;
  /** Until when it is likely to wait. */
  readonly expectedMs: number;
}

export function isWaitingForRate(job: JobRecord): boolean {
  return job.state === 'WAITING' && job.wait.reason === 'RATE';
}

/** Whether a job that may start has to wait for tokens first: each time that it is queued anew takes them again. */
export function lacksTokens(job: JobRecord): boolean {
  return job.details?.rates !== undefined && job.state !== 'QUEUED';
}

export function rateViewOf(rate: RateState, taker: Omit<RateWaiter, 'told'>, nowMs: number): RateView {
  const ahead = countAhead(rate.front, taker);
  const isKnown = rate.isWhole || ahead < rate.front.length;
  let aheadMs = 0;
  for (const { costMs } of rate.front.slice(0, ahead)) aheadMs += costMs;
  const expectedMs = expectedAt(rate, aheadMs, taker, nowMs);
  return { allowed: isKnown && expectedMs <= nowMs, expectedMs: Math.max(expectedMs, nowMs) };
}

/** When its tokens are there, once those before it have taken theirs. */
function expectedAt(
  { fullMs }: Pick<RateState, 'fullMs'>,
  aheadMs: number,
  { costMs, periodMs }: Pick<RateWaiter, 'costMs' | 'periodMs'>,
  nowMs: number,
): number {
  return Math.ceil(Math.max(fullMs, nowMs) + aheadMs + costMs - periodMs);
}

/** Takes the tokens of a job out of its bucket, and the job out of the line. */
export function takeTokens(rate: RateState, taker: Omit<RateWaiter, 'told'>, nowMs: number): void {
  const at = countAhead(rate.front, taker);
  const waiter = rate.front[at];
  if (waiter !== undefined && comparePositions(waiter, taker) === 0) rate.front.splice(at, 1);
  rate.fullMs = Math.max(rate.fullMs, nowMs) + taker.costMs;
  rate.taken = true;
}

/** One of those that wait, with how long the tokens of all before it need to come. */
export interface RateCandidate extends RateWaiter {
  readonly aheadMs: number;
}

/**
 * The jobs on which somebody has to decide now, and when the next one may be; undefined: nobody else waits.
 * @param line In order. Whoever was told until when it waits, and whose tokens are not there, may be left out, but for the first such one.
 */
export function rateCandidates(
  rate: Pick<RateState, 'fullMs'>,
  line: readonly RateCandidate[],
  nowMs: number,
): { readonly now: readonly Position[]; readonly nextMs: number | undefined } {
  const now: Position[] = [];
  let nextMs: number | undefined;
  for (const waiter of line) {
    const expectedMs = expectedAt(rate, waiter.aheadMs, waiter, nowMs);
    const allowed = expectedMs <= nowMs;
    if (allowed || !waiter.told) now.push(waiter);
    if (!allowed) nextMs ??= expectedMs;
  }
  return { now, nextMs };
}
