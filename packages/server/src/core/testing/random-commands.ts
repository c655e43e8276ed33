// Owns arbitrary sequences of commands. A step says what to try in words that fit any run; which job, attempt and time it means is
// found in the state that it meets, mostly so that it has an effect, and sometimes so that it is late, wrong or repeated.
import fc from 'fast-check';
import type { AttemptRef, Command } from '../commands.ts';
import { EVENT_VERSION } from '../event-versions.ts';
import { jobOf, liveOf } from '../run-state.ts';
import { dueOf } from '../alarms.ts';
import type { JobState } from '../states.ts';
import { jobNamed } from './definitions.ts';
import { attemptKey, type SimulatedLedger } from './simulated-ledger.ts';

export interface RandomStep {
  readonly kind: Kind;
  /** Picks among the jobs that the step fits, or among all when it is not aimed. */
  readonly pick: number;
  readonly aimed: boolean;
  /** What is added to the number of the newest attempt, and to the instance that holds it. */
  readonly wrongFence: number;
  readonly wrongInstance: number;
  readonly advanceMs: number;
  readonly random: number;
  readonly variant: number;
}

type Kind = Exclude<Command['type'], 'Create'> | 'Store' | 'Again';

const LIVE: readonly JobState[] = ['OFFERED', 'RUNNING', 'CANCELLING'];
const STARTED: readonly JobState[] = ['RUNNING', 'CANCELLING'];

/** How often each kind is tried, and in which states of a job it has an effect. */
const KINDS: Readonly<Record<Kind, { readonly weight: number; readonly fits: readonly JobState[] }>> = {
  Offer: { weight: 8, fits: ['QUEUED'] },
  Accept: { weight: 8, fits: ['OFFERED'] },
  Finish: { weight: 8, fits: STARTED },
  Timer: { weight: 6, fits: ['WAITING', 'QUEUED', ...STARTED] },
  Again: { weight: 5, fits: [] },
  Store: { weight: 6, fits: STARTED },
  Reject: { weight: 2, fits: ['OFFERED'] },
  Withdraw: { weight: 2, fits: ['OFFERED'] },
  Lose: { weight: 3, fits: LIVE },
  Adopt: { weight: 1, fits: STARTED },
  Annotate: { weight: 1, fits: STARTED },
  Declare: { weight: 1, fits: STARTED },
  CancelJob: { weight: 1, fits: ['BLOCKED', 'WAITING', 'QUEUED', ...LIVE] },
  CancelRun: { weight: 1, fits: [] },
  ReleaseBackoff: { weight: 1, fits: ['WAITING'] },
  PauseRun: { weight: 1, fits: [] },
  ResumeRun: { weight: 2, fits: [] },
  HoldJob: { weight: 1, fits: ['BLOCKED', 'WAITING', 'QUEUED', ...LIVE] },
  ReleaseJob: { weight: 2, fits: ['BLOCKED', 'WAITING', 'RUNNING'] },
  AppendJobs: { weight: 2, fits: STARTED },
  AnswerGate: { weight: 3, fits: ['WAITING'] },
  StartChild: { weight: 3, fits: ['WAITING'] },
  RefuseChild: { weight: 1, fits: ['WAITING'] },
  FinishChild: { weight: 3, fits: ['WAITING'] },
  ClaimPlace: { weight: 3, fits: ['WAITING', 'QUEUED', ...LIVE] },
};

const mostly = <T>(usual: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 9, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...others) });

const OF_LANGUAGE: readonly Kind[] = ['AppendJobs', 'AnswerGate', 'StartChild', 'RefuseChild', 'FinishChild'];
const EVERY_KIND = Object.keys(KINDS) as Kind[];

/** What may be asked of a run whose definition leaves nothing to it. */
export const randomSteps = stepsOf(EVERY_KIND.filter((kind) => !OF_LANGUAGE.includes(kind)));

