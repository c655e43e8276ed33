// The job that a matrix is of: makes its cells, starts as many of them as may be open, and concludes as they have.
import { evaluateMatrix, outputsOf } from './job-expressions.ts';
import type { JsonObject } from './json.ts';
import { LIMITS } from './limits.ts';
import { type PlannedJob, plannedJob } from './plan.ts';
import { assertLoaded, isStopping, type JobRecord, jobOf } from './run-state.ts';
import {
  concludeJob,
  type Conclusion,
  type Draft,
  emit,
  hasFailed,
  invalid,
  settleBlocked,
  settleDependants,
} from './settle.ts';
import { isJobFinished } from './states.ts';

const MAX_MESSAGE = 1_024;
const UNKNOWN = { class: 'WORKLOAD', message: '' } as const;

/** Makes the cells of a matrix whose needs have finished, and starts them. */
export function expand(draft: Draft, group: PlannedJob): void {
  const cells = evaluateMatrix(draft, group);
  if (typeof cells === 'string') return concludeJob(draft, group.index, invalid(`its matrix: ${cells}`));
  if (cells.length === 0) return concludeJob(draft, group.index, { state: 'SKIPPED' });
  const total = draft.run.counts.total + cells.length;
  if (total > LIMITS.jobsPerRun) {
    const message = `its matrix has ${cells.length} cells: with them the run has ${total} jobs, at most ${LIMITS.jobsPerRun} are allowed`;
    return concludeJob(draft, group.index, invalid(message));
  }
  const first = draft.plan.jobs.length;
  emit(draft, { type: 'JobsAdded', job: group.index, cells });
  for (let cell = first; cell < draft.plan.jobs.length; cell++) draft.touched.add(cell);
  for (const finished of startCells(draft, group.index)) settleDependants(draft, finished);
}

/** Starts cells that have not been, in order, while there is room. Returns those that have finished at once. */
export function startCells(draft: Draft, group: number): readonly number[] {
  const { cells = [], definition } = plannedJob(draft.plan, group);
  assertLoaded(draft, cells);
  const isOpen = (cell: number): boolean => {
    const { state } = jobOf(draft, cell);
    return state !== 'BLOCKED' && !isJobFinished(state);
  };
  let room = (definition.matrix?.maxParallel ?? cells.length) - cells.filter(isOpen).length;
  const finished: number[] = [];
  for (const cell of cells) {
    if (room <= 0) break;
    if (jobOf(draft, cell).state !== 'BLOCKED') continue;
    draft.touched.add(cell);
    if (settleBlocked(draft, cell) === 'finished') finished.push(cell);
    else room--;
  }
  return finished;
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
