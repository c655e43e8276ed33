// The graph of a definition, by index: compiled once for each definition and shared by every run of it.
import type { Definition, JobDefinition } from './definition.ts';

export interface PlannedJob {
  readonly index: number;
  readonly definition: JobDefinition;
  /** Jobs that must have finished before. */
  readonly needs: readonly number[];
  /** Jobs that need this one. */
  readonly dependants: readonly number[];
}

export interface Plan {
  readonly definition: Definition;
  readonly jobs: readonly PlannedJob[];
}

/** Compiles a checked definition. A need that does not exist is a broken invariant and throws. */
export function compilePlan(definition: Definition): Plan {
  const indexByName = new Map(definition.jobs.map((job, index) => [job.name, index]));
  const dependants: number[][] = definition.jobs.map(() => []);
  const jobs = definition.jobs.map((job, index): PlannedJob => {
    const needs = job.needs.map((name) => {
      const need = indexByName.get(name);
      if (need === undefined) throw new Error(`job ${job.name} needs ${name}, which is not in its definition`);
      dependants[need]?.push(index);
      return need;
    });
    return { index, definition: job, needs, dependants: dependants[index] ?? [] };
  });
  return { definition, jobs };
}

/** One job of a plan; a wrong index is a broken invariant and throws. */
export function plannedJob(plan: Plan, index: number): PlannedJob {
  const job = plan.jobs[index];
  if (job === undefined) throw new Error(`the plan has no job ${index}`);
  return job;
}
