// 8. An instance never holds more attempts than it has slots, at any instant of the ledger, and at rest it holds none.
import type { Evidence } from './evidence.ts';

interface Change {
  readonly timeMs: number;
  readonly delta: 1 | -1;
  readonly attempt: string;
}

export async function slotCounts({ rows, database }: Evidence): Promise<string[]> {
  const changes = new Map<string, Change[]>();
  for (const [runId, events] of rows.events) {
    for (const { type, time_ms: timeMs, job, data } of events) {
      if (type !== 'AttemptOffered' && type !== 'AttemptEnded') continue;
      const attempt = `${runId}.${job}.${String(data['attempt'])}`;
      const instance = rows.attempts.get(attempt)?.instance;
      if (instance === undefined) continue;
      const delta = type === 'AttemptOffered' ? 1 : -1;
      changes.set(instance, [...(changes.get(instance) ?? []), { timeMs, delta, attempt }]);
    }
  }
  const found = [...changes].flatMap(([instance, all]) => overfull(instance, all, slotsOf(rows, instance)));
  const leaked = await database.query<{ what: string }>(
    `select 'attempt ' || a.run_id || '.' || a.job || '.' || a.attempt || ' is live in a finished job' as what
       from attempts a join jobs j using (run_id, job) where a.finished_ms is null and j.finished_ms is not null
     union all select 'job ' || run_id || '.' || job || ' is queued, and finished'
       from queue join jobs using (run_id, job) where state <> 'QUEUED' and finished_ms is null
     union all select 'attempt ' || run_id || '.' || job || '.' || attempt || ' is live, and its instance has no lease'
       from attempts where finished_ms is null and instance_no not in (select instance_no from leases)`,
  );
  return [...found, ...leaked.rows.map(({ what }) => what)];
}

function slotsOf(rows: Evidence['rows'], instance: string): number {
  return rows.attempts.values().find((row) => row.instance === instance)?.slots ?? 0;
}

function overfull(instance: string, changes: readonly Change[], slots: number): string[] {
  let taken = 0;
  // Within one millisecond, what ends makes room for what begins.
  for (const { timeMs, delta, attempt } of changes.toSorted((a, b) => a.timeMs - b.timeMs || a.delta - b.delta)) {
    taken += delta;
    if (taken > slots)
      return [`${instance} has ${slots} slots and held ${taken} attempts at ${timeMs}, ${attempt} the last`];
  }
  return [];
}
