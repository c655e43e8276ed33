// `conveyor rerun`: makes a new run of a finished one.
import type { Command } from 'commander';
import { type Cli, type OutputOptions, outputOption, repeatable } from '../cli.ts';
import { UsageError } from '../failure.ts';
import { followToExit } from '../follow.ts';
import { printable } from '../text.ts';
import { manualTrigger, printStarted } from './run.ts';

export function addRerun(program: Command, cli: Cli): void {
  program
    .command('rerun')
    .summary('run a finished run again')
    .description('Makes a new run of what a finished run ran, with its params.')
    .argument('<run>', 'id of the finished run')
    .option('--failed', 'only jobs that did not succeed and what depends on them; the rest is inherited')
    .addOption(
      repeatable('--from <job>', 'only this job and what depends on it; the rest is inherited with its outputs'),
    )
    .option('--follow', 'show its progress and logs until it has finished')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExit codes are those of `conveyor run`.\n\nExamples:\n  conveyor rerun RUN --failed --follow\n  conveyor rerun RUN --from test',
    )
    .action((runId: string, options: RerunOptions) => rerun(cli, runId, options));
}

interface RerunOptions extends OutputOptions {
  readonly failed?: true;
  readonly from: readonly string[];
  readonly follow?: true;
}

async function rerun(cli: Cli, runId: string, options: RerunOptions): Promise<void> {
  const trigger = manualTrigger(cli);
  const { failed, from } = options;
  if (failed && from.length > 0)
    throw new UsageError('--failed and --from cannot both choose the jobs', 'leave one of them out');
  const jobs = from.length > 0 ? { from } : ({ scope: failed ? 'failed' : 'all' } as const);
  const run = await cli.client().runs.rerun(runId, { ...jobs, trigger });
  if (options.follow && options.output === 'table') await noteInherited(cli, run.runId);
  if (options.follow) return followToExit(cli, run.runId, { events: 'main', logs: true, output: options.output });
  return printStarted(cli, run, options);
}

/** Jobs that are named in one line. */
const mostNamed = 5;

/** What is not run again has no events: it is told beforehand. */
async function noteInherited({ client, terminal }: Cli, runId: string): Promise<void> {
  const jobs = await Array.fromAsync(client().jobs.list(runId, {}, { pageSize: 1_000 }));
  const names = jobs.filter(({ inheritedFrom }) => inheritedFrom !== '').map(({ name }) => printable(name));
  if (names.length === 0) return;
  const more = names.length > mostNamed ? ` and ${names.length - mostNamed} more` : '';
  terminal.note(`inherited, and not run again: ${names.slice(0, mostNamed).join(', ')}${more}`);
}
