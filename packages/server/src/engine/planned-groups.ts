// What the concurrency groups of planned jobs are like now.
import { type GroupState, isFullFor } from '../core/group.ts';
import type { JobPrediction } from '../core/prediction.ts';
import type { GroupNow } from '../core/run-plan.ts';
import { loadGroups } from '../store/group-rows.ts';
import type { Tx } from '../store/sql.ts';

/** Groups that are looked at; of others a plan says the key and the limit only. */
const MAX_GROUPS = 200;

/** Reads the groups of jobs; the result says of each job what its group is like. */
export async function readGroups(
  tx: Tx,
  project: string,
  jobs: readonly JobPrediction[],
): Promise<(job: JobPrediction) => GroupNow | undefined> {
  const keys = [...new Set(jobs.flatMap(({ group }) => (group === undefined ? [] : [group.key])))].slice(0, MAX_GROUPS);
  const states =
    keys.length === 0
      ? []
      : await loadGroups(
          tx,
          keys.map((key) => ({ project, key })),
        );
  const byKey = new Map(keys.map((key, index): [string, GroupState | undefined] => [key, states[index]]));
  return ({ group }) => {
    if (group === undefined) return undefined;
    const state = byKey.get(group.key);
    if (state === undefined) return undefined;
    return { holding: state.holders, waiting: state.waiting, isFull: isFullFor(state, group.limit) };
  };
}
