// Owns what may be wrong with pipelines that are well-formed: told by line and column of their files, where the server says of what it
// is, and not of pipelines that come in the same command.
import type { Warning } from '@conveyor/client';
import { byPlace, type FileProblem } from './file-problem.ts';
import type { PipelineFile } from './pipeline-file.ts';
import type { NamedPipelineFile } from './read-files.ts';

/** @param beside What is stored with it, or before it. */
export function fileWarnings(
  file: PipelineFile,
  warnings: readonly Warning[],
  beside: readonly NamedPipelineFile[] = [],
): readonly FileProblem[] {
  const names = new Set(beside.map(({ name }) => name));
  return warnings
    .filter(({ field }) => !names.has(calledAt(file, field) ?? ''))
    .map(({ field, message }) => file.problemOf({ field, description: message }))
    .toSorted(byPlace);
}

/** The pipeline whose newest revision is called by what a warning is about. */
function calledAt({ definition }: PipelineFile, field: string): string | undefined {
  const [, index] = /\bjobs\[(\d+)\]\.call\.pipeline$/.exec(field) ?? [];
  const call = index === undefined ? undefined : definition.jobs[Number(index)]?.call;
  return call?.revision === undefined || call.revision > 0 ? undefined : call.pipeline;
}

/** Pipelines behind those of them that they call, as far as no cycle closes: a call is checked against what is stored. */
export function calledFirst(files: readonly NamedPipelineFile[]): readonly NamedPipelineFile[] {
  const byName = new Map(files.map((file) => [file.name, file]));
  const ordered = new Set<NamedPipelineFile>();
  const begun = new Set<NamedPipelineFile>();
  const add = (file: NamedPipelineFile) => {
    if (begun.has(file)) return;
    begun.add(file);
    for (const { call } of file.definition.jobs) {
      const called = byName.get(call?.pipeline ?? '');
      if (called !== undefined) add(called);
    }
    ordered.add(file);
  };
  files.forEach(add);
  return [...ordered];
}
