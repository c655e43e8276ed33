// Holds what all ledgers say together to the limits of concurrency groups, at every instant and not only at the end.
import type { Tx } from '../sql.ts';

export interface GroupAudit {
  /** The most jobs that held a place of each group at the same time. */
  readonly most: ReadonlyMap<string, number>;
  /** How often a place was taken. */
  readonly taken: number;
  /** Each place that was taken beyond the limit of a job that held one then, its own among them. */
  readonly exceeded: readonly string[];
}

interface Holding {
  readonly key: string;
  readonly job: string;
  /** Null: of a cell or an appended job, whose limit is a number elsewhere. */
  readonly places: number | null;
  readonly from_ms: number;
  readonly until_ms: number | null;
}

const HOLDINGS = `
  with groups as (
    select e.run_id, e.job, e.project || ' ' || (data ->> 'group') as key,
      coalesce(data ->> 'groupLimit', body -> 'jobs' -> e.job -> 'concurrency' ->> 'limit')::int as places
    from events e join runs using (run_id) join definitions using (digest)
    where type = 'JobEvaluated' and data ->> 'group' is not null
  ), states as (
    select e.run_id, e.job, g.key, g.places, e.time_ms, e.seq, e.job_state in ('QUEUED', 'OFFERED', 'RUNNING', 'CANCELLING') as holds
    from events e join groups g using (run_id, job)
  ), changes as (
    select *, lag(holds, 1, false) over (partition by run_id, job order by seq) as held from states
  ), moves as (
    select *, lead(time_ms) over (partition by run_id, job order by seq) as until_ms from changes where holds <> held
  )
  select key, run_id || '.' || job as job, places, time_ms as from_ms, until_ms from moves where holds
  order by time_ms, run_id, seq`;

export async function auditGroups(tx: Tx): Promise<GroupAudit> {
  const { rows } = await tx.query<Holding>(HOLDINGS);
  const holders = new Map<string, readonly Holding[]>();
  const most = new Map<string, number>();
  const exceeded: string[] = [];
  for (const holding of rows) {
    const { key, job, from_ms: nowMs } = holding;
    // What is given up at some millisecond may be taken in it.
    const others = (holders.get(key) ?? []).filter(({ until_ms: untilMs }) => untilMs === null || untilMs > nowMs);
    const now = holding.until_ms === nowMs ? others : [...others, holding];
    holders.set(key, now);
    most.set(key, Math.max(now.length, most.get(key) ?? 0));
    const lowest = Math.min(...now.flatMap(({ places }) => places ?? []));
    if (now.length > lowest)
      exceeded.push(`${key} has ${now.length} holders at ${nowMs}, and ${lowest} places; ${job} was the last`);
  }
  return { most, taken: rows.length, exceeded };
}
