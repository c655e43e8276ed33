// `conveyor apply`: stores a pipeline.
import type { Command } from 'commander';
import { PipelineSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { Pipeline } from '@conveyor/client';
import { type Cli, type OutputOptions, filesOption, jsonOf, outputOption, prettyJson } from '../cli.ts';
import { UsageError } from '../failure.ts';
import { problemText } from '../file-problem.ts';
import { readNamedPipelines, withFilePlaces } from '../read-files.ts';
import { calledFirst, fileWarnings } from '../warnings.ts';

export function addApply(program: Command, cli: Cli): void {
  program
    .command('apply')
    .summary('store a pipeline')
    .description('Creates a pipeline, or a new revision of it when its definition changed.')
    .addOption(filesOption())
    .option(
      '--expected-revision <number>',
      'apply only if this is the newest revision; 0 if there must be none',
      parseExpected,
    )
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor apply -f ci.yaml -f pipelines/')
    .action((options: ApplyOptions) => apply(cli, options));
}

interface ApplyOptions extends OutputOptions {
  readonly file: readonly string[];
  readonly expectedRevision?: number;
}

async function apply(cli: Cli, { file, expectedRevision, output }: ApplyOptions): Promise<void> {
  const { client, terminal } = cli;
  // All are read before any is stored.
  const files = await readNamedPipelines(cli, file);
  if (expectedRevision !== undefined && files.length > 1) {
    throw new UsageError('--expected-revision is that of one pipeline', 'apply each file by itself');
  }
  const applied: Pipeline[] = [];
  for (const read of calledFirst(files)) {
    const { name, definition } = read;
    const call = client().pipelines.apply({ name, definition, expectedRevision });
    const { pipeline, changed, warningDetails } = await withFilePlaces(read, call);
    applied.push(pipeline);
    for (const warning of fileWarnings(read, warningDetails, files)) terminal.note(`warning: ${problemText(warning)}`);
    const news = changed ? `applied as revision ${pipeline.revision}` : `unchanged at revision ${pipeline.revision}`;
    if (output === 'table') await terminal.print(`pipeline ${name} ${news}`);
  }
  if (output === 'table') return;
  const [first, ...more] = applied.map((pipeline) => jsonOf(PipelineSchema, pipeline));
  await terminal.print(prettyJson(first !== undefined && more.length === 0 ? first : [first ?? null, ...more]));
}

function parseExpected(text: string): number {
  if (!/^(0|[1-9]\d{0,8})$/.test(text))
    throw new UsageError(`'${text}' is no revision`, 'write a number, or 0 for none');
  return Number(text);
}
