// Which logs are expired: those of ended attempts whose first byte was dropped with the partition of its day. Partitions go in the order
// of their days, so a log that has its beginning is whole.
import type { RunId } from '../core/ids.ts';
import { DAY_MS } from './log-partitions.ts';
import { plain, rowsOf, statement, type Tx } from './sql.ts';

/** What the row of an attempt says of its log. */
export interface AttemptLogRow {
  readonly job: number;
  readonly attempt: number;
  readonly log_size: number;
  readonly offered_ms: number;
  readonly finished_ms: number | null;
  /** Of the row of cluster. */
  readonly logs_from_ms: number;
}

// Asked only of attempts from before the first day that is there: each look is one into every partition of its days.
const BEGINNINGS = statement(
  'log_beginnings',
  `select u.job, u.attempt from unnest($2::int[], $3::int[], $4::date[], $5::date[]) u (job, attempt, first_day, last_day)
   cross join lateral (select from log_chunks l where l.run_id = $1 and l.job = u.job and l.attempt = u.attempt
     and l.start_offset = 0 and l.day between u.first_day and u.last_day limit 1) beginning`,
);

/** Of these attempts of one run, those whose logs are expired, as `<job>.<attempt>`. */
export async function expiredLogs(tx: Tx, runId: RunId, rows: readonly AttemptLogRow[]): Promise<ReadonlySet<string>> {
  const suspects = rows.filter(
    (row) => row.finished_ms !== null && row.log_size > 0 && row.offered_ms < row.logs_from_ms + DAY_MS,
  );
  if (suspects.length === 0) return new Set();
  const whole = await rowsOf<{ job: number; attempt: number }>(tx, BEGINNINGS, [
    runId,
    plain(suspects, (row) => row.job),
    plain(suspects, (row) => row.attempt),
    plain(suspects, (row) => logDays(row)[0]),
    plain(suspects, (row) => logDays(row)[1]),
  ]);
  const expired = new Set(suspects.map(nameOf));
  for (const row of whole) expired.delete(nameOf(row));
  return expired;
}

export function nameOf({ job, attempt }: Pick<AttemptLogRow, 'job' | 'attempt'>): string {
  return `${job}.${attempt}`;
}

/** The days on which the chunks of an attempt may have been written. */
export function logDays(
  row: Pick<AttemptLogRow, 'offered_ms' | 'finished_ms'>,
): readonly [first: string, last: string] {
  // A time that is read before a lock is granted may be of the day before, and so may a clock that was put back.
  return [dayOf(row.offered_ms - DAY_MS), row.finished_ms === null ? 'infinity' : dayOf(row.finished_ms + DAY_MS)];
}

function dayOf(unixMs: number): string {
  return new Date(unixMs).toISOString().slice(0, 10);
}
