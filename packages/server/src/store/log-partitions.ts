// The partitions of log_chunks, one a UTC day. They are made days ahead, so that no write waits for one, and dropped whole, the oldest
// first, so that what is left of a log is either all of it or not its beginning.
import type { Tx } from './sql.ts';

const DAYS_AHEAD = 3;
export const DAY_MS = 86_400_000;

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

export interface LogPartition {
  readonly name: string;
  /** When its day ends, in milliseconds since the Unix epoch. */
  readonly endMs: number;
  /** PENDING and DETACHED: somebody began to drop it. */
  readonly state: 'ATTACHED' | 'PENDING' | 'DETACHED';
}

/** Every partition that there is, the oldest first. */
export async function logPartitions(tx: Tx): Promise<LogPartition[]> {
  const { rows } = await tx.query<{ name: string; attached: boolean; pending: boolean }>(
    `select c.relname as name, i.inhrelid is not null as attached, coalesce(i.inhdetachpending, false) as pending
     from pg_class c left join pg_inherits i on i.inhrelid = c.oid
     where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and c.relname ~ '^log_chunks_[0-9]{8}$'
     order by c.relname`,
  );
  return rows.map(({ name, attached, pending }) => {
    const [, year, month, day] = /^log_chunks_(\d{4})(\d{2})(\d{2})$/.exec(name) ?? [];
    const endMs = Date.UTC(Number(year), Number(month) - 1, Number(day)) + DAY_MS;
    return { name, endMs, state: !attached ? 'DETACHED' : pending ? 'PENDING' : 'ATTACHED' };
  });
}

/** Whether an attempt that has not ended wrote bytes on the day. */
export async function isHeld(tx: Tx, { endMs }: LogPartition): Promise<boolean> {
  // The limit makes it one look into the partition for each attempt in hand.
  const { rows } = await tx.query<{ held: boolean }>(
    `select exists (select from attempts a cross join lateral (
       select from log_chunks l where l.run_id = a.run_id and l.job = a.job and l.attempt = a.attempt and l.day = $1 limit 1
     ) bytes where a.finished_ms is null and a.offered_ms < $2) as held`,
    [new Date(endMs - DAY_MS).toISOString().slice(0, 10), endMs + DAY_MS],
  );
  return rows[0]?.held === true;
}

/** When the oldest run was created, whoever owns it; undefined without runs. */
export async function oldestRunMs(tx: Tx): Promise<number | undefined> {
  const { rows } = await tx.query<{ created_ms: number }>('select created_ms from runs order by run_id limit 1');
  return rows[0]?.created_ms;
}

/**
 * Drops a partition. Attempts that wrote on its day or before are expired from now on, as far as it had bytes of them. Neither readers
 * nor writers of other days wait; it waits itself for transactions that may still read this one, and fails when they take long: then
 * it is to be dropped again.
 * @param tx Outside of a transaction.
 */
export async function dropLogPartition(tx: Tx, { name, endMs, state }: LogPartition): Promise<void> {
  // First, so that whoever misses the bytes learns why.
  await tx.query('update cluster set logs_from_ms = greatest(logs_from_ms, $1)', [endMs]);
  if (state === 'ATTACHED') await tx.query(`alter table log_chunks detach partition ${name} concurrently`);
  if (state === 'PENDING') await tx.query(`alter table log_chunks detach partition ${name} finalize`);
  await tx.query(`drop table ${name}`);
}

const DROPPING = "hashtextextended('conveyor log partitions ' || current_schema(), 0)";

/** Runs `work` unless another replica runs it: partitions are dropped by one at a time. */
export async function whileDroppingAlone(tx: Tx, work: () => Promise<void>): Promise<void> {
  const { rows } = await tx.query<{ alone: boolean }>(`select pg_try_advisory_lock(${DROPPING}) as alone`);
  if (rows[0]?.alone !== true) return;
  try {
    await work();
  } finally {
    await tx.query(`select pg_advisory_unlock(${DROPPING})`);
  }
}
