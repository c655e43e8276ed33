// `conveyor version`: the version of this command, and of the server when it answers.
import { readFileSync } from 'node:fs';
import type { GetServerInfoResponse } from '@conveyor/client';
import { GetServerInfoResponseSchema } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import type { Command } from 'commander';
import { type Cli, type OutputOptions, jsonOf, outputOption, prettyJson } from '../cli.ts';
import { describeFailure } from '../failure.ts';

/** How long to wait for the server. */
const timeoutMs = 3_000;

export function addVersion(program: Command, cli: Cli): void {
  program
    .version(ownVersion(), '--version', 'the version of this command')
    .command('version')
    .summary('show versions')
    .description('Shows the version of this command, and of the server when it answers.')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor version')
    .action((options: OutputOptions) => version(cli, options));
}

async function version({ client, terminal, address }: Cli, { output }: OutputOptions): Promise<void> {
  let server: GetServerInfoResponse | undefined;
  let problem = '';
  try {
    server = await client().server.info({ timeoutMs });
  } catch (thrown) {
    problem = describeFailure(thrown, address()).message;
  }
  if (output === 'json') {
    const json = server === undefined ? null : jsonOf(GetServerInfoResponseSchema, server);
    return terminal.print(prettyJson({ version: ownVersion(), server: json }));
  }
  await terminal.print(`conveyor ${ownVersion()}`);
  if (server === undefined) terminal.note(problem);
  else await terminal.print(`server   ${server.version} at ${address()}, replica ${server.replica}`);
}

function ownVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : '';
}
