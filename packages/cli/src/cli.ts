// Owns what every command gets: the terminal, the server, and the options that many of them share.
import { type DescMessage, type JsonValue, type MessageShape, toJson } from '@bufbuild/protobuf';
import type { Client, Job } from '@conveyor/client';
import type { Environment } from '@conveyor/client/node';
import { Option } from 'commander';
import { UsageError } from './failure.ts';
import type { Output, Terminal } from './terminal.ts';

/** What the command takes from the process that it runs in, such as `process` itself. */
export interface Surroundings {
  readonly env: Environment;
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: Output;
  readonly stderr: Output;
}

/** What every command gets. */
export interface Cli extends Pick<Surroundings, 'env' | 'stdin'> {
  readonly terminal: Terminal;
  /** Where the server is. */
  readonly address: () => string;
  /** The client of that server. */
  readonly client: () => Client;
  /** Ends the command with this code once it is done. */
  readonly exitWith: (code: number) => void;
}

/** How results are shown. */
export interface OutputOptions {
  readonly output: 'table' | 'json';
}

/** `-o table|json`. */
export function outputOption(): Option {
  return new Option('-o, --output <format>', 'how to show it').choices(['table', 'json']).default('table');
}

/** `-l key=value`, `-p key=value` and other options that may be repeated. */
export function repeatable(flags: string, description: string): Option {
  return new Option(flags, description)
    .default([], 'none')
    .argParser((value: string, before: readonly string[]) => [...before, value]);
}

/** `-f file`, at least once. */
export function filesOption(): Option {
  return new Option('-f, --file <file>', 'a pipeline as YAML or JSON, or a directory of them; - is standard input')
    .argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value])
    .makeOptionMandatory();
}

/** A message in the contract's JSON form, with every field that has a value or a default. */
export function jsonOf<Desc extends DescMessage>(desc: Desc, message: MessageShape<Desc>): JsonValue {
  return toJson(desc, message, { alwaysEmitImplicit: true });
}

/** JSON as people read it. */
export function prettyJson(json: JsonValue): string {
  return JSON.stringify(json, undefined, 2);
}

/** Who asks, as a server may show it. */
export function actorOf({ env }: Pick<Cli, 'env'>): string {
  return env['USER'] ?? '';
}

/** Splits `RUN` or `RUN/JOB`. */
export function parseTarget(target: string): { readonly runId: string; readonly jobName: string | undefined } {
  const at = target.indexOf('/');
  if (at === -1) return { runId: target, jobName: undefined };
  const [runId, jobName] = [target.slice(0, at), target.slice(at + 1)];
  if (runId === '' || jobName === '') throw new UsageError(`'${target}' names no job`, 'write RUN/JOB');
  return { runId, jobName };
}

/** Splits `RUN/JOB`. */
export function parseJobTarget(target: string): { readonly runId: string; readonly jobName: string } {
  const { runId, jobName } = parseTarget(target);
  if (jobName === undefined) throw new UsageError(`'${target}' names no job`, 'write RUN/JOB');
  return { runId, jobName };
}

/** The job of a run by its name. */
export async function findJob(client: Client, runId: string, jobName: string): Promise<Job> {
  for await (const job of client.jobs.list(runId, { names: [jobName] })) return job;
  throw new UsageError(`run ${runId} has no job '${jobName}'`, `list its jobs with \`conveyor get jobs ${runId}\``);
}

/** The id of a job, by that or by `RUN/JOB`. */
export async function findJobId(client: Client, target: string): Promise<string> {
  if (!target.includes('/')) return target;
  const { runId, jobName } = parseJobTarget(target);
  return (await findJob(client, runId, jobName)).jobId;
}
