// The job that a matrix is of: which cells it makes, and what it concludes as once these have finished.
import type { Cell } from './definition.ts';
import { evaluateMatrix, outputsOf } from './job-expressions.ts';
import type { JsonObject } from './json.ts';
import { LIMITS } from './limits.ts';
import { type PlannedJob, plannedJob } from './plan.ts';
import { assertLoaded, isStopping, type JobRecord, jobOf } from './run-state.ts';
import { type Conclusion, type Draft, hasFailed, invalid } from './draft.ts';

const MAX_MESSAGE = 1_024;
const UNKNOWN = { class: 'WORKLOAD', message: '' } as const;

/** The cells of a matrix whose needs have finished, or what it concludes as without any, or why nobody can know them. */
export function makeCells(
  draft: Draft,
  group: PlannedJob,
): readonly Cell[] | Conclusion | { readonly unknown: string } {
  const cells = evaluateMatrix(draft, group);
  if (typeof cells === 'object' && 'unknown' in cells) return cells;
  if (typeof cells === 'string') return invalid(`its matrix: ${cells}`);
  if (cells.length === 0) return { state: 'SKIPPED' };
  const total = draft.run.counts.total + cells.length;
  if (total <= LIMITS.jobsPerRun) return cells;
  return invalid(
    `its matrix has ${cells.length} cells: with them the run has ${total} jobs, at most ${LIMITS.jobsPerRun} are allowed`,
  );
}

/** What a matrix concludes as, all of whose cells have finished. */
export function concludeGroup(draft: Draft, index: number): Conclusion {
  const { cells = [] } = plannedJob(draft.plan, index);
  assertLoaded(draft, cells);
  if (isStopping(jobOf(draft, index))) return { state: 'CANCELLED' };
  const records = cells.map((cell) => ({ cell, record: jobOf(draft, cell) }));
  const failed = records.find(({ record }) => hasFailed(record));
  if (failed !== undefined) return cellFailed(draft, failed.cell, failed.record);
  const states = new Set(records.map(({ record }) => record.state));
  if (states.has('CANCELLED')) return { state: 'CANCELLED' };
  if (!states.has('SUCCEEDED') && !states.has('FAILED')) return { state: 'SKIPPED' };
  return succeeded(draft, cells);
}

function cellFailed(draft: Draft, cell: number, record: JobRecord): Conclusion {
  const { class: failureClass, message } = ('failure' in record ? record.failure : undefined) ?? UNKNOWN;
  const text = `${plannedJob(draft.plan, cell).name} failed: ${message}`;
  return { state: 'FAILED', failure: { class: failureClass, message: text.slice(0, MAX_MESSAGE) } };
}

function succeeded(draft: Draft, cells: readonly number[]): Conclusion {
  const outputs: JsonObject = {};
  for (const [cell, own] of outputsOf(draft, cells)) {
    const key = plannedJob(draft.plan, cell).cell?.key;
    if (key !== undefined && Object.keys(own).length > 0) outputs[key] = own;
  }
  if (Object.keys(outputs).length === 0) return { state: 'SUCCEEDED' };
  const bytes = JSON.stringify(outputs).length;
  if (bytes <= LIMITS.gatheredOutputBytes) return { state: 'SUCCEEDED', outputs };
  return invalid(
    `the outputs of its cells are ${bytes} bytes as JSON, at most ${LIMITS.gatheredOutputBytes} are allowed`,
  );
}
