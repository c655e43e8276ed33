// How the run of a call ended, as the job of the call is told.
import type { Command } from '../core/commands.ts';
import type { RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { plannedJob } from '../core/plan.ts';
import type { FinishedRunState } from '../core/states.ts';
import { jobOutcomes, outputsBytes } from '../store/outcome-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { Plans } from './plans.ts';
import { loadContexts } from './run-context.ts';

type ChildEnd = Omit<Extract<Command, { type: 'FinishChild' }>, 'type' | 'job' | 'childRun'>;

export async function endOfChild(
  from: { readonly pool: Pool; readonly plans: Plans },
  runId: RunId,
  state: FinishedRunState | 'DELETED',
): Promise<ChildEnd> {
  if (state === 'DELETED') return { state: 'FAILED', outputs: {}, message: `its run ${runId} was deleted` };
  if (state !== 'SUCCEEDED') return { state, outputs: {} };
  const outputs = await outputsOf(from, runId);
  return typeof outputs === 'string' ? { state: 'FAILED', outputs: {}, message: outputs } : { state, outputs };
}

/** A text says that they are too large to be looked at. */
async function outputsOf(
  { pool, plans }: { readonly pool: Pool; readonly plans: Plans },
  runId: RunId,
): Promise<JsonObject | string> {
  return await withConnection(pool, async (tx) => {
    const context = (await loadContexts(tx, plans, [runId])).get(runId);
    if (context === undefined) return {};
    const jobs = context.plan.jobs.filter(({ cell }) => cell === undefined).map(({ index }) => index);
    const bytes = await outputsBytes(tx, runId, jobs);
    if (bytes > 2 * LIMITS.gatheredOutputBytes) {
      return `the outputs of its run are ${bytes} bytes as JSON, at most ${LIMITS.gatheredOutputBytes} are allowed`;
    }
    const outcomes = await jobOutcomes(tx, runId, jobs);
    return Object.fromEntries(
      outcomes.flatMap(({ job, outputs }) =>
        Object.keys(outputs).length === 0 ? [] : [[plannedJob(context.plan, job).name, outputs]],
      ),
    );
  });
}
