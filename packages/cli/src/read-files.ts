// Owns reading pipelines and schedules from disk or standard input, and telling where in the file the server found something wrong.
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { ConveyorError } from '@conveyor/client';
import type { Cli } from './cli.ts';
import { UsageError } from './failure.ts';
import { problemsText } from './message-file.ts';
import { type PipelineFile, PipelineFileError, parsePipeline } from './pipeline-file.ts';
import { type ScheduleFile, parseSchedule } from './schedule-file.ts';

/** Reads a pipeline; `-` is standard input. Throws UsageError. */
export async function readPipelineFile(cli: Cli, file: string): Promise<PipelineFile> {
  const { source, name } = await readSource(cli, file);
  try {
    return parsePipeline(source, name);
  } catch (thrown) {
    if (thrown instanceof PipelineFileError) throw new UsageError(`${name} is no pipeline\n${thrown.message}`);
    throw thrown;
  }
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
    if (!(thrown instanceof ConveyorError) || thrown.fieldViolations.length === 0) throw thrown;
    const problems = thrown.fieldViolations.map(
      ({ field, description }) => `${file.locate(field)}: ${field}: ${description}`,
    );
    throw new UsageError(
      [`the server refuses the ${'spec' in file ? 'schedule' : 'pipeline'}`, ...problems].join('\n'),
    );
  }
}

async function readSource({ stdin }: Cli, file: string): Promise<{ source: string; name: string }> {
  if (file === '-') return { source: await text(stdin), name: '<stdin>' };
  return { source: await readText(file), name: file };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    throw new UsageError(`cannot read ${file}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}
