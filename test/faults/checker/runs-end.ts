// 10. Every run ends, since a driver for all of them was there until the scenario had waited long enough.
import type { Evidence } from './evidence.ts';

const ENDED = /^(SUCCEEDED|FAILED|CANCELLED)$/;

export function runsEnd({ rows }: Evidence): string[] {
  return [...rows.runs.values()]
    .filter(({ state }) => !ENDED.test(state))
    .map(({ run_id: runId, state }) => {
      const last = rows.events.get(runId)?.at(-1);
      return `run ${runId} is still ${state}; its last event is ${last?.type} of job ${last?.job}, now ${last?.job_state}`;
    });
}
