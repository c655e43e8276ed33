// The plan of a run that runs some jobs of another one again: what that run added to its definition is kept as far as it can be there.
import type { AddedCells, AddedJobs, Addition, Definition } from './definition.ts';
import { cellName, compilePlan, type Plan, plannedJob } from './plan.ts';

/**
 * A matrix that is to be worked out again loses its cells; one of which only cells are run again keeps all of them. What a job appended
 * goes when that job is run again, and with it each job that cannot be without it, whoever appended that.
 */
export function planAgain(plan: Plan, again: ReadonlySet<number>): Plan {
  const { added = [], ...definition } = plan.definition;
  const gone = new Set<string>();
  const kept = added.flatMap((addition): Addition[] =>
    'cells' in addition ? keptCells(plan, addition, again, gone) : keptJobs(plan, addition, again, gone),
  );
  const isWhole = gone.size === 0 && kept.length === added.length;
  return isWhole ? plan : compilePlan(renumbered(plan, { ...definition, added: kept }));
}

/** @param gone Names; those of the cells are added when they go. */
function keptCells(plan: Plan, addition: AddedCells, again: ReadonlySet<number>, gone: Set<string>): AddedCells[] {
  const { name, needs, cells = [] } = plannedJob(plan, addition.job);
  const isAsItWas = cells.some((cell) => again.has(cell)) && !needs.some((need) => again.has(need));
  if (!gone.has(name) && (!again.has(addition.job) || isAsItWas)) return [addition];
  for (const { key } of addition.cells) gone.add(cellName(name, key));
  return [];
}

/** @param gone Names; those of the jobs that go are added, also of those that need others of these. */
function keptJobs(plan: Plan, { by, jobs }: AddedJobs, again: ReadonlySet<number>, gone: Set<string>): AddedJobs[] {
  const isAskedAgain = again.has(by) || gone.has(plannedJob(plan, by).name);
  const lost = new Set(isAskedAgain ? jobs : jobs.filter(({ needs }) => needs.some((need) => gone.has(need))));
  const pairs = jobs.flatMap((job) => job.needs.map((need) => ({ need, job })));
  const needing = Map.groupBy(pairs, ({ need }) => need);
  // A set is walked in order of insertion, and what is added on the way is reached too.
  for (const { name } of lost) {
    gone.add(name);
    for (const { job } of needing.get(name) ?? []) lost.add(job);
  }
  const left = jobs.filter((job) => !lost.has(job));
  return left.length === 0 ? [] : [{ by, jobs: left }];
}

/** A definition whose additions say where the jobs stand that they are of, when others are not there any more. */
function renumbered(plan: Plan, { added = [], ...base }: Definition): Definition {
  if (added.length === 0) return base;
  const places = new Map(base.jobs.map(({ name }, index) => [name, index]));
  const placeOf = (job: number): number => places.get(plannedJob(plan, job).name) ?? job;
  const placed = added.map((addition): Addition => {
    const moved =
      'cells' in addition ? { ...addition, job: placeOf(addition.job) } : { ...addition, by: placeOf(addition.by) };
    for (const name of namesAdded(plan, addition)) places.set(name, places.size);
    return moved;
  });
  return { ...base, added: placed };
}

function namesAdded(plan: Plan, addition: Addition): readonly string[] {
  if ('jobs' in addition) return addition.jobs.map(({ name }) => name);
  const { name } = plannedJob(plan, addition.job);
  return addition.cells.map(({ key }) => cellName(name, key));
}
