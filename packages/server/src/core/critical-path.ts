// The chain of jobs that decides how long a run takes, by how long its jobs took before, when every job starts as soon as its needs let
// it: the run takes longer when drivers are busy, people slow, or a matrix lets only some of its cells run at a time.
import type { JobPrediction, RunPrediction } from './prediction.ts';
import { inNeedOrder } from './prediction.ts';

export interface CriticalPath {
  readonly steps: readonly PathStep[];
  /** Of the steps whose duration is known. */
  readonly totalMs: number;
}

export interface PathStep {
  readonly name: string;
  /** Undefined: it has no history. */
  readonly durationMs?: number;
}

/** The end of a job, and which job it began after. */
interface End {
  readonly atMs: number;
  /** How many jobs lead to it, which decides where nothing is known of how long they take. */
  readonly length: number;
  readonly after: number | undefined;
}

const START: End = { atMs: 0, length: 0, after: undefined };

/** @param durations In milliseconds, by the name of a job or cell. */
export function criticalPath({ plan, jobs }: RunPrediction, durations: ReadonlyMap<string, number>): CriticalPath {
  const running = new Map(jobs.flatMap((job): [number, JobPrediction][] => (runs(job) ? [[job.job.index, job]] : [])));
  const ends = new Map<number, End>();
  const latest = (indexes: readonly number[]): number | undefined =>
    indexes.reduce<number | undefined>((last, index) => (isLater(ends, index, last) ? index : last), undefined);
  const endAfter = (index: number, before: number | undefined, name: string): void => {
    const { atMs, length } = before === undefined ? START : (ends.get(before) ?? START);
    const runsItself = running.has(index);
    const durationMs = runsItself ? (durations.get(name) ?? 0) : 0;
    ends.set(index, { atMs: atMs + durationMs, length: length + (runsItself ? 1 : 0), after: before });
  };
  for (const { index, name, needs, cells = [] } of inNeedOrder(plan)) {
    const before = latest(needs);
    for (const cell of cells) endAfter(cell, before, plan.jobs[cell]?.name ?? '');
    endAfter(index, cells.length === 0 ? before : latest(cells), cells.length === 0 ? name : '');
  }
  const steps: PathStep[] = [];
  const last = latest([...ends.keys()]);
  for (let at = last; at !== undefined; at = ends.get(at)?.after) {
    const job = running.get(at)?.job;
    if (job === undefined || job.cells !== undefined) continue;
    const durationMs = durations.get(job.name);
    steps.push({ name: job.name, ...(durationMs !== undefined && { durationMs }) });
  }
  return { steps: steps.reverse(), totalMs: last === undefined ? 0 : (ends.get(last)?.atMs ?? 0) };
}

function runs({ fate }: JobPrediction): boolean {
  return fate === 'RUNS';
}

function isLater(ends: ReadonlyMap<number, End>, index: number, than: number | undefined): boolean {
  if (than === undefined) return true;
  const [a, b] = [ends.get(index) ?? START, ends.get(than) ?? START];
  return a.atMs > b.atMs || (a.atMs === b.atMs && a.length > b.length);
}
