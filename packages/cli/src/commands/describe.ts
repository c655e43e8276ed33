// `conveyor describe`: everything about one resource.
import { type DescMessage, type JsonObject, type JsonValue, type MessageShape, toJson } from '@bufbuild/protobuf';
import { AnnotationLevel, DriverState, type Job, JobState, type Run, outputsOf } from '@conveyor/client';
import { DriverSchema } from '@conveyor/protocol/conveyor/v1/driver_pb.js';
import { JobSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import {
  JobDefinitionSchema,
  PipelineDefinitionSchema,
  PipelineSchema,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { RunSchema } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { type Cli, type OutputOptions, findJob, jsonOf, outputOption, parseJobTarget, prettyJson } from '../cli.ts';
import { askedBy, because, stopText, waitText } from '../event-text.ts';
import { UsageError } from '../failure.ts';
import { attemptTable, jobTable } from '../tables.ts';
import { countsText, elapsed, enumName, fields, labels, printable, runState, stateCell, time, bytes } from '../text.ts';

export function addDescribe(program: Command, cli: Cli): void {
  const describe = program
    .command('describe')
    .summary('show one run, job, pipeline or driver')
    .description('Shows everything about one resource.');
  for (const { name, argument, example, description, show } of kinds) {
    describe
      .command(name)
      .description(description)
      .argument(argument)
      .addOption(outputOption())
      .addHelpText('after', `\nExample:\n  conveyor describe ${name} ${example}`)
      .action((target: string, { output }: OutputOptions) => show(cli, target, output));
  }
}

const kinds = [
  {
    name: 'run',
    argument: '<run>',
    example: 'RUN',
    description: 'Shows a run, its params and its jobs.',
    show: describeRun,
  },
  {
    name: 'job',
    argument: '<run/job>',
    example: 'RUN/JOB',
    description: 'Shows a job, its definition, outputs, notes and attempts.',
    show: describeJob,
  },
  {
    name: 'pipeline',
    argument: '<pipeline[@revision]>',
    example: 'ci@3',
    description: 'Shows a pipeline as YAML that `conveyor apply` takes.',
    show: describePipeline,
  },
  {
    name: 'driver',
    argument: '<driver/instance>',
    example: 'shell/host-1',
    description: 'Shows a driver instance and the schema of the specs that it accepts.',
    show: describeDriver,
  },
];

async function describeRun(cli: Cli, runId: string, output: OutputOptions['output']): Promise<void> {
  const { runs, jobs } = cli.client();
  const run = await runs.get(runId);
  if (output === 'json') return printJson(cli, RunSchema, run);
  const listed = await Array.fromAsync(jobs.list(runId));
  return printSections(cli, [
    runFields(cli, run),
    yamlSection('Params', run.params),
    jobTable(listed, cli.terminal.colors),
  ]);
}

function runFields({ terminal }: Cli, run: Run): string {
  const { kind = '', actor = '', reference = '' } = run.trigger ?? {};
  return fields([
    ['Run', run.runId],
    ['Pipeline', run.pipeline === '' ? 'inline definition' : `${run.pipeline}@${run.revision}`],
    ['State', stateCell(runState(run), terminal.colors)],
    ['Paused', run.pause === undefined ? '' : `${time(run.pause.time)}${askedBy(run.pause)}`],
    ['Jobs', countsText(run)],
    ['Cancelled because', run.cancelReason],
    ['Trigger', [kind, actor, reference].filter((part) => part !== '').join(' ')],
    ['Labels', labels(run.labels)],
    ['Rerun of', run.rerunOf],
    ['Created', time(run.createTime)],
    ['Started', time(run.startTime)],
    ['Finished', time(run.finishTime)],
    ['Took', elapsed(run.startTime, run.finishTime)],
  ]);
}

async function describeJob(cli: Cli, target: string, output: OutputOptions['output']): Promise<void> {
  const { runId, jobName } = parseJobTarget(target);
  const { jobs } = cli.client();
  const job = await jobs.get((await findJob(cli.client(), runId, jobName)).jobId);
  if (output === 'json') return printJson(cli, JobSchema, job);
  const attempts = await Array.fromAsync(jobs.attempts(job.jobId));
  const notes = attempts.flatMap(({ number, annotations }) =>
    annotations.map(
      ({ level, text, link }) =>
        `  attempt ${number}, ${enumName(AnnotationLevel, level)}: ${printable(`${text} ${link}`)}`,
    ),
  );
  const made = job.artifacts.map(
    ({ name, digest, sizeBytes, uri }) => `  ${printable(`${name} ${bytes(sizeBytes)} ${digest} ${uri}`)}`,
  );
  if (job.artifactCount > made.length) made.push(`  and ${job.artifactCount - made.length} more`);
  return printSections(cli, [
    jobFields(cli, job),
    job.definition === undefined ? '' : yamlSection('Definition', toJson(JobDefinitionSchema, job.definition)),
    yamlSection('Outputs', outputsOf(job)),
    made.length === 0 ? '' : ['Artifacts:', ...made].join('\n'),
    notes.length === 0 ? '' : ['Notes:', ...notes].join('\n'),
    attempts.length === 0 ? '' : attemptTable(attempts, cli.terminal.colors),
  ]);
}

function jobFields({ terminal }: Cli, job: Job): string {
  return fields([
    ['Job', job.name],
    ['Id', job.jobId],
    ['Run', job.runId],
    ['State', stateCell(enumName(JobState, job.state), terminal.colors)],
    ['Waits for', job.wait === undefined ? '' : waitText(job.wait)],
    ['Held', job.hold === undefined ? '' : `${time(job.hold.time)}${askedBy(job.hold)}`],
    ['Stopping', job.stop === undefined ? '' : `${time(job.stop.time)} ${stopText(job.stop)}`],
    ['Failure', because(job.failure).slice(2)],
    ['Progress', job.progress?.message ?? ''],
    ['Inherited from', job.inheritedFrom],
    ['Started', time(job.startTime)],
    ['Finished', time(job.finishTime)],
    ['Took', elapsed(job.startTime, job.finishTime)],
  ]);
}

async function describePipeline(cli: Cli, target: string, output: OutputOptions['output']): Promise<void> {
  const [, name = target, revision = ''] = /^(.+)@(\d+)$/.exec(target) ?? [];
  const pipeline = await cli.client().pipelines.get(name, revision === '' ? {} : { revision: Number(revision) });
  if (output === 'json') return printJson(cli, PipelineSchema, pipeline);
  const definition = pipeline.definition === undefined ? {} : toJson(PipelineDefinitionSchema, pipeline.definition);
  const comment = `# revision ${pipeline.revision}, first applied ${time(pipeline.createTime)}, last ${time(pipeline.updateTime)}`;
  const yaml = stringify({ name: pipeline.name, ...(isJsonObject(definition) ? definition : {}) });
  return cli.terminal.print(`${comment}\n${yaml.trimEnd()}`);
}

async function describeDriver(cli: Cli, target: string, output: OutputOptions['output']): Promise<void> {
  const [name = '', ...instance] = target.split('/');
  if (instance.length === 0)
    throw new UsageError(`'${target}' names no instance`, `list them with \`conveyor get drivers ${name}\``);
  const driver = await cli.client().drivers.get(name, instance.join('/'));
  if (output === 'json') return printJson(cli, DriverSchema, driver);
  const { colors } = cli.terminal;
  const about = fields([
    ['Driver', driver.name],
    ['Instance', driver.instance],
    ['State', stateCell(enumName(DriverState, driver.state), colors)],
    ['Slots', `${driver.held} of ${driver.slots} held`],
    ['Version', driver.version],
    ['Labels', labels(driver.labels)],
    ['First connected', time(driver.createTime)],
    ['Session', `${driver.epoch}, since ${time(driver.connectTime)}`],
    ['Heard of', time(driver.heartbeatTime)],
  ]);
  return printSections(cli, [about, yamlSection('Accepts specs of', driver.specSchema)]);
}

function printJson<Desc extends DescMessage>(
  { terminal }: Cli,
  desc: Desc,
  message: MessageShape<Desc>,
): Promise<void> {
  return terminal.print(prettyJson(jsonOf(desc, message)));
}

/** Sections with an empty line between them. */
function printSections({ terminal }: Cli, sections: readonly string[]): Promise<void> {
  return terminal.print(sections.filter((section) => section !== '').join('\n\n'));
}

function yamlSection(title: string, value: JsonValue | undefined): string {
  if (!isJsonObject(value) || Object.keys(value).length === 0) return '';
  return `${title}:\n${stringify(value).trimEnd().replaceAll(/^/gm, '  ')}`;
}

function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
