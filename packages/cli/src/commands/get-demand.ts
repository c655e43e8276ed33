// `conveyor get demand`: what is queued, by what it asks of drivers; once, or as it changes.
import type { ConveyorError } from '@conveyor/client';
import { DemandSchema } from '@conveyor/protocol/conveyor/v1/demand_pb.js';
import type { Command } from 'commander';
import { type Cli, type OutputOptions, jsonOf, outputOption } from '../cli.ts';
import { demandTable, demandText } from '../demand-text.ts';
import { untilInterrupted } from '../follow.ts';
import { show } from '../lists.ts';
import { createOutageNotice } from '../outage.ts';

interface GetDemandOptions extends OutputOptions {
  readonly watch?: true;
}

export function addGetDemand(get: Command, cli: Cli): void {
  get
    .command('demand')
    .description('Lists what is queued, by driver and what it asks of an instance, and who may take it.')
    .argument('[driver...]', 'only of these drivers')
    .option('-w, --watch', 'go on with each change, until Ctrl-C')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nAs JSON, --watch gives an object a line: a change of the API.\n\nExamples:\n  conveyor get demand\n  conveyor get demand shell --watch',
    )
    .action((drivers: readonly string[], { output, watch }: GetDemandOptions) =>
      watch ? follow(cli, drivers, output) : list(cli, drivers, output),
    );
}

async function list(cli: Cli, drivers: readonly string[], output: OutputOptions['output']): Promise<void> {
  const onReconnect = (error: ConveyorError): never => {
    throw error;
  };
  // The first update is how things stand.
  for await (const { demands } of cli.client().drivers.watchDemand({ drivers }, { onReconnect })) {
    return show(cli, output, DemandSchema, demands, () => demandTable(demands));
  }
}

function follow(cli: Cli, drivers: readonly string[], output: OutputOptions['output']): Promise<void> {
  const outage = createOutageNotice(cli.terminal);
  return untilInterrupted(cli, undefined, async (signal) => {
    const updates = cli.client().drivers.watchDemand({ drivers }, { signal, onReconnect: outage.onReconnect });
    for await (const { changes } of updates) {
      outage.heard();
      for (const { demand, ended } of changes) {
        const json = (): string => JSON.stringify({ demand: jsonOf(DemandSchema, demand), ended });
        await cli.terminal.print(output === 'json' ? json() : demandText(demand));
      }
    }
  });
}
