// 8. An instance never holds more attempts than it has slots, nor more of a pool than it has there, at any instant of the ledger; and at rest
// it holds none, and nobody is in the queue.
import type { Evidence } from './evidence.ts';

interface Change {
  readonly timeMs: number;
  readonly delta: 1 | -1;
  readonly attempt: string;
}

export async function slotCounts({ rows, database }: Evidence): Promise<string[]> {
  const changes = new Map<string, Change[]>();
  const slots = new Map<string, number>();
  for (const [runId, events] of rows.events) {
    const jobs = rows.runs.get(runId)?.definition.jobs;
    for (const { type, time_ms: timeMs, job, data } of events) {
      if (type !== 'AttemptOffered' && type !== 'AttemptEnded') continue;
      const attempt = `${runId}.${job}.${String(data['attempt'])}`;
      const row = rows.attempts.get(attempt);
      if (row === undefined) continue;
      const change: Change = { timeMs, delta: type === 'AttemptOffered' ? 1 : -1, attempt };
      const pool = jobs?.[job ?? -1]?.pool;
      const holders = [{ name: row.instance, has: row.slots }];
      if (pool !== undefined) holders.push({ name: `pool ${pool} of ${row.instance}`, has: row.pools[pool] ?? 0 });
      for (const { name, has } of holders) {
        slots.set(name, has);
        changes.set(name, [...(changes.get(name) ?? []), change]);
      }
    }
  }
  const found = [...changes].flatMap(([holder, all]) => overfull(holder, all, slots.get(holder) ?? 0));
  const leaked = await database.query<{ what: string }>(
    `select 'attempt ' || a.run_id || '.' || a.job || '.' || a.attempt || ' is live in a finished job' as what
       from attempts a join jobs j using (run_id, job) where a.finished_ms is null and j.finished_ms is not null
     union all select 'job ' || run_id || '.' || job || ' is in the queue, and ' || coalesce(state, 'gone')
       from queue left join jobs using (run_id, job) where state is distinct from 'QUEUED'
     union all select 'attempt ' || run_id || '.' || job || '.' || attempt || ' is live, and its instance has no lease'
       from attempts where finished_ms is null and instance_no not in (select instance_no from leases)`,
  );
  return [...found, ...leaked.rows.map(({ what }) => what)];
}

function overfull(holder: string, changes: readonly Change[], slots: number): string[] {
  let taken = 0;
  // Within one millisecond, what ends makes room for what begins.
  for (const { timeMs, delta, attempt } of changes.toSorted((a, b) => a.timeMs - b.timeMs || a.delta - b.delta)) {
    taken += delta;
    if (taken > slots)
      return [`${holder} has ${slots} slots and held ${taken} attempts at ${timeMs}, ${attempt} the last`];
  }
  return [];
}
