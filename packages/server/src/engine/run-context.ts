// What is the same for a run from its creation to its end.
import { formatJobId, type JobKey, type RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { Plan } from '../core/plan.ts';
import type { JobDetails } from '../core/run-state.ts';
import { loadJobs } from '../store/job-rows.ts';
import { runOrigins } from '../store/ledger-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { Plans } from './plans.ts';

export interface RunContext {
  readonly runId: RunId;
  readonly project: string;
  readonly pipeline: string | undefined;
  readonly params: JsonObject;
  readonly traceparent: string;
  /** The call that made it, if one says so. */
  readonly caller: JobKey | undefined;
  readonly plan: Plan;
}

/** Loads runs; those that do not exist are left out. */
export async function loadContexts(
  tx: Tx,
  plans: Plans,
  runIds: readonly RunId[],
): Promise<ReadonlyMap<RunId, RunContext>> {
  const origins = await runOrigins(tx, runIds);
  const compiled = await plans.load(
    tx,
    origins.map(({ digest }) => digest),
  );
  return new Map(
    origins.map(({ digest, ...origin }) => {
      const plan = compiled.get(digest);
      if (plan === undefined) throw new Error(`the plan of run ${origin.runId} was not loaded`);
      return [origin.runId, { ...origin, plan }];
    }),
  );
}

/** What the runs have worked out for jobs, by job id; of jobs that leave nothing to their runs, nothing. */
export async function detailsOf(
  tx: Tx,
  runs: ReadonlyMap<RunId, RunContext>,
  jobs: readonly JobKey[],
): Promise<ReadonlyMap<string, JobDetails | undefined>> {
  const open = jobs.filter(({ runId, job }) => runs.get(runId)?.plan.jobs[job]?.isPlain === false);
  const loaded = open.length === 0 ? [] : await loadJobs(tx, open);
  return new Map(loaded.map(({ key, record }) => [formatJobId(key), record.details]));
}
