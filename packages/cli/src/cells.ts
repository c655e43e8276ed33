// Owns how the cells of matrices are shown beside the jobs that these are of: right behind them, or as counts where there are many.
import type { JsonObject } from '@bufbuild/protobuf';
import { type Job, JobState } from '@conveyor/client';
import { enumName, tally } from './text.ts';

/** The jobs of a run with the cells of each matrix right behind its job. Cells whose job is not among them stay where they are. */
export function withCells(jobs: readonly Job[]): readonly Job[] {
  const cells = cellsByJob(jobs);
  return jobs.flatMap((job) => (cells.has(job.matrixJob) ? [] : [job, ...(cells.get(job.name) ?? [])]));
}

/** The jobs of a run without the cells of matrices that have more than `most`. */
export function foldCells(jobs: readonly Job[], most: number): readonly Job[] {
  const cells = cellsByJob(jobs);
  return withCells(jobs).filter(({ matrixJob }) => (cells.get(matrixJob)?.length ?? 0) <= most);
}

/** How the cells of each matrix stand, by the name of its job. */
export function cellCounts(jobs: readonly Job[]): ReadonlyMap<string, string> {
  return new Map(Array.from(cellsByJob(jobs), ([name, cells]) => [name, cellsText(cells)]));
}

/** How cells stand, such as `12 cells: 10 succeeded, 2 failed`. */
export function cellsText(cells: readonly Job[]): string {
  return `${cells.length} ${cells.length === 1 ? 'cell' : 'cells'}: ${tally(cells.map(stateName))}`;
}

/** The values of a cell, as `node=24, os=linux`. */
export function cellValues(values: JsonObject | undefined): string {
  return Object.entries(values ?? {})
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');
}

/** The cells of each matrix whose job is among the jobs, too. */
export function cellsByJob(jobs: readonly Job[]): ReadonlyMap<string, readonly Job[]> {
  const names = new Set(jobs.map(({ name }) => name));
  return Map.groupBy(
    jobs.filter(({ matrixJob }) => matrixJob !== '' && names.has(matrixJob)),
    ({ matrixJob }) => matrixJob,
  );
}

function stateName({ state }: Job): string {
  return enumName(JobState, state);
}
