// `conveyor apply`: stores a pipeline.
import type { Command } from 'commander';
import { PipelineSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { type Cli, type OutputOptions, jsonOf, outputOption, prettyJson } from '../cli.ts';
import { readPipelineFile, withFilePlaces } from '../read-files.ts';
import { UsageError } from '../failure.ts';

export function addApply(program: Command, cli: Cli): void {
  program
    .command('apply')
    .summary('store a pipeline')
    .description('Creates a pipeline, or a new revision of it when its definition changed.')
    .requiredOption('-f, --file <file>', 'the pipeline as YAML or JSON; - is standard input')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor apply -f ci.yaml')
    .action((options: ApplyOptions) => apply(cli, options));
}

interface ApplyOptions extends OutputOptions {
  readonly file: string;
}

async function apply(cli: Cli, { file, output }: ApplyOptions): Promise<void> {
  const { client, terminal } = cli;
  const read = await readPipelineFile(cli, file);
  const { name, definition } = read;
  if (name === undefined) throw new UsageError(`${file} has no name`, 'add a line such as `name: ci` at its top');
  const { pipeline, changed, warnings } = await withFilePlaces(read, client().pipelines.apply({ name, definition }));
  for (const warning of warnings) terminal.note(`warning: ${warning}`);
  if (output === 'json') return terminal.print(prettyJson(jsonOf(PipelineSchema, pipeline)));
  const news = changed ? `applied as revision ${pipeline.revision}` : `unchanged at revision ${pipeline.revision}`;
  return terminal.print(`pipeline ${name} ${news}`);
}
