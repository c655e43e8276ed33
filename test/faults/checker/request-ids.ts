// 9. A request id makes one run; whoever repeats the request is told that run, and another request under the id is refused.
import type { Wanted } from '../load/history.ts';
import type { Evidence } from './evidence.ts';

export function requestIds({ history, rows }: Evidence): string[] {
  const found: string[] = [];
  const made = Map.groupBy(
    [...rows.runs.values()].filter(
      ({ rerun_of: origin, labels }) => origin === null && labels['request'] !== undefined,
    ),
    ({ labels }) => labels['request'] ?? '',
  );
  for (const [requestId, { length }] of made) {
    if (length > 1) found.push(`request ${requestId} made ${length} runs`);
  }
  const told = new Map<string, Map<string, string>>();
  const note = ({ requestId, body }: Wanted, runId: string | undefined): void => {
    if (runId === undefined) return;
    const bodies = told.get(requestId) ?? new Map<string, string>();
    told.set(requestId, bodies);
    const before = bodies.get(body);
    if (before !== undefined && before !== runId)
      found.push(`request ${requestId} was told run ${before}, then ${runId}`);
    bodies.set(body, runId);
  };
  const reruns = new Map<string, Set<string>>();
  for (const { asked, told: answer } of history.operations) {
    if (answer.kind !== 'done') continue;
    if (asked.call === 'create') note(asked, answer.runs[0]?.runId);
    if (asked.call === 'batch') asked.items.forEach((item, index) => note(item, answer.runs[index]?.runId));
    if (asked.call === 'rerun') {
      const runs = reruns.get(asked.requestId) ?? new Set();
      reruns.set(asked.requestId, runs.add(answer.runs[0]?.runId ?? ''));
    }
  }
  for (const [requestId, bodies] of told) {
    if (bodies.size > 1) found.push(`request ${requestId} succeeded with ${bodies.size} different bodies`);
  }
  for (const [requestId, runs] of reruns) {
    if (runs.size > 1) found.push(`the rerun ${requestId} made ${runs.size} runs`);
  }
  return found;
}
