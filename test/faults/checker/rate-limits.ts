// 14. In no time t are more than limit * (1 + t / period) tokens of a rate taken, by all ledgers together; and who has finished waits for none.
import { type RateTaken, ratesTaken, type Shares } from '../../../packages/server/src/core/shares.ts';
import type { Evidence, Rows } from './evidence.ts';

interface Taken extends RateTaken {
  readonly timeMs: number;
  readonly job: string;
}

/** What sums of fractions may be off by. */
const ROUNDING = 1e-6;

export async function rateLimits({ rows, database }: Evidence): Promise<string[]> {
  const byKey = Map.groupBy(takenIn(rows), ({ key }) => key);
  const exceeded = [...byKey.values()].flatMap((taken) => excess(taken.toSorted((a, b) => a.timeMs - b.timeMs)));
  const left = await database.query<{ what: string }>(
    `select 'job ' || run_id || '.' || job || ' waits for rate ' || key || ', and is ' || coalesce(state, 'gone') as what
     from rate_waiters left join jobs using (run_id, job) where jobs.run_id is null or finished_ms is not null`,
  );
  return [...exceeded, ...left.rows.map(({ what }) => what)];
}

/** Each time that a job is queued it takes its tokens; an offer that comes back leaves it queued. */
function takenIn({ runs, events }: Rows): Taken[] {
  const taken: Taken[] = [];
  for (const [runId, all] of events) {
    const jobs = runs.get(runId)?.definition.jobs ?? [];
    const shares = new Map<number, Shares>();
    for (const { type, job, time_ms: timeMs, data } of all) {
      if (job === null) continue;
      if (type === 'JobEvaluated') shares.set(job, data as Shares);
      const definition = jobs[job];
      if (type !== 'JobQueued' || definition === undefined) continue;
      for (const rate of ratesTaken(definition, shares.get(job)))
        taken.push({ ...rate, timeMs, job: `${runId}.${job}` });
    }
  }
  return taken;
}

/** The first window that is too full. */
function excess(taken: readonly Taken[]): string[] {
  for (const [from, { timeMs: sinceMs }] of taken.entries()) {
    let sum = 0;
    for (const { key, limit, periodMs, cost, timeMs, job } of taken.slice(from)) {
      sum += cost;
      const spanMs = timeMs - sinceMs;
      if (sum > limit * (1 + spanMs / periodMs) + ROUNDING)
        return [`${sum} tokens of rate ${key} were taken in ${spanMs} ms from ${sinceMs} on, ${job} took the last`];
    }
  }
  return [];
}
