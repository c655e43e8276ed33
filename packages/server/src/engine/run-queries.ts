// Reading runs: one with its definition, or a page of a project's runs.
import { parseRunId } from '../core/ids.ts';
import { appendedTo } from '../core/plan.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { listRuns } from '../store/run-views.ts';
import type { RunOperations } from './engine.ts';
import type { Plans } from './plans.ts';
import { malformedCursor, noSuchRun } from './refusals.ts';
import { loadRun } from './stored-run.ts';

export interface RunQueriesOptions {
  readonly pool: Pool;
  readonly plans: Plans;
}

export function createRunQueries({ pool, plans }: RunQueriesOptions): Pick<RunOperations, 'get' | 'list'> {
  return {
    async get(project, runId) {
      const run = await withConnection(pool, (tx) => loadRun(tx, plans, project, runId));
      if (run === undefined) throw noSuchRun(runId);
      const { plan } = run;
      return { ...run.view, params: run.params, definition: plan.definition, appended: appendedTo(plan) };
    },
    async list(project, { pipeline, states, labels }, { size, after }) {
      const before = after === undefined ? undefined : parseRunId(after);
      if (after !== undefined && before === undefined) throw malformedCursor();
      return await withConnection(pool, (tx) => listRuns(tx, project, { pipeline, states, labels, size, before }));
    },
  };
}
