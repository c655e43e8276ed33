// Pauses of queues, and the queues of driver names as readers see them.
import type { QueuePause, QueueView } from '../core/views.ts';
import { rowsOf, statement, type Tx } from './sql.ts';

interface PauseColumns {
  driver: string;
  project: string;
  pipeline: string;
  actor: string;
  reason: string;
  paused_ms: number;
}

export type QueueName = Pick<QueuePause, 'driver' | 'project' | 'pipeline'>;

const PAUSE = statement(
  'pause_queue',
  `insert into queue_pauses as p (driver, project, pipeline, actor, reason, paused_ms)
   select $1, $2, $3, $4, $5, floor(extract(epoch from clock_timestamp()) * 1000)
   where (select count(*) from queue_pauses where (driver, project, pipeline) <> ($1, $2, $3)) < $6
   on conflict (driver, project, pipeline) do update set actor = excluded.actor, reason = excluded.reason
   returning *`,
);

/** Pauses a queue, or changes why it is; undefined when `max` others are paused. */
export async function pauseQueue(
  tx: Tx,
  { driver, project, pipeline, actor, reason }: Omit<QueuePause, 'sinceMs'>,
  max: number,
): Promise<QueuePause | undefined> {
  const [row] = await rowsOf<PauseColumns>(tx, PAUSE, [driver, project, pipeline, actor, reason, max]);
  return row && toPause(row);
}

const RESUME = statement(
  'resume_queue',
  'delete from queue_pauses where driver = $1 and project = $2 and pipeline = $3 returning driver',
);

/** Returns whether it was paused. */
export async function resumeQueue(tx: Tx, { driver, project, pipeline }: QueueName): Promise<boolean> {
  return (await rowsOf(tx, RESUME, [driver, project, pipeline])).length > 0;
}

// A step into an index for each name, and a bounded count for each that is listed.
const LIST_QUEUES = statement(
  'list_queues',
  `with recursive queued as (
     (select driver from queue where driver > $1 order by driver limit 1)
     union all
     select next.driver from queued d cross join lateral
       (select q.driver from queue q where q.driver > d.driver order by q.driver limit 1) next),
   named as (select driver from (select driver from queued limit $2) q
     union select driver from (select distinct driver from queue_pauses where driver > $1 order by driver limit $2) p
     order by driver limit $2)
   select n.driver, (select count(*) from (select from queue q where q.driver = n.driver limit $3) c)::int as queued
   from named n order by n.driver`,
);

const LIST_PAUSES = statement(
  'list_pauses',
  'select * from queue_pauses where driver = any($1::text[]) order by driver, project, pipeline',
);

/** The driver names after `after` that have queued jobs or are paused. Counts at most `maxCounted` jobs of each. */
export async function listQueues(tx: Tx, after: string, limit: number, maxCounted: number): Promise<QueueView[]> {
  const queues = await rowsOf<{ driver: string; queued: number }>(tx, LIST_QUEUES, [after, limit, maxCounted]);
  const pauses = await rowsOf<PauseColumns>(tx, LIST_PAUSES, [queues.map(({ driver }) => driver)]);
  const byDriver = Map.groupBy(pauses.map(toPause), ({ driver }) => driver);
  return queues.map(({ driver, queued }) => ({ driver, queued, pauses: byDriver.get(driver) ?? [] }));
}

const PAUSES_OF = statement(
  'pauses_of_queue',
  `select * from queue_pauses where driver = $1 and project in ('', $2) and pipeline in ('', $3) order by project, pipeline`,
);

/** The pauses that concern the jobs of a driver, project and pipeline. */
export async function pausesOf(tx: Tx, { driver, project, pipeline }: QueueName): Promise<readonly QueuePause[]> {
  return (await rowsOf<PauseColumns>(tx, PAUSES_OF, [driver, project, pipeline])).map(toPause);
}

function toPause({ paused_ms: sinceMs, ...row }: PauseColumns): QueuePause {
  return { ...row, sinceMs };
}
