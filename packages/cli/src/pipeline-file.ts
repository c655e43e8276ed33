// Owns pipelines written as YAML: the contract's PipelineDefinition beside a `name`.
import { ScalarType } from '@bufbuild/protobuf';
import type { PipelineDefinition } from '@conveyor/client';
import { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { type FileField, type FileProblem, problemsText } from './file-problem.ts';
import { type FileKind, parseMessageFile } from './message-file.ts';

/** A pipeline, and where each part of it stands in its file. */
export interface PipelineFile {
  /** Its `name`; undefined when the file gives none. */
  readonly name: string | undefined;
  readonly definition: PipelineDefinition;
  /** A field by its path as the server writes it: its path in the file, and where it or what is nearest above it stands. */
  locate(fieldPath: string): FileField;
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

/** Reads a pipeline from YAML or JSON. Throws PipelineFileError. */
export function parsePipeline(source: string | Uint8Array, fileName: string): PipelineFile {
  const read = parseMessageFile(source, fileName, pipelineFile);
  if (!('message' in read)) throw new PipelineFileError(read);
  const { name } = read.beside;
  return {
    name: typeof name === 'string' ? name : undefined,
    definition: read.message,
    locate: (fieldPath) => read.locate(fieldPath),
  };
}
