// `conveyor run`: starts a run, and follows it when asked to.
import type { JsonObject } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import {
  type Client,
  type Run,
  type RunInput,
  type RunSource,
  type TriggerInput,
  type Warning,
  parseDuration,
} from '@conveyor/client';
import { RunSchema } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import type { Command } from 'commander';
import { actorOf, type Cli, type OutputOptions, jsonOf, outputOption, prettyJson, repeatable } from '../cli.ts';
import { UsageError } from '../failure.ts';
import { problemText } from '../file-problem.ts';
import { followToExit } from '../follow.ts';
import { parseLabels, parseParams } from '../params.ts';
import type { PipelineFile } from '../pipeline-file.ts';
import { readPipelineToRun, withFilePlaces } from '../read-files.ts';
import { parseTime, printable } from '../text.ts';
import { fileWarnings } from '../warnings.ts';

export function addRun(program: Command, cli: Cli): void {
  addRunSource(program.command('run').summary('start a run'))
    .description('Starts a run of a stored pipeline, or of a file without storing it.')
    .option(
      '--start-time <time>',
      'not before then: a time such as 2026-01-31T12:00:00Z, or from now, such as 10m',
      parseStart,
    )
    .option('--follow', 'show its progress and logs until it has finished')
    .addOption(outputOption())
    .addHelpText('after', help)
    .action((pipeline: string | undefined, options: RunOptions) => run(cli, pipeline, options));
}

/** Adds how commands are told what to run. */
export function addRunSource(command: Command): Command {
  return command
    .argument('[pipeline]', 'name of a stored pipeline')
    .option('-f, --file <file>', 'run this pipeline, as YAML or JSON; - is standard input')
    .option('--revision <number>', 'revision of the stored pipeline (default: the newest)', parseRevision)
    .addOption(repeatable('-p, --param <key=value>', 'a param; key:=JSON for one that is not text'))
    .addOption(repeatable('-l, --label <key=value>', 'a label of the run'));
}

export interface RunSourceOptions {
  readonly file?: string;
  readonly revision?: number;
  readonly param: readonly string[];
  readonly label: readonly string[];
}

interface RunOptions extends OutputOptions, RunSourceOptions {
  readonly startTime?: Date;
  readonly follow?: true;
}

const help = `
Values of params are text, unless the pipeline's params schema says otherwise.

Exit codes: 0 started, or with --follow succeeded; 1 failed; 2 wrong usage; 3 cancelled.
Ctrl-C ends the following, not the run.

Examples:
  conveyor run ci -p sha=4f2a9c1 -l branch=main
  conveyor run ci --follow
  conveyor run -f ci.yaml -p 'matrix:=["a","b"]' --follow`;

async function run(cli: Cli, pipeline: string | undefined, options: RunOptions): Promise<void> {
  const created = await create(cli, pipeline, options);
  if (options.follow) return followToExit(cli, created.runId, { events: 'main', logs: true, output: options.output });
  return printStarted(cli, created, options);
}

/** Shows a run that was just created. */
export async function printStarted({ terminal }: Cli, run: Run, { output }: OutputOptions): Promise<void> {
  if (output === 'json') return terminal.print(prettyJson(jsonOf(RunSchema, run)));
  await terminal.print(`run ${run.runId} started`);
  terminal.note(`next: conveyor watch ${run.runId}`);
}

/** Says that a person started it. */
export function manualTrigger(cli: Cli): TriggerInput {
  return { kind: 'manual', actor: actorOf(cli) };
}

async function create(cli: Cli, pipeline: string | undefined, options: RunOptions): Promise<Run> {
  const { startTime } = options;
  return await withRunInput(cli, pipeline, options, async ({ runs }, input, file) => {
    const warnings: Warning[] = [];
    const run = await runs.create({ ...input, startTime }, { onWarning: (warning) => warnings.push(warning) });
    const texts =
      file === undefined ? warnings.map(({ message }) => message) : fileWarnings(file, warnings).map(problemText);
    for (const text of texts) cli.terminal.note(`warning: ${printable(text)}`);
    return run;
  });
}

/** Hands on what a command was told to run; what the server finds wrong with a file is told by its lines. */
export async function withRunInput<T>(
  cli: Cli,
  pipeline: string | undefined,
  options: RunSourceOptions,
  use: (client: Client, input: RunInput, file?: PipelineFile) => Promise<T>,
): Promise<T> {
  const client = cli.client();
  const rest = { labels: parseLabels(options.label), trigger: manualTrigger(cli) };
  if (options.file === undefined) {
    if (pipeline === undefined) throw new UsageError('nothing to run', 'name a pipeline, or give a file with -f FILE');
    const { source, schema } = await storedSource(client, pipeline, options);
    return use(client, { ...source, ...rest, params: parseParams(options.param, schema) });
  }
  if (pipeline !== undefined || options.revision !== undefined) {
    throw new UsageError('a stored pipeline and a file cannot both be run', 'leave one of them out');
  }
  const file = await readPipelineToRun(cli, options.file);
  const { definition } = file;
  const params = parseParams(options.param, definition.paramsSchema);
  return withFilePlaces(file, use(client, { definition, ...rest, params }, file));
}

/** Params are read by the schema of one revision, so that is the one to run. */
async function storedSource(
  client: Client,
  pipeline: string,
  { param, revision }: RunSourceOptions,
): Promise<{ source: RunSource; schema: JsonObject | undefined }> {
  if (param.length === 0) return { source: { pipeline, revision }, schema: undefined };
  const stored = await client.pipelines.get(pipeline, revision === undefined ? {} : { revision });
  return { source: { pipeline, revision: stored.revision }, schema: stored.definition?.paramsSchema };
}

function parseRevision(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new UsageError(`'${text}' is no revision`, 'revisions count from 1');
  return Number(text);
}

function parseStart(text: string): Date {
  const delay = parseDuration(text);
  const start = delay === undefined ? parseTime(text) : new Date(Date.now() + durationMs(delay));
  if (start === undefined)
    throw new UsageError(`'${text}' is no time`, 'write 2026-01-31T12:00:00Z, or 10m for from now');
  return start;
}
