// Owns what may never happen to an attempt, as checks of one step: who speaks for it, when it starts, how it ends, and whether its job is
// tried again. The formula of the backoff is written down here a second time on purpose.
import { expect } from 'vitest';
import { resultOf } from '../attempt.ts';
import { plannedJob } from '../plan.ts';
import { jobOf, liveOf } from '../run-state.ts';
import type { FailureClass } from '../states.ts';
import { attemptMoves } from './moves.ts';
import { claim, FINISHED, needAllows } from './run-invariants.ts';
import { attemptKey, type SimulatedLedger, type Step } from './simulated-ledger.ts';

/** Whoever does not hold the attempt in hand changes nothing, and is told; but an accepted result is acknowledged again. */
export function checkFence(attempts: SimulatedLedger['attempts'], { before, command, decision }: Step): void {
  if (!('attempt' in command)) return;
  const job = jobOf(before, command.job);
  if (job.attempt === command.attempt && liveOf(job)?.instance === command.instance) return;
  claim(decision.events.length === 0, `a ${command.type} with a stale fence changes nothing`);
  const result = attempts.get(attemptKey(command.job, command.attempt))?.result;
  const acknowledged = command.type === 'Finish' && result !== undefined && result === resultOf(command);
  claim(
    decision.reply.type === (acknowledged ? 'Finished' : 'Stale'),
    `a ${command.type} with a stale fence is told so`,
  );
}

export function checkAttempts(
  ledger: SimulatedLedger,
  before: SimulatedLedger['attempts'],
  { decision, command }: Step,
): void {
  const numbers = new Map<number, number>();
  for (const key of before.keys()) {
    const [job = 0, attempt = 0] = key.split('.').map(Number);
    numbers.set(job, Math.max(attempt, numbers.get(job) ?? 0));
  }
  for (const event of decision.events) {
    if (!('attempt' in event)) continue;
    if (event.type === 'AttemptOffered') {
      claim(event.attempt === (numbers.get(event.job) ?? 0) + 1, 'attempts are numbered from 1 without gaps');
      numbers.set(event.job, event.attempt);
      continue;
    }
    const content = before.get(attemptKey(event.job, event.attempt));
    claim(content !== undefined, 'only an attempt that was offered goes on');
    if (event.type === 'AttemptStarted') claim(content.state === 'OFFERED', 'only an offered attempt starts');
    else if (event.type === 'AttemptEnded') {
      claim(attemptMoves.has(`${content.state} ${event.state}`), `${content.state} attempt became ${event.state}`);
      const started = content.state === 'RUNNING';
      claim(event.logSize === (started ? content.logSize : 0), 'the log of an attempt is what is stored of it');
      expect(event.outputs, 'outputs are those of the attempt').toEqual(started ? content.outputs : undefined);
      claim(event.state !== 'SUCCEEDED' || command.type === 'Finish', 'only its driver says that an attempt succeeded');
    } else claim(content.state === 'RUNNING', `${event.type} of an attempt that runs`);
  }
  for (const [index, job] of decision.after.jobs) {
    const live = [...ledger.attempts.entries()].filter(
      ([key, { state }]) => key.startsWith(`${index}.`) && (state === 'OFFERED' || state === 'RUNNING'),
    );
    const expected = liveOf(job) === undefined ? [] : [attemptKey(index, job.attempt)];
    expect(
      live.map(([key]) => key),
      'a job has its newest attempt in hand, or none',
    ).toEqual(expected);
  }
}

export function checkStarts({ before, decision }: Step): void {
  const { run, plan } = decision.after;
  for (const event of decision.events) {
    if (event.type !== 'AttemptStarted') continue;
    const { definition, needs } = plannedJob(plan, event.job);
    claim(
      needs.every((need) => needAllows(jobOf(decision.after, need), definition.when)),
      'a job runs only when its needs allow it',
    );
    claim(before.jobs.get(event.job)?.state !== 'CANCELLING', 'a job does not run after its cancel');
    claim(before.run.pause === undefined && run.pause === undefined, 'a paused run starts no job');
    claim(before.jobs.get(event.job)?.hold === undefined, 'a job that is held does not start');
    const { cancel } = run;
    const outlives = definition.when === 'ALWAYS' || definition.when === 'FINALLY';
    claim(cancel === undefined || (outlives && !cancel.force), 'a cancelled run starts no job');
  }
}

