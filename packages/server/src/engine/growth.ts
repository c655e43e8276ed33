// What has to be written of a run whose decisions added jobs to it: its grown definition, and the rows of the new jobs.
import { dueOf } from '../core/alarms.ts';
import { jobOf } from '../core/run-state.ts';
import { digestOf, insertDefinitions } from '../store/definition-rows.ts';
import type { JobWrite } from '../store/job-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { RunWork } from './run-work.ts';

/** Stores the definitions of runs that have grown. Returns their digests. */
export async function growDefinitions(
  tx: Tx,
  works: readonly RunWork[],
  nowMs: number,
): Promise<ReadonlyMap<RunWork, string>> {
  const grown = works.filter((work) => work.addedFrom !== undefined);
  if (grown.length === 0) return new Map();
  const digests = new Map(grown.map((work) => [work, digestOf(work.context.plan.definition)]));
  const definitions = new Map(grown.map((work) => [digests.get(work) ?? '', work.context.plan.definition]));
  await insertDefinitions(tx, definitions, nowMs);
  return digests;
}

/** The rows of jobs that the decisions added to a run. */
export function jobsAdded(work: RunWork): JobWrite[] {
  const { runId, project, plan } = work.context;
  if (work.addedFrom === undefined) return [];
  const slice = { plan, run: work.run, jobs: work.jobs };
  return plan.jobs.slice(work.addedFrom).map(({ index }) => {
    const record = jobOf(slice, index);
    const dueMs = dueOf(slice, index, record);
    if (dueMs !== undefined) work.dueMs = Math.min(work.dueMs ?? dueMs, dueMs);
    return { key: { runId, job: index }, project, record, dueMs };
  });
}
