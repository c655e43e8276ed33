// Every command in every situation of a job, and what it comes to: the reply, the events, and the state of the job after them. What a
// column does not name comes to its `otherwise`.
import { describe, expect, test } from 'vitest';
import type { AttemptRef, Command } from './commands.ts';
import { DEFAULT_RETRY, DEFAULT_TIMEOUTS } from './definition.ts';
import type { RunEvent } from './events.ts';
import { isJobFinished } from './states.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { timerOf } from './testing/driver.ts';
import { openLedger, type SimulatedLedger, type Step, submit } from './testing/simulated-ledger.ts';

const SUBJECT = 1;
const INSTANCE = 7;
const HOLDER: AttemptRef = { job: SUBJECT, attempt: 1, instance: INSTANCE };
const NAMES = ['first', 'subject', 'after', 'aside'];

const definition = definitionOf(
  jobNamed('first'),
  jobNamed('subject', {
    needs: ['first'],
    retry: { ...DEFAULT_RETRY, budgets: { ...DEFAULT_RETRY.budgets, WORKLOAD: 1, DRIVER: 0 }, jitter: 0 },
    timeouts: { ...DEFAULT_TIMEOUTS, runMs: 5_000, queueMs: 60_000, cancelGraceMs: 1_000 },
  }),
  jobNamed('after', { needs: ['subject'] }),
  // Keeps the run open.
  jobNamed('aside', { when: 'ALWAYS' }),
);

const create: Command = { type: 'Create', trigger: { kind: 'api', actor: '', reference: '' } };
const result = { failureClass: 'WORKLOAD', message: 'done', logSize: 0, logCrc32c: 0, logLost: false } as const;
const unknown = { random: 0, content: undefined };
const asker = { reason: 'not now', actor: 'ada' };

function offerOf(job: number): Command {
  return { type: 'Offer', job, instance: INSTANCE, instanceId: 'runner' };
}

function finishOf(ref: AttemptRef, outcome: 'SUCCEEDED' | 'FAILED' | 'CANCELLED'): Command {
  return { type: 'Finish', ...ref, ...result, ...unknown, outcome };
}

const ARTIFACT = { name: 'app', digest: 'crc32c:00000000', sizeBytes: 1, uri: '', mediaType: '' };

const COMMANDS = {
  create,
  offer: offerOf(SUBJECT),
  accept: { type: 'Accept', ...HOLDER },
  reject: { type: 'Reject', ...HOLDER, reason: 'busy', invalid: false, random: 0 },
  'reject as invalid': { type: 'Reject', ...HOLDER, reason: 'what?', invalid: true, random: 0 },
  withdraw: { type: 'Withdraw', ...HOLDER, expired: false, random: 0 },
  expire: { type: 'Withdraw', ...HOLDER, expired: true, random: 0 },
  adopt: { type: 'Adopt', ...HOLDER },
  annotate: {
    type: 'Annotate',
    ...HOLDER,
    number: 1,
    annotation: { level: 'INFO', text: 'x', link: '' },
    content: undefined,
  },
  declare: { type: 'Declare', ...HOLDER, number: 1, artifact: ARTIFACT, content: undefined },
  'finish well': finishOf(HOLDER, 'SUCCEEDED'),
  'finish badly': finishOf(HOLDER, 'FAILED'),
  'finish stopped': finishOf(HOLDER, 'CANCELLED'),
  lose: { type: 'Lose', ...HOLDER, ...unknown, failureClass: 'INFRASTRUCTURE', message: 'gone' },
  'lose as invalid': { type: 'Lose', ...HOLDER, ...unknown, failureClass: 'INVALID', message: 'broken' },
  'cancel the job': { type: 'CancelJob', job: SUBJECT, reason: 'no' },
  'cancel the run': { type: 'CancelRun', reason: 'no', force: false },
  'cancel the run by force': { type: 'CancelRun', reason: 'no', force: true },
  'release the backoff': { type: 'ReleaseBackoff', job: SUBJECT },
  'pause the run': { type: 'PauseRun', ...asker },
  'resume the run': { type: 'ResumeRun', ...asker },
  'hold the job': { type: 'HoldJob', job: SUBJECT, ...asker },
  'release the job': { type: 'ReleaseJob', job: SUBJECT, ...asker },
  'fire timers in time': timerOf(SUBJECT),
  'fire timers late': timerOf(SUBJECT),
} as const satisfies Record<string, Command>;

