// `conveyor hold` and `conveyor release`: hold one job back, and let it go on.
import { type Job, JobState } from '@conveyor/client';
import { JobSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { Command } from 'commander';
import {
  actorOf,
  type Cli,
  findJob,
  jsonOf,
  type OutputOptions,
  outputOption,
  parseJobTarget,
  prettyJson,
} from '../cli.ts';
import { enumName } from '../text.ts';
import type { AskerOptions } from './pause.ts';

export function addHold(program: Command, cli: Cli): void {
  program
    .command('hold')
    .summary('start no attempt of a job')
    .description('Starts no attempt of a job until it is released. One that runs goes on.')
    .argument('<run/job>', 'id of the run, and the name of the job')
    .option('--reason <text>', 'why, for people to read', '')
    .addOption(outputOption())
    .addHelpText('after', "\nExample:\n  conveyor hold RUN/deploy --reason 'not on a Friday'")
    .action((target: string, options: AskerOptions) => hold(cli, target, options));
}

export function addRelease(program: Command, cli: Cli): void {
  program
    .command('release')
    .summary('let a held job go on')
    .description('Lets a held job go on, unless its run is paused.')
    .argument('<run/job>', 'id of the run, and the name of the job')
    .option('--reason <text>', 'why, for people to read', '')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor release RUN/deploy')
    .action((target: string, options: AskerOptions) => release(cli, target, options));
}

async function hold(cli: Cli, target: string, options: AskerOptions): Promise<void> {
  const jobId = await jobIdOf(cli, target);
  const job = await cli.client().jobs.hold(jobId, { reason: options.reason, actor: actorOf(cli) });
  return printJob(cli, target, job, options);
}

async function release(cli: Cli, target: string, options: AskerOptions): Promise<void> {
  const jobId = await jobIdOf(cli, target);
  const job = await cli.client().jobs.release(jobId, { reason: options.reason, actor: actorOf(cli) });
  return printJob(cli, target, job, options);
}

async function jobIdOf({ client }: Cli, target: string): Promise<string> {
  const { runId, jobName } = parseJobTarget(target);
  return (await findJob(client(), runId, jobName)).jobId;
}

function printJob({ terminal }: Cli, target: string, job: Job, { output }: OutputOptions): Promise<void> {
  if (output === 'json') return terminal.print(prettyJson(jsonOf(JobSchema, job)));
  const held = job.hold === undefined ? '' : ', held';
  return terminal.print(`job ${target} is ${enumName(JobState, job.state)}${held}`);
}
