// What a reader sees of a job whatever its state: what its definition says, and what its run has made of it.
import type { Plan } from './plan.ts';
import { plannedJob } from './plan.ts';
import type { JobDetails, JobWait } from './run-state.ts';
import type { JobView } from './views.ts';

type Planned = Pick<JobView, 'name' | 'driver' | 'needs' | 'cell' | 'stage'>;
type Detailed = Pick<JobView, 'condition' | 'answers' | 'childRun' | 'group'>;

export function plannedView(plan: Plan, job: number): Planned {
  const { name, definition, cell } = plannedJob(plan, job);
  const { driver, needs, stage } = definition;
  return {
    name,
    driver,
    needs,
    ...(cell !== undefined && { cell: { of: definition.name, values: cell.values } }),
    ...(stage !== undefined && { stage }),
  };
}

export function detailsView({ condition, answers, childRun, group }: JobDetails): Detailed {
  return {
    ...(condition !== undefined && { condition }),
    ...(answers !== undefined && { answers }),
    ...(childRun !== undefined && { childRun }),
    ...(group !== undefined && { group }),
  };
}

/** What a job waits for; of a gate, with when its timeout ends that. */
export function waitView(plan: Plan, job: number, wait: JobWait): NonNullable<JobView['wait']> {
  const { gate } = plannedJob(plan, job).definition;
  const isTimed = wait.reason === 'APPROVAL' && gate?.timeoutMs !== undefined;
  return isTimed ? { ...wait, untilMs: wait.sinceMs + gate.timeoutMs } : wait;
}