type CommandName = keyof typeof COMMANDS;

const NEEDED: readonly Command[] = [create, offerOf(0), { type: 'Accept', job: 0, attempt: 1, instance: INSTANCE }];
const READY = [...NEEDED, finishOf({ ...HOLDER, job: 0 }, 'SUCCEEDED')];
const { offer, accept } = COMMANDS;

/** How a fresh run gets there. `fire timers late` is a timer an hour later. */
const SITUATIONS = {
  BLOCKED: [create],
  QUEUED: READY,
  OFFERED: [...READY, offer],
  RUNNING: [...READY, offer, accept],
  'RUNNING too long': [...READY, offer, accept, 'fire timers late'],
  'RUNNING too long, to be killed': [...READY, offer, accept, 'fire timers late', 'fire timers late'],
  CANCELLING: [...READY, offer, accept, COMMANDS['cancel the job']],
  'CANCELLING, to be killed': [...READY, offer, accept, COMMANDS['cancel the job'], 'fire timers late'],
  WAITING: [...READY, offer, accept, COMMANDS['finish badly']],
  'BLOCKED, held': [create, COMMANDS['hold the job']],
  'BLOCKED while paused': [create, COMMANDS['pause the run']],
  'WAITING, held': [...READY, COMMANDS['hold the job']],
  'WAITING while paused': [...READY, COMMANDS['pause the run']],
  'WAITING for a retry, held': [...READY, offer, accept, COMMANDS['finish badly'], COMMANDS['hold the job']],
  'RUNNING, held': [...READY, offer, accept, COMMANDS['hold the job']],
  'RUNNING while paused': [...READY, offer, accept, COMMANDS['pause the run']],
  SUCCEEDED: [...READY, offer, accept, COMMANDS['finish well']],
  FAILED: [...READY, offer, COMMANDS['reject as invalid']],
  SKIPPED: [...NEEDED, finishOf({ ...HOLDER, job: 0 }, 'FAILED')],
  CANCELLED: [...READY, offer, COMMANDS['cancel the job']],
} as const satisfies Record<string, readonly (Command | 'fire timers late')[]>;

type Situation = keyof typeof SITUATIONS;

