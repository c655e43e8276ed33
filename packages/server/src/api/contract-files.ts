// The files of a contract: those of services, and all that they refer to.
import type { DescFile } from '@bufbuild/protobuf';

/** Each file once, with its dependencies. */
export function withDependencies(roots: readonly DescFile[]): readonly DescFile[] {
  const files = new Map<string, DescFile>();
  for (const file of roots) add(files, file);
  return Array.from(files.values());
}

function add(files: Map<string, DescFile>, file: DescFile): void {
  if (files.has(file.name)) return;
  files.set(file.name, file);
  for (const dependency of file.dependencies) add(files, dependency);
}
