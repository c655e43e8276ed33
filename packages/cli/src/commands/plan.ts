// `conveyor plan`: what a run would do, without starting it.
import { create } from '@bufbuild/protobuf';
import { durationMs, ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  type Client,
  type ConditionPart,
  JobPrediction,
  JobState,
  type PlannedJob,
  type PlanRunResponse,
  type RunInput,
  RunState,
} from '@conveyor/client';
import { JobSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { RunSchema } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import { PlanRunResponseSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import type { Command } from 'commander';
import { parseAssumptions } from '../assumptions.ts';
import { type Cli, type OutputOptions, jsonOf, outputOption, prettyJson, repeatable } from '../cli.ts';
import { jobFailureText } from '../failure-text.ts';
import { whyEachNot } from '../job-reason.ts';
import type { Colors } from '../terminal.ts';
import { clipped, duration, enumName, printable, stateCell, table } from '../text.ts';
import { addRunSource, type RunSourceOptions, withRunInput } from './run.ts';

export function addPlan(program: Command, cli: Cli): void {
  addRunSource(program.command('plan').summary('tell what a run would do'))
    .description('Tells what a run of a stored pipeline, or of a file, would do, and starts nothing.')
    .addOption(repeatable('-a, --assume <job=outcome>', 'how a job ends; with outputs as job=outcome:JSON'))
    .addOption(outputOption())
    .addHelpText('after', help)
    .action((pipeline: string | undefined, options: PlanOptions) => plan(cli, pipeline, options));
}

interface PlanOptions extends OutputOptions, RunSourceOptions {
  readonly assume: readonly string[];
}

const help = `
Jobs are assumed to succeed, with outputs that are not known; what depends on such outputs is unknown.
Outcomes are succeeded, failed, cancelled, and skipped for a gate whose timeout skips it. What is assumed of
a matrix is assumed of its cells, unless they are named, as test[linux].

Examples:
  conveyor plan ci -p sha=4f2a9c1
  conveyor plan ci --assume test=failed
  conveyor plan -f ci.yaml --assume 'build=succeeded:{"image":"a:1"}'`;

async function plan(cli: Cli, pipeline: string | undefined, options: PlanOptions): Promise<void> {
  const assumed = parseAssumptions(options.assume);
  const { planned, reasons } = await withRunInput(cli, pipeline, options, async (client, input) => {
    const answer = await client.runs.plan({ ...input, assumed });
    return {
      planned: answer,
      reasons: options.output === 'json' ? new Map() : await skipReasons(client, answer, input),
    };
  });
  const { terminal } = cli;
  for (const warning of planned.warnings) terminal.note(`warning: ${printable(warning)}`);
  if (options.output === 'json') return terminal.print(prettyJson(jsonOf(PlanRunResponseSchema, planned)));
  const tables = [jobTable(planned, reasons, terminal.colors), driverTable(planned), limitTable(planned)];
  const sections = [headline(planned), ...tables, pathText(planned)];
  await terminal.print(sections.filter((section) => section !== '').join('\n\n'));
  if (planned.detailsOmitted) terminal.note('the plan is too large: details of some jobs are left out');
  if (planned.jobs.some(({ prediction }) => prediction === JobPrediction.UNKNOWN)) {
    terminal.note(`next: assume outputs, as --assume 'JOB=succeeded:{"KEY":"VALUE"}'`);
  }
}

/** Why jobs would be skipped that no condition of their own keeps from running, by name. */
async function skipReasons(
  { pipelines }: Client,
  { jobs, pipeline, revision }: PlanRunResponse,
  input: RunInput,
): Promise<ReadonlyMap<string, string>> {
  const isSkipped = ({ state, condition, detailsOmitted }: PlannedJob) =>
    state === JobState.SKIPPED && condition === undefined && !detailsOmitted;
  if (!jobs.some(isSkipped)) return new Map();
  const definition =
    'definition' in input
      ? create(PipelineDefinitionSchema, input.definition)
      : (await pipelines.get(pipeline, { revision })).definition;
  const known = jobs.flatMap(({ name, state, needs, matrixJob, failureAllowed }) =>
    state === undefined ? [] : [create(JobSchema, { name, state, needs, matrixJob, failureAllowed })],
  );
  const reasons = whyEachNot(known, definition?.jobs ?? [], create(RunSchema));
  return new Map(jobs.filter(isSkipped).map(({ name }) => [name, reasons.get(name) ?? '']));
}

function headline({ pipeline, revision, state, jobs }: PlanRunResponse): string {
  const what = pipeline === '' ? 'the definition' : `pipeline ${pipeline}@${revision}`;
  const end = state === undefined ? 'its end is unknown' : `it would be ${enumName(RunState, state)}`;
  const counts = Object.entries(Object.groupBy(jobs, predictionText));
  return `a run of ${what}: ${end}; ${counts.map(([name, all = []]) => `${all.length} ${name}`).join(', ')}`;
}

function predictionText({ prediction }: PlannedJob): string {
  return prediction === JobPrediction.RUNS ? 'to run' : enumName(JobPrediction, prediction);
}

/** Characters of why a job would end so; JSON has all of it. */
const longestWhy = 160;

function jobTable({ jobs }: PlanRunResponse, reasons: ReadonlyMap<string, string>, colors: Colors): string {
  const isTimed = jobs.some(({ expectedDuration }) => expectedDuration !== undefined);
  return table(
    ['WAVE', 'JOB', 'STATE', 'DRIVER', ...(isTimed ? ['TOOK'] : []), 'WHY'],
    jobs
      .toSorted((a, b) => a.wave - b.wave)
      .map((job) => [
        String(job.wave),
        job.name,
        stateCell(stateOf(job), colors),
        driverOf(job),
        ...(isTimed ? [job.expectedDuration === undefined ? '' : duration(durationMs(job.expectedDuration))] : []),
        clipped(whyText(job) || (reasons.get(job.name) ?? ''), longestWhy),
      ]),
  );
}

function stateOf({ prediction, state }: PlannedJob): string {
  if (prediction !== JobPrediction.RUNS || state === undefined) return enumName(JobPrediction, prediction);
  return enumName(JobState, state);
}

function driverOf({ driver, readyInstances }: PlannedJob): string {
  return readyInstances === undefined ? driver : `${driver} (${readyInstances} ready)`;
}

function whyText(job: PlannedJob): string {
  if (job.unknownReason !== '') return job.unknownReason;
  return [...failureTexts(job), ...conditionTexts(job)].join('; ');
}

/** Why a job would fail, with the parts of the expressions that could not be worked out. */
function failureTexts(job: PlannedJob): string[] {
  const { failure, expressionFailures } = job;
  if (failure === undefined) return [];
  const expressions = expressionFailures.map(({ field, expression, error, parts }) => {
    const isTold = failure.message.includes(`${field}: `);
    return [...(isTold ? [] : [`${field}: ${expression}: ${error}`]), ...parts.map(partText)].join(', ');
  });
  return [jobFailureText(job), ...expressions.filter((text) => text !== '')];
}

function conditionTexts({ condition }: PlannedJob): string[] {
  if (condition === undefined || condition.error !== '') return [];
  const held = `${condition.expression} is ${condition.held}`;
  return [condition.parts.length === 0 ? held : `${held}: ${condition.parts.map(partText).join(', ')}`];
}

function partText({ expression, value, note }: ConditionPart): string {
  if (value === undefined) return `${expression}: ${note}`;
  return `${expression} is ${clipped(JSON.stringify(jsonOf(ValueSchema, value)), 200)}`;
}

function driverTable({ drivers }: PlanRunResponse): string {
  if (drivers.length === 0) return '';
  return table(
    ['DRIVER', 'JOBS', 'CONNECTED', 'READY', 'FREE SLOTS'],
    drivers.map((driver) => [
      driver.name,
      String(driver.jobs),
      String(driver.connectedInstances),
      String(driver.readyInstances),
      String(driver.freeSlots),
    ]),
  );
}

/** Groups and rates that jobs would share, each once for each limit that they state. */
function limitTable({ jobs }: PlanRunResponse): string {
  const rows = new Map<string, string[]>();
  const add = (...row: string[]) => rows.set(JSON.stringify(row), row);
  for (const { concurrencyGroup: group, rateLimits } of jobs) {
    if (group !== undefined) {
      const now = `${group.holdingCount} held, ${group.waitingCount} waiting${group.full ? ', full' : ''}`;
      add('group', group.key, String(group.limit), now);
    }
    for (const { key, limit } of rateLimits) add('rate', key, String(limit), '');
  }
  return rows.size === 0 ? '' : table(['SHARED', 'KEY', 'LIMIT', 'NOW'], [...rows.values()]);
}

/** Steps of the critical path that are shown, half of them from its beginning and half from its end. */
const shownSteps = 20;

function pathText({ criticalPath }: PlanRunResponse): string {
  const { steps = [], totalDuration } = criticalPath ?? {};
  if (steps.length === 0) return '';
  const shown = steps.map(({ job, expectedDuration }) =>
    expectedDuration === undefined ? job : `${job} (${duration(durationMs(expectedDuration))})`,
  );
  const left = shown.length - shownSteps;
  if (left > 0) shown.splice(shownSteps / 2, left, `… ${left} more …`);
  const isKnown = steps.some(({ expectedDuration }) => expectedDuration !== undefined);
  const total = isKnown && totalDuration !== undefined ? `, ${duration(durationMs(totalDuration))}` : '';
  return `critical path${total}: ${printable(shown.join(' > '))}`;
}