const TABLE: Readonly<Record<CommandName, Partial<Record<Situation, string>> & { readonly otherwise: string }>> = {
  create: { otherwise: 'Done' },
  offer: { QUEUED: 'Done: AttemptOffered -> OFFERED', otherwise: 'Stale' },
  accept: {
    OFFERED: 'Done: AttemptStarted -> RUNNING',
    RUNNING: 'Done',
    'RUNNING too long': 'Done',
    'RUNNING too long, to be killed': 'Done',
    CANCELLING: 'Done',
    'CANCELLING, to be killed': 'Done',
    'RUNNING, held': 'Done',
    'RUNNING while paused': 'Done',
    otherwise: 'Stale',
  },
  reject: { OFFERED: 'Done: AttemptEnded REJECTED, JobWaiting BACKOFF -> WAITING', otherwise: 'Stale' },
  'reject as invalid': {
    OFFERED: 'Done: AttemptEnded REJECTED, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    otherwise: 'Stale',
  },
  withdraw: { OFFERED: 'Done: AttemptEnded EXPIRED, JobQueued -> QUEUED', otherwise: 'Stale' },
  expire: { OFFERED: 'Done: AttemptEnded EXPIRED, JobWaiting BACKOFF -> WAITING', otherwise: 'Stale' },
  adopt: {
    RUNNING: 'Done: AttemptAdopted -> RUNNING',
    'RUNNING too long': 'Done: AttemptAdopted -> RUNNING',
    'RUNNING too long, to be killed': 'Done: AttemptAdopted -> RUNNING',
    CANCELLING: 'Done: AttemptAdopted -> CANCELLING',
    'CANCELLING, to be killed': 'Done: AttemptAdopted -> CANCELLING',
    'RUNNING, held': 'Done: AttemptAdopted -> RUNNING',
    'RUNNING while paused': 'Done: AttemptAdopted -> RUNNING',
    otherwise: 'Stale',
  },
  annotate: {
    RUNNING: 'Done: AttemptAnnotated -> RUNNING',
    'RUNNING too long': 'Done: AttemptAnnotated -> RUNNING',
    'RUNNING too long, to be killed': 'Done: AttemptAnnotated -> RUNNING',
    CANCELLING: 'Done: AttemptAnnotated -> CANCELLING',
    'CANCELLING, to be killed': 'Done: AttemptAnnotated -> CANCELLING',
    'RUNNING, held': 'Done: AttemptAnnotated -> RUNNING',
    'RUNNING while paused': 'Done: AttemptAnnotated -> RUNNING',
    otherwise: 'Stale',
  },
  declare: {
    RUNNING: 'Done: AttemptArtifact -> RUNNING',
    'RUNNING too long': 'Done: AttemptArtifact -> RUNNING',
    'RUNNING too long, to be killed': 'Done: AttemptArtifact -> RUNNING',
    CANCELLING: 'Done: AttemptArtifact -> CANCELLING',
    'CANCELLING, to be killed': 'Done: AttemptArtifact -> CANCELLING',
    'RUNNING, held': 'Done: AttemptArtifact -> RUNNING',
    'RUNNING while paused': 'Done: AttemptArtifact -> RUNNING',
    otherwise: 'Stale',
  },
  'finish well': {
    RUNNING: 'Finished: AttemptEnded SUCCEEDED, JobFinished SUCCEEDED, after JobQueued -> SUCCEEDED',
    'RUNNING too long': 'Finished: AttemptEnded TIMED_OUT, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    'RUNNING too long, to be killed':
      'Finished: AttemptEnded TIMED_OUT, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    CANCELLING: 'Finished: AttemptEnded SUCCEEDED, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'CANCELLING, to be killed':
      'Finished: AttemptEnded SUCCEEDED, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    // It is this very result that was accepted.
    SUCCEEDED: 'Finished',
    'RUNNING, held': 'Finished: AttemptEnded SUCCEEDED, JobFinished SUCCEEDED, after JobQueued -> SUCCEEDED',
    'RUNNING while paused':
      'Finished: AttemptEnded SUCCEEDED, JobFinished SUCCEEDED, after JobWaiting PAUSED -> SUCCEEDED',
    otherwise: 'Stale',
  },
  'finish badly': {
    RUNNING: 'Finished: AttemptEnded FAILED, JobWaiting BACKOFF -> WAITING',
    'RUNNING too long': 'Finished: AttemptEnded TIMED_OUT, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    'RUNNING too long, to be killed':
      'Finished: AttemptEnded TIMED_OUT, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    CANCELLING: 'Finished: AttemptEnded FAILED, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'CANCELLING, to be killed':
      'Finished: AttemptEnded FAILED, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    // It is this very result that was accepted.
    WAITING: 'Finished',
    'WAITING for a retry, held': 'Finished',
    'RUNNING, held': 'Finished: AttemptEnded FAILED, JobWaiting HELD -> WAITING',
    'RUNNING while paused': 'Finished: AttemptEnded FAILED, JobWaiting PAUSED -> WAITING',
    otherwise: 'Stale',
  },
  'finish stopped': {
    // Nobody asked it to stop: a fault of the driver, for which this job has no retry.
    RUNNING: 'Finished: AttemptEnded FAILED, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    'RUNNING too long': 'Finished: AttemptEnded TIMED_OUT, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    'RUNNING too long, to be killed':
      'Finished: AttemptEnded TIMED_OUT, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    CANCELLING: 'Finished: AttemptEnded CANCELLED, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'CANCELLING, to be killed':
      'Finished: AttemptEnded CANCELLED, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'RUNNING, held': 'Finished: AttemptEnded FAILED, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    'RUNNING while paused': 'Finished: AttemptEnded FAILED, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    otherwise: 'Stale',
  },
  lose: {
    // Nothing ran: the offer goes elsewhere, and no retry is spent.
    OFFERED: 'Done: AttemptEnded EXPIRED, JobQueued -> QUEUED',
    RUNNING: 'Done: AttemptEnded LOST, JobWaiting BACKOFF -> WAITING',
    'RUNNING too long': 'Done: AttemptEnded TIMED_OUT, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    'RUNNING too long, to be killed':
      'Done: AttemptEnded TIMED_OUT, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    CANCELLING: 'Done: AttemptEnded LOST, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'CANCELLING, to be killed':
      'Done: AttemptEnded LOST, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'RUNNING, held': 'Done: AttemptEnded LOST, JobWaiting HELD -> WAITING',
    'RUNNING while paused': 'Done: AttemptEnded LOST, JobWaiting PAUSED -> WAITING',
    otherwise: 'Stale',
  },
  'lose as invalid': {
    OFFERED: 'Done: AttemptEnded REJECTED, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    RUNNING: 'Done: AttemptEnded FAILED, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    'RUNNING too long': 'Done: AttemptEnded TIMED_OUT, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    'RUNNING too long, to be killed':
      'Done: AttemptEnded TIMED_OUT, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    CANCELLING: 'Done: AttemptEnded FAILED, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'CANCELLING, to be killed':
      'Done: AttemptEnded FAILED, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'RUNNING, held': 'Done: AttemptEnded FAILED, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    'RUNNING while paused': 'Done: AttemptEnded FAILED, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    otherwise: 'Stale',
  },
  'cancel the job': {
    BLOCKED: 'Done: JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    QUEUED: 'Done: JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    WAITING: 'Done: JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    OFFERED:
      'Done: JobCancelRequested, AttemptEnded CANCELLED, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    RUNNING: 'Done: JobCancelRequested -> CANCELLING',
    'RUNNING too long': 'Done: JobCancelRequested -> CANCELLING',
    'RUNNING too long, to be killed': 'Done: JobCancelRequested -> CANCELLING',
    SUCCEEDED: 'ALREADY_FINISHED',
    FAILED: 'ALREADY_FINISHED',
    SKIPPED: 'ALREADY_FINISHED',
    'BLOCKED, held': 'Done: JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'BLOCKED while paused': 'Done: JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'WAITING, held': 'Done: JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'WAITING while paused': 'Done: JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'WAITING for a retry, held': 'Done: JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'RUNNING, held': 'Done: JobCancelRequested -> CANCELLING',
    'RUNNING while paused': 'Done: JobCancelRequested -> CANCELLING',
    otherwise: 'Done',
  },
  'cancel the run': {
    BLOCKED:
      'Done: RunCancelRequested, first JobFinished CANCELLED, JobFinished CANCELLED, after JobFinished CANCELLED -> CANCELLED',
    QUEUED: 'Done: RunCancelRequested, JobFinished CANCELLED, after JobFinished CANCELLED -> CANCELLED',
    WAITING: 'Done: RunCancelRequested, JobFinished CANCELLED, after JobFinished CANCELLED -> CANCELLED',
    OFFERED:
      'Done: RunCancelRequested, JobCancelRequested, AttemptEnded CANCELLED, JobFinished CANCELLED, after JobFinished CANCELLED -> CANCELLED',
    RUNNING: 'Done: RunCancelRequested, JobCancelRequested, after JobFinished CANCELLED -> CANCELLING',
    'RUNNING too long': 'Done: RunCancelRequested, JobCancelRequested, after JobFinished CANCELLED -> CANCELLING',
    'RUNNING too long, to be killed':
      'Done: RunCancelRequested, JobCancelRequested, after JobFinished CANCELLED -> CANCELLING',
    CANCELLING: 'Done: RunCancelRequested, after JobFinished CANCELLED -> CANCELLING',
    'CANCELLING, to be killed': 'Done: RunCancelRequested, after JobFinished CANCELLED -> CANCELLING',
    SUCCEEDED: 'Done: RunCancelRequested, after JobFinished CANCELLED -> SUCCEEDED',
    FAILED: 'Done: RunCancelRequested -> FAILED',
    SKIPPED: 'Done: RunCancelRequested -> SKIPPED',
    'BLOCKED, held':
      'Done: RunCancelRequested, first JobFinished CANCELLED, JobFinished CANCELLED, after JobFinished CANCELLED -> CANCELLED',
    'BLOCKED while paused':
      'Done: RunCancelRequested, aside JobQueued, first JobFinished CANCELLED, JobFinished CANCELLED, after JobFinished CANCELLED -> CANCELLED',
    'WAITING, held': 'Done: RunCancelRequested, JobFinished CANCELLED, after JobFinished CANCELLED -> CANCELLED',
    'WAITING while paused':
      'Done: RunCancelRequested, aside JobQueued, JobFinished CANCELLED, after JobFinished CANCELLED -> CANCELLED',
    'WAITING for a retry, held':
      'Done: RunCancelRequested, JobFinished CANCELLED, after JobFinished CANCELLED -> CANCELLED',
    'RUNNING, held': 'Done: RunCancelRequested, JobCancelRequested, after JobFinished CANCELLED -> CANCELLING',
    'RUNNING while paused':
      'Done: RunCancelRequested, aside JobQueued, JobCancelRequested, after JobFinished CANCELLED -> CANCELLING',
    otherwise: 'Done: RunCancelRequested -> CANCELLED',
  },
  'cancel the run by force': {
    BLOCKED:
      'Done: RunCancelRequested, first JobFinished CANCELLED, JobFinished CANCELLED, after JobFinished CANCELLED, aside JobFinished CANCELLED, RunFinished CANCELLED -> CANCELLED',
    QUEUED:
      'Done: RunCancelRequested, JobFinished CANCELLED, after JobFinished CANCELLED, aside JobFinished CANCELLED, RunFinished CANCELLED -> CANCELLED',
    WAITING:
      'Done: RunCancelRequested, JobFinished CANCELLED, after JobFinished CANCELLED, aside JobFinished CANCELLED, RunFinished CANCELLED -> CANCELLED',
    OFFERED:
      'Done: RunCancelRequested, JobCancelRequested, AttemptEnded CANCELLED, JobFinished CANCELLED, after JobFinished CANCELLED, aside JobFinished CANCELLED, RunFinished CANCELLED -> CANCELLED',
    RUNNING:
      'Done: RunCancelRequested, JobCancelRequested, after JobFinished CANCELLED, aside JobFinished CANCELLED -> CANCELLING',
    'RUNNING too long':
      'Done: RunCancelRequested, JobCancelRequested, after JobFinished CANCELLED, aside JobFinished CANCELLED -> CANCELLING',
    'RUNNING too long, to be killed':
      'Done: RunCancelRequested, JobCancelRequested, after JobFinished CANCELLED, aside JobFinished CANCELLED -> CANCELLING',
    CANCELLING: 'Done: RunCancelRequested, after JobFinished CANCELLED, aside JobFinished CANCELLED -> CANCELLING',
    'CANCELLING, to be killed':
      'Done: RunCancelRequested, after JobFinished CANCELLED, aside JobFinished CANCELLED -> CANCELLING',
    SUCCEEDED:
      'Done: RunCancelRequested, after JobFinished CANCELLED, aside JobFinished CANCELLED, RunFinished CANCELLED -> SUCCEEDED',
    FAILED: 'Done: RunCancelRequested, aside JobFinished CANCELLED, RunFinished CANCELLED -> FAILED',
    SKIPPED: 'Done: RunCancelRequested, aside JobFinished CANCELLED, RunFinished CANCELLED -> SKIPPED',
    'BLOCKED, held':
      'Done: RunCancelRequested, first JobFinished CANCELLED, JobFinished CANCELLED, after JobFinished CANCELLED, aside JobFinished CANCELLED, RunFinished CANCELLED -> CANCELLED',
    'BLOCKED while paused':
      'Done: RunCancelRequested, first JobFinished CANCELLED, JobFinished CANCELLED, after JobFinished CANCELLED, aside JobFinished CANCELLED, RunFinished CANCELLED -> CANCELLED',
    'WAITING, held':
      'Done: RunCancelRequested, JobFinished CANCELLED, after JobFinished CANCELLED, aside JobFinished CANCELLED, RunFinished CANCELLED -> CANCELLED',
    'WAITING while paused':
      'Done: RunCancelRequested, JobFinished CANCELLED, after JobFinished CANCELLED, aside JobFinished CANCELLED, RunFinished CANCELLED -> CANCELLED',
    'WAITING for a retry, held':
      'Done: RunCancelRequested, JobFinished CANCELLED, after JobFinished CANCELLED, aside JobFinished CANCELLED, RunFinished CANCELLED -> CANCELLED',
    'RUNNING, held':
      'Done: RunCancelRequested, JobCancelRequested, after JobFinished CANCELLED, aside JobFinished CANCELLED -> CANCELLING',
    'RUNNING while paused':
      'Done: RunCancelRequested, JobCancelRequested, after JobFinished CANCELLED, aside JobFinished CANCELLED -> CANCELLING',
    otherwise: 'Done: RunCancelRequested, aside JobFinished CANCELLED, RunFinished CANCELLED -> CANCELLED',
  },
  'release the backoff': {
    WAITING: 'Done: JobQueued -> QUEUED',
    'WAITING for a retry, held': 'Done: JobWaiting HELD -> WAITING',
    otherwise: 'Done',
  },
  'pause the run': {
    BLOCKED: 'Done: RunPaused, first JobWaiting PAUSED, aside JobWaiting PAUSED -> BLOCKED',
    QUEUED: 'Done: RunPaused, JobWaiting PAUSED, aside JobWaiting PAUSED -> WAITING',
    OFFERED: 'Done: RunPaused, AttemptEnded EXPIRED, JobWaiting PAUSED, aside JobWaiting PAUSED -> WAITING',
    RUNNING: 'Done: RunPaused, aside JobWaiting PAUSED -> RUNNING',
    'RUNNING too long': 'Done: RunPaused, aside JobWaiting PAUSED -> RUNNING',
    'RUNNING too long, to be killed': 'Done: RunPaused, aside JobWaiting PAUSED -> RUNNING',
    CANCELLING: 'Done: RunPaused, aside JobWaiting PAUSED -> CANCELLING',
    'CANCELLING, to be killed': 'Done: RunPaused, aside JobWaiting PAUSED -> CANCELLING',
    WAITING: 'Done: RunPaused, JobWaiting PAUSED, aside JobWaiting PAUSED -> WAITING',
    'BLOCKED, held': 'Done: RunPaused, first JobWaiting PAUSED, aside JobWaiting PAUSED -> BLOCKED',
    'WAITING, held': 'Done: RunPaused, aside JobWaiting PAUSED -> WAITING',
    'WAITING for a retry, held': 'Done: RunPaused, aside JobWaiting PAUSED -> WAITING',
    'RUNNING, held': 'Done: RunPaused, aside JobWaiting PAUSED -> RUNNING',
    SUCCEEDED: 'Done: RunPaused, after JobWaiting PAUSED, aside JobWaiting PAUSED -> SUCCEEDED',
    FAILED: 'Done: RunPaused, aside JobWaiting PAUSED -> FAILED',
    SKIPPED: 'Done: RunPaused, aside JobWaiting PAUSED -> SKIPPED',
    CANCELLED: 'Done: RunPaused, aside JobWaiting PAUSED -> CANCELLED',
    otherwise: 'Done',
  },
  'resume the run': {
    'BLOCKED while paused': 'Done: RunResumed, first JobQueued, aside JobQueued -> BLOCKED',
    'WAITING while paused': 'Done: RunResumed, JobQueued, aside JobQueued -> QUEUED',
    'RUNNING while paused': 'Done: RunResumed, aside JobQueued -> RUNNING',
    otherwise: 'Done',
  },
  'hold the job': {
    BLOCKED: 'Done: JobHeld -> BLOCKED',
    QUEUED: 'Done: JobHeld, JobWaiting HELD -> WAITING',
    OFFERED: 'Done: JobHeld, AttemptEnded EXPIRED, JobWaiting HELD -> WAITING',
    RUNNING: 'Done: JobHeld -> RUNNING',
    'RUNNING too long': 'Done: JobHeld -> RUNNING',
    'RUNNING too long, to be killed': 'Done: JobHeld -> RUNNING',
    CANCELLING: 'CANCEL_REQUESTED',
    'CANCELLING, to be killed': 'CANCEL_REQUESTED',
    WAITING: 'Done: JobHeld, JobWaiting HELD -> WAITING',
    'BLOCKED while paused': 'Done: JobHeld -> BLOCKED',
    'WAITING while paused': 'Done: JobHeld, JobWaiting HELD -> WAITING',
    'RUNNING while paused': 'Done: JobHeld -> RUNNING',
    SUCCEEDED: 'ALREADY_FINISHED',
    FAILED: 'ALREADY_FINISHED',
    SKIPPED: 'ALREADY_FINISHED',
    CANCELLED: 'ALREADY_FINISHED',
    otherwise: 'Done',
  },
  'release the job': {
    'BLOCKED, held': 'Done: JobReleased -> BLOCKED',
    'WAITING, held': 'Done: JobReleased, JobQueued -> QUEUED',
    'WAITING for a retry, held': 'Done: JobReleased, JobWaiting BACKOFF -> WAITING',
    'RUNNING, held': 'Done: JobReleased -> RUNNING',
    SUCCEEDED: 'ALREADY_FINISHED',
    FAILED: 'ALREADY_FINISHED',
    SKIPPED: 'ALREADY_FINISHED',
    CANCELLED: 'ALREADY_FINISHED',
    otherwise: 'Done',
  },
  'fire timers in time': { otherwise: 'Done' },
  'fire timers late': {
    QUEUED: 'Done: JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    WAITING: 'Done: JobQueued -> QUEUED',
    RUNNING: 'Done: AttemptTimedOut -> RUNNING',
    'RUNNING too long': 'Done: JobKillRequested -> RUNNING',
    'RUNNING too long, to be killed':
      'Done: AttemptEnded TIMED_OUT, JobFinished FAILED, after JobFinished SKIPPED -> FAILED',
    CANCELLING: 'Done: JobKillRequested -> CANCELLING',
    'CANCELLING, to be killed':
      'Done: AttemptEnded CANCELLED, JobFinished CANCELLED, after JobFinished SKIPPED -> CANCELLED',
    'RUNNING, held': 'Done: AttemptTimedOut -> RUNNING',
    'RUNNING while paused': 'Done: AttemptTimedOut -> RUNNING',
    otherwise: 'Done',
  },
};

