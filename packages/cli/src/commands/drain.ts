// `conveyor drain`: stops offers to the driver instances that match, or takes them up again.
import { DriverSchema } from '@conveyor/protocol/conveyor/v1/driver_pb.js';
import { parseDuration } from '@conveyor/client';
import { durationMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { type Cli, type OutputOptions, jsonOf, outputOption, prettyJson } from '../cli.ts';
import { UsageError, exitCodes } from '../failure.ts';
import { driverTable } from '../tables.ts';

export function addDrain(program: Command, cli: Cli): void {
  program
    .command('drain')
    .summary('stop offering work to drivers')
    .description(
      'Stops offers to the driver instances that are connected now, until they start anew. What they hold goes on. In names and ids * stands for any characters.',
    )
    .argument('<driver[/instance]>', 'name of a driver, and perhaps an id of an instance; each may be a pattern')
    .option('--instance <instance>', 'the same as behind the slash')
    .option('--undo', 'offer work again')
    .option('--wait <duration>', 'wait until they hold nothing, such as 10m; exit 1 when they still do', parseWait)
    .option('--evict', 'take away what they still hold after --wait, at the cost of an attempt each')
    .addOption(outputOption())
    .addHelpText('after', examples)
    .action((target: string, options: DrainOptions) => drain(cli, target, options));
}

const examples = `
Examples:
  conveyor drain shell --wait 10m
  conveyor drain 'shell-*' --wait 5m --evict
  conveyor drain shell/host-1 --undo`;

interface DrainOptions extends OutputOptions {
  readonly undo?: true;
  readonly instance?: string;
  readonly wait?: number;
  readonly evict?: true;
}

async function drain({ client, terminal, exitWith }: Cli, target: string, options: DrainOptions): Promise<void> {
  const { undo, wait, evict } = options;
  const [name = '', ...behind] = target.split('/');
  if (behind.length > 0 && options.instance !== undefined) {
    throw new UsageError('the instance is given twice', 'leave out --instance, or what is behind the slash');
  }
  if (undo && evict) throw new UsageError('--evict does not go with --undo', 'leave one of them out');
  const instance = options.instance ?? behind.join('/');
  const { drivers, idle, evicted } = await client().drivers.drain(name, { instance, undo, waitMs: wait, evict });
  if ((wait !== undefined || evict) && !idle) exitWith(exitCodes.failed);
  if (evicted > 0) terminal.note(`${evicted} ${evicted === 1 ? 'attempt was' : 'attempts were'} taken away`);
  if (options.output === 'json')
    return terminal.print(prettyJson(drivers.map((driver) => jsonOf(DriverSchema, driver))));
  return terminal.print(driverTable(drivers, terminal.colors));
}

function parseWait(text: string): number {
  const duration = parseDuration(text);
  if (duration === undefined) throw new UsageError(`'${text}' is no duration`, 'write one such as 30s or 10m');
  return durationMs(duration);
}
