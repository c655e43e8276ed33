// Owns what may never happen in a ledger, as checks of one step and of all events. They know the definition, the events and the rows,
// and nothing of how decisions are made; the graphs and the formula of the backoff are written down here a second time on purpose.
import { expect } from 'vitest';
import { resultOf } from '../attempt.ts';
import type { Command, Reply } from '../commands.ts';
import type { RunEvent } from '../events.ts';
import { type Plan, plannedJob } from '../plan.ts';
import { createReplay, startPoint } from '../replay.ts';
import { type JobRecord, jobOf, JobsNotLoaded, liveOf, type RunSlice } from '../run-state.ts';
import type { FailureClass, JobState, RunState } from '../states.ts';
import { checkAlarms, checkState, claim, FINISHED, needAllows } from './run-invariants.ts';
import { attemptKey, type Decide, type SimulatedLedger, type Step } from './simulated-ledger.ts';

const RUN_MOVES = `
  PENDING    -> RUNNING CANCELLING
  RUNNING    -> CANCELLING SUCCEEDED FAILED
  CANCELLING -> CANCELLED`;

const JOB_MOVES = `
  BLOCKED    -> WAITING QUEUED FAILED SKIPPED CANCELLED
  WAITING    -> QUEUED SUCCEEDED FAILED SKIPPED CANCELLED
  QUEUED     -> WAITING OFFERED FAILED CANCELLED
  OFFERED    -> RUNNING QUEUED WAITING CANCELLING
  RUNNING    -> SUCCEEDED FAILED QUEUED WAITING CANCELLING
  CANCELLING -> CANCELLED SUCCEEDED FAILED`;

const ATTEMPT_MOVES = `
  OFFERED -> RUNNING REJECTED EXPIRED CANCELLED LOST
  RUNNING -> SUCCEEDED FAILED CANCELLED TIMED_OUT LOST`;

/** The moves of a graph as `FROM TO`. */
export function movesOf(graph: string): ReadonlySet<string> {
  const lines = graph.trim().split('\n');
  return new Set(
    lines.flatMap((line) => {
      const [from = '', to = ''] = line.split('->');
      return to
        .trim()
        .split(' ')
        .map((state) => `${from.trim()} ${state}`);
    }),
  );
}

export const runMoves = movesOf(RUN_MOVES);
export const jobMoves = movesOf(JOB_MOVES);
export const attemptMoves = movesOf(ATTEMPT_MOVES);

/** Fails unless the step kept to every promise. To be called right after it. */
export function checkStep(ledger: SimulatedLedger, attemptsBefore: SimulatedLedger['attempts'], step: Step): void {
  checkMoves(step);
  checkFence(attemptsBefore, step);
  checkTouched(step);
  checkAttempts(ledger, attemptsBefore, step);
  checkStarts(step);
  checkCancels(step);
  checkHoldBacks(step);
  checkSilence(attemptsBefore, step);
  checkRetries(ledger, step);
  checkState(step.decision.after);
  checkSlices(ledger.decideWith, step);
  checkRepetition(ledger, step);
  checkAlarms(ledger);
}

/** Fails unless the events alone, as they are stored, rebuild the run. */
export function checkReplay(ledger: SimulatedLedger): void {
  const stored = JSON.parse(JSON.stringify(ledger.entries)) as typeof ledger.entries;
  const replay = createReplay(startPoint(ledger.slice.plan));
  for (const [i, entry] of stored.entries()) replay.take({ ...entry, seq: i + 1 });
  const rebuilt = replay.slice;
  expect(rebuilt.run).toEqual(ledger.slice.run);
  expect(new Map(rebuilt.jobs)).toEqual(new Map(ledger.slice.jobs));
  claim(rebuilt.run.seq === stored.length, 'the run counts each of its events once');
}

function checkMoves({ before, decision, nowMs }: Step): void {
  const { events, marks, after } = decision;
  claim(after.run.seq === before.run.seq + events.length, 'seq has no gap and no repeat');
  claim(events.length > 0 || after.run === before.run, 'nothing changes without an event');
  const timeMs = events.length > 0 ? Math.max(nowMs, before.run.lastMs) : before.run.lastMs;
  claim(after.run.lastMs === timeMs, 'the time of an event is now, and never before the event before it');
  let run: RunState = before.run.state;
  const jobs = new Map([...before.jobs].map(([index, job]): [number, JobState] => [index, job.state]));
  for (const [i, event] of events.entries()) {
    const mark = marks[i];
    claim(mark !== undefined, 'each event tells the states after it');
    claim(mark.run === run || runMoves.has(`${run} ${mark.run}`), `a run does not go from ${run} to ${mark.run}`);
    run = mark.run;
    if (event.type === 'RunCreated') {
      for (const [index, job] of after.jobs) jobs.set(index, 'inheritedFrom' in job ? job.state : 'BLOCKED');
      continue;
    }
    if (!('job' in event)) continue;
    const from = jobs.get(event.job);
    const to = mark.job;
    claim(from !== undefined && to !== undefined, 'an event about a job tells its state');
    claim(!FINISHED.includes(from), `a job that is ${from} changes no more`);
    claim(to === from || jobMoves.has(`${from} ${to}`), `a job does not go from ${from} to ${to}`);
    jobs.set(event.job, to);
    for (const added of addedBy(after.plan, event)) jobs.set(added, 'BLOCKED');
  }
  claim(run === after.run.state, 'the state of the run is the one after its last event');
}

/** The jobs that an event adds to the run. */
function addedBy(plan: Plan, event: RunEvent): readonly number[] {
  if (event.type === 'JobsAdded') return plannedJob(plan, event.job).cells ?? [];
  if (event.type !== 'JobsAppended') return [];
  const names = event.jobs.map(({ name }) => name);
  return plan.jobs.filter(({ name }) => names.includes(name)).map(({ index }) => index);
}

