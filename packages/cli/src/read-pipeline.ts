// Owns reading pipelines from disk or standard input, and telling where in the file the server found something wrong.
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { ConveyorError } from '@conveyor/client';
import type { Cli } from './cli.ts';
import { UsageError } from './failure.ts';
import { type PipelineFile, PipelineFileError, parsePipeline } from './pipeline-file.ts';

/** Reads a pipeline; `-` is standard input. Throws UsageError. */
export async function readPipelineFile({ stdin }: Cli, file: string): Promise<PipelineFile> {
  const source = file === '-' ? await text(stdin) : await readText(file);
  const name = file === '-' ? '<stdin>' : file;
  try {
    return parsePipeline(source, name);
  } catch (thrown) {
    if (thrown instanceof PipelineFileError) throw new UsageError(`${name} is no pipeline\n${thrown.message}`);
    throw thrown;
  }
}

/** What the server refuses of a definition, by line and column of its file. */
export async function withFilePlaces<T>(file: PipelineFile, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    if (!(thrown instanceof ConveyorError) || thrown.fieldViolations.length === 0) throw thrown;
    const problems = thrown.fieldViolations.map(
      ({ field, description }) => `${file.locate(field)}: ${field}: ${description}`,
    );
    throw new UsageError(['the server refuses the pipeline', ...problems].join('\n'));
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    throw new UsageError(`cannot read ${file}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}
