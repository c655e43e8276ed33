// Owns the driver `shell`: a job is a script, run in a workspace of its own.
import { access } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { defineDriver, type DriverDefinition, type JobContext, JobFailure, type JsonObject } from '@conveyor/driver';
import { jobEnvironment } from './environment.ts';
import { readOutputs } from './outputs.ts';
import { type ProcessEnd, runProcessGroup } from './process-group.ts';
import { openWorkspace, type Workspace } from './workspace.ts';

/** What a shell job does. */
export interface ShellSpec {
  /** Lines of one script; it ends at the first that fails. */
  readonly commands: readonly string[];
  /** Variables to set, beside those that every job has. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where it starts: in a directory of its own, empty at first, or in the one that the run's jobs share. Default: `own`. */
  readonly workspace?: 'own' | 'run';
  /** A directory in the workspace to start in. Default: the workspace itself. */
  readonly workingDirectory?: string;
  /** The program that runs the script, whose path becomes its last argument. Default: `sh -e`. */
  readonly shell?: readonly string[];
}

/** Where a shell driver works, and on how much at a time. */
export interface ShellDriverOptions {
  /** The directory of all workspaces; made when it is not there. */
  readonly root: string;
  /** Jobs at a time. */
  readonly slots: number;
}

const specSchema: JsonObject = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  required: ['commands'],
  additionalProperties: false,
  properties: {
    commands: { type: 'array', items: { type: 'string' }, minItems: 1 },
    env: {
      type: 'object',
      propertyNames: { pattern: '^[A-Za-z_][A-Za-z0-9_]*$' },
      additionalProperties: { type: 'string' },
    },
    workspace: { enum: ['own', 'run'] },
    workingDirectory: { type: 'string', minLength: 1 },
    shell: { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1 },
  },
};

export function createShellDriver({ root, slots }: ShellDriverOptions): DriverDefinition<ShellSpec> {
  return defineDriver<ShellSpec>({
    name: 'shell',
    slots,
    labels: { os: process.platform, arch: process.arch },
    specSchema,
    run: (job) => runScript(root, job),
  });
}

async function runScript(root: string, job: JobContext<ShellSpec>): Promise<void> {
  const workspace = await openWorkspace(root, job, `${job.spec.commands.join('\n')}\n`);
  try {
    const failure = failureOf(await execute(job, workspace));
    await reportOutputs(job, workspace, failure);
    if (failure !== undefined) throw failure;
    // Asked to stop, a script may well exit with 0; it has not done its work for that.
    job.signal.throwIfAborted();
  } finally {
    await workspace.close();
  }
}

async function execute(job: JobContext<ShellSpec>, workspace: Workspace): Promise<ProcessEnd> {
  const { env = {}, shell = ['sh', '-e'], workspace: place = 'own', workingDirectory = '.' } = job.spec;
  const cwd = join(workspace[place], workingDirectory);
  await access(cwd).catch(() => {
    throw new JobFailure({ message: `there is no directory ${workingDirectory} in the workspace` });
  });
  return runProcessGroup({
    command: [...shell, workspace.script],
    cwd,
    env: jobEnvironment(job, workspace, env),
    signal: job.signal,
    killed: job.killed,
    write: (bytes, channel) => job.log(bytes, { channel }),
  });
}

/** Outputs count however the script ends; a wrong file is a failure of its own only when there is no other. */
async function reportOutputs(
  job: JobContext<ShellSpec>,
  workspace: Workspace,
  failure: JobFailure | undefined,
): Promise<void> {
  try {
    for (const [key, value] of await readOutputs(workspace.output)) job.output(key, value);
  } catch (error) {
    if (failure === undefined)
      throw new JobFailure({ message: error instanceof Error ? error.message : String(error) });
  }
}

function failureOf(end: ProcessEnd): JobFailure | undefined {
  if ('signal' in end) {
    return new JobFailure({ message: `ended by ${end.signal}`, exitCode: 128 + constants.signals[end.signal] });
  }
  return end.exitCode === 0
    ? undefined
    : new JobFailure({ message: `exit code ${end.exitCode}`, exitCode: end.exitCode });
}
