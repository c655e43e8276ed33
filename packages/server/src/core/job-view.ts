// What a reader sees of a job whatever its state: what its definition says, and what its run has made of it.
import type { JobDefinition } from './definition.ts';
import type { Plan } from './plan.ts';
import { plannedJob } from './plan.ts';
import type { JobDetails, JobWait } from './run-state.ts';
import { groupLimitOf, ratesTaken, type Shares } from './shares.ts';
import type { JobView } from './views.ts';

type Planned = Pick<JobView, 'name' | 'driver' | 'needs' | 'cell' | 'stage' | 'maxParallel'>;
type Detailed = Pick<
  JobView,
  'condition' | 'expressionFailures' | 'answers' | 'childRun' | 'cancelReason' | 'group' | 'rates'
>;

export function plannedView(plan: Plan, job: number): Planned {
  const { name, definition, cell, maxParallel } = plannedJob(plan, job);
  const { driver, needs, stage } = definition;
  return {
    name,
    driver,
    needs,
    ...(cell !== undefined && { cell: { of: definition.name, values: cell.values } }),
    ...(stage !== undefined && { stage }),
    ...(maxParallel !== undefined && { maxParallel }),
  };
}

export function detailsView(plan: Plan, job: number, details: JobDetails): Detailed {
  const { condition, expressionFailures, answers, childRun, cancelReason } = details;
  return {
    ...(condition !== undefined && { condition }),
    ...(expressionFailures !== undefined && { expressionFailures }),
    ...(answers !== undefined && { answers }),
    ...(childRun !== undefined && { childRun }),
    ...(cancelReason !== undefined && { cancelReason }),
    ...sharesView(plannedJob(plan, job).definition, details),
  };
}

/** A job's concurrency group and its rate limits, as they were worked out. */
export function sharesView(definition: JobDefinition, shares: Shares): Pick<JobView, 'group' | 'rates'> {
  const limit = groupLimitOf(definition, shares);
  const rates = ratesTaken(definition, shares).map((rate) => ({ key: rate.key, limit: rate.limit }));
  return {
    ...(shares.group !== undefined && limit !== undefined && { group: { key: shares.group, limit } }),
    ...(rates.length > 0 && { rates }),
  };
}

/** What a job waits for; of a gate, with when its timeout ends that. */
export function waitView(plan: Plan, job: number, wait: JobWait): NonNullable<JobView['wait']> {
  const { gate } = plannedJob(plan, job).definition;
  const isTimed = wait.reason === 'APPROVAL' && gate?.timeoutMs !== undefined;
  return isTimed ? { ...wait, untilMs: wait.sinceMs + gate.timeoutMs } : wait;
}
