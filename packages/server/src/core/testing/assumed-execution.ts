// Owns the execution of a run in a simulated ledger by drivers, people and called runs that end as they are told to, in any order.
import fc from 'fast-check';
import { type AssumedOutcome, type Assumptions, isSkippedByTime } from '../assumptions.ts';
import type { Command } from '../commands.ts';
import type { Definition } from '../definition.ts';
import { dueOf } from '../alarms.ts';
import type { JsonObject } from '../json.ts';
import { plannedJob } from '../plan.ts';
import { type JobRecord, jobOf } from '../run-state.ts';
import { isJobFinished } from '../states.ts';
import { timerOf } from './driver.ts';
import { attemptKey, openLedger, type SimulatedLedger, submit } from './simulated-ledger.ts';

/** How every job of a run ends, whether or not that is assumed. */
export type Ends = (name: string, group: string) => AssumedOutcome;

/**
 * Runs a definition to its end.
 * @param random Which of the jobs that may go on does; undefined: the one that was ready first, with its retries.
 */
export function execute(definition: Definition, ends: Ends, random: (() => number) | undefined): SimulatedLedger {
  const ledger = openLedger(definition);
  submit(ledger, { type: 'Create', trigger: { kind: 'api', actor: '', reference: '' } });
  while (ledger.slice.run.finishedMs === undefined) {
    const able = [...ledger.slice.jobs].filter(([, job]) => canGoOn(job));
    const next = random === undefined ? firstReady(ledger, able) : able[Math.floor(random() * able.length)];
    if (next === undefined) throw new Error('the run does not come to an end');
    goOn(ledger, ends, ...next);
  }
  return ledger;
}

function canGoOn(job: JobRecord): boolean {
  if (job.state === 'BLOCKED' || isJobFinished(job.state)) return false;
  return job.state !== 'WAITING' || job.wait.reason !== 'MATRIX';
}

const READY: ReadonlySet<string> = new Set(['JobQueued', 'JobWaiting', 'AttemptOffered']);

function firstReady(
  { entries }: SimulatedLedger,
  able: readonly (readonly [number, JobRecord])[],
): readonly [number, JobRecord] | undefined {
  // Of a job that was queued when its run was created, the first event is an offer.
  const place = (job: number): number => {
    const at = entries.findIndex(({ event }) => READY.has(event.type) && 'job' in event && event.job === job);
    return entries[at]?.event.type === 'AttemptOffered' ? 0 : Math.max(at, 0);
  };
  const rank = ([index, job]: readonly [number, JobRecord]): readonly number[] => {
    const isRetry = job.attempt > 0 && job.state !== 'RUNNING' && job.state !== 'CANCELLING';
    const isStart = job.state === 'QUEUED' || job.state === 'OFFERED' || waitsForShare(job);
    return [isRetry ? 0 : isStart ? 1 : 2, place(index), index];
  };
  return able.toSorted((a, b) => {
    const [x, y] = [rank(a), rank(b)];
    return (x[0] ?? 0) - (y[0] ?? 0) || (x[1] ?? 0) - (y[1] ?? 0) || (x[2] ?? 0) - (y[2] ?? 0);
  })[0];
}

function waitsForShare(job: JobRecord): boolean {
  return job.state === 'WAITING' && (job.wait.reason === 'CONCURRENCY' || job.wait.reason === 'RATE');
}

function goOn(ledger: SimulatedLedger, ends: Ends, job: number, record: JobRecord): void {
  const { name, definition } = plannedJob(ledger.slice.plan, job);
  const end = ends(name, definition.name);
  const { attempt, state } = record;
  if (state === 'QUEUED') {
    submit(ledger, { type: 'Offer', job, instance: 1, instanceId: 'told' });
    submit(ledger, { type: 'Accept', job, attempt: attempt + 1, instance: 1 });
  } else if (state === 'RUNNING' || state === 'CANCELLING') {
    if (state === 'RUNNING' && end.outcome === 'CANCELLED') submit(ledger, { type: 'CancelJob', job, reason: '' });
    const key = attemptKey(job, attempt);
    const content = ledger.attempts.get(key);
    if (content !== undefined && end.outputs !== undefined)
      ledger.attempts.set(key, { ...content, outputs: end.outputs });
    submit(ledger, finishOf(job, jobOf(ledger.slice, job), end));
  } else if (state === 'WAITING') goOnWaiting(ledger, job, record, end);
}

