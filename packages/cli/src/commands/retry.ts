// `conveyor retry`: runs one job again, at once while it waits for a retry, else in a new run.
import { JobState } from '@conveyor/client';
import { JobSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { Command } from 'commander';
import { type Cli, findJob, jsonOf, type OutputOptions, outputOption, parseJobTarget, prettyJson } from '../cli.ts';
import { followToExit } from '../follow.ts';
import { enumName } from '../text.ts';
import { manualTrigger } from './run.ts';

export function addRetry(program: Command, cli: Cli): void {
  program
    .command('retry')
    .summary('run a job again')
    .description(
      'Runs a job again: at once while it waits for a retry; when its run has finished, in a new run with all that depends on it, which inherits the rest.',
    )
    .argument('<run/job>', 'id of the run, and the name of the job')
    .option('--follow', 'show the progress and logs of its run until that has finished')
    .addOption(outputOption())
    .addHelpText('after', '\nExit codes are those of `conveyor run`.\n\nExample:\n  conveyor retry RUN/test --follow')
    .action((target: string, options: RetryOptions) => retry(cli, target, options));
}

interface RetryOptions extends OutputOptions {
  readonly follow?: true;
}

async function retry(cli: Cli, target: string, { follow, output }: RetryOptions): Promise<void> {
  const { client, terminal } = cli;
  const { runId, jobName } = parseJobTarget(target);
  const { jobId } = await findJob(client(), runId, jobName);
  const job = await client().jobs.retry(jobId, { trigger: manualTrigger(cli) });
  if (follow) return followToExit(cli, job.runId, { events: 'main', logs: true, output });
  if (output === 'json') return terminal.print(prettyJson(jsonOf(JobSchema, job)));
  if (job.runId === runId) return terminal.print(`job ${target} is ${enumName(JobState, job.state)}`);
  await terminal.print(`run ${job.runId} started`);
  terminal.note(`next: conveyor watch ${job.runId}`);
}
