// `conveyor rerun`: makes a new run of a finished one.
import type { Command } from 'commander';
import { type Cli, type OutputOptions, outputOption } from '../cli.ts';
import { followToExit } from '../follow.ts';
import { manualTrigger, printStarted } from './run.ts';

export function addRerun(program: Command, cli: Cli): void {
  program
    .command('rerun')
    .summary('run a finished run again')
    .description('Makes a new run of what a finished run ran, with its params.')
    .argument('<run>', 'id of the finished run')
    .option('--failed', 'only jobs that did not succeed and what depends on them; the rest is inherited')
    .option('--follow', 'show its progress and logs until it has finished')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExit codes are those of `conveyor run`.\n\nExample:\n  conveyor rerun RUN --failed --follow',
    )
    .action((runId: string, options: RerunOptions) => rerun(cli, runId, options));
}

interface RerunOptions extends OutputOptions {
  readonly failed?: true;
  readonly follow?: true;
}

async function rerun(cli: Cli, runId: string, options: RerunOptions): Promise<void> {
  const trigger = manualTrigger(cli);
  const run = await cli.client().runs.rerun(runId, { scope: options.failed ? 'failed' : 'all', trigger });
  if (options.follow) return followToExit(cli, run.runId, { events: 'main', logs: true, output: options.output });
  return printStarted(cli, run, options);
}
