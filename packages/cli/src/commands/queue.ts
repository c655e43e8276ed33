// `conveyor queue`: what waits for each driver, and whether it is offered.
import type { Queue, QueuePause } from '@conveyor/client';
import { QueuePauseSchema, QueueSchema } from '@conveyor/protocol/conveyor/v1/queue_pb.js';
import type { Command } from 'commander';
import { actorOf, type Cli, type OutputOptions, jsonOf, outputOption, prettyJson } from '../cli.ts';
import { show } from '../lists.ts';
import { age, table } from '../text.ts';

export function addQueue(program: Command, cli: Cli): void {
  const queue = program
    .command('queue')
    .summary('see and pause the queues of drivers')
    .description('Shows what waits for each driver, and stops or resumes offers of it.')
    .addHelpText('after', help);
  addPause(queue, cli);
  addResume(queue, cli);
  addList(queue, cli);
}

const help = `
Examples:
  conveyor queue list
  conveyor queue pause shell --reason 'the image is broken'
  conveyor queue resume shell`;

interface QueueOptions extends OutputOptions {
  readonly pipeline?: string;
}

function addPause(queue: Command, cli: Cli): void {
  queue
    .command('pause')
    .description('Offers no more queued jobs of a driver until it is resumed. What is offered or runs goes on.')
    .argument('<driver>')
    .option('--pipeline <name>', 'only jobs of this pipeline')
    .option('--reason <text>', 'why, for people to read', '')
    .addOption(outputOption())
    .addHelpText('after', "\nExample:\n  conveyor queue pause shell --pipeline nightly --reason 'the registry is down'")
    .action(async (driver: string, { pipeline, reason, output }: QueueOptions & { reason: string }) => {
      const { client, terminal } = cli;
      const pause = await client().drivers.pauseQueue(driver, { pipeline, reason, actor: actorOf(cli) });
      if (output === 'json') return terminal.print(prettyJson(jsonOf(QueuePauseSchema, pause)));
      return terminal.print(`queue ${nameOf(driver, pipeline)} is paused`);
    });
}

function addResume(queue: Command, cli: Cli): void {
  queue
    .command('resume')
    .description('Offers queued jobs of a driver again. Takes away the pause of just these names.')
    .argument('<driver>')
    .option('--pipeline <name>', 'the pause of this pipeline')
    .addHelpText('after', '\nExample:\n  conveyor queue resume shell')
    .action(async (driver: string, { pipeline }: QueueOptions) => {
      const resumed = await cli.client().drivers.resumeQueue(driver, { pipeline });
      return cli.terminal.print(`queue ${nameOf(driver, pipeline)} ${resumed ? 'is resumed' : 'was not paused'}`);
    });
}

function addList(queue: Command, cli: Cli): void {
  queue
    .command('list')
    .description('Lists the drivers that have queued jobs or are paused.')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor queue list')
    .action(async ({ output }: OutputOptions) => {
      const queues = await Array.fromAsync(cli.client().drivers.queues());
      await show(cli, output, QueueSchema, queues, () => queueTable(queues));
    });
}

/** At most so many are counted. */
const MAX_COUNTED = 100_000;

function queueTable(queues: readonly Queue[]): string {
  return table(
    ['DRIVER', 'QUEUED', 'PAUSED'],
    queues.map(({ driver, queued, pauses }) => [
      driver,
      queued >= MAX_COUNTED ? `${MAX_COUNTED} or more` : String(queued),
      pauses.map(pauseText).join('; '),
    ]),
  );
}

function pauseText({ project, pipeline, actor, reason, pauseTime }: QueuePause): string {
  const what = pipeline === '' ? (project === '' ? 'all' : `project ${project}`) : `pipeline ${pipeline}`;
  const by = actor === '' ? '' : ` by ${actor}`;
  return `${what} for ${age(pauseTime)}${by}${reason === '' ? '' : `: ${reason}`}`;
}

function nameOf(driver: string, pipeline: string | undefined): string {
  return pipeline === undefined ? driver : `${driver} of pipeline ${pipeline}`;
}
