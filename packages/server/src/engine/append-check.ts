// What is wrong with jobs that are to be appended to a run, as far as its definition and what is published and stored tell: their fields
// and expressions, their specs and their calls.
import { checkAppendedJobs, type JobInput } from '../core/check-definition.ts';
import type { Found } from '../core/check-fields.ts';
import { createCheckWork } from '../core/check-work.ts';
import type { JobDefinition } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import { knownOfRun } from '../core/known-of-run.ts';
import type { FieldViolation } from '../core/refusal.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { CallCheck } from './call-check.ts';
import { inTurns } from './pace.ts';
import type { Plans } from './plans.ts';
import { loadContexts } from './run-context.ts';
import type { SpecCheck } from './spec-check.ts';

export interface CheckedAppend {
  /** With their defaults filled in; none when they are too large to be looked at. */
  readonly jobs: readonly JobDefinition[];
  readonly violations: readonly FieldViolation[];
}

/** Checks jobs as they were written; the paths are those of the frame. Of a run that is not there, the ledger says so. */
export type AppendCheck = (runId: RunId, written: readonly JobInput[]) => Promise<CheckedAppend>;

export interface AppendCheckOptions {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly checkSpecs: SpecCheck;
  readonly checkCalls: CallCheck;
}

export function createAppendCheck({ pool, plans, checkSpecs, checkCalls }: AppendCheckOptions): AppendCheck {
  return async (runId, written) => {
    const run = await withConnection(pool, async (tx) => (await loadContexts(tx, plans, [runId])).get(runId));
    const found: Found = [];
    const known = run === undefined ? {} : knownOfRun(run.plan.definition);
    const jobs = await inTurns(checkAppendedJobs(found, 'jobs', written, known, createCheckWork()));
    const specs = await checkSpecs({ jobs }, '');
    const calls = run && (await checkCalls(run.project, { jobs }, ''));
    return { jobs, violations: [...found, ...specs.violations, ...(calls?.violations ?? [])] };
  };
}
