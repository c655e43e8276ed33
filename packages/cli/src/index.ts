// What other programs may use of the command: pipelines written as YAML, and the command itself.
export { PipelineFileError, type PipelineFile, parsePipeline } from './pipeline-file.ts';
export { runCommand } from './program.ts';
