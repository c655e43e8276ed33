// 15. A job is offered only to instances that have the labels it requires and publish its pool.
import { mayTake, placementOf } from '../../../packages/server/src/core/placement.ts';
import type { Evidence } from './evidence.ts';

export function placements({ rows }: Evidence): string[] {
  return [...rows.attempts.values()]
    .filter(({ run_id: runId, job, labels, pools }) => {
      const definition = rows.runs.get(runId)?.definition.jobs[job];
      return definition !== undefined && !mayTake({ labels, pools }, placementOf(definition));
    })
    .map(
      ({ id, instance, labels }) => `${id} went to ${instance}, which may not take it with ${JSON.stringify(labels)}`,
    );
}
