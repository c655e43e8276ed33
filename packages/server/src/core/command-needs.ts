// What has to be loaded before a command can be decided on, as far as that shows in the command.
import type { Command } from './commands.ts';
import type { Plan } from './plan.ts';
import { type JobRecord, liveOf } from './run-state.ts';

/** The jobs that a command certainly needs; a decision that needs more asks for them. */
export function jobsNeeded(plan: Plan, command: Command): readonly number[] {
  switch (command.type) {
    case 'Create':
      return [];
    case 'CancelRun':
    case 'PauseRun':
    case 'ResumeRun':
      return plan.jobs.map((job) => job.index);
    case 'Offer':
    case 'Accept':
    case 'Adopt':
    case 'Annotate':
    case 'AppendJobs':
    case 'Declare':
    case 'ReleaseBackoff':
    case 'HoldJob':
    case 'ReleaseJob':
    case 'StartChild':
      return plan.jobs[command.job] === undefined ? [] : [command.job];
    case 'Reject':
    case 'Withdraw':
    case 'Finish':
    case 'Lose':
    case 'CancelJob':
    case 'AnswerGate':
    case 'RefuseChild':
    case 'FinishChild':
    case 'ClaimPlace':
    case 'Timer': {
      const job = plan.jobs[command.job];
      return job === undefined ? [] : [command.job, ...job.dependants];
    }
  }
}

/** The attempt whose content the decision on a command needs. @param jobs Of the run, as far as they are loaded. */
export function attemptNeeded(
  { jobs }: { readonly jobs: ReadonlyMap<number, JobRecord> },
  command: Command,
): { job: number; attempt: number } | undefined {
  switch (command.type) {
    case 'Finish':
    case 'Lose':
    case 'Annotate':
    case 'AppendJobs':
    case 'Declare':
      return { job: command.job, attempt: command.attempt };
    case 'Timer': {
      const job = jobs.get(command.job);
      return job === undefined || liveOf(job) === undefined ? undefined : { job: command.job, attempt: job.attempt };
    }
    case 'Create':
    case 'CancelRun':
    case 'Offer':
    case 'Accept':
    case 'Adopt':
    case 'ReleaseBackoff':
    case 'Reject':
    case 'Withdraw':
    case 'CancelJob':
    case 'PauseRun':
    case 'ResumeRun':
    case 'HoldJob':
    case 'ReleaseJob':
    case 'AnswerGate':
    case 'StartChild':
    case 'RefuseChild':
    case 'FinishChild':
    case 'ClaimPlace':
      return undefined;
  }
}
