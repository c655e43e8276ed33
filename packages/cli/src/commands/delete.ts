// `conveyor delete`: removes finished runs or a pipeline for good.
import { ConveyorError } from '@conveyor/client';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { describeFailure, exitCodes } from '../failure.ts';

export function addDelete(program: Command, cli: Cli): void {
  const command = program
    .command('delete')
    .summary('delete runs or a pipeline')
    .description('Deletes finished runs with their jobs, events and logs, or a pipeline. There is no way back.');
  command
    .command('run')
    .description('Deletes finished runs. Those that cannot be deleted are told, and the others are.')
    .argument('<run...>', 'ids of the runs')
    .addHelpText('after', '\nExamples:\n  conveyor delete run RUN\n  conveyor delete run RUN1 RUN2 RUN3')
    .action((runIds: readonly string[]) => deleteRuns(cli, runIds));
  command
    .command('pipeline')
    .description('Deletes a pipeline with its revisions. Its runs stay and go on.')
    .argument('<pipeline>', 'its name')
    .addHelpText('after', '\nExample:\n  conveyor delete pipeline ci')
    .action(async (name: string) => {
      await cli.client().pipelines.delete(name);
      await cli.terminal.print(`pipeline ${name} is deleted`);
    });
}

async function deleteRuns(cli: Cli, runIds: readonly string[]): Promise<void> {
  const [only] = runIds.length === 1 ? runIds : [];
  if (only !== undefined) return deleteRun(cli, only);
  for (const runId of runIds) {
    try {
      await deleteRun(cli, runId);
    } catch (thrown) {
      // Anything but an answer about this run would hit the others too.
      if (!(thrown instanceof ConveyorError) || thrown.reason === undefined) throw thrown;
      cli.terminal.note(`error: ${describeFailure(thrown, cli.address()).message}`);
      cli.exitWith(exitCodes.failed);
    }
  }
}

async function deleteRun({ client, terminal }: Cli, runId: string): Promise<void> {
  await client().runs.delete(runId);
  await terminal.print(`run ${runId} is deleted`);
}
