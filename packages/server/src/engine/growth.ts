// What has to be written of a run whose decisions added jobs to it: its grown definition, and the rows of the new jobs.
import { dueOf } from '../core/alarms.ts';
import { jobOf } from '../core/run-state.ts';
import {
  type DefinitionDigest,
  type DefinitionWrite,
  definitionWrite,
  insertDefinitions,
} from '../store/definition-rows.ts';
import type { JobWrite } from '../store/job-rows.ts';
import type { Tx } from '../store/sql.ts';
import { inTurns } from './pace.ts';
import type { RunWork } from './run-work.ts';

/** Stores the definitions of runs that have grown. Returns their digests. */
export async function growDefinitions(
  tx: Tx,
  works: readonly RunWork[],
  nowMs: number,
): Promise<ReadonlyMap<RunWork, DefinitionDigest>> {
  const grown = works.filter((work) => work.addedFrom !== undefined);
  if (grown.length === 0) return new Map();
  const digests = new Map<RunWork, DefinitionDigest>();
  const writes = new Map<DefinitionDigest, DefinitionWrite>();
  for (const work of grown) {
    const write = await inTurns(definitionWrite(work.context.plan.definition));
    digests.set(work, write.digest);
    writes.set(write.digest, write);
  }
  await insertDefinitions(tx, [...writes.values()], nowMs);
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