/** What may be asked of any run. */
export const richSteps = stepsOf(EVERY_KIND);

function stepsOf(kinds: readonly Kind[]): fc.Arbitrary<RandomStep[]> {
  return fc.array(
    fc.record({
      kind: fc.oneof(...kinds.map((kind) => ({ weight: KINDS[kind].weight, arbitrary: fc.constant(kind) }))),
      pick: fc.nat(99),
      aimed: mostly(true, false),
      wrongFence: mostly(0, -1, 1),
      wrongInstance: mostly(0, 1),
      advanceMs: fc.constantFrom(0, 0, 1, 7, 45, -10),
      random: fc.constantFrom(0, 0.5, 0.999),
      variant: fc.nat(11),
    }),
    { maxLength: 100, size: 'max' },
  );
}

/** The command that a step means now, and when; undefined when it means none. `Store` changes what is stored of an attempt. */
export function commandFor(
  ledger: SimulatedLedger,
  step: RandomStep,
  history: readonly Command[],
): { readonly command: Command; readonly nowMs: number } | undefined {
  const nowMs = ledger.nowMs + step.advanceMs;
  if (step.kind === 'Again') {
    const command = history[step.pick % history.length];
    return command === undefined ? undefined : { command, nowMs };
  }
  const job = pickJob(ledger, step);
  if (job === undefined) return undefined;
  if (step.kind === 'Store') {
    storeContent(ledger, job, step);
    return undefined;
  }
  const command = build(ledger, step, step.kind, job);
  if (step.kind !== 'Timer' || !step.aimed) return { command, nowMs };
  const dueMs = dueOf(ledger.slice, job, jobOf(ledger.slice, job)) ?? nowMs;
  return { command, nowMs: Math.max(nowMs, dueMs) };
}

function pickJob(ledger: SimulatedLedger, { kind, pick, aimed }: RandomStep): number | undefined {
  const { fits } = KINDS[kind as Kind];
  const all = [...ledger.slice.jobs];
  const fitting = aimed && fits.length > 0 ? all.filter(([, job]) => fits.includes(job.state)) : all;
  return fitting[pick % fitting.length]?.[0];
}

/** As the log writer and the frames Output do. They read the clock by themselves, and may be ahead of the ledger. */
function storeContent(ledger: SimulatedLedger, job: number, { variant, advanceMs }: RandomStep): void {
  const key = attemptKey(job, jobOf(ledger.slice, job).attempt);
  const content = ledger.attempts.get(key);
  if (content?.state !== 'RUNNING') return;
  const logSize = content.logSize + variant;
  ledger.attempts.set(key, {
    ...content,
    logSize,
    logCrc32c: logSize * 31,
    outputs: { [`key${variant % 3}`]: variant },
    heardMs: ledger.nowMs + Math.max(0, advanceMs),
  });
}

