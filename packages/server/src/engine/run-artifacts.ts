// Listing what the attempts of a run made.
import { plannedJob } from '../core/plan.ts';
import { type ArtifactPlace, listArtifacts } from '../store/artifact-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { RunOperations } from './engine.ts';
import type { Plans } from './plans.ts';
import { malformedCursor, noJobNamed, noSuchRun } from './refusals.ts';
import { loadRun } from './stored-run.ts';

export interface RunArtifactsOptions {
  readonly pool: Pool;
  readonly plans: Plans;
}

export function createRunArtifacts({ pool, plans }: RunArtifactsOptions): Pick<RunOperations, 'artifacts'> {
  return {
    async artifacts(project, runId, jobName, { size, after }) {
      const place = placeOf(after);
      return await withConnection(pool, async (tx) => {
        const run = await loadRun(tx, plans, project, runId);
        if (run === undefined) throw noSuchRun(runId);
        const job =
          jobName === undefined ? undefined : run.plan.jobs.find(({ definition }) => definition.name === jobName);
        if (jobName !== undefined && job === undefined) throw noJobNamed(runId, jobName);
        const nameOf = (index: number): string => plannedJob(run.plan, index).definition.name;
        return await listArtifacts(tx, runId, nameOf, { job: job?.index, size, after: place });
      });
    },
  };
}

function placeOf(after: string | undefined): ArtifactPlace | undefined {
  if (after === undefined) return undefined;
  const [, job, attempt, number] = /^(\d{1,9})\.(\d{1,9})\.(\d{1,9})$/.exec(after) ?? [];
  if (number === undefined) throw malformedCursor();
  return { job: Number(job), attempt: Number(attempt), number: Number(number) };
}
