// `conveyor diff`: how one thing that is stored differs from another, or from a file.
import {
  DiffPipelineRevisionsResponseSchema,
  PipelineDiffSchema,
} from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import type { Command } from 'commander';
import { type Cli, type OutputOptions, jsonOf, outputOption, prettyJson } from '../cli.ts';
import { UsageError } from '../failure.ts';
import { problemText } from '../file-problem.ts';
import { pipelineDiffText } from '../pipeline-diff-text.ts';
import { readNamedPipelines, withFilePlaces } from '../read-files.ts';
import { fileWarnings } from '../warnings.ts';
import { addDiffRun } from './diff-run.ts';

export function addDiff(program: Command, cli: Cli): void {
  const diff = program
    .command('diff')
    .summary('show what changed, or would')
    .description('Shows how one thing that is stored differs from another, or from a file.')
    .addHelpText(
      'after',
      '\nExamples:\n  conveyor diff -f ci.yaml\n  conveyor diff pipeline ci 2 3\n  conveyor diff run RUN 1',
    );
  addDiffFile(diff, cli);
  addDiffPipeline(diff, cli);
  addDiffRun(diff, cli);
}

interface DiffFileOptions extends OutputOptions {
  readonly file: string;
}

function addDiffFile(diff: Command, cli: Cli): void {
  diff
    .command('file', { isDefault: true })
    .description('Shows what applying a file would change of the newest revision.')
    .requiredOption('-f, --file <file>', 'the pipeline as YAML or JSON; - is standard input')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor diff -f ci.yaml')
    .action((options: DiffFileOptions) => diffFile(cli, options));
}

async function diffFile(cli: Cli, { file, output }: DiffFileOptions): Promise<void> {
  const [read, ...more] = await readNamedPipelines(cli, [file]);
  if (more.length > 0) throw new UsageError(`${file} has several pipelines`, 'compare each file by itself');
  const { name, definition } = read;
  const { terminal, client } = cli;
  const call = client().pipelines.validate({ name, definition });
  const { newest, diff, warningDetails } = await withFilePlaces(read, call);
  for (const warning of fileWarnings(read, warningDetails)) terminal.note(`warning: ${problemText(warning)}`);
  if (output === 'json') return terminal.print(prettyJson(jsonOf(PipelineDiffSchema, diff)));
  const from = newest === undefined ? 'no pipeline' : `revision ${newest.revision}`;
  return terminal.print(
    pipelineDiffText(`pipeline ${name}, ${from} to ${read.locate('').file}`, diff, terminal.colors),
  );
}

function addDiffPipeline(diff: Command, cli: Cli): void {
  diff
    .command('pipeline')
    .description('Shows what changed between two revisions of a pipeline.')
    .argument('<name>', 'name of the pipeline')
    .argument('<from>', 'the older revision', parseRevision)
    .argument('[to]', 'the newer one; default the newest', parseRevision)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor diff pipeline ci 2 3')
    .action((name: string, from: number, to: number | undefined, { output }: OutputOptions) =>
      diffPipeline(cli, name, { from, to, output }),
    );
}

interface Revisions extends OutputOptions {
  readonly from: number;
  readonly to: number | undefined;
}

async function diffPipeline({ client, terminal }: Cli, name: string, { from, to, output }: Revisions): Promise<void> {
  const answer = await client().pipelines.diff(name, from, { toRevision: to });
  if (output === 'json') return terminal.print(prettyJson(jsonOf(DiffPipelineRevisionsResponseSchema, answer)));
  const { diff, fromRevision, toRevision } = answer;
  const title = `pipeline ${name}, revision ${fromRevision} to ${toRevision}`;
  return terminal.print(pipelineDiffText(title, diff, terminal.colors));
}

function parseRevision(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new UsageError(`'${text}' is no revision`, 'write a number from 1');
  return Number(text);
}
