// `conveyor get`: lists of resources.
import { type Job, JobState, type RunFilterInput, RunState } from '@conveyor/client';
import { RunArtifactSchema } from '@conveyor/protocol/conveyor/v1/artifact_pb.js';
import {
  ConcurrencyGroupMemberSchema,
  ConcurrencyGroupSchema,
} from '@conveyor/protocol/conveyor/v1/concurrency_group_pb.js';
import { DriverSchema } from '@conveyor/protocol/conveyor/v1/driver_pb.js';
import { AttemptSchema, JobSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { PipelineSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { RunSchema } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import type { Command } from 'commander';
import {
  type Cli,
  type OutputOptions,
  findJob,
  outputOption,
  parseJobTarget,
  parseTarget,
  repeatable,
} from '../cli.ts';
import { cellCounts, withCells } from '../cells.ts';
import { UsageError } from '../failure.ts';
import { whyEachNot } from '../job-reason.ts';
import { jobTargets } from '../job-targets.ts';
import { show, take } from '../lists.ts';
import { parseLabels } from '../params.ts';
import { atOption, eventAt, momentOf, type PointOptions } from '../points.ts';
import { definedJobs } from '../run-jobs.ts';
import {
  artifactTable,
  attemptTable,
  driverTable,
  groupMemberTable,
  groupTable,
  jobTable,
  pipelineTable,
  runTable,
} from '../tables.ts';
import { addGetDemand } from './get-demand.ts';

export function addGet(program: Command, cli: Cli): void {
  const get = program
    .command('get')
    .summary('list runs, jobs, attempts, artifacts, pipelines, groups, drivers or demand')
    .description('Lists resources. As JSON, the list is an array of the messages of the API.');
  addGetRuns(get, cli);
  addGetJobs(get, cli);
  get
    .command('attempts')
    .description('Lists the attempts of a job, oldest first.')
    .argument('<run/job>', 'id of the run and name of the job')
    .addOption(atOption())
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor get attempts RUN/JOB')
    .action(async (target: string, { at, output }: OutputOptions & PointOptions) => {
      const { runId, jobName } = parseJobTarget(target);
      const { jobId } = await findJob(cli.client(), runId, jobName);
      const attempts = await Array.fromAsync(cli.client().jobs.attempts(jobId, { atSeq: at }));
      const atMs = momentOf(output === 'json' ? undefined : await eventAt(cli, runId, at));
      await show(cli, output, AttemptSchema, attempts, () => attemptTable(attempts, cli.terminal.colors, atMs));
    });
  get
    .command('artifacts')
    .description('Lists what the attempts of a run made, or those of one of its jobs.')
    .argument('<run or run/job>', 'id of the run, and perhaps the name of a job')
    .addOption(outputOption())
    .addHelpText('after', '\nExamples:\n  conveyor get artifacts RUN\n  conveyor get artifacts RUN/JOB -o json')
    .action(async (target: string, { output }: OutputOptions) => {
      const { runId, jobName: job } = parseTarget(target);
      const options = job === undefined ? {} : { job };
      const artifacts = await Array.fromAsync(cli.client().runs.artifacts(runId, options));
      await show(cli, output, RunArtifactSchema, artifacts, () => artifactTable(artifacts));
    });
  get
    .command('pipelines')
    .description('Lists pipelines by name.')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor get pipelines -o json')
    .action(async ({ output }: OutputOptions) => {
      const pipelines = await Array.fromAsync(cli.client().pipelines.list());
      await show(cli, output, PipelineSchema, pipelines, () => pipelineTable(pipelines));
    });
  get
    .command('groups')
    .description('Lists concurrency groups by key, or the jobs of one: those that hold places, then those that wait.')
    .argument('[key]', 'only the jobs of this group')
    .addOption(outputOption())
    .addHelpText('after', '\nExamples:\n  conveyor get groups\n  conveyor get groups deploy-production')
    .action(async (key: string | undefined, { output }: OutputOptions) => {
      const { jobs } = cli.client();
      if (key === undefined) {
        const groups = await Array.fromAsync(jobs.groups());
        return show(cli, output, ConcurrencyGroupSchema, groups, () => groupTable(groups));
      }
      const members = await Array.fromAsync(jobs.groupMembers(key));
      const first = output === 'json' ? [] : members.slice(0, mostNamed);
      const targets = await jobTargets(
        cli,
        first.map(({ jobId }) => jobId),
      );
      return show(cli, output, ConcurrencyGroupMemberSchema, members, () =>
        groupMemberTable(members, targets, cli.terminal.colors),
      );
    });
  get
    .command('drivers')
    .description('Lists driver instances by name and instance.')
    .argument('[driver]', 'only instances of this driver')
    .option('--all', 'also instances that are gone')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor get drivers shell --all')
    .action(async (name: string | undefined, { output, all }: OutputOptions & { all?: true }) => {
      const drivers = await Array.fromAsync(cli.client().drivers.list({ name, includeGone: all }));
      await show(cli, output, DriverSchema, drivers, () => driverTable(drivers, cli.terminal.colors));
    });
  addGetDemand(get, cli);
}

/** Jobs of a group that are called by their names; of the others only the ids are known without a call each. */
const mostNamed = 50;

interface GetRunsOptions extends OutputOptions {
  readonly pipeline?: string;
  readonly state: readonly string[];
  readonly label: readonly string[];
  readonly limit: number;
}

const runStates = statesOf(RunState);
const jobStates = statesOf(JobState);

function addGetRuns(get: Command, cli: Cli): void {
  get
    .command('runs')
    .description('Lists runs, newest first.')
    .option('--pipeline <name>', 'only runs of this pipeline')
    .addOption(repeatable('--state <state>', `only runs in this state: ${listed(runStates)}`))
    .addOption(repeatable('-l, --label <key=value>', 'only runs with this label'))
    .option('--limit <number>', 'how many at most', parseLimit, 50)
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExamples:\n  conveyor get runs --state failed -l branch=main\n  conveyor get runs -o json | jq -r .[].runId',
    )
    .action(async ({ pipeline, state, label, limit, output }: GetRunsOptions) => {
      const states = parseStates(runStates, state);
      const filter: RunFilterInput = { pipeline, states, labels: parseLabels(label) };
      const newest = cli.client().runs.list(filter, { pageSize: Math.min(limit, 1_000) });
      const runs = await Array.fromAsync(take(newest, limit));
      await show(cli, output, RunSchema, runs, () => runTable(runs, cli.terminal.colors));
    });
}

interface GetJobsOptions extends OutputOptions, PointOptions {
  readonly state: readonly string[];
}

function addGetJobs(get: Command, cli: Cli): void {
  get
    .command('jobs')
    .description("Lists the jobs of a run in the pipeline's order.")
    .argument('<run>', 'id of the run')
    .addOption(repeatable('--state <state>', `only jobs in this state: ${listed(jobStates)}`))
    .addOption(atOption())
    .addOption(outputOption())
    .addHelpText('after', '\nExamples:\n  conveyor get jobs RUN --state failed\n  conveyor get jobs RUN --at 17')
    .action(async (runId: string, options: GetJobsOptions) => {
      const { state, at, output } = options;
      const states = parseStates(jobStates, state);
      const jobs = await Array.fromAsync(cli.client().jobs.list(runId, { states }, { atSeq: at }));
      const atMs = momentOf(output === 'json' ? undefined : await eventAt(cli, runId, at));
      const reasons = output === 'json' ? new Map() : await reasonsOf(cli, runId, jobs, options);
      await show(cli, output, JobSchema, jobs, () =>
        jobTable(withCells(jobs), cli.terminal.colors, atMs, { cells: cellCounts(jobs), reasons }),
      );
    });
}

/** Why jobs have not run, or not to their end. */
async function reasonsOf(
  { client }: Cli,
  runId: string,
  jobs: readonly Job[],
  { state, at }: GetJobsOptions,
): Promise<ReadonlyMap<string, string>> {
  if (!jobs.some((job) => job.state === JobState.SKIPPED || job.state === JobState.CANCELLED)) return new Map();
  const run = await client().runs.get(runId, { atSeq: at });
  const all =
    state.length === 0 ? jobs : await Array.fromAsync(client().jobs.list(runId, {}, { atSeq: at, pageSize: 1_000 }));
  return whyEachNot(all, definedJobs(run), run);
}

/** The states of an enum by their names in lower case. */
function statesOf<State extends number>(names: Readonly<Record<string, State | string>>): ReadonlyMap<string, State> {
  return new Map(
    Object.entries(names).flatMap(([name, state]) =>
      typeof state === 'string' || name === 'UNSPECIFIED' ? [] : [[name.toLowerCase(), state] as const],
    ),
  );
}

function parseStates<State extends number>(states: ReadonlyMap<string, State>, texts: readonly string[]): State[] {
  return texts.map((text) => {
    const state = states.get(text.toLowerCase());
    if (state === undefined) throw new UsageError(`'${text}' is no state`, `states are ${listed(states)}`);
    return state;
  });
}

function listed(states: ReadonlyMap<string, number>): string {
  return [...states.keys()].join(', ');
}

function parseLimit(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new UsageError(`'${text}' is no limit`, 'write a number from 1 to 999999');
  return Number(text);
}
