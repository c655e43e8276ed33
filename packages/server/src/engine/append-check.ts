// What is wrong with jobs that are to be appended to a run, as far as what is published and stored tells: their specs and their calls.
import type { JobDefinition } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import type { FieldViolation } from '../core/refusal.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { CallCheck } from './call-check.ts';
import type { Plans } from './plans.ts';
import { loadContexts } from './run-context.ts';
import type { SpecCheck } from './spec-check.ts';

/** Checks jobs; the paths are those of the frame. Of a run that is not there, the ledger says so. */
export type AppendCheck = (runId: RunId, jobs: readonly JobDefinition[]) => Promise<readonly FieldViolation[]>;

export interface AppendCheckOptions {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly checkSpecs: SpecCheck;
  readonly checkCalls: CallCheck;
}

export function createAppendCheck({ pool, plans, checkSpecs, checkCalls }: AppendCheckOptions): AppendCheck {
  return async (runId, jobs) => {
    const specs = await checkSpecs({ jobs }, '');
    if (jobs.every(({ call }) => call === undefined)) return specs.violations;
    const run = await withConnection(pool, async (tx) => (await loadContexts(tx, plans, [runId])).get(runId));
    if (run === undefined) return specs.violations;
    const calls = await checkCalls(run.project, { jobs }, '');
    return [...specs.violations, ...calls.violations];
  };
}
