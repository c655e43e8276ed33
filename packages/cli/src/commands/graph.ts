// `conveyor graph`: the jobs of a run, a pipeline or a file as a picture's source.
import { create } from '@bufbuild/protobuf';
import { type Job, JobState, type PipelineDefinition, type Run } from '@conveyor/client';
import { JobDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { type Command, Option } from 'commander';
import { cellsByJob } from '../cells.ts';
import type { Cli } from '../cli.ts';
import { UsageError } from '../failure.ts';
import { placeText } from '../file-problem.ts';
import { drawGraph, type GraphFormat, type GraphRun } from '../graph.ts';
import type { PipelineFile } from '../pipeline-file.ts';
import { readPipelineFile } from '../read-files.ts';
import { definedJobs } from '../run-jobs.ts';
import { enumName } from '../text.ts';

interface GraphOptions {
  readonly file?: string;
  readonly format: GraphFormat;
  readonly cells?: true;
}

export function addGraph(program: Command, cli: Cli): void {
  program
    .command('graph')
    .summary('draw the jobs of a run or pipeline')
    .description('Prints the jobs of a run with their states, or of a pipeline, as Mermaid or DOT.')
    .argument('[run|pipeline]', 'id of a run, or name of a stored pipeline, as NAME or NAME@REVISION')
    .option('-f, --file <file>', 'draw this pipeline, as YAML or JSON; - is standard input')
    .addOption(
      new Option('--format <format>', 'the language of the picture').choices(['mermaid', 'dot']).default('mermaid'),
    )
    .option('--cells', 'draw every cell of a matrix that a run has made, instead of how many there are')
    .addHelpText('after', '\nExample:\n  conveyor graph RUN --format dot | dot -Tsvg > run.svg')
    .action((target: string | undefined, options: GraphOptions) => graph(cli, target, options));
}

async function graph(cli: Cli, target: string | undefined, { file, format, cells }: GraphOptions): Promise<void> {
  if (file !== undefined && target !== undefined) {
    throw new UsageError('a file and what is stored cannot both be drawn', 'leave one of them out');
  }
  const { definition, run } = await read(cli, target, file);
  return cli.terminal.print(drawGraph(definition, run, format, cells));
}

interface Drawn {
  readonly definition: PipelineDefinition;
  readonly run: GraphRun;
}

const RUN_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const UNKNOWN: GraphRun = { states: new Map(), cells: new Map() };

async function read(cli: Cli, target: string | undefined, file: string | undefined): Promise<Drawn> {
  if (file !== undefined) return { definition: checked(await readPipelineFile(cli, file)), run: UNKNOWN };
  if (target === undefined) {
    throw new UsageError('nothing to draw', 'name a run or a pipeline, or give a file with -f FILE');
  }
  const { runs, jobs, pipelines } = cli.client();
  if (!RUN_ID.test(target)) {
    const [, name = target, revision = ''] = /^(.+)@(\d+)$/.exec(target) ?? [];
    const pipeline = await pipelines.get(name, revision === '' ? {} : { revision: Number(revision) });
    return { definition: known(pipeline.definition), run: UNKNOWN };
  }
  const run = await runs.get(target);
  const listed = await Array.fromAsync(jobs.list(target, {}, { pageSize: 1_000 }));
  const states = new Map(listed.map(({ name, state }) => [name, enumName(JobState, state).toLowerCase()]));
  const cells = new Map(Array.from(cellsByJob(listed), ([name, own]) => [name, own.map((cell) => cell.name)]));
  const allowed = new Set(
    listed.filter(({ state, failureAllowed }) => state === JobState.FAILED && failureAllowed).map(({ name }) => name),
  );
  const appendedBy = new Map(run.appendedJobs.flatMap(({ job, jobs: made }) => made.map(({ name }) => [name, job])));
  return { definition: withAppended(run, listed), run: { states, cells, allowed, appendedBy } };
}

/** The definition of a run with what was appended; of what the run had no room for, as far as its jobs say what they are. */
function withAppended(run: Run, listed: readonly Job[]): PipelineDefinition {
  const jobs = definedJobs(run);
  const names = new Set(jobs.map(({ name }) => name));
  const others = listed
    .filter(({ name, matrixJob }) => matrixJob === '' && !names.has(name))
    .map(({ name, driver, needs }) => create(JobDefinitionSchema, { name, driver, needs }));
  return { ...known(run.definition), jobs: [...jobs, ...others] };
}

/** No server has looked at a file: what a picture would be wrong with is refused here. */
function checked(file: PipelineFile): PipelineDefinition {
  const { definition } = file;
  const names = new Set(definition.jobs.map(({ name }) => name));
  const problems = definition.jobs.flatMap(({ name, needs, stage }, index) => [
    ...(/^[\w.-]+$/.test(name)
      ? []
      : [`${placeText(file.locate(`jobs[${index}].name`))}: ${JSON.stringify(name)} is no name of a job`]),
    ...(stage === '' || definition.stages.includes(stage)
      ? []
      : [`${placeText(file.locate(`jobs[${index}].stage`))}: there is no stage ${JSON.stringify(stage)}`]),
    ...needs.flatMap((need, at) =>
      names.has(need)
        ? []
        : [`${placeText(file.locate(`jobs[${index}].needs[${at}]`))}: there is no job ${JSON.stringify(need)}`],
    ),
  ]);
  if (problems.length > 0) throw new UsageError(['this pipeline cannot be drawn', ...problems].join('\n'));
  return definition;
}

function known(definition: PipelineDefinition | undefined): PipelineDefinition {
  if (definition === undefined) throw new Error('the server left the definition out');
  return definition;
}
