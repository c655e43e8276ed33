// Triggers and backfills that named a request id, so that a repetition has no second effect and the same answer. Read and written under
// the lock of their schedule.
import type { ScheduleId } from './due-schedules.ts';
import { execute, rowsOf, statement, type Tx } from './sql.ts';

export interface ScheduleRequest {
  /** SHA-256 of the request without its id. */
  readonly bodyDigest: Buffer;
  /** What its occurrences name. */
  readonly askedBy: string;
  /** How many occurrences it queued. */
  readonly queued: number;
}

const FIND = statement(
  'find_schedule_request',
  'select body_digest, asked_by, queued from schedule_requests where schedule_id = $1 and request_id = $2',
);

export async function findScheduleRequest(
  tx: Tx,
  scheduleId: ScheduleId,
  requestId: string,
): Promise<ScheduleRequest | undefined> {
  const [row] = await rowsOf<{ body_digest: Buffer; asked_by: string; queued: number }>(tx, FIND, [
    scheduleId,
    requestId,
  ]);
  return row && { bodyDigest: row.body_digest, askedBy: row.asked_by, queued: row.queued };
}

const INSERT = statement(
  'insert_schedule_request',
  `insert into schedule_requests (schedule_id, request_id, body_digest, asked_by, queued, created_ms)
   values ($1, $2, $3, $4, $5, $6)`,
);

export async function insertScheduleRequest(
  tx: Tx,
  scheduleId: ScheduleId,
  requestId: string,
  { bodyDigest, askedBy, queued }: ScheduleRequest,
  nowMs: number,
): Promise<void> {
  await execute(tx, INSERT, [scheduleId, requestId, bodyDigest, askedBy, queued, nowMs]);
}

const FORGET = statement(
  'forget_schedule_requests',
  `delete from schedule_requests where (schedule_id, request_id) in
   (select schedule_id, request_id from schedule_requests where created_ms < $1 limit $2)`,
);

/** Forgets requests that are older. Returns how many. */
export async function forgetScheduleRequests(tx: Tx, beforeMs: number, limit: number): Promise<number> {
  return await execute(tx, FORGET, [beforeMs, limit]);
}
