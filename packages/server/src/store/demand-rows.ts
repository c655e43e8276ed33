// How much is queued in each flow of all drivers. What is counted is bounded, so that it costs the same however much is queued.
import type { JobKey } from '../core/ids.ts';
import type { FoundFlow } from './queue-rows.ts';
import { rowsOf, statement, type Tx } from './sql.ts';

/** Rows of a flow that are looked at one by one: each must be of a job that is queued, and tells since when. */
const LOOKED_AT = 1_000;
/** Rows of a flow that are counted at all, and once so many of all flows have been. */
const COUNTED = 10_000;
const COUNTED_AT_LEAST = 100;

// One step into the index of the flows for each. Behind the first rows of a flow only its index is read: a row whose job is not queued any
// more stays only where somebody held it at the time.
const READ_FLOWS = statement(
  'read_queued_flows',
  `with recursive found as (
     select $1::text as driver, $2::uuid as flow, null::uuid as run_id, null::int as job, '' as project, '' as pipeline, false as placed,
       0 as queued, false as more, null::bigint as oldest_ms, $3::int as budget
     union all
     select next.driver, next.flow, coalesce(seen.run_id, next.run_id), coalesce(seen.job, next.job), next.project, next.pipeline, next.placed,
       seen.queued + rest.count, seen.looked + rest.count >= next.most, seen.oldest_ms, next.budget - seen.looked - rest.count
     from found f
     cross join lateral (
       select q.driver, q.flow, q.run_id, q.job, q.project, q.pipeline, q.placed, f.budget,
         greatest(least(${COUNTED}, f.budget), ${COUNTED_AT_LEAST}) as most
       from queue q where (q.driver, q.flow) > (f.driver, f.flow) order by q.driver, q.flow, q.rank, q.no limit 1) next
     cross join lateral (
       select count(*)::int as looked, count(*) filter (where j.state = 'QUEUED')::int as queued,
         min(j.queued_ms) filter (where j.state = 'QUEUED') as oldest_ms,
         (array_agg(r.run_id) filter (where j.state = 'QUEUED'))[1] as run_id,
         (array_agg(r.job) filter (where j.state = 'QUEUED'))[1] as job
       from (select q.run_id, q.job from queue q where q.driver = next.driver and q.flow = next.flow
         order by q.rank, q.no limit least(next.most, ${LOOKED_AT})) r
       left join lateral (select state, queued_ms from jobs where run_id = r.run_id and job = r.job limit 1) j on true) seen
     cross join lateral (
       select count(*)::int from (select from queue q where q.driver = next.driver and q.flow = next.flow
         order by q.rank, q.no offset ${LOOKED_AT} limit greatest(next.most - ${LOOKED_AT}, 0)) c) rest)
   select f.driver, f.flow, f.run_id, f.job, f.project, f.pipeline, f.placed, f.queued, f.more, f.oldest_ms, f.budget,
     exists(select from queue_pauses p where p.driver = f.driver and p.project in ('', f.project) and p.pipeline in ('', f.pipeline)) as paused
   from (select * from found offset 1 limit $4) f`,
);

/** What is queued of a flow. `first` is the first job that is. */
export interface CountedFlow extends FoundFlow {
  readonly driver: string;
  readonly queued: number;
  /** Whether there are more than were counted. */
  readonly more: boolean;
  /** Whether a pause keeps its jobs from being offered. */
  readonly paused: boolean;
  /** Since when the one that waits longest has been queued, of those that were looked at; undefined: none is queued. */
  readonly oldestMs: number | undefined;
}

/** Where a page of flows ended. */
export interface FlowPlace {
  readonly driver: string;
  readonly flow: string;
  /** How many rows may still be counted of the flows that follow; below, some of each are all the same. */
  readonly budget: number;
}

/** Counts the flows behind a place, by driver name: at most `limit` of them. */
export async function countFlows(tx: Tx, { driver, flow, budget }: FlowPlace, limit: number): Promise<CountedFlows> {
  const rows = await rowsOf<CountedColumns>(tx, READ_FLOWS, [driver, flow, budget, limit]);
  const last = rows.at(-1);
  const flows = rows.map(({ run_id: runId, job, oldest_ms: oldestMs, budget: _left, ...row }) => ({
    ...row,
    first: { runId, job },
    oldestMs: oldestMs ?? undefined,
  }));
  return { flows, ...(rows.length === limit && last !== undefined && { next: last }) };
}

export interface CountedFlows {
  readonly flows: readonly CountedFlow[];
  /** Undefined on the last page. */
  readonly next?: FlowPlace;
}

interface CountedColumns extends Omit<CountedFlow, 'first' | 'oldestMs'>, FlowPlace {
  run_id: JobKey['runId'];
  job: number;
  oldest_ms: number | null;
}