/** Silence ends an attempt that was not heard of, and no other; hearing of it is noted once in a silence timeout. */
export function checkSilence(attempts: SimulatedLedger['attempts'], { before, command, decision }: Step): void {
  for (const event of decision.events) {
    const isSilence = event.type === 'AttemptTimedOut' && event.silenceMs !== undefined;
    if (event.type !== 'AttemptHeard' && !isSilence) continue;
    const { silenceMs } = plannedJob(decision.after.plan, event.job).definition.timeouts;
    const live = liveOf(jobOf(before, event.job));
    claim(silenceMs !== undefined && live?.attemptStartedMs !== undefined, 'only a started attempt falls silent');
    claim(command.type === 'Timer' && command.eventVersion >= 2, 'older replicas do not see what they do not know');
    const nowMs = decision.after.run.lastMs;
    claim(nowMs >= (live.heardMs ?? live.attemptStartedMs) + silenceMs, 'silence is not looked at before its time');
    const notedMs = attempts.get(attemptKey(event.job, event.attempt))?.heardMs ?? live.attemptStartedMs;
    const heardMs = Math.min(notedMs, nowMs);
    claim(isSilence === nowMs >= heardMs + silenceMs, 'an attempt that was heard of is not silent, and any other is');
    if (event.type === 'AttemptHeard') claim(event.heardMs === heardMs, 'it was heard of when it was');
  }
}

export function checkRetries(ledger: SimulatedLedger, { command, decision }: Step): void {
  const after = decision.after;
  for (const [i, event] of decision.events.entries()) {
    const ended = decision.events[i - 1];
    const retried = ended?.type === 'AttemptEnded' && ended.failure !== undefined;
    if (!retried || (event.type !== 'JobWaiting' && event.type !== 'JobQueued')) continue;
    const untilMs = (waiting: typeof event): number => {
      const { lastMs } = after.run;
      if (waiting.type === 'JobQueued') return lastMs;
      return (
        ('untilMs' in waiting ? waiting.untilMs : 'behind' in waiting ? waiting.behind?.untilMs : undefined) ?? lastMs
      );
    };
    const failures = failuresOf(ledger, event.job);
    const failure = failures.at(-1);
    claim(
      failure !== undefined && failure !== 'INVALID',
      'only a failure that may be retried is followed by a backoff',
    );
    const { retry } = plannedJob(after.plan, event.job).definition;
    const nth = failures.filter((one) => one === failure).length;
    claim(nth <= retry.budgets[failure], 'a class of failures is retried within its budget');
    const full = Math.min(retry.maxBackoffMs, retry.initialBackoffMs * retry.backoffFactor ** (nth - 1));
    const asked = 'retryAfterMs' in command ? (command.retryAfterMs ?? 0) : 0;
    const delayMs = untilMs(event) - after.run.lastMs;
    claim(delayMs >= Math.max(asked, Math.floor(full * (1 - retry.jitter))), 'a backoff is not too short');
    claim(delayMs <= Math.max(asked, Math.ceil(full)), 'a backoff is not too long');
  }
  for (const [index, job] of after.jobs) {
    if (FINISHED.includes(job.state)) continue;
    const failures = failuresOf(ledger, index);
    const { budgets } = plannedJob(after.plan, index).definition.retry;
    claim(!failures.includes('INVALID') || job.state === 'CANCELLING', 'what is invalid is never retried');
    for (const [failure, budget] of Object.entries(budgets)) {
      const count = failures.filter((one) => one === failure).length;
      claim(count <= budget || job.state === 'CANCELLING', 'no job goes on beyond its budget');
    }
  }
}

function failuresOf(ledger: SimulatedLedger, job: number): FailureClass[] {
  return ledger.entries.flatMap(({ event }) =>
    event.type === 'AttemptEnded' && event.job === job && event.failure !== undefined ? [event.failure.class] : [],
  );
}