function finishOf(job: number, { attempt, state }: JobRecord, { outcome }: AssumedOutcome): Command {
  const log = { logSize: 0, logCrc32c: 0, logLost: false };
  const told = state === 'CANCELLING' ? 'CANCELLED' : outcome === 'SUCCEEDED' ? 'SUCCEEDED' : 'FAILED';
  const failure = { failureClass: 'WORKLOAD', message: 'told to' } as const;
  return {
    type: 'Finish',
    job,
    attempt,
    instance: 1,
    outcome: told,
    ...failure,
    ...log,
    random: 0,
    content: undefined,
  };
}

function goOnWaiting(
  ledger: SimulatedLedger,
  job: number,
  record: Extract<JobRecord, { state: 'WAITING' }>,
  { outcome, outputs = {} }: AssumedOutcome,
): void {
  const isChild = record.wait.reason === 'CHILD_RUN';
  if (waitsForShare(record)) {
    const place = { hasRoom: true, isReplaced: false, mustYield: false, holders: 0, limit: 1 };
    submit(ledger, { type: 'ClaimPlace', job, place, rate: { allowed: true, expectedMs: 0 } });
  } else if (record.wait.reason === 'BACKOFF') {
    submit(ledger, { type: 'ReleaseBackoff', job });
  } else if (isChild && record.details?.childRun === undefined) {
    submit(ledger, { type: 'StartChild', job, childRun: 'child' });
  } else if (outcome === 'CANCELLED' && !('stopping' in record.wait)) {
    submit(ledger, { type: 'CancelJob', job, reason: '' });
  } else if (isChild) {
    const state = 'stopping' in record.wait || outcome === 'SKIPPED' ? 'CANCELLED' : outcome;
    submit(ledger, { type: 'FinishChild', job, childRun: 'child', state, outputs });
  } else if (outcome === 'SKIPPED') {
    ledger.nowMs = Math.max(ledger.nowMs, dueOf(ledger.slice, job, record) ?? 0);
    submit(ledger, { ...timerOf(job), content: undefined });
  } else {
    const given = record.details?.answers?.length ?? 0;
    const verdict = outcome === 'SUCCEEDED' ? 'APPROVE' : 'REJECT';
    const answers: JsonObject = given === 0 ? outputs : {};
    submit(ledger, { type: 'AnswerGate', job, actor: `${given}`, verdict, answers, comment: '', groups: [] });
  }
}

/** How a job may end, and whether that, and whether its outputs, are assumed. */
export interface RandomEnd {
  readonly outcome: 'SUCCEEDED' | 'FAILED' | 'CANCELLED';
  readonly outputs: JsonObject;
  readonly isAssumed: boolean;
  readonly knowsOutputs: boolean;
  /** Of a gate whose timeout may skip it. */
  readonly expires: boolean;
}

export const randomEnds: fc.Arbitrary<readonly RandomEnd[]> = fc.array(
  fc.record({
    outcome: fc.oneof(
      { weight: 5, arbitrary: fc.constant('SUCCEEDED' as const) },
      { weight: 2, arbitrary: fc.constant('FAILED' as const) },
      { weight: 1, arbitrary: fc.constant('CANCELLED' as const) },
    ),
    outputs: fc.constantFrom<JsonObject>({}, { key1: 1 }, { key1: 2, list: ['x', 'y'] }, { list: [] }),
    isAssumed: fc.boolean(),
    knowsOutputs: fc.boolean(),
    expires: fc.boolean(),
  }),
  { minLength: 9, maxLength: 9, size: 'max' },
);

const CELLS = ['1', '2', '3', 'a', 'b', 'x', 'y'];

/** What is assumed of a definition, and how all of its jobs then end: as assumed, and otherwise as they like. */
export function endsOf(
  { jobs }: Definition,
  random: readonly RandomEnd[],
): { readonly assumed: Assumptions; readonly ends: Ends } {
  const assumed = new Map<string, AssumedOutcome>();
  const all = new Map<string, AssumedOutcome>();
  jobs.forEach((job, nth) => {
    const names = [job.name, ...(job.matrix === undefined ? [] : CELLS.map((cell) => `${job.name}[${cell}]`))];
    names.forEach((name, cell) => {
      const end = random[(nth + 2 * cell) % random.length];
      if (end === undefined) return;
      const expires = end.expires && isSkippedByTime(job);
      const outcome = !end.isAssumed ? 'SUCCEEDED' : expires ? 'SKIPPED' : end.outcome;
      const { outputs } = end;
      all.set(name, { outcome, outputs });
      if (end.isAssumed) assumed.set(name, { outcome, ...(end.knowsOutputs && { outputs }) });
    });
  });
  const fallsBack = (name: string, group: string): boolean => !assumed.has(name) && assumed.has(group);
  const ends: Ends = (name, group) =>
    all.get(fallsBack(name, group) ? group : name) ?? all.get(group) ?? { outcome: 'SUCCEEDED', outputs: {} };
  return { assumed, ends };
}
