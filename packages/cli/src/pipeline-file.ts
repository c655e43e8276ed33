// Owns pipelines written as YAML: the contract's PipelineDefinition beside a `name`.
import { ScalarType } from '@bufbuild/protobuf';
import type { PipelineDefinition } from '@conveyor/client';
import { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { type FileProblem, problemsText } from './file-problem.ts';
import { type FileKind, type FilePlaces, type MeantFile, readMessageFile } from './message-file.ts';

/** A pipeline, and where each part of it stands in its file. */
export interface PipelineFile extends FilePlaces {
  /** Its `name`; undefined when the file gives none. */
  readonly name: string | undefined;
  readonly definition: PipelineDefinition;
}

/** A file is no pipeline. The message holds every problem, one a line. */
export class PipelineFileError extends Error {
  override readonly name = 'PipelineFileError';
  readonly problems: readonly FileProblem[];

  constructor(problems: readonly FileProblem[]) {
    super(problemsText(problems));
    this.problems = problems;
  }
}

/** Pipelines as files. */
export const pipelineFile: FileKind<typeof PipelineDefinitionSchema> = {
  desc: PipelineDefinitionSchema,
  what: 'a pipeline: a mapping with `name` and `jobs`',
  beside: { name: { type: ScalarType.STRING, description: 'The name of the pipeline.' } },
  prefix: /^(run\.)?definition\.?/,
};

/** A pipeline as it was most likely meant. */
export interface MeantPipeline extends PipelineFile, Pick<MeantFile<typeof PipelineDefinitionSchema>, 'refusals'> {
  /** Everything that is wrong with the form of its file, by place. */
  readonly problems: readonly FileProblem[];
}

/** Reads a pipeline from YAML or JSON. Throws PipelineFileError. */
export function parsePipeline(source: string | Uint8Array, fileName: string): PipelineFile {
  const read = readPipeline(source, fileName);
  const problems = 'definition' in read ? read.problems : read;
  if (!('definition' in read) || problems.length > 0) throw new PipelineFileError(problems);
  return read;
}

/** Reads a pipeline from YAML or JSON as it was most likely meant; answers with what is wrong when nothing of it can be read. */
export function readPipeline(source: string | Uint8Array, fileName: string): MeantPipeline | readonly FileProblem[] {
  const read = readMessageFile(source, fileName, pipelineFile);
  if (!('message' in read)) return read;
  const { beside, message, ...rest } = read;
  const { name } = beside;
  return { ...rest, name: typeof name === 'string' ? name : undefined, definition: message };
}