const HOUR_MS = 3_600_000;

function inSituation(situation: Situation): SimulatedLedger {
  const ledger = openLedger(definition);
  for (const command of SITUATIONS[situation] as readonly (Command | 'fire timers late')[]) {
    if (command === 'fire timers late') apply(ledger, command);
    else submit(ledger, command);
  }
  return ledger;
}

function apply(ledger: SimulatedLedger, name: CommandName): Step {
  if (name === 'fire timers late') ledger.nowMs += HOUR_MS;
  return submit(ledger, COMMANDS[name]);
}

function told({ decision }: Step): string {
  const { reply, events, after } = decision;
  const state = after.jobs.get(SUBJECT)?.state;
  const answer = reply.type === 'Refused' ? reply.refusal.refused : reply.type;
  return events.length === 0 ? answer : `${answer}: ${events.map(toldEvent).join(', ')} -> ${state}`;
}

function toldEvent(event: RunEvent): string {
  const job = 'job' in event && event.job !== SUBJECT ? `${NAMES[event.job]} ` : '';
  const how = event.type === 'JobWaiting' ? event.reason : 'state' in event ? event.state : '';
  return `${job}${event.type} ${how}`.trimEnd();
}

const situations = Object.keys(SITUATIONS) as Situation[];
const commandNames = Object.keys(COMMANDS) as CommandName[];

