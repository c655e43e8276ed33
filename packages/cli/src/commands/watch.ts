// `conveyor watch`: a run's events as they come.
import type { Command } from 'commander';
import { type Cli, type OutputOptions, outputOption } from '../cli.ts';
import { followToExit } from '../follow.ts';

export function addWatch(program: Command, cli: Cli): void {
  program
    .command('watch')
    .summary("show a run's events")
    .description('Shows the events of a run from its first, then as they come, until it has finished.')
    .argument('<run>', 'id of the run')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nAs JSON, each line is one event. Exit codes are those of `conveyor run --follow`.\n\nExample:\n  conveyor watch RUN',
    )
    .action((runId: string, { output }: OutputOptions) =>
      followToExit(cli, runId, { events: 'all', logs: false, output }),
    );
}