/** Whoever does not hold the attempt in hand changes nothing, and is told; but an accepted result is acknowledged again. */
function checkFence(attempts: SimulatedLedger['attempts'], { before, command, decision }: Step): void {
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

function checkTouched({ before, given, decision }: Step): void {
  expect({ run: before.run, jobs: new Map(before.jobs) }, 'a decision leaves what it was given as it is').toEqual(
    given,
  );
  for (const [index, job] of decision.after.jobs) {
    claim(before.jobs.get(index) === job || decision.touched.has(index), 'a changed job is told as touched');
  }
}

function checkAttempts(
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

function checkStarts({ before, decision }: Step): void {
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

const STOPPED: readonly JobState[] = ['CANCELLING', 'SUCCEEDED', 'FAILED', 'SKIPPED', 'CANCELLED'];

function checkCancels({ command, decision }: Step): void {
  if (decision.reply.type !== 'Done') return;
  const { run, plan } = decision.after;
  if (command.type === 'CancelJob') {
    claim(isStopped(decision.after, command.job), 'a job is stopped once its cancel is acknowledged');
  }
  if (command.type !== 'CancelRun') return;
  claim(run.state === 'CANCELLING' || run.state === 'CANCELLED', 'a run is stopped once its cancel is acknowledged');
  for (const { index, definition } of plan.jobs) {
    const outlives = definition.when === 'ALWAYS' || definition.when === 'FINALLY';
    if (outlives && !command.force) continue;
    claim(isStopped(decision.after, index), 'a cancelled run leaves nothing going but what runs always');
  }
}

/** A matrix is stopped as its cells are, and a call once its run is to be. */
function isStopped(slice: RunSlice, index: number): boolean {
  const job = jobOf(slice, index);
  if (job.state !== 'WAITING' || !('sinceMs' in job.wait)) return STOPPED.includes(job.state);
  const { cells = [] } = plannedJob(slice.plan, index);
  return job.wait.stopping !== undefined && cells.every((cell) => isStopped(slice, cell));
}

/** Who was told that something is held back, or goes on, finds it so. */
function checkHoldBacks({ command, decision }: Step): void {
  if (decision.reply.type !== 'Done') return;
  const { after } = decision;
  if (command.type === 'PauseRun') claim(after.run.pause !== undefined, 'a run is paused once that is acknowledged');
  if (command.type === 'ResumeRun') claim(after.run.pause === undefined, 'a run goes on once that is acknowledged');
  if (command.type !== 'HoldJob' && command.type !== 'ReleaseJob') return;
  const isHeld = jobOf(after, command.job).hold !== undefined;
  claim(isHeld === (command.type === 'HoldJob'), 'a job is held, or let go, once that is acknowledged');
}

/** Silence ends an attempt that was not heard of, and no other; hearing of it is noted once in a silence timeout. */
function checkSilence(attempts: SimulatedLedger['attempts'], { before, command, decision }: Step): void {
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

function checkRetries(ledger: SimulatedLedger, { command, decision }: Step): void {
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

/** What a decision on nothing but the jobs that it asks for comes to is what it comes to on the whole run. */
function checkSlices(decideWith: Decide, { before, command, nowMs, decision }: Step): void {
  const jobs = new Map<number, JobRecord>();
  for (;;) {
    try {
      const narrow = decideWith({ ...before, jobs }, command, nowMs);
      expect(narrow.reply).toEqual(decision.reply);
      expect(narrow.events).toEqual(decision.events);
      expect(narrow.marks).toEqual(decision.marks);
      expect(narrow.after.run).toEqual(decision.after.run);
      expect(narrow.touched).toEqual(decision.touched);
      for (const index of decision.touched) {
        expect(narrow.after.jobs.get(index)).toEqual(decision.after.jobs.get(index));
      }
      return;
    } catch (error) {
      if (!(error instanceof JobsNotLoaded)) throw error;
      claim(error.jobs.length > 0, 'a decision that wants jobs names them');
      for (const index of error.jobs) {
        claim(!jobs.has(index), 'a decision wants only jobs that it lacks');
        jobs.set(index, jobOf(before, index));
      }
    }
  }
}

/** Whose reply may change when it is repeated: the attempt is gone by its own doing, or was taken. */
const ENDS_ITSELF: readonly Command['type'][] = ['Offer', 'Reject', 'Withdraw', 'Lose'];

const LETS_GO: readonly Command['type'][] = ['ResumeRun', 'ReleaseJob'];

function checkRepetition(ledger: SimulatedLedger, { command, decision, nowMs }: Step): void {
  // A second adoption is recorded as well: the session lets only orphans through.
  if (command.type === 'Adopt') return;
  const stored = 'content' in command && 'attempt' in command;
  const content = stored ? ledger.attempts.get(attemptKey(command.job, command.attempt)) : undefined;
  const again = ledger.decideWith(ledger.slice, stored ? ({ ...command, content } as Command) : command, nowMs);
  claim(again.events.length === 0, `a repeated ${command.type} has no second effect`);
  const same = again.reply.type === decision.reply.type;
  const gone = again.reply.type === 'Stale' && ENDS_ITSELF.includes(command.type);
  // What goes on may come to its end at once: a matrix without cells.
  const over = again.reply.type === 'Refused' && again.reply.refusal.refused === 'ALREADY_FINISHED';
  const ended = over && LETS_GO.includes(command.type);
  claim(same || gone || ended, `a repeated ${command.type} has the same answer`);
  if (same) expect(withoutState(again.reply)).toEqual(withoutState(decision.reply));
}

function withoutState(reply: Reply): Reply {
  return reply.type === 'Stale' ? { type: 'Stale' } : reply;
}
