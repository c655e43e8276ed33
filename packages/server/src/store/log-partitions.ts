// The partitions of log_chunks, one a UTC day. They are made days ahead, so that no write waits for one, and dropped whole.
import type { Tx } from './sql.ts';

const DAYS_AHEAD = 3;

/** Makes the partitions of today and the days ahead, as far as they are missing. Safe to call from many replicas at once. */
export async function ensureLogPartitions(tx: Tx): Promise<void> {
  const { rows } = await tx.query<{ day: string; next: string }>(
    `select to_char(d, 'YYYY-MM-DD') as day, to_char(d + interval '1 day', 'YYYY-MM-DD') as next
     from generate_series(date_trunc('day', clock_timestamp() at time zone 'UTC'),
       date_trunc('day', clock_timestamp() at time zone 'UTC') + $1 * interval '1 day', '1 day') d
     where to_regclass('log_chunks_' || to_char(d, 'YYYYMMDD')) is null`,
    [DAYS_AHEAD],
  );
  for (const { day, next } of rows) {
    const name = `log_chunks_${day.replaceAll('-', '')}`;
    // Two replicas may both find it missing: the lock lets the second one find it made. It is the lock that attaching takes, which
    // readers and writers of logs neither wait for nor hold up; a partition that is created in place would lock them out.
    await tx.query(`
      do $$ begin
        lock table log_chunks in share update exclusive mode;
        if to_regclass('${name}') is null then
          create table ${name} (like log_chunks including all);
          alter table log_chunks attach partition ${name} for values from ('${day}') to ('${next}');
        end if;
      end $$`);
  }
}
