// Owns pipelines written as YAML: the contract's PipelineDefinition beside a `name`.
import { ScalarType } from '@bufbuild/protobuf';
import type { PipelineDefinition } from '@conveyor/client';
import { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { type FileKind, type FileProblem, parseMessageFile, problemsText } from './message-file.ts';

/** A pipeline, and where each part of it stands in its file. */
export interface PipelineFile {
  /** Its `name`; undefined when the file gives none. */
  readonly name: string | undefined;
  readonly definition: PipelineDefinition;
  /** `FILE:LINE:COLUMN` of a field by its path in the definition, such as `jobs[2].needs[0]`, or of what is nearest above it. */
  locate(fieldPath: string): string;
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

const pipelineFile: FileKind<typeof PipelineDefinitionSchema> = {
  desc: PipelineDefinitionSchema,
  what: 'a pipeline: a mapping with `name` and `jobs`',
  beside: { name: ScalarType.STRING },
  prefix: /^(run\.)?definition\.?/,
};

/** Reads a pipeline from YAML or JSON. Throws PipelineFileError. */
export function parsePipeline(source: string, fileName: string): PipelineFile {
  const read = parseMessageFile(source, fileName, pipelineFile);
  if (!('message' in read)) throw new PipelineFileError(read);
  const { name } = read.beside;
  return {
    name: typeof name === 'string' ? name : undefined,
    definition: read.message,
    locate: (fieldPath) => read.locate(fieldPath),
  };
}
