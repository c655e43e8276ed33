// How long the jobs of a pipeline took in its newest runs.
import type { RunId } from '../core/ids.ts';
import { newestRuns, succeededAttempts } from '../store/plan-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { Plans } from './plans.ts';
import { loadContexts } from './run-context.ts';

/** How far back it looks: so many runs, and only so many jobs of all of them, but for the newest. */
const MAX_RUNS = 20;
const MAX_JOBS = 20_000;

/** The medians of the succeeded attempts, in milliseconds, by the name of the job or cell. */
export async function jobDurations(
  tx: Tx,
  plans: Plans,
  project: string,
  pipeline: string,
): Promise<ReadonlyMap<string, number>> {
  const runIds: RunId[] = [];
  let total = 0;
  for (const { runId, jobs } of await newestRuns(tx, project, pipeline, MAX_RUNS)) {
    total += jobs;
    if (runIds.length > 0 && total > MAX_JOBS) break;
    runIds.push(runId);
  }
  if (runIds.length === 0) return new Map();
  const runs = await loadContexts(tx, plans, runIds);
  const durations = new Map<string, number[]>();
  for (const { runId, job, durationMs } of await succeededAttempts(tx, runIds)) {
    const name = runs.get(runId)?.plan.jobs[job]?.name;
    if (name === undefined) continue;
    const known = durations.get(name);
    if (known === undefined) durations.set(name, [durationMs]);
    else known.push(durationMs);
  }
  return new Map([...durations].map(([name, all]) => [name, medianOf(all)]));
}

/** Of an even number, the lower one: it did take that long. */
function medianOf(durations: number[]): number {
  return durations.sort((a, b) => a - b)[Math.floor((durations.length - 1) / 2)] ?? 0;
}
