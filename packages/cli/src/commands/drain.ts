// `conveyor drain`: stops offers to driver instances, or takes them up again.
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
    .description('Stops offers to driver instances until they start anew. What they hold goes on.')
    .argument('<driver[/instance]>', 'name of a driver, or one instance of it')
    .option('--undo', 'offer work again')
    .option('--wait <duration>', 'wait until they hold nothing, such as 10m; exit 1 when they still do', parseWait)
    .addOption(outputOption())
    .addHelpText('after', '\nExamples:\n  conveyor drain shell --wait 10m\n  conveyor drain shell/host-1 --undo')
    .action((target: string, options: DrainOptions) => drain(cli, target, options));
}

interface DrainOptions extends OutputOptions {
  readonly undo?: true;
  readonly wait?: number;
}

async function drain({ client, terminal, exitWith }: Cli, target: string, options: DrainOptions): Promise<void> {
  const [name = '', ...instance] = target.split('/');
  const { drivers, idle } = await client().drivers.drain(name, {
    instance: instance.join('/'),
    undo: options.undo,
    waitMs: options.wait,
  });
  if (options.wait !== undefined && !idle) exitWith(exitCodes.failed);
  if (options.output === 'json')
    return terminal.print(prettyJson(drivers.map((driver) => jsonOf(DriverSchema, driver))));
  return terminal.print(driverTable(drivers, terminal.colors));
}

function parseWait(text: string): number {
  const duration = parseDuration(text);
  if (duration === undefined) throw new UsageError(`'${text}' is no duration`, 'write one such as 30s or 10m');
  return durationMs(duration);
}
