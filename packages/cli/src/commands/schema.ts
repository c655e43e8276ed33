// `conveyor schema`: the JSON Schema of files, for editors.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { Argument, type Command } from 'commander';
import type { Cli } from '../cli.ts';

export function addSchema(program: Command, cli: Cli): void {
  program
    .command('schema')
    .summary('print the JSON Schema of files')
    .description(
      'Prints the JSON Schema of the files that `conveyor apply` or `conveyor schedule apply` takes, for editors.',
    )
    .addArgument(new Argument('<kind>', 'what the files hold').choices(['pipeline', 'schedule']))
    .addHelpText('after', '\nExample:\n  conveyor schema pipeline > pipeline.schema.json')
    .action((kind: string) => printSchema(cli, kind));
}

async function printSchema({ terminal }: Cli, kind: string): Promise<void> {
  const { resolve } = createRequire(import.meta.url);
  const schema = await readFile(resolve(`@conveyor/protocol/schema/${kind}.schema.json`), 'utf8');
  await terminal.print(schema.trimEnd());
}
