// The job that a matrix is of: which cells it makes, and what it concludes as once these have finished.
import { jsonBytes, jsonLevels } from './check-fields.ts';
import { outputsOf } from './expression-inputs.ts';
import { evaluateMatrix } from './job-expressions.ts';
import type { JsonObject } from './json.ts';
import { LIMITS } from './limits.ts';
import { type PlannedJob, plannedJob } from './plan.ts';
import { assertLoaded, isStopping, type JobRecord, jobOf } from './run-state.ts';
import { type Conclusion, type Draft, endSlice, hasFailed, invalid } from './draft.ts';
import type { MadeCells } from './working.ts';

const MAX_MESSAGE = 1_024;
const UNKNOWN = { class: 'WORKLOAD', message: '' } as const;

/** The cells of a matrix whose needs have finished, or what it concludes as without any, or why nobody can know them. */
export function makeCells(draft: Draft, group: PlannedJob): MadeCells | Conclusion | { readonly unknown: string } {
  const made = evaluateMatrix(draft, group);
  // Up to a million comparisons.
  endSlice(draft);
  if (typeof made === 'string') return invalid(`its matrix: ${made}`);
  if ('unknown' in made) return made;
  const { cells } = made;
  if (cells.length === 0) return { state: 'SKIPPED' };
  const total = draft.run.counts.total + cells.length;
  if (total > LIMITS.jobsPerRun) {
    return invalid(
      `its matrix has ${cells.length} cells: with them the run has ${total} jobs, at most ${LIMITS.jobsPerRun} are allowed`,
    );
  }
  const added = (draft.plan.definition.added ?? []).flatMap((addition) => ('cells' in addition ? addition.cells : []));
  const bytes = jsonBytes(added) + jsonBytes(cells);
  if (bytes <= LIMITS.cellsBytes) return made;
  return invalid(
    `with those of its matrix the cells of the run are ${bytes} bytes as JSON, at most ${LIMITS.cellsBytes} are allowed`,
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
  // A key may be the name of what objects have of themselves.
  const outputs: JsonObject = Object.fromEntries(
    [...outputsOf(draft, cells)].flatMap(([cell, own]) => {
      const key = plannedJob(draft.plan, cell).cell?.key;
      return key === undefined || Object.keys(own).length === 0 ? [] : [[key, own]];
    }),
  );
  if (Object.keys(outputs).length === 0) return { state: 'SUCCEEDED' };
  const bytes = jsonBytes(outputs);
  if (jsonLevels(outputs) > LIMITS.jsonLevels + 1) {
    return invalid(
      `the outputs of its cells are too deep: with their keys, more than ${LIMITS.jsonLevels} lists and objects are inside of each other`,
    );
  }
  if (bytes <= LIMITS.gatheredOutputBytes) return { state: 'SUCCEEDED', outputs };
  return invalid(
    `the outputs of its cells are ${bytes} bytes as JSON, at most ${LIMITS.gatheredOutputBytes} are allowed`,
  );
}