describe.each(situations)('a job that is %s', (situation) => {
  test.each(commandNames)('%s', (name) => {
    const ledger = inSituation(situation);
    const before = ledger.slice.jobs.get(SUBJECT);
    expect(before?.state).toBe(situation.split(' ')[0]?.replace(',', ''));
    const step = apply(ledger, name);
    expect(told(step)).toBe(TABLE[name][situation] ?? TABLE[name].otherwise);
    const after = ledger.slice.jobs.get(SUBJECT);
    if (before !== undefined && isJobFinished(before.state)) expect(after).toBe(before);
    // Adoptions are told apart by the session.
    if (name !== 'adopt') expect(submit(ledger, COMMANDS[name]).decision.events).toEqual([]);
  });

  const fenced = commandNames.filter((name) => 'attempt' in COMMANDS[name]);
  test.each(fenced)('%s, by one who does not hold it', (name) => {
    const command = COMMANDS[name] as Command & AttemptRef;
    const others = [{ attempt: 2 }, { attempt: 0 }, { instance: INSTANCE + 1 }];
    for (const other of others) {
      const ledger = inSituation(situation);
      const { decision } = submit(ledger, { ...command, ...other });
      expect(decision.events).toEqual([]);
      const result = ledger.attempts.get('1.1')?.result;
      const repeatsResult =
        'instance' in other && command.type === 'Finish' && result?.includes(command.outcome) === true;
      expect(decision.reply.type).toBe(repeatsResult ? 'Finished' : 'Stale');
    }
  });
});

