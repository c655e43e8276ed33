// Decisions on the place of a job in its concurrency group and on the tokens of its rate limits: it gets them, waits for what it lacks, gives
// way to a newer job, or is refused. What is there was read under locks that are held until this decision is committed.
import { cancelJob } from './cancel.ts';
import type { Command, Reply } from './commands.ts';
import { membershipOf } from './group.ts';
import { plannedJob } from './plan.ts';
import { isWaitingForRate } from './rate.ts';
import { DONE } from './replies.ts';
import { jobOf } from './run-state.ts';
import { type Draft, emit } from './draft.ts';
import { concludeJob } from './settle.ts';

type Claim = Extract<Command, { type: 'ClaimPlace' }>;

export function claimPlace(draft: Draft, command: Claim): Reply {
  const { job: index, place, rate } = command;
  const job = jobOf(draft, index);
  const { group, rates } = job.details ?? {};
  if ((group !== undefined && place === undefined) || (rates !== undefined && rate === undefined)) return DONE;
  const isInLine = membershipOf(job) === 'WAITING';
  if (isInLine && place?.isReplaced === true) return replace(draft, index);
  if (membershipOf(job) === 'HOLDING' && place?.mustYield === true) {
    return cancelJob(draft, { type: 'CancelJob', job: index, reason: `a newer job of group ${group} takes its place` });
  }
  if (isInLine || isWaitingForRate(job)) start(draft, command);
  return DONE;
}

/** Tokens are no use without a place, and a place is no use without tokens: a job takes both or neither. */
function start(draft: Draft, { job: index, place, rate }: Claim): void {
  const job = jobOf(draft, index);
  const waitsForRate = isWaitingForRate(job);
  const hasPlace = place?.hasRoom !== false;
  const hasTokens = rate?.allowed !== false;
  if (hasPlace && hasTokens) return emit(draft, { type: 'JobQueued', job: index });
  if (!hasTokens && (hasPlace || waitsForRate)) return awaitTokens(draft, index, rate?.expectedMs);
  if (plannedJob(draft.plan, index).definition.concurrency?.policy === 'REJECT') {
    return refuse(draft, index, job.details?.group ?? '');
  }
  if (!waitsForRate) return;
  // It stands in line again, where a newer job may take its turn at once.
  if (place?.isReplaced === true) replace(draft, index);
  else emit(draft, { type: 'JobWaiting', job: index, reason: 'CONCURRENCY' });
}

function replace(draft: Draft, index: number): Reply {
  const { group = '' } = jobOf(draft, index).details ?? {};
  return cancelJob(draft, { type: 'CancelJob', job: index, reason: `a newer job of group ${group} takes its turn` });
}

/** Says once until when it is likely to wait, however often it is looked at. */
function awaitTokens(draft: Draft, index: number, expectedMs: number | undefined): void {
  const job = jobOf(draft, index);
  if (job.state === 'WAITING' && 'expectedMs' in job.wait) return;
  emit(draft, { type: 'JobWaiting', job: index, reason: 'RATE', ...(expectedMs !== undefined && { expectedMs }) });
}

/** Nothing is wrong with the job: nobody takes it now. */
function refuse(draft: Draft, index: number, name: string): void {
  const message = `every place of group ${name} is held, and the job is not to wait for one`;
  concludeJob(draft, index, { state: 'FAILED', failure: { class: 'REJECTED', message } });
}
