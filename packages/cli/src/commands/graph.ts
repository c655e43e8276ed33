// `conveyor graph`: the jobs of a run, a pipeline or a file as a picture's source.
import { JobState, type PipelineDefinition } from '@conveyor/client';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import { UsageError } from '../failure.ts';
import { placeText } from '../file-problem.ts';
import { drawGraph, type GraphFormat, type GraphStates } from '../graph.ts';
import type { PipelineFile } from '../pipeline-file.ts';
import { readPipelineFile } from '../read-files.ts';
import { enumName } from '../text.ts';

interface GraphOptions {
  readonly file?: string;
  readonly format: GraphFormat;
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
    .addHelpText('after', '\nExample:\n  conveyor graph RUN --format dot | dot -Tsvg > run.svg')
    .action((target: string | undefined, options: GraphOptions) => graph(cli, target, options));
}

async function graph(cli: Cli, target: string | undefined, { file, format }: GraphOptions): Promise<void> {
  if (file !== undefined && target !== undefined) {
    throw new UsageError('a file and what is stored cannot both be drawn', 'leave one of them out');
  }
  const { definition, states } = await read(cli, target, file);
  return cli.terminal.print(drawGraph(definition, states, format));
}

interface Drawn {
  readonly definition: PipelineDefinition;
  readonly states: GraphStates;
}

const RUN_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const UNKNOWN: GraphStates = new Map();

async function read(cli: Cli, target: string | undefined, file: string | undefined): Promise<Drawn> {
  if (file !== undefined) return { definition: checked(await readPipelineFile(cli, file)), states: UNKNOWN };
  if (target === undefined) {
    throw new UsageError('nothing to draw', 'name a run or a pipeline, or give a file with -f FILE');
  }
  const { runs, jobs, pipelines } = cli.client();
  if (!RUN_ID.test(target)) {
    const [, name = target, revision = ''] = /^(.+)@(\d+)$/.exec(target) ?? [];
    const pipeline = await pipelines.get(name, revision === '' ? {} : { revision: Number(revision) });
    return { definition: known(pipeline.definition), states: UNKNOWN };
  }
  const { definition } = await runs.get(target);
  const listed = await Array.fromAsync(jobs.list(target));
  const states = new Map(listed.map(({ name, state }) => [name, enumName(JobState, state).toLowerCase()]));
  return { definition: known(definition), states };
}

/** No server has looked at a file: what a picture would be wrong with is refused here. */
function checked(file: PipelineFile): PipelineDefinition {
  const { definition } = file;
  const names = new Set(definition.jobs.map(({ name }) => name));
  const problems = definition.jobs.flatMap(({ name, needs }, index) => [
    ...(/^[\w.-]+$/.test(name)
      ? []
      : [`${placeText(file.locate(`jobs[${index}].name`))}: ${JSON.stringify(name)} is no name of a job`]),
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
