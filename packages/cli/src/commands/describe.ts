// `conveyor describe`: everything about one resource.
import { type DescMessage, type JsonValue, type MessageShape, create } from '@bufbuild/protobuf';
import { AnnotationLevel, DriverState, type Event, type Job, JobState, type Run, outputsOf } from '@conveyor/client';
import { DriverSchema } from '@conveyor/protocol/conveyor/v1/driver_pb.js';
import { JobSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import {
  JobDefinitionSchema,
  PipelineDefinitionSchema,
  PipelineSchema,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { RunSchema } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import type { Command } from 'commander';
import { type Cli, type OutputOptions, findJob, jsonOf, outputOption, parseJobTarget, prettyJson } from '../cli.ts';
import { blockerSection, explainOpen, waitingSection } from '../blocker-text.ts';
import { cellCounts, foldCells } from '../cells.ts';
import { askedBy, stopText, waitText } from '../event-text.ts';
import { UsageError } from '../failure.ts';
import { jobFailureText } from '../failure-text.ts';
import { answerCommands, answerTable, asksForAnswers, gateFields } from '../gate-text.ts';
import {
  cellSection,
  conditionSection,
  failureSection,
  type JobSurroundings,
  readSurroundings,
  reasonFields,
} from '../job-sections.ts';
import { whyEachNot } from '../job-reason.ts';
import { limitFields } from '../job-limits.ts';
import { jobTargets } from '../job-targets.ts';
import { isJsonObject } from '../json.ts';
import { take } from '../lists.ts';
import { messageJson, messageYaml, yamlOf } from '../message-yaml.ts';
import { atOption, eventAt, momentOf, type PointOptions, pointText } from '../points.ts';
import { definedJobs } from '../run-jobs.ts';
import { attemptTable, jobTable } from '../tables.ts';
import { countsText, elapsed, enumName, fields, labels, printable, runState, stateCell, time, bytes } from '../text.ts';

export function addDescribe(program: Command, cli: Cli): void {
  const describe = program
    .command('describe')
    .summary('show one run, job, pipeline or driver')
    .description('Shows everything about one resource.');
  for (const { name, argument, example, description, hasPast, show } of kinds) {
    const kind = describe.command(name).description(description).argument(argument);
    if (hasPast) kind.addOption(atOption());
    kind
      .addOption(outputOption())
      .addHelpText('after', `\nExample:\n  conveyor describe ${name} ${example}`)
      .action((target: string, options: DescribeOptions) => show(cli, target, options));
  }
}

type DescribeOptions = OutputOptions & PointOptions;

const kinds = [
  {
    name: 'run',
    argument: '<run>',
    example: 'RUN',
    description: 'Shows a run, its params and its jobs.',
    hasPast: true,
    show: describeRun,
  },
  {
    name: 'job',
    argument: '<run/job>',
    example: 'RUN/JOB',
    description: 'Shows a job, its definition, outputs, notes and attempts.',
    hasPast: true,
    show: describeJob,
  },
  {
    name: 'pipeline',
    argument: '<pipeline[@revision]>',
    example: 'ci@3',
    description: 'Shows a pipeline as YAML that `conveyor apply` takes.',
    hasPast: false,
    show: describePipeline,
  },
  {
    name: 'driver',
    argument: '<driver/instance>',
    example: 'shell/host-1',
    description: 'Shows a driver instance and the schema of the specs that it accepts.',
    hasPast: false,
    show: describeDriver,
  },
];

/** A matrix with more cells is shown as one job. */
const mostCells = 10;

async function describeRun(cli: Cli, runId: string, { at, output }: DescribeOptions): Promise<void> {
  const { runs, jobs } = cli.client();
  const run = await runs.get(runId, { atSeq: at });
  if (output === 'json') return printJson(cli, RunSchema, run);
  const listed = await Array.fromAsync(jobs.list(runId, {}, { atSeq: at }));
  const event = await eventAt(cli, runId, at);
  return printSections(cli, [
    runFields(cli, run, event),
    yamlSection('Params', run.params),
    jobTable(foldCells(listed, mostCells), cli.terminal.colors, momentOf(event), {
      cells: cellCounts(listed),
      reasons: whyEachNot(listed, definedJobs(run), run),
    }),
    at === undefined ? await waitingSection(cli, listed) : '',
  ]);
}

function runFields({ terminal }: Cli, run: Run, event: Event | undefined): string {
  const { kind = '', actor = '', reference = '' } = run.trigger ?? {};
  return fields([
    ['Run', run.runId],
    ['As of', pointText(event)],
    ['Pipeline', run.pipeline === '' ? 'inline definition' : `${run.pipeline}@${run.revision}`],
    ['State', stateCell(runState(run), terminal.colors)],
    ['Paused', run.pause === undefined ? '' : `${time(run.pause.time)}${askedBy(run.pause)}`],
    ['Jobs', countsText(run)],
    ['Cancelled because', run.cancelReason],
    ['Trigger', [kind, actor, reference].filter((part) => part !== '').join(' ')],
    ['Labels', labels(run.labels)],
    ['Rerun of', run.rerunOf],
    ['Events', String(run.seq)],
    ['Created', time(run.createTime)],
    ['Started', time(run.startTime)],
    ['Finished', time(run.finishTime)],
    ['Took', elapsed(run.startTime, run.finishTime, momentOf(event))],
  ]);
}

async function describeJob(cli: Cli, target: string, { at, output }: DescribeOptions): Promise<void> {
  const { runId, jobName } = parseJobTarget(target);
  const { jobs } = cli.client();
  const job = await jobs.get((await findJob(cli.client(), runId, jobName)).jobId, { atSeq: at });
  if (output === 'json') return printJson(cli, JobSchema, job);
  const attempts = await Array.fromAsync(jobs.attempts(job.jobId, { atSeq: at }));
  const surroundings = await readSurroundings(cli, job, at);
  const explanation = at === undefined ? await explainOpen(cli, job) : undefined;
  const event = await eventAt(cli, runId, at);
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
  await printSections(cli, [
    jobFields(cli, job, surroundings, {
      event,
      group: at === undefined ? await groupText(cli, job) : job.concurrencyGroup,
      isExplained: explanation !== undefined && explanation.blockers.length > 0,
    }),
    explanation === undefined ? '' : await blockerSection(cli, explanation),
    conditionSection(job),
    failureSection(job),
    answerTable(job),
    job.definition === undefined ? '' : yamlSection('Definition', messageJson(JobDefinitionSchema, job.definition)),
    yamlSection(job.driver === '' ? 'Params with values' : 'Spec with values', job.spec),
    yamlSection('Outputs', outputsOf(job)),
    made.length === 0 ? '' : ['Artifacts:', ...made].join('\n'),
    notes.length === 0 ? '' : ['Notes:', ...notes].join('\n'),
    attempts.length === 0 ? '' : attemptTable(attempts, cli.terminal.colors, momentOf(event)),
    cellSection(runId, surroundings.cells, cli, momentOf(event)),
  ]);
  if (event !== undefined || !asksForAnswers(job)) return;
  cli.terminal.note(`next: ${answerCommands(runId, job.name, job.definition?.gate)}`);
}

/** How many hold a place of the job's group, and who, as far as there are few. */
async function groupText(cli: Cli, { jobId: own, concurrencyGroup: key }: Job): Promise<string> {
  if (key === '') return '';
  const { jobs } = cli.client();
  const { holdingCount, limit } = await jobs.group(key);
  if (holdingCount === 0) return key;
  const holders = await Array.fromAsync(take(jobs.groupMembers(key), Math.min(holdingCount, MAX_HOLDERS)));
  const more = holdingCount > holders.length ? ' and others' : '';
  const targets = await jobTargets(
    cli,
    holders.filter(({ jobId }) => jobId !== own).map(({ jobId }) => jobId),
  );
  const names = holders.map(({ jobId }) => (jobId === own ? 'this job' : (targets.get(jobId) ?? jobId)));
  return `${key}, ${holdingCount}/${limit} held by ${names.join(', ')}${more}`;
}

const MAX_HOLDERS = 3;

interface JobTold {
  /** That it is shown right after. */
  readonly event: Event | undefined;
  /** Its group, and who holds its places. */
  readonly group: string;
  /** What it waits for is told in a section of its own. */
  readonly isExplained: boolean;
}

function jobFields(
  { terminal }: Cli,
  job: Job,
  surroundings: JobSurroundings,
  { event, group, isExplained }: JobTold,
): string {
  return fields([
    ['Job', job.name],
    ['Id', job.jobId],
    ['Run', job.runId],
    ['As of', pointText(event)],
    ['State', stateCell(enumName(JobState, job.state), terminal.colors)],
    ['Waits for', job.wait === undefined || isExplained ? '' : waitText(job.wait)],
    ...reasonFields(job, surroundings),
    ...gateFields(job, isExplained),
    ['Group', group],
    ...limitFields(job),
    ['Held', job.hold === undefined ? '' : `${time(job.hold.time)}${askedBy(job.hold)}`],
    ['Stopping', job.stop === undefined ? '' : `${time(job.stop.time)} ${stopText(job.stop)}`],
    ['Failure', jobFailureText(job)],
    ['Progress', job.progress?.message ?? ''],
    ['Inherited from', job.inheritedFrom],
    ['Started', time(job.startTime)],
    ['Finished', time(job.finishTime)],
    ['Took', elapsed(job.startTime, job.finishTime, momentOf(event))],
  ]);
}

async function describePipeline(cli: Cli, target: string, { output }: DescribeOptions): Promise<void> {
  const [, name = target, revision = ''] = /^(.+)@(\d+)$/.exec(target) ?? [];
  const pipeline = await cli.client().pipelines.get(name, revision === '' ? {} : { revision: Number(revision) });
  if (output === 'json') return printJson(cli, PipelineSchema, pipeline);
  const comment = `# revision ${pipeline.revision}, first applied ${time(pipeline.createTime)}, last ${time(pipeline.updateTime)}`;
  const definition = pipeline.definition ?? create(PipelineDefinitionSchema);
  const yaml = messageYaml(PipelineDefinitionSchema, { name: pipeline.name }, definition);
  return cli.terminal.print(`${comment}\n${yaml}`);
}

async function describeDriver(cli: Cli, target: string, { output }: DescribeOptions): Promise<void> {
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
  return `${title}:\n${yamlOf(value).replaceAll(/^/gm, '  ')}`;
}
