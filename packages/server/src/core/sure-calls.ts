// The calls that a pipeline makes in every run that comes so far: no condition, gate, matrix or failure decides on them.
import type { Definition, JobDefinition, PipelineCall } from './definition.ts';

export interface SureCall {
  /** The index of the job in its definition. */
  readonly job: number;
  readonly call: PipelineCall;
}

/** Only a failure keeps a run from making these, so that a chain of them that comes to itself again never ends well. */
export function sureCalls({ jobs }: Pick<Definition, 'jobs'>): readonly SureCall[] {
  const dependants = new Map<string, string[]>();
  for (const { name, needs, when } of jobs) {
    // What always runs does so whatever became of its needs.
    if (when !== 'SUCCESS') continue;
    for (const need of needs) {
      const known = dependants.get(need);
      if (known === undefined) dependants.set(need, [name]);
      else known.push(name);
    }
  }
  const open = new Set(jobs.filter(mayBeSkipped).map(({ name }) => name));
  // A set is walked in order of insertion, and what is added on the way is reached too.
  for (const name of open) for (const dependant of dependants.get(name) ?? []) open.add(dependant);
  return jobs.flatMap(({ name, call }, job) => (call === undefined || open.has(name) ? [] : [{ job, call }]));
}

/** Whether something but its needs may keep a job from running. */
function mayBeSkipped({ if: condition, when, gate, matrix }: JobDefinition): boolean {
  return condition !== undefined || when === 'FAILURE' || gate !== undefined || matrix !== undefined;
}
