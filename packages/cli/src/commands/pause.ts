// `conveyor pause` and `conveyor resume`: hold back what of a run has not started, and let it go on.
import type { Run } from '@conveyor/client';
import { RunSchema } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import type { Command } from 'commander';
import { actorOf, type Cli, type OutputOptions, jsonOf, outputOption, prettyJson } from '../cli.ts';
import { runState } from '../text.ts';

export function addPause(program: Command, cli: Cli): void {
  program
    .command('pause')
    .summary('start nothing more of a run')
    .description('Starts nothing more of a run until it is resumed. What runs goes on.')
    .argument('<run>', 'id of the run')
    .option('--reason <text>', 'why, for people to read', '')
    .addOption(outputOption())
    .addHelpText('after', "\nExample:\n  conveyor pause RUN --reason 'the registry is down'")
    .action(async (runId: string, options: AskerOptions) =>
      printRun(cli, await cli.client().runs.pause(runId, { reason: options.reason, actor: actorOf(cli) }), options),
    );
}

export function addResume(program: Command, cli: Cli): void {
  program
    .command('resume')
    .summary('let a paused run go on')
    .description('Lets a paused run go on, but for jobs that are held.')
    .argument('<run>', 'id of the run')
    .option('--reason <text>', 'why, for people to read', '')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor resume RUN')
    .action(async (runId: string, options: AskerOptions) =>
      printRun(cli, await cli.client().runs.resume(runId, { reason: options.reason, actor: actorOf(cli) }), options),
    );
}

/** What commands that hold something back, or let it go on, take. */
export interface AskerOptions extends OutputOptions {
  readonly reason: string;
}

function printRun({ terminal }: Cli, run: Run, { output }: OutputOptions): Promise<void> {
  if (output === 'json') return terminal.print(prettyJson(jsonOf(RunSchema, run)));
  return terminal.print(`run ${run.runId} is ${runState(run)}`);
}
