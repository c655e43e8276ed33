// Reading the jobs of a run and their attempts.
import { explainJob } from '../core/explain-job.ts';
import type { JobKey } from '../core/ids.ts';
import { isNamed, type Plan } from '../core/plan.ts';
import { listAttempts, listJobs, readJob } from '../store/job-views.ts';
import { type Pool, withConnection, withSnapshot } from '../store/pool.ts';
import type { Tx } from '../store/sql.ts';
import type { JobOperations } from './engine.ts';
import { readExplainFacts } from './explain-facts.ts';
import type { Plans } from './plans.ts';
import { noSuchJob, noSuchRun, numberCursor } from './refusals.ts';
import { loadRun, type StoredRun } from './stored-run.ts';

export interface JobQueriesOptions {
  readonly pool: Pool;
  readonly plans: Plans;
}

export function createJobQueries({
  pool,
  plans,
}: JobQueriesOptions): Pick<JobOperations, 'get' | 'explain' | 'list' | 'listAttempts'> {
  return {
    get: (project, key) =>
      withConnection(pool, async (tx) => {
        const run = await loadRunOf(tx, plans, project, key);
        const definition = run.plan.jobs[key.job]?.definition;
        return { ...(await readJob(tx, run, key.job)), ...(definition !== undefined && { definition }) };
      }),
    explain: (project, key) =>
      withSnapshot(pool, async (tx) => {
        const run = await loadRunOf(tx, plans, project, key);
        const facts = await readExplainFacts(tx, plans, run, key.job);
        return { ...explainJob(facts), state: facts.job.state, atMs: facts.nowMs, seq: facts.run.seq };
      }),
    async list(project, runId, states, names, page) {
      const after = numberCursor(page.after);
      return await withConnection(pool, async (tx) => {
        const run = await loadRun(tx, plans, project, runId);
        if (run === undefined) throw noSuchRun(runId);
        const jobs = names.length === 0 ? undefined : jobsNamed(run.plan, names);
        return await listJobs(tx, run, { states, jobs, size: page.size, after });
      });
    },
    async listAttempts(project, key, page) {
      const after = numberCursor(page.after);
      return await withConnection(pool, async (tx) => {
        await loadRunOf(tx, plans, project, key);
        return await listAttempts(tx, project, key, { size: page.size, after });
      });
    },
  };
}

/** The run that a job belongs to. @throws RefusedError JOB_NOT_FOUND */
async function loadRunOf(tx: Tx, plans: Plans, project: string, key: JobKey): Promise<StoredRun> {
  const run = await loadRun(tx, plans, project, key.runId);
  if (run?.plan.jobs[key.job] === undefined) throw noSuchJob(key);
  return run;
}

function jobsNamed(plan: Plan, names: readonly string[]): number[] {
  const wanted = new Set(names);
  return plan.jobs.filter((job) => isNamed(job, wanted)).map(({ index }) => index);
}
