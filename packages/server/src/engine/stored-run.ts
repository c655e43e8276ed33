// One run as it is stored, with the plan of its definition: what every read of a run, its jobs or its ledger begins with.
import type { RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { Plan } from '../core/plan.ts';
import type { RunView } from '../core/views.ts';
import { findRun } from '../store/run-views.ts';
import type { Tx } from '../store/sql.ts';
import type { Plans } from './plans.ts';

export interface StoredRun {
  readonly runId: RunId;
  readonly project: string;
  readonly plan: Plan;
  /** Without params and definition. */
  readonly view: RunView;
  readonly params: JsonObject;
}

/** Loads a run of a project; undefined when the project has none with this id. */
export async function loadRun(tx: Tx, plans: Plans, project: string, runId: RunId): Promise<StoredRun | undefined> {
  const run = await findRun(tx, project, runId);
  if (run === undefined) return undefined;
  const plan = (await plans.load(tx, [run.digest])).get(run.digest);
  if (plan === undefined) throw new Error(`the plan of run ${runId} was not loaded`);
  return { runId, project, plan, view: run.view, params: run.params };
}
