// What expressions of jobs that are appended to a run can read, as far as its definition tells. It never changes but by more jobs, so what
// is known of the run as it was a moment ago holds when they are appended.
import { closedNames, outputNames } from './check-schemas.ts';
import type { Known } from './compile-job.ts';
import type { Definition } from './definition.ts';
import { knownTypes } from './known-types.ts';

export type KnownOfRun = Omit<Known, 'work'>;

export function knownOfRun({ jobs, env = {}, paramsSchema, added = [] }: Definition): KnownOfRun {
  const appended = added.flatMap((addition) => ('jobs' in addition ? addition.jobs : []));
  const all = [...jobs, ...appended];
  return {
    env,
    params: closedNames(paramsSchema),
    outputs: outputNames(all),
    types: knownTypes(paramsSchema, all),
  };
}
