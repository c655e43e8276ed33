// `conveyor cancel`: asks a run or a job to stop.
import { JobState, RunState } from '@conveyor/client';
import { JobSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { RunSchema } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import type { Command } from 'commander';
import { type Cli, type OutputOptions, findJob, jsonOf, outputOption, parseTarget, prettyJson } from '../cli.ts';
import { UsageError } from '../failure.ts';
import { enumName } from '../text.ts';

export function addCancel(program: Command, cli: Cli): void {
  program
    .command('cancel')
    .summary('stop a run or a job')
    .description(
      'Asks a run or one of its jobs to stop. Running jobs are asked to end, and killed after their grace period; jobs that always run still run.',
    )
    .argument('<run[/job]>', 'id of the run, or of the run and the name of a job')
    .option('--force', 'stop the jobs of a run that always run, too')
    .option('--reason <text>', 'why, for people to read', '')
    .addOption(outputOption())
    .addHelpText('after', "\nExamples:\n  conveyor cancel RUN --reason 'wrong branch'\n  conveyor cancel RUN/JOB")
    .action((target: string, options: CancelOptions) => cancel(cli, target, options));
}

interface CancelOptions extends OutputOptions {
  readonly force?: true;
  readonly reason: string;
}

async function cancel({ client, terminal }: Cli, target: string, options: CancelOptions): Promise<void> {
  const { reason, force = false, output } = options;
  const { runId, jobName } = parseTarget(target);
  if (jobName === undefined) {
    const run = await client().runs.cancel(runId, { reason, force });
    if (output === 'json') return terminal.print(prettyJson(jsonOf(RunSchema, run)));
    return terminal.print(`run ${runId} is ${enumName(RunState, run.state)}`);
  }
  if (force) throw new UsageError('--force is for whole runs', `leave it out, or cancel ${runId}`);
  const { jobId } = await findJob(client(), runId, jobName);
  const job = await client().jobs.cancel(jobId, { reason });
  if (output === 'json') return terminal.print(prettyJson(jsonOf(JobSchema, job)));
  return terminal.print(`job ${target} is ${enumName(JobState, job.state)}`);
}