describe('a run', () => {
  const alone = definitionOf(jobNamed('only'));
  const withAlways = definitionOf(jobNamed('usual'), jobNamed('always', { when: 'ALWAYS', needs: ['usual'] }));
  const cancel = COMMANDS['cancel the run'];
  const force = COMMANDS['cancel the run by force'];
  const ref = { ...HOLDER, job: 0 };
  const started: readonly Command[] = [create, offerOf(0), { type: 'Accept', ...ref }];

  test.each<[string, readonly Command[], Command, string]>([
    ['PENDING', [create], create, 'Done -> PENDING'],
    ['PENDING', [create], cancel, 'Done: RunCancelRequested, JobFinished, JobQueued -> CANCELLING'],
    ['PENDING', [create], force, 'Done: RunCancelRequested, JobFinished, JobFinished, RunFinished -> CANCELLED'],
    ['RUNNING', started, create, 'Done -> RUNNING'],
    ['RUNNING', started, cancel, 'Done: RunCancelRequested, JobCancelRequested -> CANCELLING'],
    ['RUNNING', started, force, 'Done: RunCancelRequested, JobCancelRequested, JobFinished -> CANCELLING'],
    ['CANCELLING', [...started, cancel], cancel, 'Done -> CANCELLING'],
    ['CANCELLING', [...started, cancel], force, 'Done: RunCancelRequested, JobFinished -> CANCELLING'],
    ['CANCELLING by force', [...started, force], force, 'Done -> CANCELLING'],
    ['CANCELLING by force', [...started, force], cancel, 'Done -> CANCELLING'],
    ['CANCELLED', [create, force], cancel, 'Done -> CANCELLED'],
    ['CANCELLED', [create, force], force, 'Done -> CANCELLED'],
    ['CANCELLED', [create, force], create, 'Done -> CANCELLED'],
  ])('that is %s', (situation, way, command, outcome) => {
    const ledger = openLedger(withAlways);
    for (const one of way) submit(ledger, one);
    expect(ledger.slice.run.state).toBe(situation.split(' ')[0]);
    const { decision } = submit(ledger, command);
    const events = decision.events.map(({ type }) => type).join(', ');
    expect(`${decision.reply.type}${events && `: ${events}`} -> ${ledger.slice.run.state}`).toBe(outcome);
    expect(submit(ledger, command).decision.events).toEqual([]);
  });

  test.each(['SUCCEEDED', 'FAILED'] as const)('that has %s refuses a cancel', (outcome) => {
    const ledger = openLedger(alone);
    for (const one of [...started, finishOf(ref, outcome)]) submit(ledger, one);
    expect(ledger.slice.run.state).toBe(outcome);
    for (const command of [cancel, force]) {
      const { reply, events } = submit(ledger, command).decision;
      expect(reply).toMatchObject({ type: 'Refused', refusal: { refused: 'ALREADY_FINISHED' } });
      expect(events).toEqual([]);
    }
  });

  test('of one job is cancelled with it', () => {
    const ledger = openLedger(alone);
    submit(ledger, create);
    submit(ledger, { type: 'CancelJob', job: 0, reason: 'no' });
    expect(ledger.slice.run).toMatchObject({ state: 'CANCELLED', cancel: { reason: 'no', force: true } });
  });

  test('of several jobs has failed when one of them was cancelled', () => {
    const ledger = openLedger(definitionOf(jobNamed('one'), jobNamed('other')));
    submit(ledger, create);
    submit(ledger, { type: 'CancelJob', job: 1, reason: 'no' });
    for (const one of [offerOf(0), { type: 'Accept', ...ref } as const, finishOf(ref, 'SUCCEEDED')])
      submit(ledger, one);
    expect(ledger.slice.run.state).toBe('FAILED');
  });
});
