// `conveyor value`: what the jobs of a run and its platform share.
import { type JsonValue } from '@bufbuild/protobuf';
import { jsonOfValue, type RunValue } from '@conveyor/client';
import { RunValueSchema } from '@conveyor/protocol/conveyor/v1/run_value_pb.js';
import type { Command } from 'commander';
import { type Cli, type OutputOptions, jsonOf, outputOption, prettyJson } from '../cli.ts';
import { UsageError } from '../failure.ts';
import { show } from '../lists.ts';
import { parseParams } from '../params.ts';
import { age, table } from '../text.ts';

export function addValue(program: Command, cli: Cli): void {
  const value = program
    .command('value')
    .summary('read and set values of a run')
    .description('Reads and sets values of a run: what its jobs and its platform share while it runs.');
  value
    .command('get')
    .description('Prints a value: text as it is, anything else as JSON.')
    .argument('<run>', 'id of the run')
    .argument('<key>')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor value get RUN deploy.target')
    .action(async (runId: string, key: string, { output }: OutputOptions) => {
      const found = await cli.client().values.get(runId, key);
      const json = jsonOfValue(found);
      const plain = typeof json === 'string' ? json : JSON.stringify(json);
      await cli.terminal.print(output === 'json' ? prettyJson(jsonOf(RunValueSchema, found)) : plain);
    });
  value
    .command('list')
    .description('Lists the values of a run by key.')
    .argument('<run>', 'id of the run')
    .option('--prefix <prefix>', 'only keys that begin with it')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor value list RUN --prefix deploy.')
    .action(async (runId: string, { prefix, output }: OutputOptions & { prefix?: string }) => {
      const options = prefix === undefined ? {} : { prefix };
      const values = await Array.fromAsync(cli.client().values.list(runId, options));
      await show(cli, output, RunValueSchema, values, () => valueTable(values));
    });
  addChanges(value, cli);
}

interface Expecting {
  readonly expectedVersion?: bigint;
}

function addChanges(value: Command, cli: Cli): void {
  value
    .command('set')
    .description('Sets a value: text as KEY=TEXT, anything else as KEY:=JSON.')
    .argument('<run>', 'id of the run')
    .argument('<key=value>')
    .option('--expected-version <number>', 'only if it has this version; 0: only if there is none', parseVersion(0))
    .addHelpText(
      'after',
      `
Examples:
  conveyor value set RUN deploy.target=staging
  conveyor value set RUN 'deploy.canaries:=[1,2]' --expected-version 3`,
    )
    .action(async (runId: string, argument: string, { expectedVersion }: Expecting) => {
      const [[key, json]] = Object.entries(parseParams([argument], undefined, 'value')) as [[string, JsonValue]];
      const version = await cli.client().values.set(runId, key, json, { expectedVersion });
      await cli.terminal.print(`value ${key} has version ${version}`);
    });
  value
    .command('delete')
    .description('Deletes a value.')
    .argument('<run>', 'id of the run')
    .argument('<key>')
    .option('--expected-version <number>', 'only if it has this version', parseVersion(1))
    .addHelpText('after', '\nExample:\n  conveyor value delete RUN deploy.target')
    .action(async (runId: string, key: string, { expectedVersion }: Expecting) => {
      await cli.client().values.delete(runId, key, { expectedVersion });
      await cli.terminal.print(`value ${key} is deleted`);
    });
}

function valueTable(values: readonly RunValue[]): string {
  return table(
    ['KEY', 'VERSION', 'AGE', 'VALUE'],
    values.map((value) => [
      value.key,
      String(value.version),
      age(value.updateTime),
      shorten(JSON.stringify(jsonOfValue(value))),
    ]),
  );
}

const MAX_SHOWN = 80;

function shorten(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN - 1)}…` : text;
}

function parseVersion(min: 0 | 1): (text: string) => bigint {
  return (text) => {
    if (/^\d{1,15}$/.test(text) && Number(text) >= min) return BigInt(text);
    throw new UsageError(
      `'${text}' is no version`,
      `write a number from ${min} on, as \`conveyor value list RUN\` shows it`,
    );
  };
}