function build(
  ledger: SimulatedLedger,
  { wrongFence, wrongInstance, random, variant }: RandomStep,
  type: Exclude<Command['type'], 'Create'>,
  job: number,
): Command {
  const record = jobOf(ledger.slice, job);
  const attempt = record.attempt + wrongFence;
  const ref: AttemptRef = { job, attempt, instance: (liveOf(record)?.instance ?? 1) + wrongInstance };
  const content = ledger.attempts.get(attemptKey(job, attempt));
  const retryAfter = variant % 4 === 0 ? { retryAfterMs: 33 } : {};
  switch (type) {
    case 'Offer':
      return { type, job, instance: 1 + (variant % 3), instanceId: `instance-${1 + (variant % 3)}` };
    case 'Accept':
    case 'Adopt':
      return { type, ...ref };
    case 'Reject':
      return { type, ...ref, reason: 'busy', invalid: variant === 1, random, ...retryAfter };
    case 'Withdraw':
      return { type, ...ref, expired: variant % 2 === 0, random };
    case 'Annotate': {
      const number = (content?.annotations ?? 0) + (variant % 3);
      return { type, ...ref, number, annotation: { level: 'INFO', text: 'noted', link: '' }, content };
    }
    case 'Declare': {
      const number = (content?.artifacts ?? 0) + (variant % 3);
      const artifact = { name: 'app', digest: 'crc32c:00000000', sizeBytes: variant, uri: '', mediaType: '' };
      return { type, ...ref, number, artifact, content };
    }
    case 'Finish': {
      const failureClass = (['WORKLOAD', 'DRIVER', 'INVALID'] as const)[variant % 3] ?? 'WORKLOAD';
      return {
        type,
        ...ref,
        outcome: (['SUCCEEDED', 'FAILED', 'FAILED', 'CANCELLED'] as const)[variant % 4] ?? 'SUCCEEDED',
        failureClass: variant < 9 ? 'WORKLOAD' : failureClass,
        message: `variant ${variant}`,
        logSize: (content?.logSize ?? 0) + (variant === 3 ? 5 : 0),
        logCrc32c: (content?.logCrc32c ?? 0) + (variant === 5 ? 1 : 0),
        logLost: variant === 7,
        random,
        content,
        ...retryAfter,
      };
    }
    case 'Lose': {
      const failureClass = variant === 1 ? 'INVALID' : 'INFRASTRUCTURE';
      return { type, ...ref, failureClass, message: 'gone', random, content };
    }
    case 'CancelRun':
      return { type, reason: 'no more', force: variant < 4 };
    case 'CancelJob':
      return { type, job, reason: 'not this one' };
    case 'ReleaseBackoff':
      return { type, job };
    case 'PauseRun':
    case 'ResumeRun':
      return { type, reason: 'wait', actor: 'ada' };
    case 'HoldJob':
    case 'ReleaseJob':
      return { type, job, reason: 'wait', actor: 'ada' };
    case 'AppendJobs': {
      const [need] = [...ledger.slice.plan.jobs].filter(({ index }) => index % 3 === variant % 3);
      const needs = need === undefined || need.definition.when === 'FINALLY' ? [] : [need.name];
      const added = jobNamed(`added-${job}-${variant % 4}`, variant < 6 ? { needs } : { when: 'ALWAYS' });
      return {
        type,
        ...ref,
        jobs: variant % 5 === 0 ? [added, jobNamed(`${added.name}-next`, { needs: [added.name] })] : [added],
        violations: variant === 7 ? [{ field: 'jobs[0].driver', description: 'is required' }] : [],
        content,
      };
    }
    case 'AnswerGate': {
      const actor = (['ada', 'ben', 'eve'] as const)[variant % 3] ?? 'ada';
      const verdict = variant === 0 ? 'REJECT' : 'APPROVE';
      return { type, job, actor, verdict, answers: { [`by-${actor}`]: variant }, comment: '', groups: [] };
    }
    case 'StartChild':
      return { type, job, childRun: `child-${job}` };
    case 'RefuseChild':
      return { type, job, message: 'there is no such pipeline' };
    case 'FinishChild': {
      const state = (['SUCCEEDED', 'FAILED', 'CANCELLED'] as const)[variant % 3] ?? 'SUCCEEDED';
      return { type, job, childRun: `child-${job}`, state, outputs: { build: { image: variant } } };
    }
    case 'ClaimPlace': {
      const place = { hasRoom: variant < 8, isReplaced: variant === 8, mustYield: variant === 9, holders: 1, limit: 1 };
      const isOfGroup = jobOf(ledger.slice, job).details?.group !== undefined;
      return {
        type,
        job,
        place: isOfGroup ? place : undefined,
        rate: { allowed: variant % 2 === 0, expectedMs: ledger.nowMs + 10 },
      };
    }
    case 'Timer':
      return { type, job, random, content, eventVersion: variant % 4 === 0 ? 1 : EVENT_VERSION };
  }
}
