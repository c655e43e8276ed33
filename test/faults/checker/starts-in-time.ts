// 7. No attempt starts before the needs of its job allow it, or after a cancel that stops it was committed, and so acknowledged.
import type { Evidence, EventRow, RunRow } from './evidence.ts';

export function startsInTime({ rows }: Evidence): string[] {
  return [...rows.runs.values()].flatMap((run) => earlyStarts(run, rows.events.get(run.run_id) ?? []));
}

interface Conclusion {
  readonly state: string;
  readonly failureAllowed?: boolean;
}

function earlyStarts({ run_id: runId, definition }: RunRow, events: readonly EventRow[]): string[] {
  const found: string[] = [];
  const numbers = new Map(definition.jobs.map(({ name }, index) => [name, index]));
  const finished = new Map<number, Conclusion>();
  const stopped = new Set<number>();
  let cancel: { readonly force: boolean } | undefined;
  for (const { seq, type, job, data } of events) {
    if (type === 'RunCreated') {
      for (const one of (data['inherited'] ?? []) as readonly (Conclusion & { readonly job: number })[])
        finished.set(one.job, one);
    }
    if (type === 'RunCancelRequested') cancel = { force: data['force'] === true || cancel?.force === true };
    if (job === null) continue;
    if (type === 'JobFinished') finished.set(job, data as unknown as Conclusion);
    if (type === 'JobCancelRequested') stopped.add(job);
    if (type !== 'AttemptStarted') continue;
    const { needs = [], when = 'SUCCESS' } = definition.jobs[job] ?? {};
    for (const need of needs) {
      const conclusion = finished.get(numbers.get(need) ?? -1);
      const allows =
        conclusion !== undefined &&
        (when === 'ALWAYS' || conclusion.state === 'SUCCEEDED' || conclusion.failureAllowed === true);
      if (!allows)
        found.push(
          `event ${seq} of run ${runId} starts job ${job}, and its need ${need} is ${conclusion?.state ?? 'open'}`,
        );
    }
    if (cancel !== undefined && (when !== 'ALWAYS' || cancel.force)) {
      found.push(`event ${seq} of run ${runId} starts job ${job} of a cancelled run`);
    }
    if (stopped.has(job)) found.push(`event ${seq} of run ${runId} starts job ${job}, which was cancelled`);
  }
  return found;
}
