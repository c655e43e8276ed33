// Owns reading pipelines and schedules from disk or standard input, never more of them than a bound, and telling where in the file the
// server found something wrong.
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConveyorError } from '@conveyor/client';
import type { Cli } from './cli.ts';
import { UsageError } from './failure.ts';
import { type FileProblem, problemsText } from './file-problem.ts';
import { type PipelineFile, PipelineFileError, parsePipeline } from './pipeline-file.ts';
import { type ScheduleFile, parseSchedule } from './schedule-file.ts';
import { tooLargeText } from './source-text.ts';
import { MAX_FILE_BYTES } from './yaml-tree.ts';

/** Reads a pipeline; `-` is standard input. Throws UsageError. */
export async function readPipelineFile(cli: Cli, file: string): Promise<PipelineFile> {
  const { name, pipeline, problems } = await inspectPipelineFile(cli, file);
  if (pipeline === undefined) throw new UsageError(`${name} is no pipeline\n${problemsText(problems)}`);
  return pipeline;
}

/** A file, and the pipeline in it or what is wrong with it. */
export interface InspectedFile {
  readonly name: string;
  /** Undefined exactly when there are problems. */
  readonly pipeline: PipelineFile | undefined;
  readonly problems: readonly FileProblem[];
}

/** Reads what should be a pipeline; `-` is standard input. Throws UsageError when it cannot be read at all. */
export async function inspectPipelineFile(cli: Cli, file: string): Promise<InspectedFile> {
  const { source, name } = await readSource(cli, file);
  try {
    return { name, pipeline: parsePipeline(source, name), problems: [] };
  } catch (thrown) {
    if (thrown instanceof PipelineFileError) return { name, pipeline: undefined, problems: thrown.problems };
    throw thrown;
  }
}

/** Files as they are, and directories as the YAML and JSON files in them, by name. Throws UsageError. */
export async function filesOf(paths: readonly string[]): Promise<string[]> {
  const listed = paths.map(async (path) => {
    if (path === '-' || !(await statOf(path)).isDirectory()) return [path];
    const names = (await readdir(path)).filter((name) => /\.(ya?ml|json)$/.test(name)).toSorted();
    if (names.length === 0) throw new UsageError(`${path} has no file that ends in .yaml, .yml or .json`);
    return names.map((name) => join(path, name));
  });
  return (await Promise.all(listed)).flat();
}

/** Reads a schedule; `-` is standard input. Throws UsageError. */
export async function readScheduleFile(cli: Cli, file: string): Promise<ScheduleFile> {
  const { source, name } = await readSource(cli, file);
  const read = parseSchedule(source, name);
  if ('spec' in read) return read;
  throw new UsageError(`${name} is no schedule\n${problemsText(read)}`);
}

/** What the server refuses of a file, by line and column of its file. */
export async function withFilePlaces<T>(file: PipelineFile | ScheduleFile, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    const problems = refusedFields(file, thrown);
    if (problems.length === 0) throw thrown;
    throw new UsageError(
      `the server refuses the ${'spec' in file ? 'schedule' : 'pipeline'}\n${problemsText(problems)}`,
    );
  }
}

/** The fields of a file that the server refused, if that is what was thrown. */
export function refusedFields(file: PipelineFile | ScheduleFile, thrown: unknown): FileProblem[] {
  if (!(thrown instanceof ConveyorError)) return [];
  return thrown.fieldViolations.map(({ field, description }) => ({
    ...file.locate(field),
    path: field,
    message: description,
  }));
}

async function readSource({ stdin }: Cli, file: string): Promise<{ source: Uint8Array; name: string }> {
  if (file === '-') return { source: await readBounded(stdin, '<stdin>'), name: '<stdin>' };
  try {
    await using handle = await open(file);
    const { size } = await handle.stat();
    if (size > MAX_FILE_BYTES) throw new UsageError(`${file} ${tooLargeText(size, MAX_FILE_BYTES)}`);
    return { source: await readBounded(handle.createReadStream({ autoClose: false }), file), name: file };
  } catch (thrown) {
    throw unreadable(file, thrown);
  }
}

/** A pipe or device says no size before it is read. */
async function readBounded(stream: AsyncIterable<string | Uint8Array>, name: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    size += bytes.length;
    if (size > MAX_FILE_BYTES) throw new UsageError(`${name} ${tooLargeText(undefined, MAX_FILE_BYTES)}`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

async function statOf(path: string) {
  try {
    return await stat(path);
  } catch (thrown) {
    throw unreadable(path, thrown);
  }
}

function unreadable(path: string, thrown: unknown): UsageError {
  if (thrown instanceof UsageError) return thrown;
  return new UsageError(`cannot read ${path}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
}
