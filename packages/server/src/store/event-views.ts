// The ledger as watchers read it: one run's events from a cursor, and the runs of a project that changed since a point of the feed.
// These run at each wake-up of each watcher, so they are prepared.
import type { RunEvent } from '../core/events.ts';
import { type FeedPoint, parseSnapshot } from '../core/feed-point.ts';
import type { RunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import type { JobState, RunState } from '../core/states.ts';
import { eventOf } from './ledger-rows.ts';
import { plain, rowsOf, statement, type Tx } from './sql.ts';

const MAX_EVENTS = 1_000;

const READ_EVENTS = statement(
  'read_events',
  `select b.seq, time_ms, version, type, run_state, job, job_state, data from (select from runs where run_id = $1) r left join (
     select *, sum(octet_length(data::text)) over (order by seq rows unbounded preceding) as bytes_so_far,
       row_number() over (order by seq) as place
     from (select * from events where run_id = $1 and seq > $2 order by seq limit ${MAX_EVENTS}) e
   ) b on place = 1 or bytes_so_far <= ${LIMITS.pageBytes} order by b.seq`,
);

/** An event as it is stored. */
export interface StoredEvent {
  readonly seq: number;
  readonly timeMs: number;
  readonly runState: RunState;
  readonly jobState: JobState | undefined;
  readonly event: RunEvent;
}

interface EventColumns {
  time_ms: number;
  version: number;
  type: string;
  run_state: RunState;
  job: number | null;
  job_state: JobState | null;
  data: object;
}

/** Reads the next events of a run: as many as fit into a message, and none at the end; undefined when the run is gone. */
export async function readEvents(tx: Tx, runId: RunId, afterSeq: number): Promise<StoredEvent[] | undefined> {
  const rows = await rowsOf<EventColumns & { seq: number | null }>(tx, READ_EVENTS, [runId, afterSeq]);
  if (rows.length === 0) return undefined;
  return rows.flatMap(({ seq, ...row }) => (seq === null ? [] : [storedEvent(seq, row)]));
}

const READ_SOME_EVENTS = statement(
  'read_some_events',
  `select seq, time_ms, version, type, run_state, job, job_state, data from events
   where run_id = $1 and seq = any($2::int[]) order by seq`,
);

/** Reads these events of a run, as many as it has; how much they hold is the caller's to bound. */
export async function readSomeEvents(tx: Tx, runId: RunId, seqs: readonly number[]): Promise<StoredEvent[]> {
  const rows = await rowsOf<EventColumns & { seq: number }>(tx, READ_SOME_EVENTS, [runId, plain(seqs, (seq) => seq)]);
  return rows.map(({ seq, ...row }) => storedEvent(seq, row));
}

function storedEvent(seq: number, row: EventColumns): StoredEvent {
  const { time_ms: timeMs, run_state: runState, job_state: jobState } = row;
  const event = eventOf(row.version, row.type, row.job, row.data);
  return { seq, timeMs, runState, jobState: jobState ?? undefined, event };
}

const READ_FEED_POINT = statement(
  'read_feed_point',
  'select pg_current_snapshot()::text as snapshot, feed_from::text as feed_from from cluster',
);

export interface FeedBounds {
  /** The point of the feed that everything committed so far lies before. */
  readonly now: FeedPoint;
  /** A cursor that ends here or before may lie before deletions that are forgotten. */
  readonly from: bigint;
}

export async function readFeedBounds(tx: Tx): Promise<FeedBounds> {
  const [row] = await rowsOf<{ snapshot: string; feed_from: string }>(tx, READ_FEED_POINT, []);
  if (row === undefined) throw new Error('the database did not tell its snapshot');
  return { now: parseSnapshot(row.snapshot), from: BigInt(row.feed_from) };
}

const MAX_CHANGES = 1_000;

// Two ranges of one index, for changes and for deletions each, so that neither a long transaction anywhere nor a generic plan makes
// it read the whole feed. The snapshot is the one that the statement itself reads with.
const READ_FEED = statement(
  'read_feed',
  `select s.snapshot, c.run_id, c.xid from (select pg_current_snapshot()::text as snapshot) s left join (
     select run_id, feed_xid, feed_xid::text as xid from (
       select run_id, feed_xid from events where project = $1 and feed_xid is not null and feed_xid = any($3::xid8[])
       union all
       (select run_id, feed_xid from events where project = $1 and feed_xid is not null and feed_xid >= $2::xid8
        order by feed_xid fetch first ${MAX_CHANGES} rows with ties)
       union all
       select run_id, feed_xid from deleted_runs where project = $1 and feed_xid = any($3::xid8[])
       union all
       (select run_id, feed_xid from deleted_runs where project = $1 and feed_xid >= $2::xid8
        order by feed_xid fetch first ${MAX_CHANGES} rows with ties)
     ) changed order by feed_xid fetch first ${MAX_CHANGES} rows with ties
   ) c on true order by c.feed_xid`,
);

export interface FeedChanges {
  /** The runs that changed, in order of the first change. */
  readonly runIds: readonly RunId[];
  /** Of the newest transaction that is in `runIds`; undefined: no change since then was left out. */
  readonly cutAt: bigint | undefined;
  /** The point of the feed at which this was read. */
  readonly now: FeedPoint;
}

/**
 * Reads which runs of a project have changed since a point of the feed: transactions that were running then or began later, and
 * have committed. All changes of one transaction come together.
 */
export async function readFeed(tx: Tx, project: string, since: FeedPoint): Promise<FeedChanges> {
  const rows = await rowsOf<{ snapshot: string; run_id: RunId | null; xid: string | null }>(tx, READ_FEED, [
    project,
    String(since.end),
    `{${since.running.join(',')}}`,
  ]);
  const runIds = new Set<RunId>();
  for (const row of rows) if (row.run_id !== null) runIds.add(row.run_id);
  const first = rows[0];
  if (first === undefined) throw new Error('the database did not tell its snapshot');
  const last = rows.at(-1)?.xid;
  const cut = rows.length >= MAX_CHANGES && last !== undefined && last !== null;
  return { runIds: [...runIds], cutAt: cut ? BigInt(last) : undefined, now: parseSnapshot(first.snapshot) };
}
