// Owns what tests ask of jobs and of their run, each by a word: whatever it is answered, the ledger decides.
import type { Command } from '../../core/commands.ts';
import { finishWell } from './ledger-fixture.ts';

export const asker = { reason: 'wait', actor: 'ada' };

export type Ask =
  | 'offer'
  | 'accept'
  | 'reject'
  | 'annotate'
  | 'succeed'
  | 'fail'
  | 'lose'
  | 'hold'
  | 'release'
  | 'cancel'
  | 'retry'
  | 'pause'
  | 'resume'
  | 'cancelRun';

/** The commands of a driver instance, and of who uses the platform; by the job and its newest attempt. */
export function asksBy(
  instance: number,
  instanceId: string,
): Readonly<Record<Ask, (job: number, attempt: number) => Command>> {
  return {
    offer: (job) => ({ type: 'Offer', job, instance, instanceId }),
    accept: (job, attempt) => ({ type: 'Accept', job, attempt, instance }),
    reject: (job, attempt) => ({ type: 'Reject', job, attempt, instance, reason: 'busy', invalid: false, random: 0 }),
    annotate: (job, attempt) => ({
      type: 'Annotate',
      job,
      attempt,
      instance,
      number: 1,
      annotation: { level: 'INFO', text: 'a note', link: '' },
      content: undefined,
    }),
    succeed: (job, attempt) => ({ ...finishWell(job, attempt), instance }),
    fail: (job, attempt) => ({
      ...finishWell(job, attempt),
      instance,
      outcome: 'FAILED',
      message: 'it broke',
      exitCode: 3,
    }),
    lose: (job, attempt) => ({
      type: 'Lose',
      job,
      attempt,
      instance,
      failureClass: 'INFRASTRUCTURE',
      message: 'gone',
      random: 0,
      content: undefined,
    }),
    hold: (job) => ({ type: 'HoldJob', job, ...asker }),
    release: (job) => ({ type: 'ReleaseJob', job, ...asker }),
    cancel: (job) => ({ type: 'CancelJob', job, reason: 'not this one' }),
    retry: (job) => ({ type: 'ReleaseBackoff', job }),
    pause: () => ({ type: 'PauseRun', ...asker }),
    resume: () => ({ type: 'ResumeRun', ...asker }),
    cancelRun: () => ({ type: 'CancelRun', reason: 'enough', force: false }),
  };
}
