// Holds what all ledgers say together to the limits of concurrency groups, at every instant and not only at the end.
import type { Tx } from '../sql.ts';

export interface GroupAudit {
  /** The most jobs that held a place of each group at the same time. */
  readonly most: ReadonlyMap<string, number>;
  /** How often a place was taken. */
  readonly taken: number;
}

// What is given up at some millisecond may be taken in it.
const MOVES = `
  with groups as (
    select run_id, job, project || ' ' || (data ->> 'group') as key from events where type = 'JobEvaluated' and data ->> 'group' is not null
  ), states as (
    select e.run_id, e.job, g.key, e.time_ms, e.seq, e.job_state in ('QUEUED', 'OFFERED', 'RUNNING', 'CANCELLING') as holds
    from events e join groups g using (run_id, job)
  ), moves as (
    select *, lag(holds, 1, false) over (partition by run_id, job order by seq) as held from states
  )
  select key, holds from moves where holds <> held order by time_ms, holds, run_id, seq`;

export async function auditGroups(tx: Tx): Promise<GroupAudit> {
  const { rows } = await tx.query<{ key: string; holds: boolean }>(MOVES);
  const now = new Map<string, number>();
  const most = new Map<string, number>();
  for (const { key, holds } of rows) {
    const count = (now.get(key) ?? 0) + (holds ? 1 : -1);
    now.set(key, count);
    most.set(key, Math.max(count, most.get(key) ?? 0));
  }
  return { most, taken: rows.filter(({ holds }) => holds).length };
}
